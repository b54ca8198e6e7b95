//! What becomes of a message: whether its version may be applied, waits for others, or says nothing new. Pure.

use super::inbound::Gaps;

/// Where a row stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The last version that was applied through a webhook; 0: none.
    pub applied: u64,
    /// The version of the stored row, whoever wrote it; `None`: there is no row.
    pub stored: Option<u64>,
}

impl Standing {
    /// The version that counts.
    pub fn version(self) -> u64 {
        self.applied.max(self.stored.unwrap_or(0))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Its rows are written.
    Apply,
    /// The same version is stored: equal rows are unchanged, others are a conflict.
    Compare,
    /// A version that is as new or newer counts, or the row has ended with it.
    Stale { known: u64 },
    /// These versions are missing, both included.
    Wait { from: u64, to: u64 },
}

/// `version` is that of the message; `None`: the mapping knows of no versions.
pub fn decide(version: Option<u64>, standing: Standing, gaps: Gaps, first: Option<u64>) -> Decision {
    let Some(version) = version else { return Decision::Apply };
    let known = standing.version();
    if version < known {
        return Decision::Stale { known };
    }
    if version == known {
        // Without a row it was withdrawn under this version.
        return if standing.stored == Some(known) { Decision::Compare } else { Decision::Stale { known } };
    }
    let next = if known > 0 { Some(known + 1) } else { first };
    match (gaps, next) {
        (Gaps::Fetch, Some(next)) if version > next => Decision::Wait { from: next, to: version - 1 },
        _ => Decision::Apply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_applied_compared_left_or_waits_by_where_the_row_stands() {
        use Decision::*;
        let stands = |applied, stored| Standing { applied, stored };
        for (version, standing, gaps, first, expected) in [
            (None, stands(7, Some(7)), Gaps::Allow, None, Apply),
            (Some(1), stands(0, None), Gaps::Fetch, Some(1), Apply),
            (Some(3), stands(0, None), Gaps::Fetch, Some(1), Wait { from: 1, to: 2 }),
            (Some(3), stands(0, None), Gaps::Fetch, None, Apply),
            (Some(3), stands(2, Some(2)), Gaps::Fetch, None, Apply),
            (Some(5), stands(2, Some(2)), Gaps::Fetch, None, Wait { from: 3, to: 4 }),
            (Some(5), stands(2, Some(2)), Gaps::Allow, None, Apply),
            (Some(2), stands(2, Some(2)), Gaps::Fetch, None, Compare),
            (Some(1), stands(2, Some(2)), Gaps::Allow, None, Stale { known: 2 }),
            // Withdrawn under version 3: nothing brings it back but a newer one.
            (Some(3), stands(3, None), Gaps::Allow, None, Stale { known: 3 }),
            (Some(4), stands(3, None), Gaps::Fetch, None, Apply),
            // A repair wrote a newer row than any message said.
            (Some(4), stands(2, Some(5)), Gaps::Allow, None, Stale { known: 5 }),
            (Some(5), stands(2, Some(5)), Gaps::Allow, None, Compare),
            (Some(7), stands(2, Some(5)), Gaps::Fetch, None, Wait { from: 6, to: 6 }),
        ] {
            assert_eq!(decide(version, standing, gaps, first), expected, "{version:?} {standing:?} {gaps:?}");
        }
    }
}
