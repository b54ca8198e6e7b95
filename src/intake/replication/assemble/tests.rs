//! Streams as a server sends them, against what becomes of them.

use super::*;
use crate::model::Content;

const SYSTEM: &str = "7";

fn wanted() -> Replication {
    let body = serde_json::json!({"prefixes": ["svc"], "tables": ["public.voucher"]});
    serde_json::from_value(body).unwrap()
}

fn assembler(stored: u64) -> Assembler {
    Assembler::new(wanted(), "/settlement", SYSTEM, Lsn(stored), Limits::default())
}

fn golden(name: &str) -> Vec<u8> {
    let text = include_str!("../../../../tests/golden/pgoutput.json");
    let all: serde_json::Value = serde_json::from_str(text).unwrap();
    let all = all["pgoutput"].as_array().unwrap();
    let hex = all.iter().find(|vector| vector["name"] == name).unwrap()["hex"].as_str().unwrap();
    let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn take(assembler: &mut Assembler, names: &[&str]) -> Vec<Taken> {
    names.iter().map(|name| assembler.take(&golden(name), Instant(9)).unwrap()).collect()
}

fn message(taken: &Taken) -> crate::model::Message {
    match taken {
        Taken::Offer(offer) => match offer.as_ref() {
            Offer::Message(message) => message.as_ref().clone(),
            Offer::Refused(refused) => panic!("{refused:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn json(message: &crate::model::Message) -> serde_json::Value {
    match &message.content {
        Content::Json(text) => serde_json::from_str(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_transaction_becomes_messages_with_ids_that_are_the_same_whenever_it_is_sent() {
    let stream = ["begin", "relation", "insert", "update", "commit"];
    let (first, again) = (take(&mut assembler(0), &stream), take(&mut assembler(0), &stream));
    assert_eq!(first, again);
    let (inserted, updated) = (message(&first[2]), message(&first[3]));
    assert_eq!((inserted.id.as_str(), updated.id.as_str()), ("7:0/1528938:1", "7:0/1528938:2"));
    assert_eq!((inserted.kind.as_str(), updated.kind.as_str()), ("public.voucher.inserted", "public.voucher.updated"));
    assert_eq!((inserted.source.as_str(), inserted.key.as_deref()), ("/settlement", Some("public.voucher:1")));
    let new = serde_json::json!({"id": 1, "contract_no": "HT-001", "amount": "12.500000", "note": null});
    assert_eq!(json(&inserted), serde_json::json!({"table": "public.voucher", "new": new}));
    assert_eq!(first[4], Taken::Complete("0/1528968".parse().unwrap()));
}

#[test]
fn a_value_that_was_not_sent_is_named_and_never_null() {
    let taken = take(&mut assembler(0), &["begin", "relation", "update_unchanged_toast"]);
    let data = json(&message(&taken[2]));
    assert_eq!(data["unchanged"], serde_json::json!(["note"]));
    assert!(data["new"].get("note").is_none(), "{data}");
}

#[test]
fn what_is_stored_already_is_passed_over_and_what_is_later_is_not() {
    let stream = ["begin", "relation", "insert", "message_tx", "commit"];
    let is_offer = |taken: &Taken| matches!(taken, Taken::Offer(_));
    for (stored, offered) in [(0, 2), (0x1528938, 2), (0x1528968, 0)] {
        let taken = take(&mut assembler(stored), &stream);
        assert_eq!(taken.iter().filter(|taken| is_offer(taken)).count(), offered, "{stored:x}");
        assert_eq!(taken[4], Taken::Complete(Lsn(0x1528968)));
    }
}

#[test]
fn only_messages_of_committed_transactions_and_chosen_prefixes_count() {
    let taken = take(&mut assembler(0), &["message_nontx", "begin", "message_tx"]);
    assert_eq!(taken[0], Taken::Ignored);
    let plain = message(&taken[2]);
    assert_eq!((plain.kind.as_str(), plain.id.as_str()), ("svc", "7:0/1528938:1"));
    assert_eq!(plain.content, Content::Json("{\"voucher_id\":\"V1\"}".into()));
    let mut others = wanted();
    others.prefixes = vec!["hb".into()];
    others.non_transactional = true;
    let mut assembler = Assembler::new(others, "/s", SYSTEM, Lsn(0), Limits::default());
    let taken = take(&mut assembler, &["message_nontx", "begin", "message_tx"]);
    assert!(matches!(&taken[0], Taken::Offer(offer) if matches!(**offer, Offer::Refused(_))), "x is no JSON");
    assert_eq!(taken[2], Taken::Ignored);
}

#[test]
fn a_whole_event_keeps_its_own_id_and_source() {
    let event = br#"{"specversion":"1.0","id":"V1:2","source":"/erp","type":"contract.confirmed","data":{"a":1.0}}"#;
    let mut bytes = vec![b'M', 1];
    bytes.extend(5u64.to_be_bytes());
    bytes.extend(b"svc\0");
    bytes.extend((event.len() as u32).to_be_bytes());
    bytes.extend(event);
    let mut assembler = assembler(0);
    take(&mut assembler, &["begin"]);
    let read = message(&assembler.take(&bytes, Instant(9)).unwrap());
    assert_eq!((read.id.as_str(), read.source.as_str(), read.kind.as_str()), ("V1:2", "/erp", "contract.confirmed"));
}

#[test]
fn a_message_that_cannot_be_read_is_refused_with_its_field_and_the_stream_goes_on() {
    let mut bytes = vec![b'M', 1];
    bytes.extend(5u64.to_be_bytes());
    bytes.extend(b"svc\0\0\0\0\x02{x");
    let mut assembler = assembler(0);
    take(&mut assembler, &["begin", "relation"]);
    let Taken::Offer(offer) = assembler.take(&bytes, Instant(9)).unwrap() else { panic!() };
    let Offer::Refused(refused) = *offer else { panic!() };
    assert_eq!((refused.field.as_str(), refused.row["content"].as_str()), ("data", Some("{x")));
    assert_eq!(message(&take(&mut assembler, &["insert"])[0]).id, "7:0/1528938:2");
}

#[test]
fn tables_that_were_not_chosen_are_passed_over_and_undescribed_ones_are_a_fault() {
    let mut others = wanted();
    others.tables = vec!["public.other".into()];
    let mut assembler = Assembler::new(others, "/s", SYSTEM, Lsn(0), Limits::default());
    let taken = take(&mut assembler, &["begin", "relation", "insert", "truncate"]);
    assert_eq!(taken[2..], [Taken::Ignored, Taken::Ignored]);
    let mut fresh = super::tests::assembler(0);
    take(&mut fresh, &["begin"]);
    assert!(fresh.take(&golden("insert"), Instant(9)).is_err());
    assert!(super::tests::assembler(0).take(&golden("stream_start"), Instant(9)).is_err());
}

#[test]
fn a_key_that_changes_stays_in_order_with_what_was_before_it() {
    let mut assembler = assembler(0);
    take(&mut assembler, &["begin", "relation"]);
    let relation = assembler.relations.get(16384).unwrap();
    let text = |text: &str| Cell::Text(text.into());
    let tuple = |id: &str| vec![text(id), text("HT-1"), Cell::Null, Cell::Null];
    let change = |old: Option<Old>, new: &str| Change::Updated(old, tuple(new));
    let key = |change: Change, chosen: Option<&[String]>| {
        change.draft(relation, chosen, "1".into(), Instant(0)).unwrap().key.unwrap()
    };
    assert_eq!(key(change(None, "5"), None), "public.voucher:5");
    assert_eq!(key(change(Some(Old::Key(tuple("4"))), "5"), None), "public.voucher:4");
    assert_eq!(key(change(None, "5"), Some(&["contract_no".into()])), "public.voucher:HT-1");
    let full = Relation { identity: Identity::Full, ..relation.clone() };
    let draft = change(None, "5").draft(&full, None, "1".into(), Instant(0)).unwrap();
    assert_eq!(draft.key.as_deref(), Some("public.voucher"));
}
