-- The last attempt to deliver the event behind a difference.
alter table _difference add column attempt integer;
