//! Digests of the parts of a key range, in PostgreSQL's SQL: rows and sum of hashes of every part, in one pass.

/// One line a part that has rows: its number, rows and sum of hashes as text, and what `more` selects. Parts end at
/// `bounds`, ascending, each with its bound; `key`, `bounds`, `hash` and `conditions` are SQL over `from`.
///
/// The number comes from a join with the numbers of all parts: the planner knows how many those are, adds up in each worker,
/// and sorts no row. Of a bare expression over the key it expects as many groups as there are keys.
pub(super) fn digests(
    (from, conditions): (&str, &str),
    (key, bounds): (&str, &[String]),
    hash: &str,
    more: &str,
) -> String {
    let sums = format!("count(*)::text, coalesce(sum({hash}), 0)::text{more}");
    if bounds.is_empty() {
        return format!("select '0', {sums} from {from}{conditions}");
    }
    format!(
        "select tidegate_part::text, {sums} from {from} join generate_series(0, {}) as parted(tidegate_part) on \
         tidegate_part = {}{conditions} group by tidegate_part",
        bounds.len(),
        choose(key, bounds, 0),
    )
}

/// `case` over ascending bounds as a tree, so that a row costs a few comparisons.
fn choose(key: &str, bounds: &[String], first: usize) -> String {
    if bounds.is_empty() {
        return first.to_string();
    }
    let middle = bounds.len() / 2;
    let (low, high) = (choose(key, &bounds[..middle], first), choose(key, &bounds[middle + 1..], first + middle + 1));
    format!("case when ({key}) <= ({}) then {low} else {high} end", bounds[middle])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_finds_its_part_in_a_few_comparisons() {
        let bounds = ["1", "2", "3"].map(str::to_string);
        assert_eq!(
            choose("k", &bounds, 0),
            "case when (k) <= (2) then case when (k) <= (1) then 0 else 1 end else case when (k) <= (3) then 2 else 3 end end"
        );
    }

    #[test]
    fn one_part_is_the_whole_range() {
        let whole = digests(("t", " where x"), ("k", &[]), "h", ", e");
        assert_eq!(whole, "select '0', count(*)::text, coalesce(sum(h), 0)::text, e from t where x");
    }
}
