//! Signatures of webhooks, made and checked: Standard Webhooks (`v1` and `v1a`, Svix's header names too), the mission's own
//! form, Stripe's and GitHub's; and why one does not match.

pub mod canonical;
mod explain;
mod form;
pub mod json;
mod keyring;
mod secret;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

pub use explain::{Explanation, explain};
pub use form::form_of;
pub use keyring::{Keyring, Term};
pub use secret::Secret;
pub use sign::{Outgoing, body_to_send, sign};
pub use verify::{Headers, Incoming, Matched, Reason, verify};

use crate::model::SignatureForm as Form;
