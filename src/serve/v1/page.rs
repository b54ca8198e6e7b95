//! Pages of lists.

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{Error, Result};
use crate::serve::ServeOptions;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// What to ask for as `before` to get the next page; absent on the last one.
    pub next: Option<i64>,
}

impl<T> Page<T> {
    /// A list that is whole.
    pub fn whole(items: Vec<T>) -> Page<T> {
        Page { items, next: None }
    }

    /// The first `limit` of `found`, which holds one more if there are more; `number` is what pages are asked by.
    pub fn of<S>(mut found: Vec<S>, limit: usize, number: impl Fn(&S) -> i64, shown: impl FnMut(S) -> T) -> Page<T> {
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| has_more).map(number);
        Page { items: found.into_iter().map(shown).collect(), next }
    }
}

impl ServeOptions {
    /// The entries of one page.
    pub fn limit(&self, asked: Option<usize>) -> Result<usize> {
        match asked {
            None => Ok(self.page_rows),
            Some(limit) if (1..=self.page_rows_max).contains(&limit) => Ok(limit),
            Some(limit) => {
                let error = Error::invalid(format!("a page has 1 to {} entries, not {limit}", self.page_rows_max));
                Err(error.hint("ask for further pages, or for a download"))
            }
        }
    }
}
