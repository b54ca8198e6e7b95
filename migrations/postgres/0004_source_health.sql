-- How each source behaved, by hour; a week is kept.

create table _source_health (
    source text collate "C" not null,
    hour timestamptz not null,
    calls bigint not null,
    failed bigint not null,
    wrong bigint not null,
    network_ms bigint not null,
    last_error text,
    last_error_at timestamptz,
    primary key (source, hour)
);
