//! Strategies in the engine: a request with its strategy resolved and checked, before anything starts.

use super::Engine;
use crate::model::{Dataset, Day, Result, task::Request};
use crate::plan::{Kept, Wanted};

impl Engine {
    /// The strategy of a request with its parameters, refused at once when it cannot do what is asked.
    pub fn kept(&self, dataset: &Dataset, request: &Request) -> Result<Kept> {
        let kept = Kept::of(dataset, &request.how, &self.options.strategies);
        kept.check(dataset, (day(&request.from)?, day(&request.to)?))?;
        Ok(kept)
    }

    /// A request in the planner's words.
    pub fn wanted(&self, dataset: &Dataset, request: &Request) -> Result<Wanted> {
        let kept = self.kept(dataset, request)?;
        let (from, to) = (day(&request.from)?, day(&request.to)?);
        Ok(Wanted { securities: request.securities.clone(), from, to, force: request.force, kept })
    }
}

fn day(text: &Option<String>) -> Result<Option<Day>> {
    text.as_deref().map(Day::parse).transpose()
}
