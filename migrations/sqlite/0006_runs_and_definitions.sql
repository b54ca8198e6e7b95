-- What was asked for and by whom, what people define while the program runs, and a journal of both; and the ways to
-- read events and commits without reading all of them.

-- `work`, `tasks` and `totals` are JSON.
create table _run (
    id integer primary key autoincrement,
    job text,
    due_at text,
    slot text,
    asked_by text not null,
    reason text not null,
    work text not null,
    state text not null check (state in ('pending', 'running', 'success', 'success_with_errors', 'failed', 'cancelled')),
    attempt integer not null,
    not_before text not null,
    created_at text not null,
    started_at text,
    finished_at text,
    tasks text not null,
    totals text not null,
    note text,
    fence integer not null,
    worker text,
    lease_until text
);
create unique index _run_due on _run (job, due_at) where job is not null;
create unique index _run_slot on _run (slot) where state in ('pending', 'running');
create index _run_by_job on _run (job, id);
create index _run_open on _run (id) where state in ('pending', 'running');

-- Jobs, keys (hashed), tokens of sources, settings; `body` is JSON.
create table _definition (
    kind text not null check (kind in ('job', 'key', 'secret', 'setting')),
    name text not null,
    body text not null,
    revision integer not null,
    at text not null,
    primary key (kind, name)
) without rowid;

-- Records of the log and of who changed what; `data` is a JSON object. Old ones are forgotten.
create table _journal (
    id integer primary key autoincrement,
    at text not null,
    journal text not null check (journal in ('log', 'audit')),
    level text not null check (level in ('trace', 'debug', 'info', 'warn', 'error')),
    who text not null,
    target text not null,
    text text not null,
    task integer,
    data text not null
);
create index _journal_newest on _journal (journal, id);
create index _journal_by_time on _journal (journal, at);
create index _journal_by_task on _journal (task, id) where task is not null;

create index _event_by_kind on _event (kind, dataset, id);
create index _event_by_task on _event (task, id) where task is not null;
create index _commit_by_day on _commit (dataset, to_day, from_day);
