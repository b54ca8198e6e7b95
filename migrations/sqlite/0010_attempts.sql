-- The last attempt to deliver the event behind a difference.
alter table _difference add column attempt integer;

-- Figures of a day are read from the index alone.
drop index _attempt_at;
create index _attempt_at on _attempt (at, subscription, outcome, delay_ms);
