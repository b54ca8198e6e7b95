//! CloudEvents in tables: what is read, what is refused with its field, and that what is written is read back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::{Content, Event, EventType, Instant};

fn headers<'a>(list: &[(&'a str, &'a str)]) -> Vec<Header<'a>> {
    list.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
}

const BARE: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/erp"), ("ce-type", "contract.confirmed")];

fn binary_read(more: &[(&str, &str)], body: &[u8]) -> Result<Message> {
    let list: Vec<(&str, &str)> = BARE
        .iter()
        .copied()
        .filter(|(name, _)| !more.iter().any(|(other, _)| other == name))
        .chain(more.iter().copied().filter(|(_, value)| *value != "-"))
        .collect();
    match read(&headers(&list), body, &Limits::default())? {
        Read::One(message) => Ok(*message),
        Read::Batch(_) => panic!("one event"),
    }
}

fn structured_read(body: &str) -> Result<Message> {
    let kind = [("content-type", "application/cloudevents+json; charset=utf-8")];
    match read(&headers(&kind), body.as_bytes(), &Limits::default())? {
        Read::One(message) => Ok(*message),
        Read::Batch(_) => panic!("one event"),
    }
}

#[test]
fn the_mode_follows_from_the_headers() {
    for (list, expected) in [
        (vec![("content-type", "application/cloudevents+json")], Some(Mode::Structured)),
        (vec![("content-type", "Application/CloudEvents+JSON; charset=utf-8")], Some(Mode::Structured)),
        (vec![("content-type", "application/cloudevents+json"), ("ce-specversion", "1.0")], Some(Mode::Structured)),
        (vec![("content-type", "application/cloudevents-batch+json")], Some(Mode::Batch)),
        (vec![("content-type", "application/cloudevents-batch+json; charset=UTF-8")], Some(Mode::Batch)),
        (vec![("content-type", "application/json"), ("ce-specversion", "1.0")], Some(Mode::Binary)),
        (vec![("ce-specversion", "1.0")], Some(Mode::Binary)),
        (vec![("content-type", "application/json")], None),
        (vec![("content-type", "application/json"), ("ce-id", "1")], None),
        (vec![], None),
    ] {
        assert_eq!(mode(&headers(&list)), expected, "{list:?}");
    }
}

#[test]
fn header_values_are_percent_coded() {
    for (text, header) in [
        ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("合同 \"A\" 100%", "%E5%90%88%E5%90%8C%20%22A%22%20100%25"),
        ("plain/~{}|\\^'", "plain/~{}|\\^'"),
        ("\u{7f}", "%7F"),
    ] {
        assert_eq!(encoded(text), header);
        assert_eq!(decoded(header.as_bytes()).as_deref(), Some(text));
    }
    for (value, expected) in [
        (&b"%e2%82%ac"[..], Some("€")),
        (b"\"quoted \\\"text\\\" \\\\ here\"", Some("quoted \"text\" \\ here")),
        (b"\"Euro%20%E2%82%AC\"", Some("Euro €")),
        ("raw €".as_bytes(), Some("raw €")),
        (b"  trimmed ", Some("trimmed")),
        (b"100%", Some("100%")),
        (b"%zz%4", Some("%zz%4")),
        (b"%2541", Some("%41")),
        (b"%C0%A0", None),
        (b"%ff", None),
        (b"\xff", None),
        (b"\"open", None),
        (b"\"", None),
        (b"", Some("")),
    ] {
        assert_eq!(decoded(value).as_deref(), expected, "{}", String::from_utf8_lossy(value));
    }
}

