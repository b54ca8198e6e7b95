-- Several processes on one store: who runs a task and until when, and the places of calls that they share.

alter table _task add column worker text;
alter table _task add column lease_until text;

-- Calls that count against a source's limit per minute, and the microsecond since 1970 from which they no longer do.
create table _place (
    id integer primary key autoincrement,
    source text not null,
    api text not null,
    free_at integer not null
);
create index _place_by_time on _place (source, api, free_at);
