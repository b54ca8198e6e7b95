//! Real bytes of a server against what they mean, and every way to cut or spoil them.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::model::Instant;

const VECTORS: &str = include_str!("../../../tests/golden/pgoutput.json");

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn vectors() -> Vec<Value> {
    let all: Value = serde_json::from_str(VECTORS).unwrap();
    all["pgoutput"].as_array().unwrap().clone()
}

fn vector(name: &str) -> Vec<u8> {
    let all = vectors();
    let found = all.iter().find(|vector| vector["name"] == name).unwrap_or_else(|| panic!("{name}"));
    unhex(found["hex"].as_str().unwrap())
}

fn whole() -> Vec<(String, Vec<u8>)> {
    let all = vectors();
    let hex = all.iter().filter_map(|vector| Some((vector["name"].as_str()?.to_owned(), vector["hex"].as_str()?)));
    hex.map(|(name, hex)| (name, unhex(hex))).collect()
}

fn decode(name: &str) -> Message {
    Decoder::new(Protocol::Four).decode(&vector(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn lsn(text: &str) -> Lsn {
    text.parse().unwrap()
}

fn cells(tuple: &[Cell]) -> Value {
    let cell = |cell: &Cell| match cell {
        Cell::Null => Value::Null,
        Cell::Unchanged => "<unchanged>".into(),
        Cell::Text(text) => text.as_str().into(),
        Cell::Binary(bytes) => format!("{bytes:?}").into(),
    };
    tuple.iter().map(cell).collect()
}

fn voucher() -> Relation {
    match decode("relation") {
        Message::Relation { relation, xid: None } => relation,
        other => panic!("{other:?}"),
    }
}

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

#[test]
fn a_transaction_begins_and_ends_where_the_server_says() {
    let began = at("2026-11-20T12:08:42.634030Z");
    assert_eq!(decode("begin"), Message::Begin { commit: lsn("0/1528938"), at: began, xid: 726 });
    assert_eq!(decode("commit"), Message::Commit { commit: lsn("0/1528938"), end: lsn("0/1528968"), at: began });
    assert_eq!(decode("origin"), Message::Origin { commit: lsn("0/ABCD"), name: "o1".to_owned() });
}

#[test]
fn a_table_is_described_with_key_types_and_precision() {
    let relation = voucher();
    assert_eq!((relation.oid, relation.full_name().as_str()), (16384, "public.voucher"));
    assert_eq!((relation.identity, relation.key().collect::<Vec<_>>()), (Identity::Default, vec![0]));
    let columns: Vec<(&str, Kind)> =
        relation.columns.iter().map(|column| (column.name.as_str(), column.kind())).collect();
    let expected = [
        ("id", Kind::Integer),
        ("contract_no", Kind::Text(None)),
        ("amount", Kind::Decimal(Some((20, 6)))),
        ("note", Kind::Text(None)),
    ];
    assert_eq!(columns, expected);
    let kind = |type_oid, typmod| Column { is_key: false, name: String::new(), type_oid, typmod }.kind();
    assert_eq!(kind(1043, 36), Kind::Text(Some(32)));
    assert_eq!(kind(1043, -1), Kind::Text(None));
    assert_eq!(kind(1700, -1), Kind::Decimal(None));
    assert_eq!(kind(1700, (5 << 16 | 0x7fe) + 4), Kind::Decimal(Some((5, -2))), "numeric(5,-2)");
    assert_eq!(kind(1700, i32::MIN), Kind::Decimal(None));
    let of_enum = Message::Type { xid: None, oid: 16385, namespace: "public".to_owned(), name: "st".to_owned() };
    assert_eq!(decode("type"), of_enum);
}

#[test]
fn changes_carry_the_rows_of_the_vectors() {
    for vector in vectors().iter().filter(|vector| vector["new"].is_array() || vector["old"].is_array()) {
        let name = vector["name"].as_str().unwrap();
        let (old, new) = match decode(name) {
            Message::Insert { new, relation, xid: None } => {
                assert_eq!(relation, 16384);
                (Value::Null, cells(&new))
            }
            Message::Update { old, new, .. } => {
                let old = old.map(|old| match old {
                    Old::Key(row) | Old::Row(row) => cells(&row),
                });
                (old.unwrap_or_default(), cells(&new))
            }
            Message::Delete { old: Old::Row(row), .. } => (cells(&row), Value::Null),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!((&old, &new), (&vector["old"], &vector["new"]), "{name}");
    }
    let truncated = Message::Truncate { xid: None, relations: vec![16384], cascade: false, restart_identity: false };
    assert_eq!(decode("truncate"), truncated);
    let Message::Insert { new, .. } = decode("insert_binary") else { panic!() };
    let binary = |bytes: &[u8]| Cell::Binary(bytes.to_vec());
    assert_eq!(new, [binary(&5000i32.to_be_bytes()), binary(b"b"), binary(b"y")]);
}

#[test]
fn logical_messages_say_whether_their_transaction_counts() {
    let Message::Logical { transactional, prefix, content, .. } = decode("message_tx") else { panic!() };
    assert_eq!((transactional, prefix.as_str(), content.as_slice()), (true, "svc", &b"{\"voucher_id\":\"V1\"}"[..]));
    let Message::Logical { transactional, prefix, content, .. } = decode("message_nontx") else { panic!() };
    assert_eq!((transactional, prefix.as_str(), content.as_slice()), (false, "hb", &b"x"[..]));
}

#[test]
fn streams_and_two_phases_are_read_where_they_were_asked_for() {
    assert_eq!(decode("stream_start"), Message::StreamStart { xid: 726, first: true });
    assert_eq!(decode("stream_stop"), Message::StreamStop);
    assert_eq!(decode("stream_abort"), Message::StreamAbort { xid: 726, subxid: 727, at: None });
    let Message::StreamCommit { xid: 726, commit, end, .. } = decode("stream_commit") else { panic!() };
    assert_eq!((commit, end), (lsn("0/1605B68"), lsn("0/1605B98")));
    let gid = |message| match message {
        Message::BeginPrepare(prepared) | Message::Prepare(prepared) | Message::StreamPrepare(prepared) => prepared.gid,
        Message::CommitPrepared { gid, .. } | Message::RollbackPrepared { gid, .. } => gid,
        other => panic!("{other:?}"),
    };
    for vector in vectors().iter().filter(|vector| vector["gid"].is_string()) {
        assert_eq!(gid(decode(vector["name"].as_str().unwrap())), vector["gid"].as_str().unwrap());
    }
    let mut decoder = Decoder::new(Protocol::Two);
    decoder.decode(&vector("stream_start")).unwrap();
    let mut streamed = unhex("49000002d7000040054e0003");
    streamed.extend(unhex("620000000400001388620000000162620000000179"));
    let Message::Insert { xid, relation, new } = decoder.decode(&streamed).unwrap() else { panic!() };
    assert_eq!((xid, relation, new.len()), (Some(727), 16389, 3));
    decoder.decode(&vector("stream_stop")).unwrap();
    let Message::Insert { xid: None, .. } = decoder.decode(&vector("insert")).unwrap() else { panic!() };
}

#[test]
fn a_tag_of_a_protocol_that_was_not_asked_for_is_a_fault_and_not_skipped() {
    for (name, bytes) in whole() {
        let later = name.starts_with("stream") || name.contains("prepare");
        let read = Decoder::new(Protocol::One).decode(&bytes);
        assert_eq!(read.is_err(), later, "{name}");
    }
    assert!(Decoder::new(Protocol::Two).decode(&vector("prepare")).is_err());
    let unknown = Decoder::new(Protocol::Four).decode(b"Z").unwrap_err();
    assert_eq!(unknown.to_string(), "a replication message (tag) cannot be read: tag 'Z' is none of protocol 4");
}

#[test]
fn what_is_cut_at_any_length_or_too_long_is_an_error() {
    for (name, bytes) in whole() {
        for length in 0..bytes.len() {
            let cut = Decoder::new(Protocol::Four).decode(&bytes[..length]);
            assert!(cut.is_err(), "{name} cut to {length} bytes: {cut:?}");
        }
        let longer = [bytes.as_slice(), b"\0"].concat();
        assert!(Decoder::new(Protocol::Three).decode(&longer).is_err(), "{name} with a byte too many");
    }
}

#[test]
fn frames_are_read_and_confirmations_written() {
    let mut bytes = vec![b'w'];
    bytes.extend([0x152_8938u64.to_be_bytes(), 0x152_8968u64.to_be_bytes(), 0u64.to_be_bytes()].concat());
    bytes.extend(b"payload");
    let epoch = Instant(POSTGRES_EPOCH_MICROS);
    let expected = Frame::Data { start: lsn("0/1528938"), end: lsn("0/1528968"), at: epoch, message: b"payload" };
    assert_eq!(frame(&bytes).unwrap(), expected);
    let mut alive = vec![b'k'];
    alive.extend([(1u64 << 32).to_be_bytes(), 1u64.to_be_bytes()].concat());
    alive.push(1);
    let expected = Frame::Alive { end: lsn("1/0"), at: Instant(POSTGRES_EPOCH_MICROS + 1), wants_reply: true };
    assert_eq!((alive.len(), frame(&alive).unwrap()), (18, expected));
    for length in 0..alive.len() {
        assert!(frame(&alive[..length]).is_err());
    }
    assert!(frame(b"x").is_err());
    let status = Status::stored(lsn("1/2"), Instant(POSTGRES_EPOCH_MICROS + 258)).encode();
    let position = "0000000100000002";
    assert_eq!(status.to_vec(), unhex(&format!("72{}000000000000010200", position.repeat(3))));
}

#[test]
fn positions_are_read_as_they_are_printed() {
    for text in ["0/0", "0/1528938", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
        assert_eq!(lsn(text).to_string(), text);
    }
    for text in ["", "/", "0/", "1", "0/123456789", "g/0", "-1/0", "+1/0", "0/0/0", "0/ 1"] {
        assert!(text.parse::<Lsn>().is_err(), "{text:?}");
    }
}

#[test]
fn rows_become_exact_json_and_what_was_not_sent_is_left_out() {
    let relation = voucher();
    let Message::Insert { new, .. } = decode("insert") else { panic!() };
    let written = row(&relation, &new, false).unwrap();
    assert_eq!(written.json, r#"{"id":1,"contract_no":"HT-001","amount":"12.500000","note":null}"#);
    let Message::Update { new, .. } = decode("update_unchanged_toast") else { panic!() };
    let written = row(&relation, &new, false).unwrap();
    assert_eq!(written.json, r#"{"id":2,"contract_no":"T","amount":"2.000000"}"#);
    assert_eq!(written.unchanged, ["note"]);
    assert_eq!(row(&relation, &new, true).unwrap().json, r#"{"id":2}"#);
    assert!(row(&relation, &vec![Cell::Null], false).is_err());
}

#[test]
fn each_type_has_a_form_in_json() {
    for (type_oid, text, expected) in [
        (16, "t", "true"),
        (16, "f", "false"),
        (20, "9223372036854775807", "9223372036854775807"),
        (23, "-5", "-5"),
        (701, "1.5e-7", "1.5e-7"),
        (701, "NaN", "\"NaN\""),
        (701, "Infinity", "\"Infinity\""),
        (1700, "1.10", "\"1.10\""),
        (3802, "{\"a\": 1.10}", "{\"a\": 1.10}"),
        (114, "{broken", "\"{broken\""),
        (17, "\\x00ff", "\"AP8=\""),
        (25, "合同\n\"1\"", "\"合同\\n\\\"1\\\"\""),
        (1184, "2026-01-02 03:04:05+00", "\"2026-01-02 03:04:05+00\""),
    ] {
        let column = Column { is_key: false, name: "c".to_owned(), type_oid, typmod: -1 };
        let relation = Relation {
            oid: 1,
            namespace: "public".to_owned(),
            name: "t".to_owned(),
            identity: Identity::Default,
            columns: vec![column],
        };
        let written = row(&relation, &vec![Cell::Text(text.to_owned())], false).unwrap();
        assert_eq!(written.json, format!("{{\"c\":{expected}}}"));
        serde_json::from_str::<Value>(&written.json).unwrap();
    }
}

#[test]
fn a_table_that_was_not_described_is_a_fault_and_a_new_description_replaces_the_old() {
    let mut relations = Relations::default();
    assert!(relations.get(16384).is_err());
    relations.learn(voucher());
    let wider = Relation { columns: voucher().columns[..2].to_vec(), ..voucher() };
    relations.learn(wider.clone());
    assert_eq!(relations.get(16384).unwrap(), &wider);
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        tag in proptest::sample::select(b"BCORYIUDTMSEcAbPKrp".to_vec()),
    ) {
        let mut decoder = Decoder::new(Protocol::Four);
        let _ = decoder.decode(&bytes);
        let _ = decoder.decode(&[&[tag][..], &bytes].concat());
        let _ = frame(&bytes);
    }

    #[test]
    fn a_spoilt_message_of_a_server_is_read_or_refused(index in any::<usize>(), at in any::<usize>(), byte in any::<u8>()) {
        let all = whole();
        let mut bytes = all[index % all.len()].1.clone();
        let length = bytes.len();
        bytes[at % length] = byte;
        if let Ok(Message::Insert { new, .. }) = Decoder::new(Protocol::Four).decode(&bytes) {
            let _ = row(&voucher(), &new, false);
        }
    }
}
