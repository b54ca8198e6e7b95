//! Audits of the tables of a store, and how they are told to programs.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Engine, knowledge};
use crate::catalog::Catalog;
use crate::model::{Dataset, Instant, Result, Span};
use crate::plan::{self, Audit, Served};
use crate::source::Source;
use crate::store::Store;

impl Engine {
    /// Audits the named datasets, or all of the catalogue.
    pub async fn audits(&self, names: &[String], span: Option<Span>) -> Result<Vec<Audit>> {
        audits(&*self.store, &self.catalog, &self.sources, names, span, self.clock.now()).await
    }
}

/// As `Engine::audits`. An audit needs no source; who is configured only explains what nobody can have.
pub async fn audits(
    store: &dyn Store,
    catalog: &Catalog,
    sources: &[Arc<dyn Source>],
    names: &[String],
    span: Option<Span>,
    now: Instant,
) -> Result<Vec<Audit>> {
    let named: Result<Vec<&Arc<Dataset>>> = names.iter().map(|name| catalog.get(name)).collect();
    let datasets = if names.is_empty() { catalog.datasets().iter().collect() } else { named? };
    let knowledge = knowledge::read(store).await?;
    let mut audits = Vec::new();
    for dataset in datasets {
        let coverage = store.coverage(&dataset.name).await?;
        let failures = store.failures(Some(&dataset.name), false).await?;
        // A span asks about tables that are kept; about others only when they are named.
        let span = span.filter(|_| !names.is_empty() || !coverage.is_empty());
        let served = served(sources, dataset);
        audits.push(plan::audit(dataset, &knowledge, &coverage, &failures, &served, span, now));
    }
    Ok(audits)
}

/// Who serves a dataset now, as far as an audit explains holes by that.
pub fn served(sources: &[Arc<dyn Source>], dataset: &Dataset) -> Served {
    let offers = sources.iter().filter_map(|source| Some((source.name().to_string(), source.offer(dataset)?)));
    Served::new(offers.map(|(name, offer)| (name, offer.lacks_exchanges)))
}

pub fn unexplained(audits: &[Audit]) -> u64 {
    audits.iter().map(|audit| audit.unexplained).sum()
}

pub fn as_json(audits: &[Audit]) -> Value {
    json!({
        "tables": audits.iter().filter(|audit| audit.kept).count(), "unexplained_holes": unexplained(audits),
        "datasets": audits.iter().map(audit_as_json).collect::<Vec<_>>(),
    })
}

fn audit_as_json(audit: &Audit) -> Value {
    let holes = audit.holes.iter().map(|hole| {
        json!({
            "securities": hole.area.securities.to_string(), "from": hole.area.span.from.to_string(),
            "to": hole.area.span.to.to_string(), "state": hole.state.name(), "cells": hole.cells,
            "reason": hole.reason, "remedy": hole.remedy,
        })
    });
    json!({
        "dataset": audit.dataset, "kept": audit.kept, "from": audit.span.map(|span| span.from.to_string()),
        "to": audit.span.map(|span| span.to.to_string()), "points": audit.points, "cells": audit.cells,
        "unexplained": audit.unexplained, "holes": holes.collect::<Vec<_>>(), "notes": audit.notes,
    })
}
