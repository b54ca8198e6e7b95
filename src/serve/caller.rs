//! Who calls, and what they may do.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::model::Error;

/// What a key allows; each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read everything but secrets.
    Read,
    /// Start, stop and resolve.
    Operate,
    /// Change jobs, settings, secrets and keys.
    Admin,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Read, Role::Operate, Role::Admin];

    pub fn name(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Operate => "operate",
            Role::Admin => "admin",
        }
    }

    pub fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Whoever a request comes from; put into the request by the access layer.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name of the key; `local` where no keys exist.
    pub name: String,
    pub role: Role,
}

impl Caller {
    /// `Denied` below the role. Every request that changes anything has been held to `Operate` before.
    pub fn must(&self, role: Role) -> Result<(), Error> {
        if self.role >= role {
            return Ok(());
        }
        let message = format!("the key {:?} may {}, and this takes {}", self.name, self.role.name(), role.name());
        Err(Error::denied(message).hint(format!("`tidegate keys create NAME --role {}`", role.name())))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| Error::bug("a route outside of the access layer asks who calls").into())
    }
}
