//! How many rows of a table came from which source: counted once and remembered until the table changes. A count that
//! took long is not made again at once, whatever changes: it rests for a multiple of the time that it took.

use std::collections::HashMap;
use std::future::Future;

use tokio::sync::Mutex;

use crate::model::{Clock, Day, Instant};

/// The rows of one source in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRows {
    pub source: String,
    pub rows: u64,
    /// The newest day among them; `None` where rows have none.
    pub last_day: Option<Day>,
}

/// The rows of a table by the source that wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsBySource {
    /// What was committed until then is counted.
    pub as_of: Instant,
    /// By name of the source.
    pub rows: Vec<SourceRows>,
}

/// A count as it is remembered.
struct Count {
    /// The last commit that it includes.
    commit: i64,
    counted: RowsBySource,
    /// Until then it holds, whatever was committed since.
    rests_until: Instant,
}

/// What was counted, by dataset.
pub(super) struct Counted {
    counts: Mutex<HashMap<String, Count>>,
    clock: Clock,
}

/// A count that takes less is made again whenever the table has changed.
const QUICK_MS: i64 = 1_000;
/// Counting takes this part of the time at most.
const REST: i64 = 20;

impl Counted {
    pub(super) fn new(clock: Clock) -> Counted {
        Counted { counts: Mutex::default(), clock }
    }

    /// The counts as of the last commit of the dataset, or older ones that rest. `count` is handed the commit that is
    /// known and answers with nothing when it is still the last one. One count runs at a time: nobody asks for the same
    /// twice.
    pub(super) async fn get<E, Counting>(
        &self,
        dataset: &str,
        count: impl FnOnce(Option<i64>) -> Counting,
    ) -> Result<RowsBySource, E>
    where
        Counting: Future<Output = Result<Option<(i64, Vec<SourceRows>)>, E>>,
    {
        let mut counts = self.counts.lock().await;
        let began = self.clock.now();
        let known = counts.get_mut(dataset);
        if let Some(known) = known.as_ref().filter(|known| known.counted.as_of <= began && began < known.rests_until) {
            return Ok(known.counted.clone());
        }
        match (count(known.as_ref().map(|known| known.commit)).await?, known) {
            (Some((commit, rows)), _) => {
                let counted = RowsBySource { as_of: began, rows };
                let rests_until = rests_until(began, self.clock.now());
                counts.insert(dataset.to_owned(), Count { commit, counted: counted.clone(), rests_until });
                Ok(counted)
            }
            (None, Some(known)) => {
                known.counted.as_of = began;
                Ok(known.counted.clone())
            }
            (None, None) => Ok(RowsBySource { as_of: began, rows: Vec::new() }),
        }
    }
}

/// Until when a count is not made again.
fn rests_until(began: Instant, ended: Instant) -> Instant {
    match ended.millis_since(began) {
        took if took < QUICK_MS => ended,
        took => ended.plus_millis(took.saturating_mul(REST)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// A table whose every commit adds a row, and whose count takes its time.
    struct Slow {
        now: Arc<AtomicI64>,
        counted: Counted,
        commit: i64,
    }

    impl Slow {
        fn new() -> Slow {
            let now = Arc::new(AtomicI64::new(0));
            let told = now.clone();
            let clock = Clock::told_by(move || Instant(0).plus_millis(told.load(Ordering::SeqCst)));
            Slow { now, counted: Counted::new(clock), commit: 1 }
        }

        /// When it was asked and how long a count takes, in milliseconds; the rows, and as of when.
        async fn ask(&self, at: i64, takes: i64) -> (u64, i64) {
            self.now.store(at, Ordering::SeqCst);
            let last = self.commit;
            let count = async |known: Option<i64>| {
                if known == Some(last) {
                    return Ok::<_, ()>(None);
                }
                self.now.fetch_add(takes, Ordering::SeqCst);
                let rows = SourceRows { source: "tushare".to_string(), rows: last as u64, last_day: None };
                Ok(Some((last, vec![rows])))
            };
            let counted = self.counted.get("daily", count).await.unwrap();
            (counted.rows[0].rows, counted.as_of.millis_since(Instant(0)))
        }
    }

    #[tokio::test]
    async fn a_count_that_took_long_rests_and_says_as_of_when_it_is() {
        let mut table = Slow::new();
        assert_eq!(table.ask(0, 2_000).await, (1, 0));
        table.commit = 2;
        assert_eq!(table.ask(2_001, 2_000).await, (1, 0), "it rests");
        assert_eq!(table.ask(41_999, 2_000).await, (1, 0), "twenty times as long as it took");
        assert_eq!(table.ask(42_000, 10).await, (2, 42_000));
        table.commit = 3;
        assert_eq!(table.ask(42_011, 10).await, (3, 42_011), "a quick one does not rest");
        assert_eq!(table.ask(50_000, 10).await, (3, 50_000), "nothing changed: it holds until now");
        table.commit = 4;
        assert_eq!(table.ask(60_000, 5_000).await, (4, 60_000));
        table.commit = 5;
        assert_eq!(table.ask(59_999, 10).await, (5, 59_999), "a clock that was set back does not keep it");
    }
}
