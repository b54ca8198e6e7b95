//! Answers that AKShare's client must not believe: refused with a named failure, in bounded memory, and the run goes on.

use std::sync::Arc;

use tidegate::model::{Area, ErrorKind, Securities, Span};
use tidegate::sim::{AkshareForm, Fault, Rule};
use tidegate::source::akshare::{AkshareOptions, AkshareSource};
use tidegate::source::{Call, Source};

use crate::akshare::{call, clock, day, fetch_all, market, options, serve};

const FORMS: [AkshareForm; 2] = [AkshareForm::Aktools, AkshareForm::Eastmoney];

fn bars() -> (tidegate::sim::Market, Call) {
    let market = market();
    let daily = market.catalog().get("daily").unwrap().clone();
    let area = Area::new(Securities::one("000001.SZ"), Span::new(day("20240301"), day("20240331")));
    let call = call(&daily, 0, area);
    (market, call)
}

/// The largest answer that these clients read.
const BODY_BYTES_MAX: usize = 2 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_answer_is_refused_by_name_and_the_next_one_is_read() {
    let (market, call) = bars();
    for form in FORMS {
        for (fault, kind, words) in [
            (Fault::NotJson, ErrorKind::Transient, "HTML"),
            (Fault::Gbk, ErrorKind::Transient, "not UTF-8"),
            (Fault::EndlessBody, ErrorKind::Invalid, "larger than 2097152 bytes"),
            (Fault::HugeBody { mb: 1024 }, ErrorKind::Invalid, "larger than 2097152 bytes"),
            (Fault::CutBody { fraction: 0.5 }, ErrorKind::Transient, "broke off"),
            (Fault::DropConnection, ErrorKind::Transient, "broke off"),
            (Fault::LostAnswer, ErrorKind::Transient, "broke off"),
            (Fault::ServerError { status: 500 }, ErrorKind::Transient, "500"),
            (Fault::EmptyAnswer, ErrorKind::Transient, ""),
            (Fault::OtherAnswer, ErrorKind::Transient, "securit"),
            (Fault::TooManyRequests { retry_after_seconds: 7 }, ErrorKind::Throttled { until: None }, "429"),
        ] {
            let name = fault.name();
            let server = serve(&market, form, vec![Rule::always(fault).at(1..=1)]).await;
            let options = AkshareOptions { body_bytes_max: BODY_BYTES_MAX, ..options(&server.url(), form) };
            let source = AkshareSource::new(options, clock()).unwrap();
            let error = source.fetch(&call).await.unwrap_err();
            assert_eq!(error.kind().name(), kind.name(), "{form:?} {name}: {error}");
            assert!(error.message().contains(words), "{form:?} {name}: {error}");
            let read = fetch_all(&source, &call).await.unwrap();
            assert!(read.num_rows() > 15, "{form:?} {name}");
        }
    }
}

/// The pages may be compressed, and what they hold is what counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_bomb_is_refused_by_what_it_holds() {
    let (market, call) = bars();
    let server = serve(&market, AkshareForm::Eastmoney, vec![Rule::always(Fault::GzipBomb { mb: 64 }).at(1..=1)]).await;
    let options = AkshareOptions { body_bytes_max: BODY_BYTES_MAX, ..options(&server.url(), AkshareForm::Eastmoney) };
    let source = AkshareSource::new(options, clock()).unwrap();
    let error = source.fetch(&call).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.message().contains("larger than"), "{error}");
    assert!(source.fetch(&call).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_rows_are_refused() {
    let (market, call) = bars();
    for form in FORMS {
        let server = serve(&market, form, Vec::new()).await;
        let options = AkshareOptions { rows_max: 20, ..options(&server.url(), form) };
        let error = AkshareSource::new(options, clock()).unwrap().fetch(&call).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.message().contains("more than 20 rows"), "{error}");
    }
}

/// Weekly bars that are days, reports of another period: the answer must be of the kind that was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn bars_of_another_period_are_refused() {
    let market = market();
    let server = serve(&market, AkshareForm::Aktools, Vec::new()).await;
    let source = AkshareSource::new(options(&server.url(), AkshareForm::Aktools), clock()).unwrap();
    for name in ["weekly", "monthly"] {
        let mut wrong = tidegate::model::Dataset::clone(market.catalog().get(name).unwrap());
        wrong.akshare[0].always.insert("period".to_string(), "daily".to_string());
        let area = Area::new(Securities::one("000001.SZ"), Span::new(day("20240301"), day("20240331")));
        let error = source.fetch(&call(&Arc::new(wrong), 0, area)).await.unwrap_err();
        let told = error.message().contains("a shorter period");
        assert!(error.kind() == ErrorKind::Transient && told, "{name}: {error}");
    }
}
