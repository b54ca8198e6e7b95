-- What the source of a commit or of a claim does not have, with commas: columns by name, exchanges by the suffix of codes.

alter table _commit add column lacks text not null default '';
alter table _claim add column lacks text not null default '';
