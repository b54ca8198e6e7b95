//! Comparing two tables range by range: what to do with a range, given the digests of both sides.

use crate::model::Digest;

/// How far ranges are parted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows up to which a range that differs is read as a whole.
    pub leaf_rows: u64,
    /// Parts into which a larger one is parted at most.
    pub fan_out: u64,
}

/// What to do with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Both sides hold the same rows.
    Equal,
    /// Read it from the source and replace what is stored.
    Fetch,
    /// Compare its parts of `step` rows each.
    Split { step: u64 },
}

/// `there` is the source's side, `here` the store's.
pub fn next(there: Digest, here: Digest, limits: Limits) -> Next {
    if there == here {
        return Next::Equal;
    }
    // With nothing stored there is nothing to compare with.
    if here.rows == 0 || there.rows <= limits.leaf_rows.max(1) {
        return Next::Fetch;
    }
    let parts = there.rows.div_ceil(limits.leaf_rows.max(1)).clamp(2, limits.fan_out.max(2));
    Next::Split { step: there.rows.div_ceil(parts) }
}

/// What to do with a range of two tables that are compared; either may hold more rows. The answer is never to fetch what
/// is larger than a leaf, because nothing is copied.
pub fn next_of_two(one: Digest, two: Digest, limits: Limits) -> Next {
    let rows = one.rows.max(two.rows);
    if one == two {
        return Next::Equal;
    }
    if rows <= limits.leaf_rows.max(1) {
        return Next::Fetch;
    }
    let parts = rows.div_ceil(limits.leaf_rows.max(1)).clamp(2, limits.fan_out.max(2));
    Next::Split { step: rows.div_ceil(parts) }
}

/// Calls that one changed row costs at most in a table of `rows`: a split and a digest a level, and the row's leaf.
pub fn calls_of_one_change(rows: u64, limits: Limits) -> u64 {
    let mut calls = 2;
    let mut left = rows;
    while let Next::Split { step } = next(Digest { rows: left, sum: 0 }, Digest { rows: left, sum: 1 }, limits) {
        calls += 2;
        left = step;
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { leaf_rows: 100, fan_out: 8 };

    #[test]
    fn only_large_ranges_that_differ_are_parted() {
        let digest = |rows, sum| Digest { rows, sum };
        for (there, here, expected) in [
            (digest(0, 0), digest(0, 0), Next::Equal),
            (digest(1_000_000, 7), digest(1_000_000, 7), Next::Equal),
            (digest(100, 7), digest(100, 8), Next::Fetch),
            (digest(0, 0), digest(5, 8), Next::Fetch),
            (digest(1_000_000, 7), digest(0, 0), Next::Fetch),
            (digest(101, 7), digest(101, 8), Next::Split { step: 51 }),
            (digest(101, 7), digest(100, 7), Next::Split { step: 51 }),
            (digest(450, 7), digest(9, 8), Next::Split { step: 90 }),
            (digest(10_000, 7), digest(9, 8), Next::Split { step: 1_250 }),
        ] {
            assert_eq!(next(there, here, LIMITS), expected, "{there:?} {here:?}");
        }
    }

    #[test]
    fn of_two_tables_the_larger_side_says_how_a_range_is_parted() {
        let digest = |rows, sum| Digest { rows, sum };
        for (one, two, expected) in [
            (digest(9, 1), digest(9, 1), Next::Equal),
            (digest(0, 0), digest(100, 1), Next::Fetch),
            (digest(0, 0), digest(101, 1), Next::Split { step: 51 }),
            (digest(1_000_000, 1), digest(0, 0), Next::Split { step: 125_000 }),
        ] {
            assert_eq!(next_of_two(one, two, LIMITS), expected, "{one:?} {two:?}");
            assert_eq!(next_of_two(two, one, LIMITS), expected, "{two:?} {one:?}");
        }
    }

    #[test]
    fn parts_always_shrink_whatever_the_limits() {
        for limits in [LIMITS, Limits { leaf_rows: 0, fan_out: 0 }, Limits { leaf_rows: 1, fan_out: 2 }] {
            let mut rows = 1_000_000_000;
            let mut levels = 0;
            while let Next::Split { step } = next(Digest { rows, sum: 1 }, Digest { rows, sum: 2 }, limits) {
                assert!(step < rows, "{rows} in steps of {step}");
                (rows, levels) = (step, levels + 1);
            }
            assert!(levels <= 31, "{levels}");
        }
        assert_eq!(calls_of_one_change(10_000, LIMITS), 2 + 2 * 3, "10,000 -> 1,250 -> 157 -> 79 rows");
    }
}
