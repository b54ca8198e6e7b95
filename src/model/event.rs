//! Events: facts, numbered, written by the commit that made them true.

use super::clock::Instant;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// A slice was committed: its area now stands as claimed.
    SliceCommitted,
    /// Rows were kept apart because a rule refused them.
    RowsQuarantined,
    /// Rows differ from the stored ones and wait for a person.
    RowsConflicting,
    ConflictResolved,
    SliceFailed,
    FailureResolved,
    TaskCreated,
    TaskStarted,
    TaskPaused,
    TaskCompleted,
    TaskFailed,
    /// A range of days was worked through; the data says what became of each day and what it took.
    RangeFinished,
    /// A source refused as a whole and was set aside.
    SourceSetAside,
    /// Every expected cell of a dataset up to a day is explained; the data says up to which.
    DatasetWhole,
    RunCreated,
    RunStarted,
    /// A run ended, or waits for its next attempt; the data says which.
    RunFinished,
    /// A job, a key, a secret or a setting was created, changed or removed.
    DefinitionChanged,
    /// A business event was published; the data has its attributes, `_message` its content.
    EventPublished,
    /// A delivery has no attempt left, or was refused; the data says which and why.
    DeliveryFailed,
    /// A person decided about deliveries, or they were asked for again; the data says which.
    DeliveryDecided,
    /// An endpoint fails again and again, was paused, has recovered or is gone; the data says what it has become.
    SubscriptionHealth,
    /// A figure of the event gate crossed a threshold, or came back.
    GateAlert,
    /// Something that an intake brought could not be published; the data says where and why.
    IntakeRefused,
    /// An intake fell behind, failed, or has recovered.
    IntakeHealth,
    /// A webhook was refused, waits for a version, or could not be applied.
    InboundProblem,
    /// Two tables were compared; the data has the counts.
    ReconcileFinished,
    RepairFinished,
}

impl EventType {
    pub const ALL: [EventType; 28] = [
        EventType::SliceCommitted,
        EventType::RowsQuarantined,
        EventType::RowsConflicting,
        EventType::ConflictResolved,
        EventType::SliceFailed,
        EventType::FailureResolved,
        EventType::TaskCreated,
        EventType::TaskStarted,
        EventType::TaskPaused,
        EventType::TaskCompleted,
        EventType::TaskFailed,
        EventType::RangeFinished,
        EventType::SourceSetAside,
        EventType::DatasetWhole,
        EventType::RunCreated,
        EventType::RunStarted,
        EventType::RunFinished,
        EventType::DefinitionChanged,
        EventType::EventPublished,
        EventType::DeliveryFailed,
        EventType::DeliveryDecided,
        EventType::SubscriptionHealth,
        EventType::GateAlert,
        EventType::IntakeRefused,
        EventType::IntakeHealth,
        EventType::InboundProblem,
        EventType::ReconcileFinished,
        EventType::RepairFinished,
    ];

    pub fn name(self) -> &'static str {
        match self {
            EventType::SliceCommitted => "slice.committed",
            EventType::RowsQuarantined => "rows.quarantined",
            EventType::RowsConflicting => "rows.conflicting",
            EventType::ConflictResolved => "conflict.resolved",
            EventType::SliceFailed => "slice.failed",
            EventType::FailureResolved => "failure.resolved",
            EventType::TaskCreated => "task.created",
            EventType::TaskStarted => "task.started",
            EventType::TaskPaused => "task.paused",
            EventType::TaskCompleted => "task.completed",
            EventType::TaskFailed => "task.failed",
            EventType::RangeFinished => "range.finished",
            EventType::SourceSetAside => "source.set_aside",
            EventType::DatasetWhole => "dataset.whole",
            EventType::RunCreated => "run.created",
            EventType::RunStarted => "run.started",
            EventType::RunFinished => "run.finished",
            EventType::DefinitionChanged => "definition.changed",
            EventType::EventPublished => "event.published",
            EventType::DeliveryFailed => "delivery.failed",
            EventType::DeliveryDecided => "delivery.decided",
            EventType::SubscriptionHealth => "subscription.health",
            EventType::GateAlert => "gate.alert",
            EventType::IntakeRefused => "intake.refused",
            EventType::IntakeHealth => "intake.health",
            EventType::InboundProblem => "inbound.problem",
            EventType::ReconcileFinished => "reconcile.finished",
            EventType::RepairFinished => "repair.finished",
        }
    }

    /// The type under which subscribers hear of it.
    pub fn outward(self) -> &'static str {
        match self {
            EventType::SourceSetAside => "source.down",
            EventType::RowsQuarantined => "quality.quarantined",
            EventType::RowsConflicting => "quality.conflicting",
            other => other.name(),
        }
    }

    /// Whether it tells of the carrying of events itself: only subscriptions that name it hear of it.
    pub fn is_of_gate(self) -> bool {
        matches!(
            self,
            EventType::DeliveryFailed
                | EventType::DeliveryDecided
                | EventType::SubscriptionHealth
                | EventType::GateAlert
        )
    }

    pub fn from_name(name: &str) -> Option<EventType> {
        EventType::ALL.into_iter().find(|event| event.name() == name)
    }
}

/// One entry of the event log.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Gap-free position in the log, from 1.
    pub id: u64,
    pub at: Instant,
    pub kind: EventType,
    pub dataset: Option<String>,
    pub task: Option<i64>,
    /// Details by event type; counts and areas, never row values.
    pub data: serde_json::Value,
}
