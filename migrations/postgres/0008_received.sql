-- What inbound webhooks took in: each message once, with what became of it.

create table _received (
    inbound text collate "C" not null,
    source text collate "C" not null,
    id text collate "C" not null,
    at timestamptz not null,
    dataset text collate "C" not null,
    key text collate "C" not null,
    version bigint,
    state text not null check (state in ('applied', 'kept', 'stale', 'conflicting', 'waiting', 'stuck')),
    attempts bigint not null,
    due_at timestamptz not null,
    note text not null,
    primary key (inbound, source, id)
);
create index _received_at on _received (inbound, at);
create index _received_open on _received (dataset, key) where state in ('waiting', 'stuck');
