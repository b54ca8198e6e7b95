//! Random names and secrets, from the operating system.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::{self, Error, Result};

fn bytes<const LENGTH: usize>() -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    let none = |error: getrandom::Error| Error::bug(format!("the operating system gives no random numbers: {error}"));
    getrandom::fill(&mut bytes).map_err(none)?;
    Ok(bytes)
}

/// `LENGTH` random bytes in hexadecimal.
pub fn hex<const LENGTH: usize>() -> Result<String> {
    Ok(model::hex(&bytes::<LENGTH>()?))
}

/// `LENGTH` random bytes in letters, digits, `-` and `_`.
pub fn text<const LENGTH: usize>() -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<LENGTH>()?))
}
