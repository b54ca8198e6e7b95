//! What of the event gate needs a person: deliveries without attempts left, receivers that do not work, figures beyond
//! their thresholds, rows that differ between two tables.

use std::collections::BTreeMap;

use super::overview::Attention;
use crate::model::definition::Kind;
use crate::model::reconciliation::{DifferencesWanted, ReportsWanted};
use crate::model::{DeliveryFigures, Result, SubscriptionState};
use crate::notify::define::Status;
use crate::notify::thresholds::{Metric, Raised, Severity};
use crate::notify::watch;
use crate::serve::Service;

/// Differences of one report that are counted.
const DIFFERENCES_MAX: usize = 1_000;

/// The most pressing first.
pub async fn of_gate(service: &Service) -> Result<Vec<Attention>> {
    let figures = watch::figures(&*service.store, service.clock.now()).await?;
    let subscriptions = service.subscriptions.list().await?;
    let raised = watch::raised(&*service.store).await?;
    let known = |name: &str| subscriptions.iter().any(|status| status.name == name);
    let mut found: Vec<Attention> = subscriptions.iter().filter_map(of_receiver).collect();
    found.extend(figures.iter().filter_map(of_deliveries));
    found.extend(raised_alerts(&raised).into_iter().filter(|alert| alert.subscription.as_deref().is_some_and(known)));
    found.extend(differences(service).await?);
    Ok(found)
}

/// Differences of the newest report of each reconciliation that nobody has repaired.
async fn differences(service: &Service) -> Result<Vec<Attention>> {
    let mut found = Vec::new();
    for definition in service.store.definitions(Kind::Reconciliation).await? {
        let newest = ReportsWanted { name: Some(definition.name.clone()), before: None, limit: 1 };
        let Some(report) = service.store.reconciliations(&newest).await?.pop() else { continue };
        if report.counts.differences() == 0 {
            continue;
        }
        let listed = DifferencesWanted { report: report.id, after: 0, limit: DIFFERENCES_MAX };
        let listed = service.store.differences(&listed).await?;
        let open = listed.iter().filter(|difference| difference.repaired_at.is_none()).count() as u64;
        if open > 0 {
            let text = format!("{open} rows differ between {} and {}", report.wanted.source, report.wanted.target);
            let link = format!("/reconciliations/{}", report.id);
            let remedy = "see the likely causes, and repair the target";
            let item = item("difference", &definition.name, open, text, remedy, link);
            found.push(Attention { subscription: None, source: Some(definition.name.clone()), ..item });
        }
    }
    Ok(found)
}

fn item(kind: &'static str, name: &str, count: u64, text: String, remedy: &str, link: String) -> Attention {
    let subscription = Some(name.to_string());
    Attention { kind, dataset: None, source: None, subscription, count, text, remedy: remedy.to_string(), link }
}

fn of_receiver(status: &Status) -> Option<Attention> {
    let (name, why) = (&status.name, status.subscription.reason.as_deref());
    let (what, remedy) = match status.subscription.state {
        SubscriptionState::Failing => ("fails", "it is tried now and then, and resumed when it answers"),
        SubscriptionState::Disabled => ("is disabled", "resume it when its receiver is back, or remove it"),
        SubscriptionState::Active | SubscriptionState::Paused => return None,
    };
    let text = why.map_or_else(|| format!("{name} {what}"), |why| format!("{name} {what}: {why}"));
    Some(item("receiver", name, 1, text, remedy, format!("/subscriptions/{name}")))
}

fn of_deliveries(figures: &DeliveryFigures) -> Option<Attention> {
    let (name, stopped) = (&figures.subscription, figures.dead + figures.parked);
    if stopped == 0 {
        return None;
    }
    let text = match figures.dead {
        0 => format!("{stopped} events are set aside"),
        dead => format!("{dead} events have no attempt left and hold up those of their keys"),
    };
    let view = if figures.dead > 0 { "blocked" } else { "unsettled" };
    let link = format!("/deliveries?view={view}&subscription={name}");
    Some(item("delivery", name, stopped, text, "retry, park or skip them", link))
}

/// One for each subscription: what is beyond its threshold, the gravest first.
fn raised_alerts(raised: &Raised) -> Vec<Attention> {
    let alert = |(name, metrics): (&String, &BTreeMap<Metric, Severity>)| {
        let mut grave: Vec<(&Metric, &Severity)> =
            metrics.iter().filter(|(_, severity)| **severity > Severity::Info).collect();
        grave.sort_by_key(|(_, severity)| std::cmp::Reverse(**severity));
        let word = |(metric, severity): &(&Metric, &Severity)| format!("{} ({})", metric.name(), severity.name());
        let words: Vec<String> = grave.iter().map(word).collect();
        let text = format!("beyond its threshold: {}", words.join(", "));
        let link = format!("/subscriptions/{name}");
        (!words.is_empty()).then(|| item("alert", name, words.len() as u64, text, "see how its deliveries fare", link))
    };
    raised.iter().filter_map(alert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stopped_is_told_and_what_goes_on_is_not() {
        let figures = |dead, parked| DeliveryFigures {
            subscription: "tax".into(),
            waiting: 7,
            dead,
            parked,
            ..DeliveryFigures::default()
        };
        assert!(of_deliveries(&figures(0, 0)).is_none());
        let dead = of_deliveries(&figures(2, 1)).unwrap();
        assert_eq!((dead.kind, dead.count), ("delivery", 3));
        assert_eq!(dead.link, "/deliveries?view=blocked&subscription=tax");
        assert!(of_deliveries(&figures(0, 1)).unwrap().link.contains("view=unsettled"));
    }

    #[test]
    fn alerts_name_what_is_beyond_its_threshold_gravest_first_and_leave_hints_out() {
        let metrics = [
            (Metric::Failures, Severity::Warning),
            (Metric::Retries, Severity::Info),
            (Metric::FailedInARow, Severity::Severe),
        ];
        let raised: Raised = [
            ("tax".to_string(), BTreeMap::from(metrics)),
            ("desk".to_string(), BTreeMap::from([(Metric::Retries, Severity::Info)])),
        ]
        .into();
        let found = raised_alerts(&raised);
        let texts: Vec<&str> = found.iter().map(|alert| alert.text.as_str()).collect();
        assert_eq!(texts, ["beyond its threshold: failed_in_a_row (severe), failures (warning)"]);
    }
}
