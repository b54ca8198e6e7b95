//! A receiver of a test: the real service with tables and inbound webhooks of its own, and senders that sign as the
//! reference library does.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::serving::{Answer, Serving};
use crate::world::{Ran, World};

/// A read-only copy of invoices, as the tax side keeps it, and the lines of contracts.
pub const INVOICES: &str = r#"
name = "tax_invoice_cache"
title = "Invoices"
title_zh = "发票缓存"
about = "A read-only copy of the invoices of the settlement side."
key = ["invoice_id"]
universe = "market"
shape = "whole"
origin = "publishers"
publish = { at = "00:00", settle_days = 0, refresh_hours = 24 }
policy = { mode = "merge", schedule = "event_driven", batch = 1000, retries = 0, conflict = "replace" }
columns = [
    { name = "invoice_id", type = "int", unit = "number", meaning = "invoice", meaning_zh = "发票" },
    { name = "invoice_no", type = "text", unit = "code", meaning = "number", meaning_zh = "发票号码" },
    { name = "amount", type = "decimal", scale = 2, digits = 18, unit = "CNY", meaning = "amount", meaning_zh = "金额" },
    { name = "issued_on", type = "date", unit = "date", nullable = true, meaning = "day of issue", meaning_zh = "开票日期" },
    { name = "currency", type = "text", unit = "code", meaning = "currency", meaning_zh = "币种" },
    { name = "source_version", type = "int", unit = "number", meaning = "version of the source", meaning_zh = "源版本" },
    { name = "synced_at", type = "datetime", unit = "time", meaning = "when it was taken over", meaning_zh = "同步时间" },
]
"#;

pub const LINES: &str = r#"
name = "tax_invoice_line"
title = "Lines of invoices"
title_zh = "发票明细"
about = "The lines of the invoices."
key = ["invoice_id", "line"]
universe = "market"
shape = "whole"
origin = "publishers"
publish = { at = "00:00", settle_days = 0, refresh_hours = 24 }
policy = { mode = "merge", schedule = "event_driven", batch = 1000, retries = 0, conflict = "replace" }
columns = [
    { name = "invoice_id", type = "int", unit = "number", meaning = "invoice", meaning_zh = "发票" },
    { name = "line", type = "int", unit = "number", meaning = "line", meaning_zh = "行号" },
    { name = "sku", type = "text", unit = "code", meaning = "article", meaning_zh = "商品" },
    { name = "quantity", type = "decimal", scale = 3, unit = "piece", meaning = "quantity", meaning_zh = "数量" },
]
"#;

/// What the webhook `invoices` takes.
pub fn invoices() -> Value {
    json!({
        "forms": ["standard", "mission"],
        "source": "/settlement",
        "mappings": [{
            "types": ["invoice.*", "l1_confirmed"],
            "dataset": "tax_invoice_cache",
            "version": "source_version",
            "columns": {
                "invoice_id": "data.id", "invoice_no": "data.no", "amount": "data.amount", "issued_on": "data.issued",
                "currency": { "path": "data.currency", "default": "CNY" }, "source_version": "data.version",
                "synced_at": { "received": true },
            },
            "ends": { "path": "data.op", "values": ["D"] },
            "items": [{
                "path": "data.lines", "dataset": "tax_invoice_line",
                "columns": { "invoice_id": "data.id", "line": "index", "sku": "item.sku", "quantity": "item.qty" },
            }],
        }],
    })
}

/// The content of an invoice.
pub fn invoice(id: u64, amount: &str, version: u64) -> String {
    format!(r#"{{"id":{id},"no":"FP-{id}","amount":{amount},"issued":"2026-01-02","version":{version}}}"#)
}

/// The same as an event of its own.
pub fn event(id: u64, amount: &str, version: u64) -> String {
    let data = invoice(id, amount, version);
    format!(
        r#"{{"specversion":"1.0","id":"inv-{id}:{version}","source":"/settlement","type":"invoice.recorded","subject":"invoice/{id}","data":{data}}}"#
    )
}

/// How a world keeps its store.
pub struct Desk<'w> {
    pub world: &'w World,
    pub settings: Vec<String>,
    pub secret: String,
}

impl<'w> Desk<'w> {
    /// A store in a file, or in a PostgreSQL database at `url`, with the webhook `invoices`.
    pub fn new(world: &'w World, url: Option<&str>, definition: &Value) -> Desk<'w> {
        let folder = world.folder.path().join("catalog");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("tax_invoice_cache.toml"), INVOICES).unwrap();
        std::fs::write(folder.join("tax_invoice_line.toml"), LINES).unwrap();
        let mut settings = vec![
            format!("catalog.folder={}", folder.display()),
            "notify.allow=[\"127.0.0.0/8\"]".to_owned(),
            "notify.plain_http=true".to_owned(),
            "receive.retry_first_ms=50".to_owned(),
            "receive.retry_cap_seconds=1".to_owned(),
        ];
        settings.extend(url.map(|url| format!("store.url={url}")));
        let mut desk = Desk { world, settings, secret: String::new() };
        desk.run(&["init"], 0);
        desk.secret = desk.define("invoices", definition);
        desk
    }

