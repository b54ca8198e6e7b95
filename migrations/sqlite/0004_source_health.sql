-- How each source behaved, by hour; a week is kept.

create table _source_health (
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
