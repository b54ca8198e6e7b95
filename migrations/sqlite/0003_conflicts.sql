-- Rows that differ from what is stored and wait for a person (conflict rule `manual`).

alter table _commit add column conflicting integer not null default 0;

-- `key`, `stored` and `offered` are JSON objects. One open conflict for each row and source: a newer offer replaces it.
create table _conflict (
    id integer primary key autoincrement,
    dataset text not null,
    key text not null,
    source text not null,
    rank integer not null,
    seq integer not null,
    at text not null,
    stored text not null,
    offered text not null,
    resolved_at text,
    resolution text check (resolution in ('stored', 'offered', 'agreed'))
);
create unique index _conflict_open on _conflict (dataset, key, source) where resolved_at is null;
create index _conflict_by_key on _conflict (dataset, key);
