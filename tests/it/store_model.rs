//! A plain model of a store, and random changes that must end alike in both.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate::model::change::Write;
use tidegate::model::*;
use tidegate::store::Store;

use crate::store_suite::{Quote, all_quotes, at, commit, quote_batch, quotes_of_day};

const CODES: [&str; 4] = ["000001.SZ", "000002.SZ", "300001.SZ", "600000.SH"];
const DAYS: i8 = 6;

type Key = (&'static str, i8);
type Values = [Option<i128>; 2];

#[derive(Clone)]
struct Row {
    values: Values,
    rank: u8,
    /// Earlier values since the row appeared, with the rank of who gave them.
    earlier: Vec<(Values, u8)>,
}

impl Row {
    /// Which values a source worse than their giver must leave.
    fn guarded(&self, rank: u8) -> Option<[bool; 2]> {
        let current = (self.rank < rank).then_some(&self.values);
        let earlier = || self.earlier.iter().rev().find(|(_, giver)| *giver < rank).map(|(values, _)| values);
        current.or_else(earlier).map(|values| values.map(|value| value.is_some()))
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Claimed {
    security: Option<&'static str>,
    from: i8,
    to: i8,
    source: String,
    rows: usize,
}

/// What the store must hold.
#[derive(Default)]
struct Model {
    rows: BTreeMap<Key, Row>,
    claims: Vec<Claimed>,
    revisions: usize,
}

/// A change as the model understands it.
struct Asked {
    security: Option<&'static str>,
    from: i8,
    to: i8,
    rows: Vec<Quote>,
    write: Write,
    rank: u8,
    claimed: bool,
    source: String,
}

impl Asked {
    fn holds(&self, key: &Key) -> bool {
        self.security.is_none_or(|code| code == key.0) && (self.from..=self.to).contains(&key.1)
    }

    fn change(&self) -> RowsChange {
        let january = |day: i8| Day::new(2024, 1, day).unwrap();
        let span = Span::new(january(self.from), january(self.to));
        let template = quotes_of_day(1, &[]);
        RowsChange {
            area: Area::new(self.security.map_or(Securities::All, Securities::one), span),
            batch: quote_batch(&self.rows),
            write: self.write.clone(),
            rank: self.rank,
            source: Arc::from(self.source.as_str()),
            claim: template.claim.filter(|_| self.claimed),
            ..template
        }
    }
}

impl Model {
    /// Counts: inserted, updated, unchanged, withdrawn.
    fn apply(&mut self, asked: &Asked) -> [u64; 4] {
        let mut counts = [0; 4];
        for (code, day, close, amount) in &asked.rows {
            counts[self.write((*code, *day), [*close, *amount], asked)] += 1;
        }
        if asked.write == Write::Replace {
            let kept = |key: &Key| asked.rows.iter().any(|row| (row.0, row.1) == *key);
            let goes = |key: &Key, row: &Row| asked.holds(key) && !kept(key) && row.guarded(asked.rank).is_none();
            let before = self.rows.len();
            self.rows.retain(|key, row| !goes(key, row));
            counts[3] = (before - self.rows.len()) as u64;
            self.revisions += before - self.rows.len();
        }
        counts
    }

    fn write(&mut self, key: Key, new: Values, asked: &Asked) -> usize {
        let Some(row) = self.rows.get_mut(&key) else {
            self.rows.insert(key, Row { values: new, rank: asked.rank, earlier: Vec::new() });
            return 0;
        };
        if asked.write == Write::FirstWins {
            return 2;
        }
        // Everything is fetched at the same time, so the last fetch is the last write.
        let guarded = row.guarded(asked.rank).filter(|_| asked.write != Write::LastWins);
        let mut values = new;
        for index in 0..2 {
            let fills = asked.write == Write::Merge || guarded.is_some();
            let keeps = guarded.is_some_and(|guarded| guarded[index]) || (fills && new[index].is_none());
            if keeps {
                values[index] = row.values[index];
            }
        }
        if values == row.values {
            return 2;
        }
        row.earlier.push((row.values, row.rank));
        (row.values, row.rank) = (values, asked.rank);
        self.revisions += 1;
        1
    }

    fn count(&self, security: Option<&str>, from: i8, to: i8) -> usize {
        let inside = |key: &&Key| security.is_none_or(|code| code == key.0) && (from..=to).contains(&key.1);
        self.rows.keys().filter(inside).count()
    }

    fn claim(&mut self, asked: &Asked) {
        for old in std::mem::take(&mut self.claims) {
            let apart = old.to < asked.from || asked.to < old.from;
            let around = old.from < asked.from && asked.to < old.to;
            let same = old.security == asked.security;
            if apart || (!same && (asked.security.is_some() || around)) {
                self.claims.push(old);
                continue;
            }
            for (from, to) in [(old.from, asked.from - 1), (asked.to + 1, old.to)] {
                if from <= to {
                    let rows = self.count(old.security, from, to);
                    self.claims.push(Claimed { from, to, rows, ..old.clone() });
                }
            }
        }
        let rows = self.count(asked.security, asked.from, asked.to);
        let (security, from, to) = (asked.security, asked.from, asked.to);
        self.claims.push(Claimed { security, from, to, source: asked.source.clone(), rows });
    }

    async fn compare(&self, store: &dyn Store) {
        let value =
            |value: Option<i128>, scale: i8| value.map_or("-".to_owned(), |value| decimal::to_text(value, scale));
        let text = |((code, day), row): (&Key, &Row)| {
            format!("{code}|2024-01-{day:02}|{}|{}", value(row.values[0], 2), value(row.values[1], 4))
        };
        assert_eq!(all_quotes(store).await, self.rows.iter().map(text).collect::<Vec<_>>());
        let coverage = store.coverage("quotes").await.unwrap();
        let by_day: Vec<(i8, usize)> = (1..=DAYS).map(|day| (day, self.count(None, day, day))).collect();
        let by_day: Vec<_> = by_day.into_iter().filter(|(_, rows)| *rows > 0).collect();
        let stored = coverage.rows_by_day.iter().map(|(day, rows)| (day.date().day(), *rows as usize));
        assert_eq!(stored.collect::<Vec<_>>(), by_day);
        let mut expected: Vec<String> = self.claims.iter().map(|claim| format!("{claim:?}")).collect();
        let claims = coverage.market.iter().chain(coverage.security.values().flatten());
        let mut found: Vec<String> = claims.map(|claim| format!("{:?}", claimed(claim))).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
    }
}

fn claimed(claim: &Claim) -> Claimed {
    let code = claim.area.securities.single().map(|code| CODES.into_iter().find(|known| *known == &**code).unwrap());
    Claimed {
        security: code,
        from: claim.area.span.from.date().day(),
        to: claim.area.span.to.date().day(),
        source: claim.source.to_string(),
        rows: claim.rows as usize,
    }
}

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn asked(&mut self, number: usize) -> Asked {
        let from = 1 + self.below(DAYS as u64) as i8;
        let to = (from + self.below(3) as i8).min(DAYS);
        let security = (self.below(2) == 0).then(|| CODES[self.below(4) as usize]);
        let writes = [
            Write::Replace,
            Write::Replace,
            Write::Replace,
            Write::Merge,
            Write::Upsert,
            Write::FirstWins,
            Write::LastWins,
        ];
        let write = writes[self.below(writes.len() as u64) as usize].clone();
        let rank = [1, 1, 2, 3][self.below(4) as usize];
        let claimed = self.below(4) > 0;
        let mut asked = Asked { security, from, to, rows: vec![], write, rank, claimed, source: format!("s{number}") };
        let keys = CODES.iter().flat_map(|code| (1..=DAYS).map(move |day| (*code, day)));
        let keys: Vec<Key> = keys.filter(|key| asked.holds(key)).collect();
        for (code, day) in keys {
            if self.below(4) > 0 {
                let (close, amount) = (self.value(), self.value());
                asked.rows.push((code, day, close, amount));
            }
        }
        if self.below(2) == 0 {
            asked.rows.reverse();
        }
        asked
    }

    fn value(&mut self) -> Option<i128> {
        (self.below(3) > 0).then(|| i128::from(self.below(3)))
    }
}

/// Commits random changes and compares after each; returns how many revisions there must be.
pub async fn random_changes(store: &dyn Store, seed: u64, commits: usize) -> usize {
    let mut random = Random(seed);
    let mut model = Model::default();
    for number in 0..commits {
        println!("seed {seed}, commit {number}");
        let asked: Vec<Asked> = (0..1 + random.below(4)).map(|_| random.asked(number)).collect();
        let receipt = commit(store, asked.iter().map(|asked| Change::Rows(asked.change())).collect()).await.unwrap();
        let expected: Vec<[u64; 4]> = asked.iter().map(|asked| model.apply(asked)).collect();
        asked.iter().filter(|asked| asked.claimed).for_each(|asked| model.claim(asked));
        let found = receipt.rows.iter().map(|rows| [rows.inserted, rows.updated, rows.unchanged, rows.withdrawn]);
        assert_eq!(found.collect::<Vec<_>>(), expected);
        model.compare(store).await;
    }
    assert_eq!(store.events(0, usize::MAX).await.unwrap().last().unwrap().at, at(20));
    model.revisions
}
