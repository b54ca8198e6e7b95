//! Signatures against the published vectors, against each other, and everything that must not count.

use super::*;
use crate::model::Instant;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const PRIVATE: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA==";
const PUBLIC: &str = "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
const ID: &str = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W";
const AT: i64 = 1_674_087_231;
const BODY: &str = concat!(
    r#"{"type":"contract.confirmed","timestamp":"2026-01-02T03:04:05Z","#,
    r#""data":{"voucher_id":"V20260102-0001","amount":"1250.00","note":"结算确认"}}"#
);
const V1: &str = "v1,mDNRDvKSWeAUr2rbXRd8qUk0Ip4GFB3enZDnqexJDO4=";
const V1_OLD: &str = "v1,zJU3HtX+UQuFUARZr49wmcX51patWPinU6gAtntV3Ss=";
const V1A: &str = "v1a,eWfGLbpYGzxxGPeImHkNJaGevGT6b3ARmz6Knn6/nEYCSZ+wdOE7UX06pLDE1V9B4udWti+Ce29zEdh/nUkNCg==";

fn secrets(texts: &[&str]) -> Vec<Secret> {
    texts.iter().map(|text| Secret::new(*text)).collect()
}

fn outgoing<'a>(id: &'a str, timestamp: i64, body: &'a str) -> Outgoing<'a> {
    Outgoing { id, timestamp, body: body.as_bytes(), source_system: "settlement" }
}

fn signed(form: Form, texts: &[&str], outgoing: &Outgoing<'_>) -> Headers {
    sign(form, &secrets(texts), outgoing).unwrap().into_iter().collect()
}

fn incoming<'a>(headers: &'a Headers, body: &'a str, seconds: i64) -> Incoming<'a> {
    Incoming { headers, body: body.as_bytes(), now: Instant(seconds * 1_000_000), tolerance_seconds: 300 }
}

fn standard(id: &str, timestamp: &str, signature: &str) -> Headers {
    [("Webhook-Id", id), ("Webhook-Timestamp", timestamp), ("Webhook-Signature", signature)].into_iter().collect()
}

#[test]
fn every_published_vector_is_made_and_accepted() {
    let both = format!("{V1} {V1_OLD}");
    for (form, texts, id, at, body, header, expected) in [
        (Form::Standard, vec![SECRET], ID, AT, BODY, "webhook-signature", V1),
        (Form::Standard, vec![OLD_SECRET], ID, AT, BODY, "webhook-signature", V1_OLD),
        (Form::Standard, vec![SECRET, OLD_SECRET], ID, AT, BODY, "webhook-signature", both.as_str()),
        (
            Form::Standard,
            vec![&SECRET["whsec_".len()..]],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
            "webhook-signature",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (Form::StandardEd25519, vec![PRIVATE], ID, AT, BODY, "webhook-signature", V1A),
        (
            Form::Stripe,
            vec!["whsec_test_secret"],
            "evt_1",
            1_492_774_577,
            "{\"id\":\"evt_1\",\"object\":\"event\"}",
            "stripe-signature",
            "t=1492774577,v1=654b43d3508ecadb3f8cefc4bc7d3d2bdc5ba9e03bf2c89b2d0657a8e24e4543",
        ),
        (
            Form::Github,
            vec!["It's a Secret to Everybody"],
            "1",
            0,
            "Hello, World!",
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        ),
    ] {
        let headers = signed(form, &texts, &outgoing(id, at, body));
        assert_eq!(headers.get(header), Some(expected), "{}", form.name());
        let matched = verify(form, &secrets(&texts), &incoming(&headers, body, at)).unwrap();
        assert_eq!((matched.secret, matched.id.as_deref()), (0, Some(id)));
    }
    let headers = standard(ID, &AT.to_string(), V1A);
    assert!(verify(Form::StandardEd25519, &secrets(&[PUBLIC]), &incoming(&headers, BODY, AT)).is_ok());
    assert_eq!(Secret::new(PRIVATE).public().as_deref(), Some(PUBLIC));
}

#[test]
fn one_right_signature_among_others_suffices_and_svix_names_are_known() {
    let header = format!("v2,AAAA v1a,AAAA v1,!!! {V1_OLD} {V1}");
    let headers: Headers =
        [("svix-id", ID), ("svix-timestamp", &AT.to_string()), ("SVIX-SIGNATURE", &header)].into_iter().collect();
    let known = secrets(&["whsec_bm90IHRoZSByaWdodCBzZWNyZXQgYXQgYWxs", SECRET]);
    assert_eq!(verify(Form::Standard, &known, &incoming(&headers, BODY, AT)).unwrap().secret, 1);
}

#[test]
fn what_must_not_count_does_not_and_the_first_reason_is_named() {
    let at = AT.to_string();
    let code = V1.strip_prefix("v1,").unwrap();
    let as_text = {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = ring::hmac::sign(&key, format!("{ID}.{AT}.{BODY}").as_bytes());
        use base64::Engine as _;
        format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(tag))
    };
    let changed = BODY.replacen("1250.00", "1250.01", 1);
    for (timestamp, signature, body, now, expected) in [
        (at.as_str(), V1, changed.as_str(), AT, Reason::NoMatch),
        (&at, V1, BODY, AT + 302, Reason::TimestampOld { seconds: 302, tolerance_seconds: 300 }),
        (&at, V1, BODY, AT - 302, Reason::TimestampAhead { seconds: 302, tolerance_seconds: 300 }),
        (&at, "v2,xxx", BODY, AT, Reason::UnknownVersion(vec!["v2".into()])),
        (&at, &format!("v1a,{code}"), BODY, AT, Reason::UnknownVersion(vec!["v1a".into()])),
        (&at, code, BODY, AT, Reason::SignatureUnreadable),
        (&at, &as_text, BODY, AT, Reason::NoMatch),
        (&at, V1_OLD, BODY, AT, Reason::NoMatch),
        (&at, "", BODY, AT, Reason::SignatureUnreadable),
        ("1674087231.5", V1, BODY, AT, Reason::TimestampUnreadable),
        ("-1", V1, BODY, AT, Reason::TimestampUnreadable),
        ("99999999999999999999", V1, BODY, AT, Reason::TimestampUnreadable),
        ("1674087231000", V1, BODY, AT, Reason::TimestampInMilliseconds),
        ("1674087232", V1, BODY, AT, Reason::NoMatch),
    ] {
        let headers = standard(ID, timestamp, signature);
        let found = verify(Form::Standard, &secrets(&[SECRET]), &incoming(&headers, body, now));
        assert_eq!(found, Err(expected), "{timestamp} {signature}");
    }
    for seconds in [AT - 300, AT + 300] {
        let headers = standard(ID, &at, V1);
        assert!(verify(Form::Standard, &secrets(&[SECRET]), &incoming(&headers, BODY, seconds)).is_ok());
    }
    let none = Headers::default();
    let missing = verify(Form::Standard, &secrets(&[SECRET]), &incoming(&none, BODY, AT));
    assert_eq!(missing, Err(Reason::MissingHeader("webhook-id")));
    let headers = standard(ID, &at, V1);
    assert_eq!(verify(Form::Standard, &[], &incoming(&headers, BODY, AT)), Err(Reason::NoSecret));
}

