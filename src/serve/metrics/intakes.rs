//! Figures of intakes: what they do, and what waits.

use super::exposition::{Exposition, Kind};
use crate::intake::{Control, Doing};
use crate::model::Result;
use crate::serve::Service;

/// As the process that runs an intake last wrote it into the store.
pub(super) async fn tell(service: &Service, exposition: &mut Exposition) -> Result<()> {
    let all = Control::new(service.store.clone(), service.clock.clone()).list().await?;
    let help = "What an intake is doing: 1 for the state that it is in.";
    let mut family = exposition.family("tidegate_intake_state", Kind::Gauge, help);
    for status in &all {
        for doing in [Doing::Waiting, Doing::Running, Doing::Failing, Doing::Stuck, Doing::Paused] {
            let labels = [("intake", status.name.as_str()), ("state", doing.name())];
            family.sample(&labels, f64::from(status.standing.doing == doing));
        }
    }
    let help = "Rows, bytes or entries that wait at the publisher's, as last looked at.";
    let mut family = exposition.family("tidegate_intake_lag", Kind::Gauge, help);
    for status in &all {
        if let Some(lag) = status.standing.lag {
            let unit = status.intake.origin()?.unit();
            family.sample(&[("intake", status.name.as_str()), ("unit", unit)], lag as f64);
        }
    }
    let help = "What an intake has taken, by what became of it.";
    let mut family = exposition.family("tidegate_intake_messages_total", Kind::Counter, help);
    for status in &all {
        let standing = &status.standing;
        let counts = [
            ("published", standing.published),
            ("repeated", standing.repeated),
            ("refused", standing.refused),
            ("ignored", standing.ignored),
        ];
        for (result, count) in counts {
            family.sample(&[("intake", status.name.as_str()), ("result", result)], count as f64);
        }
    }
    Ok(())
}
