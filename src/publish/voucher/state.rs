//! Whether the systems that a voucher is meant for have it: what the publisher asked for, joined with what was delivered.

use super::Voucher;

/// How far the newest version of a voucher has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncState {
    /// It has no targets, or its publisher asked for nothing.
    None,
    /// A target does not have it yet.
    Pending,
    /// A target refused it, or every attempt was in vain: a person has to see to it.
    Failed,
    /// Every target has it.
    Synced,
}

impl SyncState {
    pub fn name(self) -> &'static str {
        match self {
            SyncState::None => "none",
            SyncState::Pending => "pending",
            SyncState::Failed => "failed",
            SyncState::Synced => "synced",
        }
    }
}

/// What became of the delivery of one event to one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// On its way, or not matched yet.
    Waiting,
    Delivered,
    /// No further attempt by itself.
    Failed,
}

impl Reached {
    pub fn name(self) -> &'static str {
        match self {
            Reached::Waiting => "waiting",
            Reached::Delivered => "delivered",
            Reached::Failed => "failed",
        }
    }
}

/// The state of a voucher from what became of the event of its newest version at each of its targets. `reached`: by the
/// name of a target; a target that nothing is known of waits.
pub fn sync_state(voucher: &Voucher, reached: impl Fn(&str) -> Reached) -> SyncState {
    let targets = voucher.targets();
    if targets.is_empty() || voucher.get("sync_status") == Some("none") {
        return SyncState::None;
    }
    let states: Vec<Reached> = targets.into_iter().map(reached).collect();
    match () {
        () if states.contains(&Reached::Failed) => SyncState::Failed,
        () if states.contains(&Reached::Waiting) => SyncState::Pending,
        () => SyncState::Synced,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn voucher(targets: &str, asked: &str) -> Voucher {
        let values = [("target_systems", targets), ("sync_status", asked)];
        Voucher { values: values.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect() }
    }

    #[test]
    fn a_voucher_is_synced_when_every_target_has_it_and_failed_when_one_never_will() {
        let known =
            BTreeMap::from([("tax", Reached::Delivered), ("ledger", Reached::Failed), ("bank", Reached::Waiting)]);
        let state = |targets: &str, asked: &str| {
            sync_state(&voucher(targets, asked), |target| known.get(target).copied().unwrap_or(Reached::Waiting))
        };
        assert_eq!(state("tax", "pending"), SyncState::Synced);
        assert_eq!(state("tax,bank", "pending"), SyncState::Pending);
        assert_eq!(state("tax,nobody", "pending"), SyncState::Pending);
        assert_eq!(state("tax,bank,ledger", "pending"), SyncState::Failed);
        assert_eq!(state("", "pending"), SyncState::None);
        assert_eq!(state("ledger", "none"), SyncState::None);
    }
}
