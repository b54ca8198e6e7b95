//! `/metrics` as Prometheus reads it: every line well formed, every family whole, and the figures those of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant as Moment};

use crate::serving::Serving;
use crate::world::{Wanted, World};

type Labels = BTreeMap<String, String>;

/// One line of numbers.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: Labels,
    value: f64,
}

/// Everything of one name.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    samples: Vec<Sample>,
}

fn is_name(text: &str, colon: bool) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || (colon && byte == b':');
    text.bytes().all(fits) && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// A label's value up to its closing quote, and what follows.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => match letters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                other => panic!("{other:?} is escaped in {text}"),
            },
            '\n' => panic!("a line ends within a value"),
            letter => value.push(letter),
        }
    }
    panic!("a value does not end: {text}")
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name, true), "{line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(label, false) && !label.starts_with("__"), "{line}");
            let (value, after) = quoted(after);
            assert!(labels.insert(label.to_string(), value).is_none(), "{line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        value => value.parse().unwrap_or_else(|_| panic!("{line}")),
    };
    Sample { name: name.to_string(), labels, value }
}

/// Reads strictly: names, order, escapes, what a histogram must be.
fn read(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line ends, too");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut seen = BTreeSet::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            current = help.split(' ').next().unwrap().to_string();
            assert!(is_name(&current, true) && !families.contains_key(&current), "twice: {line}");
            let kind =
                lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {current} "))).expect("its type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
            families.insert(current.clone(), Family { kind: kind.to_string(), samples: Vec::new() });
            continue;
        }
        let sample = sample(line);
        let family = families.get_mut(&current).unwrap_or_else(|| panic!("before any family: {line}"));
        let suffixes: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        let own = suffixes.iter().any(|suffix| sample.name == format!("{current}{suffix}"));
        assert!(own, "{line} is not of {current}");
        assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "twice: {line}");
        family.samples.push(sample);
    }
    for (name, family) in &families {
        assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name}");
        if family.kind == "histogram" {
            check_histogram(name, family);
        }
    }
    families
}

fn check_histogram(name: &str, family: &Family) {
    let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in family.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
        let mut labels = sample.labels.clone();
        let bound = match labels.remove("le").expect("a bound").as_str() {
            "+Inf" => f64::INFINITY,
            bound => bound.parse().unwrap(),
        };
        buckets.entry(labels).or_default().push((bound, sample.value));
    }
    assert!(!buckets.is_empty(), "{name}");
    for (labels, buckets) in buckets {
        assert!(buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{name} {labels:?}: {buckets:?}");
        let last = buckets.last().unwrap();
        let of = |suffix: &str| {
            let found = family.samples.iter().find(|sample| sample.name.ends_with(suffix) && sample.labels == labels);
            found.unwrap_or_else(|| panic!("{name} has no {suffix}")).value
        };
        assert_eq!((last.0, last.1), (f64::INFINITY, of("_count")), "{name} {labels:?}");
        assert!(of("_sum") >= 0.0);
    }
}

/// The sum of the samples that have these labels.
fn sum(families: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let family = families.get(name).unwrap_or_else(|| panic!("there is no {name}"));
    let has = |sample: &&Sample| {
        labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|found| found == value))
    };
    family.samples.iter().filter(has).map(|sample| sample.value).sum()
}

#[test]
fn figures_are_well_formed_and_those_of_the_store() {
    let world = World::new(Wanted { securities: 10, last: "2024-01-12", ..Wanted::default() });
    world.create_store();
    let serving = Serving::start(&world, &["--role", "api", "--set", "serve.poll_ms=20"]);
    for path in ["/healthz", "/api/v1/tasks/999", "/api/v1/tasks/998", "/nothing/here/1", "/nothing/here/2"] {
        serving.get(path);
    }
    let before = read(std::str::from_utf8(&serving.get("/metrics").bytes).unwrap());
    world.run(&["sync", "daily", "--from", "2024-01-02", "--to", "2024-01-12", "--quiet"], 0);
    let (last, rows) = (world.events().last().unwrap().id, world.coverage("daily").rows_by_day);
    let rows: u64 = rows.iter().map(|(_, rows)| rows).sum();
    let started = Moment::now();
    let figures = loop {
        let answer = serving.get("/metrics");
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        let figures = read(std::str::from_utf8(&answer.bytes).unwrap());
        if sum(&figures, "tidegate_store_events_total", &[]) == last as f64
            && sum(&figures, "tidegate_dataset_rows", &[("dataset", "daily")]) == rows as f64
        {
            break figures;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the figures do not become those of the store");
        std::thread::sleep(Duration::from_millis(100));
    };
    let of = |name, labels: &[(&str, &str)]| sum(&figures, name, labels);
    assert!(rows > 0 && of("tidegate_store_up", &[]) == 1.0);
    let inserted = [("dataset", "daily"), ("source", "tushare"), ("change", "inserted")];
    assert_eq!(of("tidegate_rows_total", &inserted), rows as f64);
    let committed = world.events().iter().filter(|event| event.kind.name() == "slice.committed").count();
    assert_eq!(of("tidegate_slices_total", &[("result", "committed")]), committed as f64);
    assert_eq!(of("tidegate_events_total", &[("kind", "slice.committed")]), committed as f64);
    let calls = [("source", "tushare"), ("result", "answered")];
    assert!(of("tidegate_source_calls_total", &calls) > sum(&before, "tidegate_source_calls_total", &calls));
    assert_eq!(of("tidegate_failures_open", &[]), 0.0);
    assert_eq!(of("tidegate_source_open", &[("source", "tushare")]), 1.0);
    assert_eq!(of("tidegate_queue", &[]), 0.0);
    // Routes, not paths: what is asked for has no bound.
    let count = |route| of("tidegate_http_request_seconds", &[("route", route), ("le", "+Inf")]);
    assert_eq!((count("/api/v1/tasks/{id}"), count("/healthz"), count("(none)")), (2.0, 1.0, 2.0));
    for process in
        ["process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"]
    {
        assert!(of(process, &[]) > 0.0, "{process}");
    }
}
