//! Signatures against the reference libraries in Python and Rust, and canonical JSON against Python itself.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tidegate::dialect::webhook::canonical::canonical;
use tidegate::dialect::webhook::{Headers, Incoming, Outgoing, Secret, sign, verify};
use tidegate::model::double::shortest;
use tidegate::model::{Clock, Instant, SignatureForm};

use crate::world::{is_long, seed};

/// What the reference library answers to each request.
fn reference(requests: &[Value]) -> Vec<Value> {
    let python = std::env::var("TIDEGATE_WEBHOOKS_PYTHON")
        .expect("scripts/test sets TIDEGATE_WEBHOOKS_PYTHON: run the tests through it");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/official/standard_webhooks.py");
    let mut command = Command::new(python);
    let mut child = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), requests.len());
    answers
}

fn runner(name: &str) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed(name).to_le_bytes());
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn made<S: Strategy>(strategy: &S, runner: &mut TestRunner, count: usize) -> Vec<S::Value> {
    (0..count).map(|_| strategy.new_tree(runner).unwrap().current()).collect()
}

fn now_seconds() -> i64 {
    Clock::system().now().0 / 1_000_000
}

/// Bodies, secrets and ids that were made by chance.
fn messages(name: &str, count: usize) -> Vec<(Secret, String, String)> {
    let body = "\\PC{0,200}";
    let strategy = (prop::collection::vec(any::<u8>(), 24..=64), "[A-Za-z0-9_-]{1,40}", body);
    let secret = |bytes: Vec<u8>| {
        use base64::Engine as _;
        Secret::new(format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes)))
    };
    let found = made(&strategy, &mut runner(name), count);
    found.into_iter().map(|(bytes, id, body)| (secret(bytes), id, body)).collect()
}

#[test]
fn what_is_signed_here_is_accepted_by_the_reference_libraries() {
    let at = now_seconds();
    let cases = messages("signed here", 200);
    let mut requests = Vec::new();
    for (secret, id, body) in &cases {
        let other = Secret::generate(SignatureForm::Standard).unwrap();
        let outgoing = Outgoing { id, timestamp: at, body: body.as_bytes(), source_system: "" };
        let headers = sign(SignatureForm::Standard, &[other, secret.clone()], &outgoing).unwrap();
        let mut map = reqwest::header::HeaderMap::new();
        for (name, value) in &headers {
            map.insert(*name, value.parse().unwrap());
        }
        let webhook = Webhook::new(secret.expose()).unwrap();
        webhook.verify(body.as_bytes(), &map).unwrap();
        assert!(webhook.verify(format!("{body}x").as_bytes(), &map).is_err());
        let headers: serde_json::Map<String, Value> =
            headers.into_iter().map(|(name, value)| (name.to_string(), value.into())).collect();
        let request =
            |body: &str| json!({ "do": "verify", "secret": secret.expose(), "headers": headers, "body": body });
        requests.extend([request(body), request(&format!("{body}x"))]);
    }
    for (index, answer) in reference(&requests).iter().enumerate() {
        let expected = if index % 2 == 0 { "accepted" } else { "No matching signature found" };
        assert_eq!(answer, expected, "{}", requests[index]);
    }
}

#[test]
fn what_the_reference_libraries_sign_is_accepted_here() {
    let at = now_seconds();
    let cases = messages("signed there", 200);
    let request = |(secret, id, body): &(Secret, String, String)| json!({ "do": "sign", "secret": secret.expose(), "id": id, "timestamp": at, "body": body });
    let answers = reference(&cases.iter().map(request).collect::<Vec<_>>());
    for ((secret, id, body), python) in cases.iter().zip(answers) {
        let rust = Webhook::new(secret.expose()).unwrap().sign(id, at, body.as_bytes()).unwrap();
        assert_eq!(python.as_str(), Some(rust.as_str()));
        let pairs = [("Webhook-Id", id.as_str()), ("Webhook-Timestamp", &at.to_string()), ("Webhook-Signature", &rust)];
        let headers: Headers = pairs.into_iter().collect();
        let now = Instant(at * 1_000_000);
        let incoming = Incoming { headers: &headers, body: body.as_bytes(), now, tolerance_seconds: 300 };
        assert!(verify(SignatureForm::Standard, std::slice::from_ref(secret), &incoming).is_ok());
        let changed = format!("{body}x");
        let changed = Incoming { body: changed.as_bytes(), ..incoming };
        assert!(verify(SignatureForm::Standard, std::slice::from_ref(secret), &changed).is_err());
    }
}

/// A string as JSON writes it, with escapes where chance wants them.
fn string_text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        any::<char>().prop_map(|character| {
            let quoted = serde_json::to_string(&character).unwrap();
            quoted[1..quoted.len() - 1].to_string()
        }),
        any::<u16>().prop_map(|unit| format!("\\u{unit:04X}")),
        prop::sample::select(vec![
            "\\/",
            "\\b",
            "\\f",
            "\\n",
            "\\u007f",
            "~",
            "结",
            "\u{1f600}",
            "\\ud83d\\ude00",
            "\""
        ])
        .prop_map(|text| text.replace('"', "\\\"")),
    ];
    prop::collection::vec(character, 0..6).prop_map(|parts| format!("\"{}\"", parts.concat()))
}

