//! From what waits to the changes of one commit: numbers of vouchers, messages, rows, and keys that are remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::once::Remembered;
use super::voucher::{Act, Voucher, rows};
use super::{Done, Job, PublishOptions, Work};
use crate::model::{Change, Commit, Dataset, Day, Error, Instant, Message, Offered, Published, Result};
use crate::store::Store;

/// What becomes of a job of a group.
pub(super) enum Planned {
    /// It is answered by the receipt: so many messages are its own.
    Written { messages: usize, voucher: Option<Message> },
    /// It was answered before, under the same key.
    Answered(Done),
    /// It builds on what another job of the group writes: it comes with the next group.
    Later,
}

/// The changes of a group, as far as it is planned. A job that is refused leaves nothing in it.
pub(super) struct Plan<'a> {
    store: &'a dyn Store,
    vouchers: Option<&'a Arc<Dataset>>,
    options: &'a PublishOptions,
    pub(super) now: Instant,
    changes: Vec<Change>,
    rows: Vec<Voucher>,
    /// By day: the first number that this group takes, and how many.
    numbers: BTreeMap<Day, (u64, u64)>,
    keys: BTreeSet<String>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        store: &'a dyn Store,
        vouchers: Option<&'a Arc<Dataset>>,
        options: &'a PublishOptions,
        now: Instant,
    ) -> Plan<'a> {
        let (changes, rows, numbers, keys) = (Vec::new(), Vec::new(), BTreeMap::new(), BTreeSet::new());
        Plan { store, vouchers, options, now, changes, rows, numbers, keys }
    }

    /// Adds what a job writes.
    pub(super) async fn add(&mut self, job: &Job) -> Result<Planned> {
        let mut known = false;
        if let Some(once) = &job.once {
            if self.keys.contains(once.name()) {
                return Ok(Planned::Later);
            }
            if let Some(place) = self.store.place(once.name()).await? {
                if let Some(remembered) = once.remembered(&place, self.now, self.options.once_hours)? {
                    return Ok(Planned::Answered(self.again(&job.work, &remembered).await?));
                }
                known = true;
            }
        }
        let (messages, voucher) = match &job.work {
            Work::Events { messages, with } => {
                let publish = |message: &Message| Change::Publish { message: message.clone(), expect_new: false };
                self.changes.extend(messages.iter().map(publish));
                self.changes.extend(with.iter().cloned());
                (messages.len(), None)
            }
            Work::Voucher(act) => match self.voucher(act).await? {
                Some(message) => (1, Some(message)),
                None => return Ok(Planned::Later),
            },
        };
        if let Some(once) = &job.once {
            self.keys.insert(once.name().to_string());
            let named = voucher.as_ref().map(|message| (message.source.as_str(), message.id.as_str()));
            self.changes.push(once.change(self.now, named, known));
        }
        Ok(Planned::Written { messages, voucher })
    }

    /// The answer to a request that was answered before.
    async fn again(&self, work: &Work, remembered: &Remembered) -> Result<Done> {
        let mut done = Done { published: Vec::new(), repeated: true, message: None };
        let missing =
            || Error::not_found("what was written under this idempotency key is gone").at_field("Idempotency-Key");
        match work {
            Work::Events { messages, .. } => {
                for message in messages {
                    let stored = self.store.message(&message.source, &message.id).await?.ok_or_else(missing)?;
                    let was = match stored.digest() == message.digest() {
                        false => Offered::Different,
                        // Stored instants have milliseconds.
                        true if stored.at.0 / 1_000 == remembered.at.0 / 1_000 => Offered::New,
                        true => Offered::Same,
                    };
                    done.published.push(Published { event: stored.event, was });
                }
            }
            Work::Voucher(_) => {
                let (source, id) = remembered.message.as_ref().ok_or_else(missing)?;
                let stored = self.store.message(source, id).await?.ok_or_else(missing)?;
                done.published.push(Published { event: stored.event, was: Offered::New });
                done.message = Some(stored);
            }
        }
        Ok(done)
    }

    /// Plans a voucher; `None`: the group writes it already.
    async fn voucher(&mut self, act: &Act) -> Result<Option<Message>> {
        let dataset = self.vouchers.ok_or_else(|| {
            let error = Error::not_found("the catalogue has no table of vouchers");
            error.hint("see `tidegate datasets voucher`")
        })?;
        let voucher = match act.number() {
            None => {
                let day = act.day(self.now)?;
                let number = self.next(day).await?;
                let voucher = act.created(day, number, self.now)?;
                check_size(&voucher, self.options)?;
                let taken = self.numbers.entry(day).or_insert((number, 0));
                taken.1 += 1;
                voucher
            }
            Some(no) if self.rows.iter().any(|row| row.no() == no) => return Ok(None),
            Some(no) => {
                let stored = self.stored(dataset, no).await?;
                let voucher = act.changed(&stored, self.now)?;
                check_size(&voucher, self.options)?;
                voucher
            }
        };
        let message = voucher.message();
        self.changes.push(Change::Publish { message: message.clone(), expect_new: true });
        self.rows.push(voucher);
        Ok(Some(message))
    }

    /// The number that the next voucher of a day has.
    async fn next(&self, day: Day) -> Result<u64> {
        match self.numbers.get(&day) {
            Some((first, count)) => Ok(first + count),
            None => self.store.next_number(&rows::series(day)).await,
        }
    }

    async fn stored(&self, dataset: &Arc<Dataset>, no: &str) -> Result<Voucher> {
        let query = rows::by_number(dataset, no);
        rows::first(self.store, &query).await?.ok_or_else(|| {
            let error = Error::not_found(format!("there is no voucher {no:?}")).at_field("voucher_no");
            error.hint("GET /api/v1/vouchers lists them")
        })
    }

    pub(super) fn has_vouchers(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Everything as one commit; `None`: there is nothing to write.
    pub(super) fn commit(self) -> Result<Option<Commit>> {
        let numbers = self.numbers.iter().map(|(day, (first, count))| Change::Number {
            series: rows::series(*day),
            first: *first,
            count: *count,
        });
        let mut changes: Vec<Change> = numbers.collect();
        changes.extend(self.changes);
        if let (Some(dataset), false) = (self.vouchers, self.rows.is_empty()) {
            changes.push(Change::Rows(rows::change(dataset, &self.rows, self.now)?));
        }
        Ok((!changes.is_empty()).then_some(Commit { at: self.now, fence: None, changes }))
    }
}

/// A voucher travels as the content of an event.
fn check_size(voucher: &Voucher, options: &PublishOptions) -> Result<()> {
    crate::dialect::cloudevents::check(&voucher.message(), &options.limits)
}
