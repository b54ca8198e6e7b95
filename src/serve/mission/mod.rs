//! The routes that older programs know: `/api/sync`, `/api/multi-period-sync`, `/api/v1/sync-status` and `/api/scheduler`.

mod asking;
mod days;
mod periods;
mod progress;
mod scheduler;
mod sources;
mod sync;

use utoipa_axum::router::OpenApiRouter;

use super::Service;
use crate::model::Error;

pub fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new()
        .merge(sync::routes())
        .merge(sources::routes())
        .merge(periods::routes())
        .merge(days::routes())
        .merge(scheduler::routes())
}

/// A page of a numbered list.
#[derive(Clone, Copy, Debug)]
struct Page {
    number: usize,
    size: usize,
}

impl Page {
    /// `usual` entries unless the request says otherwise; what lies beyond the service's limit is refused.
    fn of(number: Option<usize>, size: Option<usize>, usual: usize, service: &Service) -> Result<Page, Error> {
        let most = service.options.page_rows_max;
        let page = Page { number: number.unwrap_or(1), size: size.unwrap_or(usual.min(most)) };
        if page.number == 0 || page.size == 0 {
            return Err(Error::invalid("pages and their sizes begin with 1"));
        }
        match page.number.checked_mul(page.size) {
            Some(end) if end <= most => Ok(page),
            _ => Err(Error::invalid(format!("page {} of {} entries is too far", page.number, page.size))
                .hint(format!("at most {most} entries can be reached (serve.page_rows_max); ask for less"))),
        }
    }

    /// Entries before this page.
    fn skip(self) -> usize {
        (self.number - 1) * self.size
    }

    /// Entries up to the end of this page, and one more to know whether there is another page.
    fn end(self) -> usize {
        self.number * self.size + 1
    }

    /// This page of `all`, and whether more follow.
    fn cut<T>(self, all: Vec<T>) -> (Vec<T>, bool) {
        let has_more = all.len() > self.number * self.size;
        (all.into_iter().skip(self.skip()).take(self.size).collect(), has_more)
    }
}
