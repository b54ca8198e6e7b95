-- What comparing two tables came to, with the values of rows that differ: kept here and nowhere else.

-- `wanted`, `counts` and `columns` are JSON; addresses in `wanted` have no passwords.
create table _reconciliation (
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
create index _reconciliation_by_name on _reconciliation (name, id) where name is not null;

-- `key` is a JSON array of values, `source` and `target` are arrays of such arrays, `fields` one of positions.
create table _difference (
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
    repaired_at text,
    primary key (report, number)
) without rowid;

create index _message_key on _message (key, event) where key is not null;
