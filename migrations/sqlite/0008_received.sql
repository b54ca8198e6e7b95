-- What inbound webhooks took in: each message once, with what became of it.

create table _received (
    inbound text not null,
    source text not null,
    id text not null,
    at text not null,
    dataset text not null,
    key text not null,
    version integer,
    state text not null check (state in ('applied', 'kept', 'stale', 'conflicting', 'waiting', 'stuck')),
    attempts integer not null,
    due_at text not null,
    note text not null,
    primary key (inbound, source, id)
) without rowid;
create index _received_at on _received (inbound, at);
create index _received_open on _received (dataset, key) where state in ('waiting', 'stuck');
