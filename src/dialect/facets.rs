//! Parameters that are asked value by value: their combinations, numbered.

use std::collections::BTreeMap;

use crate::model::{Error, Result};

/// How many combinations there are; at least one.
pub fn count(facets: &BTreeMap<String, Vec<String>>) -> u32 {
    let count = facets.values().map(|values| values.len().max(1) as u32);
    count.fold(1, u32::saturating_mul)
}

/// The values of combination `index`: parameters in name order, the last one varies fastest.
pub fn values(facets: &BTreeMap<String, Vec<String>>, index: u32) -> Result<Vec<(&str, &str)>> {
    let mut rest = index as usize;
    let mut chosen = Vec::with_capacity(facets.len());
    for (parameter, values) in facets.iter().rev().filter(|(_, values)| !values.is_empty()) {
        chosen.extend(values.get(rest % values.len()).map(|value| (parameter.as_str(), value.as_str())));
        rest /= values.len();
    }
    if rest > 0 {
        return Err(Error::bug(format!("there is no combination {index} of facet values")));
    }
    Ok(chosen)
}
