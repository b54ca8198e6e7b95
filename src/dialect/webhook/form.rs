//! What the forms of signatures have in their headers.

use super::Form;
use super::secret::Secret;
use super::verify::Headers;

/// The form that a request is in, by its headers and by the secret that belongs to it.
pub fn form_of(headers: &Headers, secret: Option<&Secret>) -> Form {
    let has = |form: &Form| headers.get(form.signature_header()).is_some();
    let pair = secret.is_some_and(Secret::is_of_pair);
    match Form::ALL.into_iter().find(has) {
        Some(Form::Standard) | None if pair => Form::StandardEd25519,
        found => found.unwrap_or_default(),
    }
}

impl Form {
    pub const ALL: [Form; 5] = [Form::Standard, Form::StandardEd25519, Form::Mission, Form::Stripe, Form::Github];

    pub fn name(self) -> &'static str {
        match self {
            Form::Standard => "standard",
            Form::StandardEd25519 => "standard_ed25519",
            Form::Mission => "mission",
            Form::Stripe => "stripe",
            Form::Github => "github",
        }
    }

    pub fn from_name(name: &str) -> Option<Form> {
        Form::ALL.into_iter().find(|form| form.name() == name)
    }

    /// The header that holds the signature, in lower case.
    pub fn signature_header(self) -> &'static str {
        match self {
            Form::Standard | Form::StandardEd25519 => "webhook-signature",
            Form::Mission => "x-signature",
            Form::Stripe => "stripe-signature",
            Form::Github => "x-hub-signature-256",
        }
    }

    /// Whether one header holds as many signatures as there are secrets.
    pub fn holds_several(self) -> bool {
        matches!(self, Form::Standard | Form::StandardEd25519 | Form::Stripe)
    }
}