    /// Settings as arguments.
    pub fn arguments(&self) -> Vec<&str> {
        self.settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect()
    }

    pub fn run(&self, arguments: &[&str], code: i32) -> Ran {
        self.world.run(&[arguments, &self.arguments()].concat(), code)
    }

    /// Defines a webhook; its secret comes back.
    pub fn define(&self, name: &str, definition: &Value) -> String {
        let file = self.write(&format!("{name}.json"), definition.to_string().as_bytes());
        let made = self.run(&["inbound", "add", name, "--file", &file, "--json"], 0).json();
        made["secret"].as_str().unwrap().to_owned()
    }

    /// Writes a file into the world's folder; its name comes back.
    pub fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.world.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    pub fn serve(&self) -> Serving<'w> {
        Serving::start(self.world, &self.arguments())
    }

    pub fn now(&self) -> i64 {
        self.world.now().0 / 1_000_000
    }

    /// The headers of a call, signed by the reference library.
    pub fn signed(&self, id: &str, body: &[u8]) -> Vec<(String, String)> {
        signed(&self.secret, id, self.now(), body)
    }

    /// Calls the webhook `invoices` with a body in structured mode.
    pub fn call(&self, serving: &Serving, id: &str, body: &str) -> Answer {
        post(serving, "invoices", &self.signed(id, body.as_bytes()), body.as_bytes().to_vec())
    }

    /// Rows of a table as the service shows them.
    pub fn rows(&self, serving: &Serving, table: &str) -> Vec<Value> {
        let page = serving.get(&format!("/api/v1/datasets/{table}/rows?limit=1000")).of_status(200);
        let columns = page["columns"].as_array().unwrap();
        let named = |row: &Value| {
            let cells = columns.iter().zip(row.as_array().unwrap());
            Value::Object(cells.map(|(name, cell)| (name.as_str().unwrap().to_owned(), cell.clone())).collect())
        };
        page["rows"].as_array().unwrap().iter().map(named).collect()
    }

    /// `amount vN` of every invoice.
    pub fn invoices(&self, serving: &Serving) -> Vec<String> {
        let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
        let shown = |row: &Value| {
            format!("{} {} v{}", text(&row["invoice_id"]), text(&row["amount"]), text(&row["source_version"]))
        };
        self.rows(serving, "tax_invoice_cache").iter().map(shown).collect()
    }

    /// What the webhook took in, oldest first: `id state`.
    pub fn states(&self, serving: &Serving) -> Vec<String> {
        let page = serving.get("/api/v1/inbounds/invoices/messages").of_status(200);
        let shown =
            |message: &Value| format!("{} {}", message["id"].as_str().unwrap(), message["state"].as_str().unwrap());
        let mut states: Vec<String> = page["items"].as_array().unwrap().iter().map(shown).collect();
        states.sort();
        states
    }

    /// Business events in the log.
    pub fn published(&self) -> usize {
        let counted = match self.settings.iter().find_map(|setting| setting.strip_prefix("store.url=")) {
            None => self.world.sqlite("select count(*) from _message"),
            Some(url) => {
                let database = url.rsplit('/').next().unwrap();
                crate::postgres_server::shared().psql(database, "select count(*) from tidegate._message")
            }
        };
        counted.trim().parse().unwrap()
    }

    /// Every byte that the program has written: store, logs, whatever lies in the folder but what the test put there.
    pub fn written(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        gather(self.world.folder.path(), &mut bytes);
        bytes
    }
}

fn gather(folder: &Path, bytes: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, bytes);
        } else {
            bytes.extend(std::fs::read(&path).unwrap());
        }
    }
}

pub fn signed(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> Vec<(String, String)> {
    let signature = Webhook::new(secret).unwrap().sign(id, timestamp, body).unwrap();
    let pairs = [
        ("content-type", "application/cloudevents+json".to_owned()),
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signature),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The headers of the mission's form over a body that is canonical already; the HMAC is made here, by another library than
/// the service's.
pub fn mission_signed(secret: &str, timestamp: i64, body: &[u8]) -> Vec<(String, String)> {
    let made = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes()), body);
    let hex: String = made.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let pairs = [
        ("content-type", "application/json".to_owned()),
        ("x-signature", format!("sha256:{hex}")),
        ("x-timestamp", timestamp.to_string()),
        ("x-source-system", "settlement".to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Calls a webhook with these very bytes.
pub fn post(serving: &Serving, name: &str, headers: &[(String, String)], body: Vec<u8>) -> Answer {
    try_post(serving, name, headers, body).unwrap()
}

/// The same while the service may end.
pub fn try_post(serving: &Serving, name: &str, headers: &[(String, String)], body: Vec<u8>) -> Option<Answer> {
    serving.world.runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.request(Method::POST, format!("{}/api/v1/webhooks/{name}", serving.url));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.body(body).send().await.ok()?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        Some(Answer { status, headers, bytes: answer.bytes().await.ok()?.to_vec() })
    })
}
