//! Answers that AKShare's client must not believe: refused with a named failure, in bounded memory, and the run goes on.

use std::process::Command;
use std::sync::Arc;

use tidegate::model::{Area, ErrorKind, Securities, Span};
use tidegate::sim::{AkshareForm, Fault, Rule};
use tidegate::source::akshare::{AkshareOptions, AkshareSource};
use tidegate::source::{Call, Source};

use crate::akshare::{call, clock, day, fetch_all, market, options, serve};
use crate::world::{Ran, Wanted, World};

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

/// The real program with little memory, while one answer is endless, one is huge, and others are cut, empty, of another
/// security or no JSON: what can be asked again is, what cannot is a failure with its name, and the rest is there.
#[test]
fn a_run_goes_on_over_bad_answers_in_bounded_memory() {
    for form in FORMS {
        let world = World::new(Wanted { securities: 40, ..Wanted::default() });
        world.create_store();
        let dates = ["--from", "2024-01-02", "--to", "2024-02-29", "--quiet"];
        world.run(&[&["sync", "trade_cal", "stock_basic"], &dates[..]].concat(), 0);
        let codes: Vec<String> =
            world.sqlite("select ts_code from stock_basic where list_status = 'L' and list_date < '2023-01-01' order by 1 limit 12")
                .lines()
                .map(str::to_string)
                .collect();
        let symbol = |index: usize| codes[index].split('.').next().unwrap().to_string();
        let faults = [
            Fault::EndlessBody,
            Fault::HugeBody { mb: 1024 },
            Fault::NotJson,
            Fault::Gbk,
            Fault::CutBody { fraction: 0.7 },
            Fault::EmptyAnswer,
            Fault::OtherAnswer,
            Fault::DropConnection,
        ];
        let rules = faults
            .into_iter()
            .enumerate()
            .map(|(index, fault)| Rule::always(fault).of("stock_zh_a_hist").with("symbol", &symbol(index)).at(1..=1));
        let akshare = world.serve_faulty_akshare(form, rules.collect());
        let (url, list) = (akshare.url(), codes.join(","));
        let options = match form {
            AkshareForm::Aktools => vec![format!("sources.akshare.url={url}")],
            AkshareForm::Eastmoney => vec![
                "sources.akshare.via=eastmoney".to_string(),
                format!("sources.akshare.eastmoney_history_url={url}"),
            ],
        };
        let mut command =
            world.tidegate(&[&["sync", "daily", "--source", "akshare", "--codes", &list], &dates[..]].concat());
        for option in options.iter().map(String::as_str).chain(AKSHARE_ALONE) {
            command.args(["--set", option]);
        }
        let ran = Ran::of(with_little_memory(&command).output().unwrap(), 1, &["sync", "daily"]);
        let failures = world.run(&["failures", "--json"], 0).stdout;
        assert_eq!(failures.matches("larger than 1048576 bytes").count(), 2, "{form:?}: {failures}\n{}", ran.stderr);
        let count = |code: &String| world.sqlite(&format!("select count(*) from daily where ts_code = '{code}'"));
        for (index, code) in codes.iter().enumerate() {
            let expected = world.market.truth("daily", &one(code)).unwrap().num_rows();
            let expected = if index < 2 { 0 } else { expected };
            assert_eq!(count(code).trim(), expected.to_string(), "{form:?} {code}");
        }
    }
}

fn one(code: &str) -> Area {
    Area::new(Securities::one(code), Span::new(day("20240102"), day("20240229")))
}

const AKSHARE_ALONE: [&str; 4] = [
    "sources.akshare.enabled=true",
    "sources.akshare.per_minute=0",
    "sources.akshare.body_mb_max=1",
    "sources.tushare.enabled=false",
];

/// The same command where 600 MB of memory are all there is.
fn with_little_memory(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -d 600000 && exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    limited.env_clear().current_dir(command.get_current_dir().unwrap());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited
}
