//! Reads rows of one source without writing any: for comparing. Calls pass the gates and count against the quota.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::RecordBatch;
use futures::{StreamExt, TryStreamExt};

use super::Engine;
use super::progress::Watcher;
use super::rounds::Rounds;
use super::stop::Stop;
use crate::model::{Change, Error, Result, Slice, task::Request};

impl Engine {
    /// Every row of `request` as `source` has it now, columns that are not proven equal included. `Invalid` when the plan
    /// takes more than `calls_max` calls.
    pub async fn read(
        &self,
        dataset: &str,
        request: &Request,
        source: &str,
        calls_max: u64,
        stop: &Stop,
    ) -> Result<RecordBatch> {
        let dataset = self.catalog.get(dataset)?.clone();
        let candidate = self.offers(&dataset, Some(source))?.swap_remove(0);
        // Nothing that is claimed counts: everything is read again.
        let rounds = Rounds::new(self.clock.now().plus_seconds(1), true);
        let planned = self.plan_with(&dataset, request, &candidate, &rounds).await?;
        if planned.plan.calls > calls_max {
            let message = format!("{source} would take {} calls, more than {calls_max}", planned.plan.calls);
            return Err(Error::invalid(message)
                .hint("compare fewer days or securities (--from, --to, --codes), or raise --limit"));
        }
        let (watcher, _) = Watcher::new(&dataset.name, 0);
        let asker = self.asker(&dataset.name, &planned, candidate, false, stop, &watcher).await?;
        let asker = Arc::new(asker);
        let read = |slice: Slice| {
            let asker = asker.clone();
            async move {
                let pages = asker.all_pages(&slice, &mut Default::default()).await.map_err(|gave_up| gave_up.error)?;
                Ok::<_, Error>(pages.batches)
            }
        };
        let most = asker.offer.concurrency.map_or(usize::MAX, |most| most.max(1) as usize);
        let reading = futures::stream::iter(planned.plan.slices).map(read).buffered(self.options.concurrency.min(most));
        let batches: Result<Vec<Vec<RecordBatch>>> = reading.try_collect().await;
        self.places.settle().await?;
        let calls = asker.calls_unrecorded.swap(0, Ordering::Relaxed);
        if calls > 0 {
            let (source, api) = (source.to_string(), asker.offer.api.clone());
            let used = Change::QuotaUsed { source, api, day: self.clock.now().day(), calls };
            self.commit(None, vec![used]).await?;
        }
        let batches: Vec<RecordBatch> = batches?.into_iter().flatten().collect();
        arrow_select::concat::concat_batches(&dataset.schema(), &batches)
            .map_err(|error| Error::bug(format!("joining the rows of {source} failed")).caused_by(error))
    }
}