/// A number that a double holds to its last digit, or an integer of any size, written in one of many ways.
fn number_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,40})",
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(shortest),
        any::<u64>().prop_map(|bits| shortest(f64::from_bits(bits & 0x7fef_ffff_ffff_ffff))),
        "-?(0|[1-9][0-9]{0,8})\\.[0-9]{1,4}0{0,3}",
        "-?[1-9]\\.[0-9]{0,3}[1-9][eE][+-]?[0-9]{1,2}",
        "-?[1-9]{1,5}[eE][+-]?[0-9]{1,2}",
    ]
}

fn json_text() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec!["null", "true", "false"]).prop_map(str::to_string);
    let leaf = prop_oneof![words, number_text(), string_text()];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(" , ")));
        let member = (string_text(), inner).prop_map(|(name, value)| format!("{name} :\t{value}"));
        let object = prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}\n}}", members.join(",")));
        prop_oneof![list, object]
    })
}

#[test]
fn canonical_json_is_what_python_prints() {
    let count = if is_long() { 200_000 } else { 5_000 };
    let texts = made(&json_text(), &mut runner("canonical"), count);
    let requests: Vec<Value> = texts.iter().map(|text| json!({ "do": "canonical", "text": text })).collect();
    for (text, expected) in texts.iter().zip(reference(&requests)) {
        assert_eq!(canonical(text).unwrap(), expected.as_str().unwrap(), "{text}");
    }
}

#[test]
fn numbers_that_a_double_does_not_hold_stay_as_written_and_python_then_sees_another_text() {
    for text in ["0.1000000000000000055511151231257827", "99999999999999999999.99", "1e400", "1e-400"] {
        let printed = canonical(&format!("{{\"amount\":{text}}}")).unwrap();
        assert_eq!(printed, format!("{{\"amount\": {text}}}"));
        let python = reference(&[json!({ "do": "canonical", "text": printed })]);
        assert_ne!(python[0], printed);
    }
}

/// The code blocks of a language in the guide.
fn blocks(language: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/webhooks.md");
    let text = std::fs::read_to_string(path).unwrap();
    let opening = format!("```{language}\n");
    text.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap().to_string()).collect()
}

/// What a receiver of the guide says to a request: `true` or `false`.
fn receiver_says(program: &str, ending: &str, code: &str, asked: &Value) -> String {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join(format!("receiver.{ending}"));
    std::fs::write(&path, code).unwrap();
    let ran = Command::new(program).arg(&path).arg(asked.to_string()).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap().trim().to_lowercase()
}

#[test]
fn the_receivers_of_the_guide_accept_what_is_signed_and_nothing_else() {
    let python = std::env::var("TIDEGATE_WEBHOOKS_PYTHON")
        .expect("scripts/test sets TIDEGATE_WEBHOOKS_PYTHON: run the tests through it");
    let in_python = "\nimport sys\nasked = json.loads(sys.argv[1])\n\
        print(verify(asked['secret'], asked['headers'], asked['body'].encode()))\n";
    let in_node = "\nconst asked = JSON.parse(process.argv[2]);\n\
        console.log(verify(asked.secret, asked.headers, Buffer.from(asked.body)));\n";
    let (pythons, nodes) = (blocks("python"), blocks("javascript"));
    assert_eq!((pythons.len(), nodes.len()), (2, 1));
    let receivers = [
        (SignatureForm::Standard, python.as_str(), "py", format!("import json\n{}{in_python}", pythons[0])),
        (SignatureForm::Mission, python.as_str(), "py", format!("{}{in_python}", pythons[1])),
        (SignatureForm::Standard, "node", "mjs", format!("{}{in_node}", nodes[0])),
    ];
    for (form, program, ending, code) in receivers {
        let (old, new) = (Secret::generate(form).unwrap(), Secret::generate(form).unwrap());
        let written = r#"{"event": "l1_confirmed", "data": {"note": "结算", "amount": 100000.00}}"#;
        let body = tidegate::dialect::webhook::body_to_send(form, written).unwrap().into_owned();
        let outgoing = Outgoing { id: "evt_1", timestamp: now_seconds(), body: body.as_bytes(), source_system: "a" };
        let headers = sign(form, &[new.clone(), old], &outgoing).unwrap();
        let named = |name: &str| if name == "x-signature" { "X-Signature".to_string() } else { name.to_string() };
        let headers: serde_json::Map<String, Value> =
            headers.into_iter().map(|(name, value)| (named(name), value.into())).collect();
        let other = Secret::generate(form).unwrap();
        for (secret, body, expected) in [
            (&new, body.clone(), "true"),
            (&new, body.replace("100000", "100001"), "false"),
            (&other, body.clone(), "false"),
        ] {
            let asked = json!({ "secret": secret.expose(), "headers": headers, "body": body });
            assert_eq!(receiver_says(program, ending, &code, &asked), expected, "{} {program}", form.name());
        }
    }
}
