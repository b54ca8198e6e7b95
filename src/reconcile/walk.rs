//! Descends into the key ranges whose digests differ, down to the rows that do, within a budget.

use std::collections::VecDeque;
use std::time::{Duration, Instant as Moment};

use super::judge::{Pair, pair};
use super::shape::Shapes;
use crate::engine::Stop;
use crate::model::reconciliation::Counts;
use crate::model::{Digest, Error, ErrorKind, Key, KeyRange, Result};
use crate::plan::ranges::{Limits, Next, next_of_two};
use crate::source::sides::Side;

/// What a run may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Rows that are read one by one, of both sides.
    pub rows: u64,
    pub time: Duration,
    /// Differences after which a run stops.
    pub differences: u64,
}

/// Rows that differed when they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    pub key: Key,
    pub pair: Pair,
    pub seen: Moment,
}

/// A range that is still to be looked into, with the digests of both sides.
struct Open {
    range: KeyRange,
    digests: (Digest, Digest),
}

pub struct Walk<'a> {
    pub source: &'a dyn Side,
    pub target: &'a dyn Side,
    pub shapes: &'a Shapes,
    limits: Limits,
    budget: Budget,
    began: Moment,
    open: Vec<Open>,
    found: VecDeque<Suspect>,
    pub counts: Counts,
    /// Why the rest was not looked at.
    pub ended: Option<String>,
}

impl<'a> Walk<'a> {
    /// Compares the whole of both sides, in one pass each.
    pub async fn begin(
        (source, target): (&'a dyn Side, &'a dyn Side),
        shapes: &'a Shapes,
        limits: Limits,
        budget: Budget,
        ranges: Vec<KeyRange>,
    ) -> Result<Walk<'a>> {
        let mut walk = Walk {
            source,
            target,
            shapes,
            limits,
            budget,
            began: Moment::now(),
            open: Vec::new(),
            found: VecDeque::new(),
            counts: Counts::default(),
            ended: None,
        };
        for range in ranges.into_iter().rev() {
            let (there, here) = walk.digests(&range, &[]).await?;
            let digests = (first(there), first(here));
            walk.counts.source_rows += digests.0.rows;
            walk.counts.target_rows += digests.1.rows;
            walk.open.push(Open { range, digests });
        }
        Ok(walk)
    }

    /// The digests of both sides, asked for at the same time.
    async fn digests(&mut self, range: &KeyRange, bounds: &[Key]) -> Result<(Vec<Digest>, Vec<Digest>)> {
        self.counts.ranges += bounds.len() as u64 + 1;
        let there = self.source.digests(&self.shapes.source, range, bounds);
        let here = self.target.digests(&self.shapes.target, range, bounds);
        let (there, here) = tokio::try_join!(there, here)?;
        let parts = bounds.len() + 1;
        match there.len() == parts && here.len() == parts {
            true => Ok((there, here)),
            false => Err(Error::bug("a side answers another number of digests than was asked for")),
        }
    }

    /// Up to about `most` suspects; none: everything was looked at, or the budget is used up (see `ended`).
    pub async fn suspects(&mut self, most: usize, stop: &Stop) -> Result<Vec<Suspect>> {
        while self.found.len() < most {
            if stop.asked() {
                return Err(Error::new(ErrorKind::Interrupted, "the reconciliation was stopped"));
            }
            let Some(open) = self.open.pop() else { break };
            if let Some(why) = self.over_budget() {
                self.ended = Some(why);
                self.open.clear();
                break;
            }
            match next_of_two(open.digests.0, open.digests.1, self.limits) {
                Next::Equal => {}
                Next::Fetch => self.read(open).await?,
                Next::Split { step } => self.split(open, step).await?,
            }
        }
        let taken = self.found.len().min(most);
        Ok(self.found.drain(..taken).collect())
    }

    /// Whether nothing is left to look at.
    pub fn is_done(&self) -> bool {
        self.open.is_empty() && self.found.is_empty()
    }

    fn over_budget(&self) -> Option<String> {
        if self.counts.rows_read >= self.budget.rows {
            return Some(format!("the budget of {} rows is used up", self.budget.rows));
        }
        let seconds = self.budget.time.as_secs();
        (self.began.elapsed() >= self.budget.time).then(|| format!("the budget of {seconds} seconds is used up"))
    }

    /// Parts a range by the keys of the side that holds more.
    async fn split(&mut self, open: Open, step: u64) -> Result<()> {
        let Open { range, digests } = open;
        let bounds = match digests.0.rows >= digests.1.rows {
            true => self.source.split(&self.shapes.source, &range, step).await?,
            false => self.target.split(&self.shapes.target, &range, step).await?,
        };
        let mut inside: Vec<Key> = Vec::new();
        for bound in bounds {
            // Sides with an order of their own order by it; equal bounds next to each other come from duplicates.
            let is_new = inside.last() != Some(&bound) && range.upto.as_ref() != Some(&bound);
            if is_new && (self.shapes.source.own_order || range.contains(&bound)) {
                inside.push(bound);
            }
        }
        if inside.is_empty() {
            return self.read(Open { range, digests }).await;
        }
        let (there, here) = self.digests(&range, &inside).await?;
        let parts = range.parts(&inside).into_iter().zip(there.into_iter().zip(here));
        let parts = parts.filter(|(_, (there, here))| there != here);
        let parts: Vec<Open> = parts.map(|(range, digests)| Open { range, digests }).collect();
        // The first part is looked at next.
        self.open.extend(parts.into_iter().rev());
        Ok(())
    }

    /// Reads a range row by row.
    async fn read(&mut self, open: Open) -> Result<()> {
        // Room for what is written in the meantime.
        let most = open.digests.0.rows.max(open.digests.1.rows) * 2 + self.limits.leaf_rows;
        let source = self.source.rows(&self.shapes.source, &open.range, most);
        let target = self.target.rows(&self.shapes.target, &open.range, most);
        let (source, target) = tokio::try_join!(source, target)?;
        self.counts.rows_read += (source.len() + target.len()) as u64;
        if source.len() as u64 > most || target.len() as u64 > most {
            // It has grown a lot since it was digested: it is digested and parted again.
            let (there, here) = self.digests(&open.range, &[]).await?;
            self.open.push(Open { range: open.range, digests: (first(there), first(here)) });
            return Ok(());
        }
        let seen = Moment::now();
        for (key, pair) in pair(self.shapes, source, target)? {
            if self.shapes.judge(&pair).is_some() {
                self.found.push_back(Suspect { key, pair, seen });
            }
        }
        Ok(())
    }
}

/// The one digest of a range that is not parted.
fn first(digests: Vec<Digest>) -> Digest {
    digests.into_iter().next().unwrap_or_default()
}
