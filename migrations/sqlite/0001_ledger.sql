-- The ledger: what was asked, what is claimed, what failed, what happened. Data tables come from the catalogue.
-- Instants are RFC 3339 with the Beijing offset, days are YYYY-MM-DD, an empty security means all of them.

create table _migration (
    number integer primary key,
    name text not null,
    checksum text not null,
    at text not null
);

-- The columns of the data tables as the catalogue declared them.
create table _column (
    dataset text not null,
    name text not null,
    type text not null,
    scale integer not null,
    primary key (dataset, name)
) without rowid;

-- One record for the rows of one slice: the provenance of every row that carries its number as _seq.
create table _commit (
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
);
create index _commit_by_dataset on _commit (dataset);
create index _commit_by_rank on _commit (dataset, rank);

-- What is known of areas. Claims of one dataset and security never overlap.
create table _claim (
    dataset text not null,
    security text not null,
    from_day text not null,
    to_day text not null,
    evidence text not null check (evidence in ('present', 'empty', 'partial')),
    source text not null,
    rows integer not null,
    at text not null,
    stale_at text,
    primary key (dataset, security, from_day)
) without rowid;
create index _claim_of_securities on _claim (dataset, to_day, from_day) where security <> '';

-- Rows stored by day; rows without a day are counted under ''.
create table _rows_by_day (
    dataset text not null,
    day text not null,
    rows integer not null check (rows >= 0),
    primary key (dataset, day)
) without rowid;

create table _task (
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
);
create unique index _task_open on _task (dataset) where state in ('pending', 'running', 'paused');

create table _failure (
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
create unique index _failure_unresolved on _failure (dataset, security, from_day, to_day) where resolved_at is null;

-- Facts in the order in which they became true, numbered from 1 without a gap.
create table _event (
    id integer primary key,
    at text not null,
    kind text not null,
    dataset text,
    task integer,
    data text not null
);

-- Rows that a rule refused, as JSON. The same row refused again is kept once.
create table _quarantine (
    id integer primary key autoincrement,
    dataset text not null,
    at text not null,
    source text not null,
    seq integer not null,
    rule text not null,
    reason text not null,
    row text not null
);
create unique index _quarantine_once on _quarantine (dataset, source, rule, reason, row);

create table _quota (
    source text not null,
    api text not null,
    day text not null,
    calls integer not null,
    primary key (source, day, api)
) without rowid;
