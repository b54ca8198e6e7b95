//! The book of attempts: what was tried is written down in groups, and whoever tried it goes on when it is durable.

use tokio::sync::{mpsc, oneshot};

use super::term::Term;
use crate::model::{Attempted, Change, Error, ErrorKind, Result};

/// Attempts that may wait to be written.
const QUEUE: usize = 4_096;

/// What is written together.
struct Page {
    attempted: Vec<Attempted>,
    /// What belongs to them: events.
    changes: Vec<Change>,
    written: oneshot::Sender<Result<()>>,
}

/// Writes attempts down. Clones share the writer, which ends with the last of them.
#[derive(Clone)]
pub struct Book(mpsc::Sender<Page>);

impl Book {
    /// The book and its writer, which runs until the last clone of the book is gone.
    pub fn open(term: Term, attempts_max: usize) -> (Book, impl Future<Output = ()> + Send) {
        let (sender, pages) = mpsc::channel(QUEUE);
        (Book(sender), write(term, attempts_max.max(1), pages))
    }

    /// Durable when it returns.
    pub async fn write(&self, attempted: Vec<Attempted>, changes: Vec<Change>) -> Result<()> {
        let (written, answer) = oneshot::channel();
        let ended = || Error::new(ErrorKind::Interrupted, "the book of attempts is closed");
        self.0.send(Page { attempted, changes, written }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

async fn write(term: Term, attempts_max: usize, mut pages: mpsc::Receiver<Page>) {
    while let Some(first) = pages.recv().await {
        let mut group = vec![first];
        let mut attempts = group[0].attempted.len();
        while attempts < attempts_max {
            let Ok(next) = pages.try_recv() else { break };
            attempts += next.attempted.len();
            group.push(next);
        }
        let attempted = group.iter().flat_map(|page| page.attempted.iter().cloned()).collect();
        let others = group.iter().flat_map(|page| page.changes.iter().cloned());
        let changes = std::iter::once(Change::Attempted(attempted)).chain(others).collect();
        let committed = term.commit(changes).await;
        if let Err(error) = &committed {
            tracing::error!(%error, attempts, "attempts could not be written down; they are made again");
        }
        for page in group {
            let told = match &committed {
                Ok(_) => Ok(()),
                Err(error) => Err(Error::new(error.kind(), error.message())),
            };
            // Nobody waits any more when the term ends.
            drop(page.written.send(told));
        }
    }
}
