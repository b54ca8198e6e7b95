CREATE TABLE _migration (
    number integer primary key,
    name text not null,
    checksum text not null,
    at text not null
);
CREATE TABLE _column (
    dataset text not null,
    name text not null,
    type text not null,
    scale integer not null,
    primary key (dataset, name)
) without rowid;
CREATE TABLE _commit (
    seq integer primary key,
    at text not null,
    task integer,
    dataset text not null,
    source text not null,
    rank integer not null,
    security text not null,
    from_day text not null,
    to_day text not null,
    fetched_at text not null,
    inserted integer not null default 0,
    updated integer not null default 0,
    unchanged integer not null default 0,
    withdrawn integer not null default 0,
    quarantined integer not null default 0
, conflicting integer not null default 0, lacks text not null default '');
CREATE INDEX _commit_by_dataset on _commit (dataset);
CREATE INDEX _commit_by_rank on _commit (dataset, rank);
CREATE TABLE _claim (
    dataset text not null,
    security text not null,
    from_day text not null,
    to_day text not null,
    evidence text not null check (evidence in ('present', 'empty', 'partial')),
    source text not null,
    rows integer not null,
    at text not null,
    stale_at text, lacks text not null default '',
    primary key (dataset, security, from_day)
) without rowid;
CREATE INDEX _claim_of_securities on _claim (dataset, to_day, from_day) where security <> '';
CREATE TABLE _rows_by_day (
    dataset text not null,
    day text not null,
    rows integer not null check (rows >= 0),
    primary key (dataset, day)
) without rowid;
CREATE TABLE _task (
    id integer primary key autoincrement,
    dataset text not null,
    request text not null,
    state text not null check (state in ('pending', 'running', 'paused', 'completed', 'failed')),
    outcome text,
    fence integer not null,
    created_at text not null,
    started_at text,
    finished_at text,
    totals text not null,
    note text
, worker text, lease_until text);
CREATE UNIQUE INDEX _task_open on _task (dataset) where state in ('pending', 'running', 'paused');
CREATE TABLE _failure (
    id integer primary key autoincrement,
    dataset text not null,
    security text not null,
    from_day text not null,
    to_day text not null,
    source text not null,
    task integer not null,
    kind text not null,
    message text not null,
    attempts integer not null,
    attempts_max integer not null,
    next_attempt_at text not null,
    first_at text not null,
    last_at text not null,
    resolved_at text,
    resolution text
);
CREATE UNIQUE INDEX _failure_unresolved on _failure (dataset, security, from_day, to_day) where resolved_at is null;
CREATE TABLE _event (
    id integer primary key,
    at text not null,
    kind text not null,
    dataset text,
    task integer,
    data text not null
);
CREATE TABLE _quarantine (
    id integer primary key autoincrement,
    dataset text not null,
    at text not null,
    source text not null,
    seq integer not null,
    rule text not null,
    reason text not null,
    row text not null
);
CREATE UNIQUE INDEX _quarantine_once on _quarantine (dataset, source, rule, reason, row);
CREATE TABLE _quota (
    source text not null,
    api text not null,
    day text not null,
    calls integer not null,
    primary key (source, day, api)
) without rowid;
CREATE TABLE _place (
    id integer primary key autoincrement,
    source text not null,
    api text not null,
    free_at integer not null
);
CREATE INDEX _place_by_time on _place (source, api, free_at);
CREATE TABLE _conflict (
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
CREATE UNIQUE INDEX _conflict_open on _conflict (dataset, key, source) where resolved_at is null;
CREATE INDEX _conflict_by_key on _conflict (dataset, key);
CREATE TABLE _source_health (
    source text not null,
    hour text not null,
    calls integer not null,
    failed integer not null,
    wrong integer not null,
    network_ms integer not null,
    last_error text,
    last_error_at text,
    primary key (source, hour)
) without rowid;
CREATE TABLE _run (
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
CREATE UNIQUE INDEX _run_due on _run (job, due_at) where job is not null;
CREATE UNIQUE INDEX _run_slot on _run (slot) where state in ('pending', 'running');
CREATE INDEX _run_by_job on _run (job, id);
CREATE INDEX _run_open on _run (id) where state in ('pending', 'running');
CREATE TABLE _journal (
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
CREATE INDEX _journal_newest on _journal (journal, id);
CREATE INDEX _journal_by_time on _journal (journal, at);
CREATE INDEX _journal_by_task on _journal (task, id) where task is not null;
CREATE INDEX _event_by_kind on _event (kind, dataset, id);
CREATE INDEX _event_by_task on _event (task, id) where task is not null;
CREATE INDEX _commit_by_day on _commit (dataset, to_day, from_day);
CREATE TABLE "_definition" (
    kind text not null,
    name text not null,
    body text not null,
    revision integer not null,
    at text not null,
    primary key (kind, name)
) without rowid;
CREATE TABLE _message (
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
CREATE UNIQUE INDEX _message_identity on _message (source, id);
CREATE INDEX _message_subject on _message (subject, event) where subject is not null;
CREATE INDEX _message_kind on _message (kind, event);
CREATE TABLE _series (name text primary key, last integer not null) without rowid;
CREATE TABLE _cursor (name text primary key, event integer not null) without rowid;
CREATE TABLE _stand (name text primary key, place text not null, at text not null) without rowid;
CREATE TABLE _duty (
    name text primary key,
    fence integer not null,
    worker text not null,
    lease_until text not null
) without rowid;
CREATE TABLE _delivery (
    subscription text not null,
    event integer not null,
    key text not null,
    state text not null check (state in ('waiting', 'dead', 'parked')),
    due_at text not null,
    attempts integer not null,
    by text not null,
    primary key (subscription, event)
) without rowid;
CREATE INDEX _delivery_key on _delivery (subscription, key, event);
CREATE INDEX _delivery_due on _delivery (subscription, state, due_at);
CREATE TABLE _attempt (
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
CREATE INDEX _attempt_event on _attempt (event, subscription, id);
CREATE INDEX _attempt_subscription on _attempt (subscription, id);
CREATE INDEX _attempt_at on _attempt (at);
CREATE TABLE _received (
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
CREATE INDEX _received_at on _received (inbound, at);
CREATE INDEX _received_open on _received (dataset, key) where state in ('waiting', 'stuck');
CREATE TABLE _reconciliation (
    id integer primary key autoincrement,
    name text,
    outcome text not null check (outcome in ('equal', 'different', 'unfinished')),
    started_at text not null,
    finished_at text not null,
    wanted text not null,
    counts text not null,
    columns text not null,
    key_columns integer not null,
    note text
);
CREATE INDEX _reconciliation_by_name on _reconciliation (name, id) where name is not null;
CREATE TABLE _difference (
    report integer not null,
    number integer not null,
    kind text not null check (kind in ('missing', 'extra', 'different', 'duplicate')),
    key text not null,
    source text not null,
    target text not null,
    fields text not null,
    cause text not null,
    event integer,
    delivery text,
    repaired_at text, attempt integer,
    primary key (report, number)
) without rowid;
CREATE INDEX _message_key on _message (key, event) where key is not null;
CREATE TABLE "quotes" (
    "ts_code" text not null,
    "trade_date" text not null,
    "close" real,
    "amount" text,
    _seq integer not null,
    primary key ("ts_code", "trade_date")
) without rowid;
CREATE TABLE "quotes_revision" (
    "ts_code" text not null,
    "trade_date" text not null,
    "close" real,
    "amount" text,
    _seq integer not null,
    _ended_seq integer not null,
    _ended text not null check (_ended in ('superseded', 'withdrawn'))
);
CREATE INDEX "quotes_revision_by_key" on "quotes_revision" ("ts_code", "trade_date");
CREATE INDEX "quotes_by_trade_date" on "quotes" ("trade_date");
CREATE VIEW "quotes_with_source" as
select
    stored."ts_code",
    stored."trade_date",
    stored."close",
    stored."amount",
    _commit.source as _source,
    _commit.fetched_at as _fetched_at,
    1 + (select count(*) from "quotes_revision" as revision where revision."ts_code" = stored."ts_code" and revision."trade_date" = stored."trade_date") as _revision,
    stored._seq as _seq
from "quotes" as stored left join _commit on _commit.seq = stored._seq;
CREATE TABLE "notices" (
    "ts_code" text not null,
    "ann_date" text,
    _seq integer not null,
    primary key ("ts_code")
) without rowid;
CREATE TABLE "notices_revision" (
    "ts_code" text not null,
    "ann_date" text,
    _seq integer not null,
    _ended_seq integer not null,
    _ended text not null check (_ended in ('superseded', 'withdrawn'))
);
CREATE INDEX "notices_revision_by_key" on "notices_revision" ("ts_code");
CREATE INDEX "notices_by_ann_date" on "notices" ("ann_date");
CREATE VIEW "notices_with_source" as
select
    stored."ts_code",
    stored."ann_date",
    _commit.source as _source,
    _commit.fetched_at as _fetched_at,
    1 + (select count(*) from "notices_revision" as revision where revision."ts_code" = stored."ts_code") as _revision,
    stored._seq as _seq
from "notices" as stored left join _commit on _commit.seq = stored._seq;
