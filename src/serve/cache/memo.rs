//! One value that is made from the store and kept until an event can have changed it.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::fresh::{Fresh, MadeFrom};
use crate::model::Result;

/// The value with the last event that can have changed it. While one caller makes it, the others wait.
pub struct Memo<T>(Mutex<Option<(u64, Arc<T>)>>);

impl<T> Default for Memo<T> {
    fn default() -> Memo<T> {
        Memo(Mutex::new(None))
    }
}

impl<T> Memo<T> {
    /// The kept value if it is fresh, else what `make` makes of the store as it stands.
    pub async fn get<F>(&self, fresh: &Fresh, from: &MadeFrom, make: impl FnOnce() -> F) -> Result<Arc<T>>
    where
        F: Future<Output = Result<T>>,
    {
        let mut kept = self.0.lock().await;
        let seen = fresh.seen(from).await?;
        if let Some((_, value)) = kept.as_ref().filter(|(event, _)| *event == seen) {
            return Ok(value.clone());
        }
        let value = Arc::new(make().await?);
        // What was committed meanwhile may be in the value or not: then it serves this caller alone.
        *kept = (fresh.settled(from).await?.0 == seen).then(|| (seen, value.clone()));
        Ok(value)
    }
}