#[test]
fn the_mission_form_counts_over_the_bytes_and_over_the_canonical_text() {
    let written =
        "{\"event\":\"l1_confirmed\",\"voucher_id\":1001,\"data\":{\"contract_no\":\"合同\",\"amount\":100000.00}}";
    let body = body_to_send(Form::Mission, written).unwrap();
    let canonical = "{\"data\": {\"amount\": 100000.0, \"contract_no\": \"\\u5408\\u540c\"}, \"event\": \"l1_confirmed\", \"voucher_id\": 1001}";
    assert_eq!(body, canonical);
    let headers = signed(Form::Mission, &["new-secret", "old-secret"], &outgoing("evt_1", AT, &body));
    assert_eq!(headers.get("x-source-system"), Some("settlement"));
    assert_eq!(headers.get("x-timestamp"), Some("1674087231"));
    for (secret, body) in [("new-secret", &*body), ("old-secret", &*body), ("new-secret", written)] {
        let found = verify(Form::Mission, &secrets(&[secret]), &incoming(&headers, body, AT));
        assert!(found.is_ok(), "{secret} {body}: {found:?}");
    }
    let changed = written.replace("1001", "1002");
    for (secret, body) in [("new-secret", changed.as_str()), ("other-secret", written), ("new-secret", "no json")] {
        let found = verify(Form::Mission, &secrets(&[secret]), &incoming(&headers, body, AT));
        assert_eq!(found, Err(Reason::NoMatch));
    }
}

