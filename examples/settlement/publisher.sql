-- The settlement system's own database: its tables, and an outbox that a trigger fills in the transaction of each change.

create table invoice (
    id bigint primary key,
    invoice_no text not null,
    contract_no text not null,
    amount numeric(18, 2) not null,
    issued_on date not null,
    version int not null default 1
);

create table settlement_sheet (
    id bigint primary key,
    sheet_no text not null,
    contract_no text not null,
    invoices int not null,
    amount numeric(18, 2) not null,
    version int not null default 1
);

create table outbox (
    id bigserial primary key,
    type text not null,
    subject text not null,
    key text not null,
    data jsonb not null,
    created_at timestamptz not null default now(),
    published_at timestamptz
);
create index on outbox (id) where published_at is null;

create function count_version() returns trigger language plpgsql as $$
begin
    new.version := old.version + 1;
    return new;
end $$;

create function tell() returns trigger language plpgsql as $$
declare
    thing text := case tg_table_name when 'invoice' then 'invoice' else 'settlement' end;
    happened text := case tg_op when 'INSERT' then (case thing when 'invoice' then 'recorded' else 'generated' end) else 'corrected' end;
begin
    insert into outbox (type, subject, key, data)
    values (thing || '.' || happened, thing || '/' || new.id, new.contract_no, to_jsonb(new));
    notify outbox;
    return new;
end $$;

create trigger version before update on invoice for each row execute function count_version();
create trigger version before update on settlement_sheet for each row execute function count_version();
create trigger tell after insert or update on invoice for each row execute function tell();
create trigger tell after insert or update on settlement_sheet for each row execute function tell();
