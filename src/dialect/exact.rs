//! JSON objects whose values keep their exact text: numbers never pass through floats, and a field that stands twice is
//! noticed.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::{Error, Result};

/// The fields of an object in their order, values as the text that they are.
#[derive(Debug)]
pub struct Fields<'a>(pub Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields<'de>, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry::<String, &RawValue>()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'a> Fields<'a> {
    /// Reads an object; `what` names it in errors.
    pub fn read(text: &'a str, what: &str) -> Result<Fields<'a>> {
        let fields: Fields = serde_json::from_str(text).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            Error::invalid(format!("{what} is no JSON object, see {place}")).at_field(what)
        })?;
        let mut names: Vec<&str> = fields.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|two| two[0] == two[1]) {
            return Err(Error::invalid(format!("the field {:?} appears twice", twice[0])).at_field(twice[0]));
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_text_and_a_field_stands_once() {
        let text = r#"{"a": 1.10, "b" :{"x":[1,  2]},"c":"x\u0041"}"#;
        let Fields(fields) = Fields::read(text, "body").unwrap();
        let values: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.get())).collect();
        assert_eq!(values, [("a", "1.10"), ("b", r#"{"x":[1,  2]}"#), ("c", r#""x\u0041""#)]);
        for (text, field) in [("[]", "body"), ("{", "body"), (r#"{"a":1,"b":2,"a":1}"#, "a"), ("", "body")] {
            assert_eq!(Fields::read(text, "body").unwrap_err().field(), Some(field), "{text}");
        }
    }
}
