//! Looks at suspects again until it is certain that they differ: what was on its way has arrived, what was being written
//! has been written. Whatever changes at every look is no difference; it is said apart.

use std::collections::BTreeMap;
use std::time::{Duration, Instant as Moment};

use super::judge::{Pair, pair};
use super::shape::Shapes;
use super::walk::Suspect;
use crate::engine::Stop;
use crate::model::{Error, ErrorKind, Key, Result};
use crate::source::sides::Side;

/// How suspects are looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long both sides of a row stay as they are before it counts as different, where no position is known.
    pub settle: Duration,
    /// Looks at most; what still changes at the last is unsettled.
    pub looks: u32,
    /// How long a position is waited for.
    pub position: Duration,
}

/// What looking again came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    pub differ: Vec<(Key, Pair)>,
    /// Equal at a later look.
    pub passed: u64,
    /// Changed at every look.
    pub unsettled: u64,
    pub rows_read: u64,
}

/// One suspect after another look, pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Equal,
    Changed,
    /// As it was before, for as long as it takes.
    Certain,
    /// As it was before, not yet long enough.
    Wait,
}

fn look(shapes: &Shapes, before: &Pair, now: &Pair, unchanged: Duration, required: Duration) -> Look {
    match (shapes.judge(now), before == now) {
        (None, _) => Look::Equal,
        (Some(_), false) => Look::Changed,
        (Some(_), true) if unchanged >= required => Look::Certain,
        (Some(_), true) => Look::Wait,
    }
}

/// What has to pass before a look counts, where the way from source to target is known.
#[async_trait::async_trait]
pub trait Passing: Send + Sync {
    /// Where the source stands now.
    async fn position(&self) -> Result<String>;
    /// Whether the target has seen everything up to there.
    async fn has_passed(&self, position: &str) -> Result<bool>;
}

pub struct Settling<'a> {
    pub source: &'a dyn Side,
    pub target: &'a dyn Side,
    pub shapes: &'a Shapes,
    pub patience: Patience,
    pub passing: Option<&'a dyn Passing>,
    /// How long rows have been seen to travel; the patience grows with it.
    pub slowest: Duration,
}

impl Settling<'_> {
    /// Looks at the suspects again until each is certain, or the looks are used up.
    pub async fn settle(&mut self, suspects: Vec<Suspect>, stop: &Stop) -> Result<Settled> {
        let mut settled = Settled::default();
        let mut left = suspects;
        let mut wait = self.patience.settle;
        let looks = self.patience.looks.max(1);
        for number in 1..=looks {
            if left.is_empty() {
                return Ok(settled);
            }
            let arrived = self.wait(wait, stop).await?;
            let keys: Vec<Key> = left.iter().map(|suspect| suspect.key.clone()).collect();
            let mut now = self.look(&keys, &mut settled).await?;
            // Where everything up to the last look has arrived, a row that stayed as it was differs for good.
            let required = match (self.passing, arrived) {
                (Some(_), true) => Duration::ZERO,
                (Some(_), false) => Duration::MAX,
                (None, _) => self.patience.settle.max(self.slowest * 2),
            };
            let looked: Vec<(Suspect, Pair, Look)> = left
                .into_iter()
                .map(|suspect| {
                    let pair = now.remove(&suspect.key).unwrap_or_default();
                    let look = look(self.shapes, &suspect.pair, &pair, suspect.seen.elapsed(), required);
                    (suspect, pair, look)
                })
                .collect();
            // As long as rows arrive, what has not arrived may still be on its way behind them.
            let arrive = looked.iter().any(|(_, _, look)| *look == Look::Equal);
            let is_certain = self.passing.is_some() || !arrive || number == looks;
            let mut next = Vec::new();
            for (suspect, pair, look) in looked {
                match look {
                    Look::Equal => {
                        settled.passed += 1;
                        self.slowest = self.slowest.max(suspect.seen.elapsed().saturating_sub(wait));
                    }
                    Look::Certain if is_certain => settled.differ.push((suspect.key, pair)),
                    Look::Certain => next.push(suspect),
                    Look::Wait => next.push(suspect),
                    Look::Changed => next.push(Suspect { pair, seen: Moment::now(), ..suspect }),
                }
            }
            left = next;
            wait = (wait * 2).min(self.patience.position.max(self.patience.settle));
        }
        settled.unsettled = left.len() as u64;
        Ok(settled)
    }

    /// Waits for the position that the source has now, or for some time. Whether the position was passed.
    async fn wait(&self, wait: Duration, stop: &Stop) -> Result<bool> {
        let stopped = || Error::new(ErrorKind::Interrupted, "the reconciliation was stopped");
        let Some(passing) = self.passing else {
            return if stop.sleep(wait).await { Ok(false) } else { Err(stopped()) };
        };
        let position = passing.position().await?;
        let (began, pause) = (Moment::now(), Duration::from_millis(50));
        while !passing.has_passed(&position).await? {
            if began.elapsed() >= self.patience.position {
                return Ok(false);
            }
            if !stop.sleep(pause).await {
                return Err(stopped());
            }
        }
        Ok(true)
    }

    /// The rows of these keys as both sides have them now. The source is read first: what it shows is on its way.
    async fn look(&self, keys: &[Key], settled: &mut Settled) -> Result<BTreeMap<Key, Pair>> {
        let source = self.source.look(&self.shapes.source, keys).await?;
        let target = self.target.look(&self.shapes.target, keys).await?;
        settled.rows_read += (source.len() + target.len()) as u64;
        pair(self.shapes, source, target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::compared::ValueKind;
    use crate::model::reconciliation::Rule;
    use crate::reconcile::judge::tests::{row, table};

    #[test]
    fn only_what_stays_as_it_was_for_long_enough_is_certain() {
        let shapes = table(&[("a", ValueKind::Text, Rule::default())]);
        let of = |source: &str, target: &str| Pair {
            source: vec![row(&[Some("1"), Some(source)])],
            target: vec![row(&[Some("1"), Some(target)])],
        };
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(5));
        for (before, now, unchanged, required, expected) in [
            (of("new", "old"), of("new", "new"), long, short, Look::Equal),
            (of("new", "old"), of("newer", "old"), long, short, Look::Changed),
            (of("new", "old"), of("newer", "new"), long, short, Look::Changed),
            (of("new", "old"), of("new", "old"), short, long, Look::Wait),
            (of("new", "old"), of("new", "old"), long, short, Look::Certain),
            (of("new", "old"), of("new", "old"), long, Duration::MAX, Look::Wait),
        ] {
            assert_eq!(look(&shapes, &before, &now, unchanged, required), expected, "{before:?} {now:?}");
        }
    }
}
