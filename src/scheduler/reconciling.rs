//! Runs that reconcile: one definition after the other, each with a report of its own.

use super::Scheduler;
use super::verdict::{Piece, after_error};
use crate::engine::Stop;
use crate::model::reconciliation::Outcome;
use crate::model::{Error, Result, Run};

impl Scheduler {
    /// Compares what the run names. A difference is no failure of the run: the report has it, and an event says so.
    pub(super) async fn reconcile(&self, run: &Run, stop: &Stop) -> Result<Vec<Piece>> {
        let reconciler = self.reconciler.as_ref().ok_or_else(|| {
            Error::invalid("this process does not reconcile").hint("run `tidegate serve`, or `tidegate reconcile`")
        })?;
        if run.work.reconciliations.is_empty() {
            let error = Error::invalid("the run names no reconciliation");
            return Err(error.hint("name definitions under work.reconciliations"));
        }
        let mut pieces = Vec::new();
        for name in &run.work.reconciliations {
            let piece = match reconciler.run_defined(name, stop).await {
                Ok(report) if report.outcome == Outcome::Unfinished => {
                    let why = report.note.unwrap_or_else(|| "the budget is used up".to_string());
                    Piece::Stays { why: format!("{name}: {why}"), worked: true }
                }
                Ok(_) => Piece::Green,
                Err(error) => after_error(&error.while_doing(format!("reconciling {name}")), false, self.clock.now()),
            };
            pieces.push(piece);
        }
        Ok(pieces)
    }
}
