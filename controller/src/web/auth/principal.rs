//! Who asks: a person by a session, or a program by a token.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sysop_common::time::{MINUTE_MS, UnixMs};

use super::secret;
use crate::decide::Person;
use crate::store::users::Role;
use crate::store::{StoreError, api_tokens, web_sessions};
use crate::web::session;
use crate::web::state::AppState;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Id of the user or of the token.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The person behind it: who signed in, or who made the token.
    pub behind: String,
    /// What it may do.
    pub role: Role,
    /// How it came in.
    pub way: Way,
}

/// How someone came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By the dashboard's cookie.
    Session {
        /// SHA-256 of the session's id.
        hash: [u8; 32],
        /// Value that forms of this session carry.
        csrf: String,
        /// Whether the password must be changed before anything else.
        must_change: bool,
        /// Last request that counts as use.
        last_seen: UnixMs,
    },
    /// By a bearer token.
    Token {
        /// SHA-256 of the token.
        hash: [u8; 32],
        /// Last use, to the minute.
        last_used: Option<UnixMs>,
        /// Who made it.
        made_by: String,
    },
}

impl Principal {
    /// How it is called in audit and records: `user:ann`, `token:ci`.
    #[must_use]
    pub fn actor(&self) -> String {
        match self.way {
            Way::Session { .. } => format!("user:{}", self.name),
            Way::Token { .. } => format!("token:{}", self.name),
        }
    }

    /// Who stands for a token that it makes: the person, also behind a token that makes tokens.
    #[must_use]
    pub fn maker(&self) -> String {
        match &self.way {
            Way::Session { .. } => self.actor(),
            Way::Token { made_by, .. } => made_by.clone(),
        }
    }

    /// What tells it from everyone else for ever.
    #[must_use]
    pub fn key(&self) -> String {
        match self.way {
            Way::Session { .. } => format!("user:{}", self.id),
            Way::Token { .. } => format!("token:{}", self.id),
        }
    }

    /// As the deciding step knows people.
    #[must_use]
    pub fn person(&self) -> Person {
        match self.way {
            Way::Session { .. } => Person::user(&self.name, self.role),
            Way::Token { .. } => Person::token(&self.name, &self.behind, self.role),
        }
    }

    /// The session's form value; empty for a token.
    #[must_use]
    pub fn csrf(&self) -> &str {
        match &self.way {
            Way::Session { csrf, .. } => csrf,
            Way::Token { .. } => "",
        }
    }

    /// Whether the password must be changed before anything else.
    #[must_use]
    pub const fn must_change(&self) -> bool {
        matches!(self.way, Way::Session { must_change: true, .. })
    }

    /// Whether it may still come in, by the store as it is now.
    ///
    /// # Errors
    /// Only the store's.
    pub async fn still_welcome(&self, state: &AppState) -> Result<bool, StoreError> {
        let now = state.now();
        Ok(match &self.way {
            Way::Session { hash, .. } => web_sessions::live(&state.db, hash, state.auth.session_idle_ms, now)
                .await?
                .is_some_and(|session| session.role == self.role),
            Way::Token { hash, .. } => {
                api_tokens::live(&state.db, hash, now).await?.is_some_and(|token| token.role == self.role)
            }
        })
    }
}

/// Who sent a request with these headers. A bearer token that is there decides alone: a wrong one is
/// not made good by a cookie.
///
/// # Errors
/// Only the store's.
pub async fn identify(
    state: &AppState,
    headers: &HeaderMap,
    https: bool,
) -> Result<Option<Principal>, StoreError> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let bearer = value.to_str().ok().and_then(|text| text.split_once(' '));
        let token = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some(hash) = token.and_then(|(_, token)| secret::api_token_hash(token.trim())) else {
            return Ok(None);
        };
        let token = api_tokens::live(&state.db, &hash, state.now()).await?;
        return Ok(token.map(|token| Principal {
            id: token.id,
            behind: token.created_by.strip_prefix("user:").unwrap_or(&token.created_by).to_owned(),
            name: token.name,
            role: token.role,
            way: Way::Token { hash, last_used: token.last_used, made_by: token.created_by },
        }));
    }
    let Some(hash) = session::presented(headers, state.secure(https)) else { return Ok(None) };
    let session = web_sessions::live(&state.db, &hash, state.auth.session_idle_ms, state.now()).await?;
    Ok(session.map(|session| Principal {
        id: session.user,
        behind: session.name.clone(),
        name: session.name,
        role: session.role,
        way: Way::Session {
            hash,
            csrf: session.csrf,
            must_change: session.must_change,
            last_seen: session.last_seen,
        },
    }))
}

/// Notes the use of a session or token, at most once a minute: requests should not all write.
///
/// # Errors
/// Only the store's.
pub async fn note_use(state: &AppState, principal: &Principal) -> Result<(), StoreError> {
    let now = state.now();
    match &principal.way {
        Way::Session { hash, last_seen, .. } if now.since(*last_seen) >= MINUTE_MS => {
            web_sessions::touch(&state.db, hash, now).await
        }
        Way::Token { last_used, .. } if last_used.is_none_or(|at| now.since(at) >= MINUTE_MS) => {
            api_tokens::touch(&state.db, &principal.id, now).await
        }
        _ => Ok(()),
    }
}