#[test]
fn binary_events_are_read_with_their_exact_content() {
    let body = b" {\"amount\": 1250.00, \"n\": 12345678901234567890.10} ";
    let more = [
        ("content-type", "application/json"),
        ("ce-subject", "contract/%E5%90%88"),
        ("ce-time", "2026-01-02T03:04:05Z"),
        ("ce-partitionkey", "HT-1"),
        ("ce-dataschema", "https://example.com/schema#v1"),
        ("ce-traceparent", "00-ab"),
        ("x-other", "1"),
    ];
    let message = binary_read(&more, body).unwrap();
    let expected = Message {
        event: 0,
        at: Instant(0),
        id: "1".into(),
        source: "/erp".into(),
        kind: "contract.confirmed".into(),
        time: Some("2026-01-02T03:04:05Z".into()),
        subject: Some("contract/合".into()),
        key: Some("HT-1".into()),
        schema: Some("https://example.com/schema#v1".into()),
        content_type: Some("application/json".into()),
        extensions: [("traceparent".to_string(), "00-ab".to_string())].into(),
        content: Content::Json("{\"amount\": 1250.00, \"n\": 12345678901234567890.10}".into()),
    };
    assert_eq!(message, expected);
    assert_eq!(binary_read(&[("content-type", "text/plain")], b"{").unwrap().content, Content::Bytes(b"{".to_vec()));
    assert_eq!(binary_read(&[], b"\xff").unwrap().content, Content::Bytes(vec![0xff]));
    let empty = binary_read(&[("content-type", "application/json")], b"").unwrap();
    assert_eq!((empty.content, empty.content_type.as_deref()), (Content::None, Some("application/json")));
    let vendor = binary_read(&[("content-type", "application/vnd.erp+json; charset=utf-8")], b"[1]").unwrap();
    assert_eq!(vendor.content, Content::Json("[1]".into()));
}

#[test]
fn binary_events_are_refused_by_the_attribute_that_is_wrong() {
    let long = "x".repeat(1_025);
    for (name, value, body, field) in [
        ("ce-id", "-", "", "id"),
        ("ce-id", "", "", "id"),
        ("ce-source", "-", "", "source"),
        ("ce-source", "a b", "", "source"),
        ("ce-source", "%E5%90%88", "", "source"),
        ("ce-source", "1x:y", "", "source"),
        ("ce-type", "-", "", "type"),
        ("ce-type", "", "", "type"),
        ("ce-type", long.as_str(), "", "type"),
        ("ce-specversion", "0.3", "", "specversion"),
        ("ce-specversion", "1.0.2", "", "specversion"),
        ("ce-time", "2026-01-02", "", "time"),
        ("ce-time", "2026-01-02 03:04:05Z", "", "time"),
        ("ce-time", "2026-02-30T03:04:05Z", "", "time"),
        ("ce-time", "2026-01-02T03:04:05", "", "time"),
        ("ce-time", "2026-01-02T03:04:05.Z", "", "time"),
        ("ce-time", "20260102T030405Z", "", "time"),
        ("ce-dataschema", "/relative", "", "dataschema"),
        ("ce-subject", "", "", "subject"),
        ("ce-subject", "%00", "", "subject"),
        ("ce-subject", "%ff", "", "subject"),
        ("ce-my_name", "1", "", "my_name"),
        ("ce-", "1", "", ""),
        ("ce-data", "1", "", "data"),
        ("ce-datacontenttype", "text/plain", "", "datacontenttype"),
        ("content-type", "nonsense", "x", "datacontenttype"),
        ("content-type", "application/json", "{", "data"),
        ("content-type", "application/json", "1 2", "data"),
        ("content-type", "application/json", "NaN", "data"),
    ] {
        let error = binary_read(&[(name, value)], body.as_bytes()).unwrap_err();
        assert_eq!(error.field(), Some(field), "{name}: {value}: {error}");
        assert!(field.is_empty() || error.message().contains(field), "{error}");
    }
    let twice = [&BARE[..], &[("ce-subject", "a"), ("ce-subject", "b")]].concat();
    assert_eq!(read(&headers(&twice), b"", &Limits::default()).unwrap_err().field(), Some("subject"));
    assert_eq!(read(&[], b"{}", &Limits::default()).unwrap_err().field(), Some("specversion"));
    for good in ["2026-01-02T03:04:05Z", "2026-01-02t03:04:05.123456789z", "2026-01-02T03:04:05.5+08:00"] {
        assert_eq!(binary_read(&[("ce-time", good)], b"").unwrap().time.as_deref(), Some(good));
    }
    for good in ["/", "erp", "urn:a:b", "https://x.example/y?z#f", "//host/p", "a/b:c", "%2541", "#f"] {
        assert!(binary_read(&[("ce-source", good)], b"").is_ok(), "{good}");
    }
}