#[test]
fn the_usual_mistakes_are_recognised() {
    let parted = |before: &str, key: &[u8], body: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        let tag = ring::hmac::sign(&key, format!("{before}{body}").as_bytes());
        use base64::Engine as _;
        format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(tag))
    };
    let decoded = secret::base64_bytes(&SECRET["whsec_".len()..]).unwrap();
    let full = format!("{ID}.{AT}.");
    let pretty = "{ \"b\": 1.50,\n \"a\": \"\\u7b97\" }";
    for (signature, body, now, expected) in [
        (parted(&full, SECRET.as_bytes(), BODY), BODY, AT, vec!["secret_as_text"]),
        (parted(&full, &SECRET.as_bytes()["whsec_".len()..], BODY), BODY, AT, vec!["secret_as_text"]),
        (parted("", &decoded, BODY), BODY, AT, vec!["body_alone"]),
        (parted(&format!("{AT}."), &decoded, BODY), BODY, AT, vec!["wrong_join"]),
        (parted(&full, &decoded, "{\"b\":1.5,\"a\":\"算\"}"), pretty, AT, vec!["body_changed"]),
        (parted(&full, &decoded, "{\"a\": \"\\u7b97\", \"b\": 1.5}"), pretty, AT, vec!["body_changed"]),
        (parted(&full, &decoded, &format!("{BODY}\n")), BODY, AT, vec!["body_changed"]),
        (parted(&full, &decoded, BODY).replacen("v1,", "v1a,", 1), BODY, AT, vec!["wrong_version"]),
        (parted(&full, b"another key altogether!!", BODY), BODY, AT, vec!["no_match"]),
        (V1.to_string(), BODY, AT + 4000, vec!["timestamp_old"]),
        (parted("", &decoded, BODY), BODY, AT + 4000, vec!["timestamp_old", "body_alone"]),
        ("v9,AAAA".to_string(), BODY, AT, vec!["unknown_version"]),
    ] {
        let headers = standard(ID, &AT.to_string(), &signature);
        let ring = Keyring::new(Secret::new(SECRET), Instant(0));
        let found = explain(Form::Standard, &ring, &incoming(&headers, body, now));
        let codes: Vec<&str> = found.reasons.iter().map(Reason::code).collect();
        assert_eq!((codes, found.matched), (expected, None), "{signature} {body}");
        for reason in &found.reasons {
            assert!(!reason.to_string().contains(&SECRET[6..]) && !reason.to_string().contains(&V1[3..]));
        }
    }
}

#[test]
fn a_secret_that_ended_and_headers_of_another_form_are_recognised() {
    let mut ring = Keyring::new(Secret::new(OLD_SECRET), Instant((AT - 90_000) * 1_000_000));
    ring.rotate(Secret::new(SECRET), Instant((AT - 80_000) * 1_000_000), 1).unwrap();
    let headers = standard(ID, &AT.to_string(), V1_OLD);
    let found = explain(Form::Standard, &ring, &incoming(&headers, BODY, AT));
    assert_eq!(found.reasons, [Reason::SecretEnded(Instant((AT - 76_400) * 1_000_000))]);
    let right = standard(ID, &AT.to_string(), V1);
    assert_eq!(explain(Form::Standard, &ring, &incoming(&right, BODY, AT)).matched.unwrap().secret, 0);

    let headers = signed(Form::Stripe, &["stripe-secret"], &outgoing("a", AT, BODY));
    for form in [Form::Standard, Form::Mission, Form::Github] {
        let ring = Keyring::new(Secret::new(SECRET), Instant(0));
        let found = explain(form, &ring, &incoming(&headers, BODY, AT));
        assert_eq!(found.reasons, [Reason::OtherForm(Form::Stripe)], "{}", form.name());
    }
    let decoded = base64_text("c3RyaXBlLXNlY3JldC1ieXRlcw==");
    let mission = signed(Form::Mission, &[decoded.as_str()], &outgoing("a", AT, "{}"));
    let ring = Keyring::new(Secret::new("whsec_c3RyaXBlLXNlY3JldC1ieXRlcw=="), Instant(0));
    assert_eq!(explain(Form::Mission, &ring, &incoming(&mission, "{}", AT)).reasons, [Reason::SecretDecoded]);
}

fn base64_text(text: &str) -> String {
    String::from_utf8(secret::base64_bytes(text).unwrap()).unwrap()
}

#[test]
fn every_form_accepts_what_it_signs_and_nothing_with_one_byte_changed() {
    for form in Form::ALL {
        let (new, old) = (Secret::generate(form).unwrap(), Secret::generate(form).unwrap());
        let body = body_to_send(form, BODY).unwrap();
        let both = [new.clone(), old.clone()];
        let headers: Headers = sign(form, &both, &outgoing("evt_a_1", AT, &body)).unwrap().into_iter().collect();
        assert!(verify(form, std::slice::from_ref(&new), &incoming(&headers, &body, AT)).is_ok(), "{}", form.name());
        let previous = verify(form, std::slice::from_ref(&old), &incoming(&headers, &body, AT));
        assert_eq!(previous.is_ok(), form != Form::Github, "{}", form.name());
        for at in 0..body.len() {
            let mut bytes = body.as_bytes().to_vec();
            bytes[at] ^= 1;
            let changed = Incoming { body: &bytes, ..incoming(&headers, "", AT) };
            assert_eq!(verify(form, &both, &changed), Err(Reason::NoMatch), "{} byte {at}", form.name());
        }
    }
}

#[test]
fn nothing_is_signed_without_a_secret_or_under_an_id_with_a_full_stop() {
    assert!(sign(Form::Standard, &[], &outgoing(ID, AT, BODY)).is_err());
    for id in ["", "a.b", "a b", "é"] {
        assert!(sign(Form::Standard, &secrets(&[SECRET]), &outgoing(id, AT, BODY)).is_err(), "{id:?}");
    }
    assert!(sign(Form::StandardEd25519, &secrets(&[PUBLIC]), &outgoing(ID, AT, BODY)).is_err());
    assert!(body_to_send(Form::Mission, "{\"a\":NaN}").is_err());
}
