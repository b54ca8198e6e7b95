//! Streams of rows to and from the server, in the binary copy format.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};

use super::connection::Session;
use super::decode::Rows;
use super::encode::{HEADER, TRAILER};
use super::fault::Step;
use crate::model::Result;

/// Bytes that are sent together.
const CHUNK_BYTES: usize = 1 << 18;

/// Sends rows, each encoded from the number of its fields on, into `target` (a table with its columns).
pub(super) async fn copy_in<'a>(session: &Session, target: &str, rows: impl Iterator<Item = &'a [u8]>) -> Step<u64> {
    let sink = session.client()?.copy_in(&format!("copy {target} from stdin (format binary)")).await?;
    let mut sink = std::pin::pin!(sink);
    let mut chunk = Vec::with_capacity(CHUNK_BYTES + 4_096);
    chunk.extend_from_slice(HEADER);
    for row in rows {
        chunk.extend_from_slice(row);
        if chunk.len() >= CHUNK_BYTES {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_BYTES + 4_096));
            sink.send(Bytes::from(full)).await?;
        }
    }
    chunk.extend_from_slice(TRAILER);
    sink.send(Bytes::from(chunk)).await?;
    Ok(sink.finish().await?)
}

/// Hands every row of a question to `row`.
pub(super) async fn copy_out(session: &Session, question: &str, mut row: impl FnMut(&[u8]) -> Result<()>) -> Step<()> {
    let stream = session.client()?.copy_out(&format!("copy ({question}) to stdout (format binary)")).await?;
    let mut stream = std::pin::pin!(stream);
    let mut rows = Rows::default();
    while let Some(chunk) = stream.next().await {
        rows.feed(&chunk?, &mut row)?;
    }
    Ok(())
}