#[test]
fn structured_events_are_read_with_their_exact_content() {
    let start = r#"{"specversion":"1.0","id":"1","source":"/erp","type":"t""#;
    let content = |rest: &str| structured_read(&format!("{start}{rest}}}")).map(|it| (it.content, it.content_type));
    let json = |text: &str, kind: Option<&str>| (Content::Json(text.into()), kind.map(str::to_string));
    let plain = Some("application/json");
    for (rest, expected) in [
        ("", (Content::None, None)),
        (r#","data":{"a": 1.10,  "b":1e400}"#, json(r#"{"a": 1.10,  "b":1e400}"#, plain)),
        (r#","data":"text""#, json("\"text\"", plain)),
        (r#","data":null"#, json("null", plain)),
        (r#","datacontenttype":"application/x+json","data":7"#, json("7", Some("application/x+json"))),
        (
            r#","datacontenttype":"text/plain","data":"x€""#,
            (Content::Bytes("x€".into()), Some("text/plain".to_string())),
        ),
        (r#","data_base64":"AP8=""#, (Content::Bytes(vec![0, 255]), None)),
        (r#","data_base64":"AP8""#, (Content::Bytes(vec![0, 255]), None)),
        (r#","datacontenttype":"application/json","data_base64":"eyJhIjoxLjB9""#, json(r#"{"a":1.0}"#, plain)),
        (r#","data_base64":null,"data":1"#, json("1", plain)),
    ] {
        assert_eq!(content(rest).unwrap(), expected, "{rest}");
    }
    let message = structured_read(&format!(r#"{start},"n":-7,"yes":true,"none":null,"traceparent":"x"}}"#)).unwrap();
    let extensions: Vec<(&str, &str)> = message.extensions.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(extensions, [("n", "-7"), ("traceparent", "x"), ("yes", "true")]);
}

#[test]
fn structured_events_are_refused_by_the_attribute_that_is_wrong() {
    let start = r#"{"specversion":"1.0","id":"1","source":"/erp","type":"t""#;
    let deep = format!(r#","data":{}{}"#, "[".repeat(101), "]".repeat(101));
    for (rest, field) in [
        (r#","voucher_no":"x""#, "voucher_no"),
        (r#","Name":"x""#, "Name"),
        (r#","n":1.5"#, "n"),
        (r#","n":2147483648"#, "n"),
        (r#","n":{}"#, "n"),
        (r#","n":[]"#, "n"),
        (r#","subject":1"#, "subject"),
        (r#","time":"soon""#, "time"),
        (r#","id":"2""#, "id"),
        (r#","data":1,"data_base64":"AA==""#, "data_base64"),
        (r#","data_base64":"%%""#, "data_base64"),
        (r#","data_base64":7"#, "data_base64"),
        (r#","datacontenttype":"application/json","data_base64":"AP8=""#, "data_base64"),
        (r#","datacontenttype":"text/xml","data":{}"#, "data"),
        (r#","datacontenttype":"x","data":"y""#, "datacontenttype"),
        (deep.as_str(), "data"),
    ] {
        let error = structured_read(&format!("{start}{rest}}}")).unwrap_err();
        assert_eq!(error.field(), Some(field), "{rest}: {error}");
    }
    for (body, field) in [
        ("", "body"),
        ("[]", "event"),
        ("{", "body"),
        (r#"{"id":"1","source":"/","type":"t"}"#, "specversion"),
        (r#"{"specversion":1.0,"id":"1","source":"/","type":"t"}"#, "specversion"),
        (r#"{"specversion":"1.0","source":"/","type":"t"}"#, "id"),
        (r#"{"specversion":"1.0","id":7,"source":"/","type":"t"}"#, "id"),
    ] {
        assert_eq!(structured_read(body).unwrap_err().field(), Some(field), "{body}");
    }
    for kind in ["application/cloudevents+avro", "application/cloudevents", "application/cloudevents+json; charset=gbk"]
    {
        let error = read(&headers(&[("content-type", kind)]), b"{}", &Limits::default()).unwrap_err();
        assert_eq!(error.field(), Some("content-type"), "{kind}");
    }
}

#[test]
fn headers_beside_a_structured_event_must_agree_with_it() {
    let body = r#"{"specversion":"1.0","id":"1","source":"/erp","type":"t","subject":"a b"}"#;
    let kind = ("content-type", "application/cloudevents+json");
    for (name, value, agrees) in [
        ("ce-subject", "a%20b", true),
        ("ce-specversion", "1.0", true),
        ("ce-subject", "a", false),
        ("ce-specversion", "0.3", false),
        ("ce-partitionkey", "k", false),
    ] {
        let found = read(&headers(&[kind, (name, value)]), body.as_bytes(), &Limits::default());
        match agrees {
            true => assert!(found.is_ok(), "{name}"),
            false => assert_eq!(found.unwrap_err().field(), name.strip_prefix("ce-"), "{name}: {value}"),
        }
    }
}

#[test]
fn the_events_of_a_batch_are_read_each_for_itself() {
    let good = r#"{"specversion":"1.0","id":"1","source":"/erp","type":"t","data":1.10}"#;
    let body = format!(r#"[{good}, {{"specversion":"1.0"}}, 7, {good}]"#);
    let kind = headers(&[("content-type", "application/cloudevents-batch+json")]);
    let limits = Limits { batch_max: 4, ..Limits::default() };
    let Read::Batch(events) = read(&kind, body.as_bytes(), &limits).unwrap() else { panic!("a batch") };
    let fields: Vec<Option<&str>> =
        events.iter().map(|event| event.as_ref().err().and_then(|error| error.field())).collect();
    assert_eq!(fields, [None, Some("id"), Some("event"), None]);
    assert_eq!(events[0].as_ref().unwrap().content, Content::Json("1.10".into()));
    let Read::Batch(none) = read(&kind, b"[]", &limits).unwrap() else { panic!("a batch") };
    assert!(none.is_empty());
    for body in [format!("[{good},{good},{good},{good},{good}]"), good.to_string(), "[".to_string()] {
        assert!(read(&kind, body.as_bytes(), &limits).is_err(), "{body}");
    }
}

#[test]
fn own_events_are_cloud_events() {
    let event = Event {
        id: 7,
        at: Instant::parse("2026-01-02T03:04:05Z").unwrap(),
        kind: EventType::SourceSetAside,
        dataset: Some("daily".into()),
        task: Some(3),
        data: serde_json::json!({ "source": "tushare" }),
    };
    let message = own(&event, "ab12");
    check(&message, &Limits::default()).unwrap();
    assert_eq!(
        (message.id.as_str(), message.source.as_str(), message.kind.as_str()),
        ("ab12-7", "/tidegate", "source.down")
    );
    assert_eq!(
        structured(&message),
        r#"{"specversion":"1.0","id":"ab12-7","source":"/tidegate","type":"source.down","time":"2026-01-02T11:04:05+08:00","subject":"daily","partitionkey":"daily","task":"3","datacontenttype":"application/json","data":{"source":"tushare"}}"#
    );
}

fn any_message() -> impl Strategy<Value = Message> {
    let text = "[^\\p{C}]{1,12}";
    let content = prop_oneof![
        Just((Content::None, None)),
        ("-?[1-9][0-9]{0,30}\\.[0-9]{1,9}", Just("application/json"))
            .prop_map(|(text, kind)| { (Content::Json(format!("{{\"n\": {text}}}")), Some(kind.to_string())) }),
        (prop::collection::vec(any::<u8>(), 1..20), Just("application/octet-stream"))
            .prop_map(|(bytes, kind)| (Content::Bytes(bytes), Some(kind.to_string()))),
    ];
    let named = (text, "[a-z/]{1,9}", text);
    let optional = (prop::option::of(text), prop::option::of(text));
    let extensions = prop::collection::btree_map("x[a-z0-9]{1,9}", text, 0..3);
    (named, optional, extensions, content).prop_map(|((id, source, kind), (subject, key), extensions, content)| {
        Message {
            event: 0,
            at: Instant(0),
            id,
            source,
            kind,
            time: Some("2026-01-02T03:04:05Z".into()),
            subject,
            key,
            schema: None,
            content_type: content.1,
            extensions: extensions.into_iter().collect::<BTreeMap<_, _>>(),
            content: content.0,
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_in_each_mode_is_read_back(message in any_message()) {
        let limits = Limits::default();
        prop_assert!(check(&message, &limits).is_ok(), "{:?}", check(&message, &limits));
        let rendered = binary(&message);
        let kind = rendered.content_type.clone().unwrap_or_default();
        let mut list: Vec<Header> = rendered.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        list.push(("content-type", kind.as_bytes()));
        let Read::One(back) = read(&list, &rendered.body, &limits).unwrap() else { panic!("one event") };
        prop_assert_eq!(&*back, &message);

        let Read::One(back) = read(&headers(&[("content-type", STRUCTURED)]), structured(&message).as_bytes(), &limits).unwrap() else { panic!("one event") };
        prop_assert_eq!(&*back, &message);

        let both = batch([&message, &message]);
        let Read::Batch(back) = read(&headers(&[("content-type", BATCH)]), both.as_bytes(), &limits).unwrap() else { panic!("a batch") };
        for event in back {
            prop_assert_eq!(event.unwrap(), message.clone());
        }
    }
}
