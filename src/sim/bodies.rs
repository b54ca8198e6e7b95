//! Bodies that no client should swallow: endless, huge, compressed to nothing, in another encoding. They are made while
//! they are sent, so the simulation itself stays small.

use std::io::Write;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt, stream};

use super::faults::Fault;

const PIECE_BYTES: usize = 1 << 20;

/// The answer of a fault whose body is its point; `None` for every other fault.
pub fn monstrous(fault: &Fault) -> Option<Response> {
    Some(match fault {
        // "股票代码" in GBK.
        Fault::Gbk => answer(Body::from(&b"[{\"\xb9\xc9\xc6\xb1\xb4\xfa\xc2\xeb\":\"000001\"}]"[..])),
        Fault::EndlessBody => answer(Body::from_stream(opening().chain(stream::repeat_with(|| Ok(piece()))))),
        Fault::HugeBody { mb } => {
            let pieces = stream::iter(0..*mb).map(|_| Ok(piece()));
            let mut response = answer(Body::from_stream(opening().chain(pieces).chain(closing())));
            let length = HeaderValue::from(mb * PIECE_BYTES as u64 + 2);
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
            response
        }
        Fault::GzipBomb { mb } => {
            let mut response = answer(Body::from(compressed(*mb)));
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        }
        _ => return None,
    })
}

fn answer(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

type Piece = Result<Bytes, std::io::Error>;

fn opening() -> impl futures::Stream<Item = Piece> + Send {
    stream::iter([Ok(Bytes::from_static(b"["))])
}

fn closing() -> impl futures::Stream<Item = Piece> + Send {
    stream::iter([Ok(Bytes::from_static(b"]"))])
}

fn piece() -> Bytes {
    Bytes::from(vec![b' '; PIECE_BYTES])
}

/// `[`, white space and `]`, compressed.
fn compressed(mb: u64) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let spaces = piece();
    let mut write = || -> std::io::Result<()> {
        encoder.write_all(b"[")?;
        for _ in 0..mb {
            encoder.write_all(&spaces)?;
        }
        encoder.write_all(b"]")
    };
    // Writing into memory cannot fail.
    let _ = write();
    encoder.finish().unwrap_or_default()
}
