//! What a request says: events in the form that a subscription wants, byte for byte as they are signed.

use crate::dialect::cloudevents::{self, BATCH, STRUCTURED};
use crate::dialect::exact::Fields;
use crate::dialect::webhook::body_to_send;
use crate::model::{Content, Message, Result, SignatureForm};

/// The body of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Letter {
    pub content_type: &'static str,
    pub body: String,
}

impl Letter {
    /// `together`: as a list, whether it is one event or several.
    pub fn write(form: SignatureForm, messages: &[&Message], together: bool) -> Result<Letter> {
        let (content_type, text) = match (form, together) {
            (SignatureForm::Mission, true) => {
                let events: Vec<String> = messages.iter().map(|message| plain(message)).collect();
                ("application/json", format!("[{}]", events.join(",")))
            }
            (SignatureForm::Mission, false) => {
                ("application/json", messages.first().map(|message| plain(message)).unwrap_or_default())
            }
            (_, true) => (BATCH, cloudevents::batch(messages.iter().copied())),
            (_, false) => {
                (STRUCTURED, messages.first().map(|message| cloudevents::structured(message)).unwrap_or_default())
            }
        };
        Ok(Letter { content_type, body: body_to_send(form, &text)?.into_owned() })
    }
}

/// `{"event": type, "voucher_id": ..., "data": {...}}`. The identity of the voucher is that of its content, else the
/// event's own.
fn plain(message: &Message) -> String {
    let data = match &message.content {
        Content::Json(text) => text.as_str(),
        Content::None | Content::Bytes(_) => "null",
    };
    let fields = Fields::read(data, "data").map(|Fields(fields)| fields).unwrap_or_default();
    let named = ["voucher_id", "voucher_no", "no", "id"];
    let found = named.iter().find_map(|name| fields.iter().find(|(field, _)| field == name));
    let voucher = found.map(|(_, value)| value.get().to_string()).filter(|value| value != "null");
    let voucher = voucher.unwrap_or_else(|| serde_json::Value::from(message.id.as_str()).to_string());
    let event = serde_json::Value::from(message.kind.as_str());
    format!("{{\"event\":{event},\"voucher_id\":{voucher},\"data\":{data}}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Instant;

    fn message(content: &str) -> Message {
        Message {
            event: 7,
            at: Instant(0),
            id: "V1:3".into(),
            source: "/settlement".into(),
            kind: "l1_confirmed".into(),
            time: None,
            subject: None,
            key: Some("HT-1".into()),
            schema: None,
            content_type: None,
            extensions: Default::default(),
            content: Content::Json(content.into()),
        }
    }

    #[test]
    fn the_standard_form_is_a_cloud_event_with_its_content_as_it_was_published() {
        let content = r#"{ "amount": 100000.00, "n":1e3 }"#;
        let letter = Letter::write(SignatureForm::Standard, &[&message(content)], false).unwrap();
        assert_eq!(letter.content_type, STRUCTURED);
        assert!(letter.body.ends_with(&format!("\"data\":{content}}}")), "{}", letter.body);
        let both = [&message(content), &message("1")];
        let letter = Letter::write(SignatureForm::Stripe, &both, true).unwrap();
        assert!(letter.content_type == BATCH && letter.body.starts_with("[{") && letter.body.ends_with("\"data\":1}]"));
    }

    #[test]
    fn the_missions_form_names_event_voucher_and_data() {
        for (content, voucher) in [
            (r#"{"voucher_id": 1001, "contract_no": "L1"}"#, "1001"),
            (r#"{"voucher_no": "V20260102-0001"}"#, "\"V20260102-0001\""),
            (r#"{"other": 1}"#, "\"V1:3\""),
            ("[1]", "\"V1:3\""),
        ] {
            let letter = Letter::write(SignatureForm::Mission, &[&message(content)], false).unwrap();
            let value: serde_json::Value = serde_json::from_str(&letter.body).unwrap();
            assert_eq!(value["event"], "l1_confirmed");
            assert_eq!(value["voucher_id"].to_string(), voucher, "{content}");
            assert_eq!(value["data"], serde_json::from_str::<serde_json::Value>(content).unwrap());
            let list = Letter::write(SignatureForm::Mission, &[&message(content)], true).unwrap();
            assert_eq!(list.body, format!("[{}]", letter.body));
        }
    }
}
