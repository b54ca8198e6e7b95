//! The query string of AKTools, with its odd way of reading it: everything is percent-decoded first and cut at `&` and `=`
//! afterwards, and `+` is a space. What those rules would tear apart cannot be asked for.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::refusal::Refusal;
use crate::model::{Error, Result};

/// What may stand in a query as it is.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Characters that AKTools takes for something else, wherever they stand in a value.
const TORN: [char; 6] = ['&', '=', '"', '\\', '+', '\''];

/// `a=1&b=2`. `Invalid` when a value holds what the service cannot be told.
pub fn write(params: &BTreeMap<String, String>) -> Result<String> {
    let mut query = String::new();
    for (name, value) in params {
        if value.contains(TORN) || value.contains(char::is_control) {
            let error = Error::invalid(format!("the value of {name} holds a character that AKTools cannot be told"));
            return Err(error.hint("values may not contain & = + \\ or quotes"));
        }
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        query.extend(utf8_percent_encode(value, &PLAIN));
    }
    Ok(query)
}

/// Any text for a place in a URL.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &PLAIN).to_string()
}

/// Reads a query as AKTools does. A query that its rules tear into something that is no call is a `Fault`.
pub fn read(query: &str) -> Result<BTreeMap<String, String>, Refusal> {
    if !query.is_ascii() {
        return Err(Refusal::NotHttp);
    }
    let decoded = percent_decode_str(query).decode_utf8().map_err(|_| Refusal::Fault)?.replace('+', " ");
    let mut params = BTreeMap::new();
    if decoded.is_empty() {
        return Ok(params);
    }
    if decoded.contains("cookie") {
        let (name, value) = decoded.split_once('=').ok_or(Refusal::Fault)?;
        put(&mut params, name, value)?;
        return Ok(params);
    }
    for pair in decoded.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if value.contains('=') {
            return Err(Refusal::Fault);
        }
        put(&mut params, name, value)?;
    }
    Ok(params)
}

/// A name that is no name, a name given twice and a value with a quote are no call.
fn put(params: &mut BTreeMap<String, String>, name: &str, value: &str) -> Result<(), Refusal> {
    let name = name.trim();
    let is_name = !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    if !is_name || value.contains(['"', '\'', '\\', '\n', '\r']) {
        return Err(Refusal::Fault);
    }
    match params.insert(name.to_string(), value.to_string()) {
        Some(_) => Err(Refusal::Fault),
        None => Ok(()),
    }
}
