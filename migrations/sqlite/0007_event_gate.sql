-- Business events with their content, numbers without gaps, where readers of logs stand, duties of processes, and
-- deliveries with every attempt.

-- The kinds of definitions are the program's words.
create table _definition_new (
    kind text not null,
    name text not null,
    body text not null,
    revision integer not null,
    at text not null,
    primary key (kind, name)
) without rowid;
insert into _definition_new select kind, name, body, revision, at from _definition;
drop table _definition;
alter table _definition_new rename to _definition;

-- `extensions` is a JSON object; `content` is the exact bytes as they were sent.
create table _message (
    event integer primary key,
    at text not null,
    id text not null,
    source text not null,
    kind text not null,
    time text,
    subject text,
    key text,
    schema text,
    content_type text,
    extensions text not null,
    form text not null check (form in ('none', 'json', 'bytes')),
    content blob not null,
    digest text not null
);
create unique index _message_identity on _message (source, id);
create index _message_subject on _message (subject, event) where subject is not null;
create index _message_kind on _message (kind, event);

create table _series (name text primary key, last integer not null) without rowid;

-- Where readers of the event log stand, by its numbers; where readers of other logs stand, in the words of those.
create table _cursor (name text primary key, event integer not null) without rowid;
create table _stand (name text primary key, place text not null, at text not null) without rowid;

create table _duty (
    name text primary key,
    fence integer not null,
    worker text not null,
    lease_until text not null
) without rowid;

-- Events that a subscription has not settled yet.
create table _delivery (
    subscription text not null,
    event integer not null,
    key text not null,
    state text not null check (state in ('waiting', 'dead', 'parked')),
    due_at text not null,
    attempts integer not null,
    by text not null,
    primary key (subscription, event)
) without rowid;
create index _delivery_key on _delivery (subscription, key, event);
create index _delivery_due on _delivery (subscription, state, due_at);

-- Every attempt, only ever added to; old ones are forgotten.
create table _attempt (
    id integer primary key autoincrement,
    subscription text not null,
    event integer not null,
    request text not null,
    number integer not null,
    at text not null,
    took_ms integer not null,
    outcome text not null check (outcome in ('delivered', 'failed', 'exhausted', 'refused', 'gone', 'skipped')),
    status integer,
    error text,
    detail text,
    delay_ms integer not null,
    by text not null
);
create index _attempt_event on _attempt (event, subscription, id);
create index _attempt_subscription on _attempt (subscription, id);
create index _attempt_at on _attempt (at);
