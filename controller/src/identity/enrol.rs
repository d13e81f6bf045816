//! Taking hosts in: tokens and the one request that uses them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sysop_common::bytes::{Bytes, Digest};
use sysop_common::ids::{HostId, sha256};
use sysop_common::time::{DAY_MS, MINUTE_MS, UnixMs};
use sysop_common::tls;
use sysop_common::wire::{EnrolRequest, Enrolled};

use super::keyfile::random;
use super::{Identity, IdentityError, issue};
use crate::store::enrollment_tokens::{self, EnrollmentToken, Newcomer};
use crate::store::{Conn, StoreError, hosts, labels};

/// Life of a token, unless asked otherwise.
pub const TOKEN_LIFE_MS: i64 = 15 * MINUTE_MS;
/// Longest life of a token.
const MAX_LIFE_MS: i64 = 30 * DAY_MS;
/// Most uses of a token.
const MAX_USES: u32 = 10_000;
/// What a token begins with, so that scanners for lost secrets can find it.
const PREFIX: &str = "sysop_enroll_";

/// A token that is to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it is called.
    pub name: String,
    /// Who makes it.
    pub created_by: String,
    /// How long it lives, ms.
    pub life_ms: i64,
    /// How often it may be used.
    pub max_uses: u32,
    /// Labels for the hosts that use it; an admin's, so they may select for rights.
    pub labels: BTreeMap<String, String>,
    /// The one host that it brings back, if it is for that.
    pub recovers: Option<HostId>,
}

impl NewToken {
    /// For one host, for fifteen minutes.
    #[must_use]
    pub fn single(name: impl Into<String>, created_by: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            created_by: created_by.into(),
            life_ms: TOKEN_LIFE_MS,
            max_uses: 1,
            labels: BTreeMap::new(),
            recovers: None,
        }
    }
}

/// A token that was made. Its text is shown once and stored nowhere.
#[derive(Clone)]
pub struct CreatedToken {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
    /// When it ends.
    pub expires_at: UnixMs,
}

/// A host was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The token is not good. The text does not say why: whoever guesses learns nothing.
    #[error("the token is not valid: it may be mistyped, used up, expired or withdrawn; make a new one")]
    Token,
    /// The request is not good.
    #[error("{0}")]
    Request(&'static str),
    /// The controller could not do it now.
    #[error("the controller cannot take hosts in at the moment; try again")]
    Failed(#[source] IdentityError),
}

impl From<StoreError> for EnrolError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

fn hash(text: &str) -> Digest {
    Digest(sha256(text.as_bytes()))
}

impl Identity {
    /// Makes an enrolment token by itself, as [`Identity::create_token_in`].
    ///
    /// # Errors
    /// As [`Identity::create_token_in`].
    pub async fn create_token(&self, new: NewToken, now: UnixMs) -> Result<CreatedToken, IdentityError> {
        let mut tx = self.inner.db.begin().await?;
        let made = self.create_token_in(&mut tx, new, now).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Makes an enrolment token in the transaction of `conn`, beside the record of it.
    ///
    /// # Errors
    /// When life, uses, name or labels are out of bounds, or the host to recover does not exist.
    pub async fn create_token_in(
        &self,
        conn: &mut Conn,
        new: NewToken,
        now: UnixMs,
    ) -> Result<CreatedToken, IdentityError> {
        if !(1..=MAX_LIFE_MS).contains(&new.life_ms) {
            return Err(StoreError::Conflict("a token lives at most 30 days").into());
        }
        if !(1..=MAX_USES).contains(&new.max_uses) || (new.recovers.is_some() && new.max_uses != 1) {
            return Err(StoreError::Conflict(
                "a token has 1 to 10000 uses; one that recovers a host has one",
            )
            .into());
        }
        if new.name.len() > hosts::MAX_NAME {
            return Err(StoreError::Conflict("a token's name has at most 128 bytes").into());
        }
        labels::check_labels(&new.labels)?;
        let mut secret = [0; 32];
        random(&mut secret)?;
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
        let token = EnrollmentToken {
            id: uuid::Uuid::now_v7().to_string(),
            name: new.name,
            created_by: new.created_by,
            created_at: now,
            expires_at: now.plus(new.life_ms),
            max_uses: new.max_uses,
            uses: 0,
            labels: new.labels,
            recovers: new.recovers,
            revoked_at: None,
        };
        enrollment_tokens::insert(conn, hash(&text), &token).await?;
        Ok(CreatedToken { id: token.id, text, expires_at: token.expires_at })
    }

    /// Takes a host in.
    ///
    /// # Errors
    /// See [`EnrolError`]; each text may be shown to the peer.
    pub async fn enrol(&self, request: &EnrolRequest, now: UnixMs) -> Result<Enrolled, EnrolError> {
        let name = display_name(&request.hostname)
            .ok_or(EnrolError::Request("the host name must have 1 to 128 printable bytes"))?;
        if request.agent_version.len() > 64 || request.token.len() > 128 {
            return Err(EnrolError::Request("a field of the request is too long"));
        }
        // Before the token is looked at, so that a bad request costs the same whatever the token.
        let fresh = HostId(uuid::Uuid::now_v7());
        let issued = self.issue(request, fresh, now)?;
        let token = enrollment_tokens::usable(&self.inner.db, hash(&request.token), now).await?;
        let token = token.ok_or(EnrolError::Token)?;
        let (host, (certificate, not_after)) = match token.recovers {
            Some(host) => (host, self.issue(request, host, now)?),
            None => (fresh, issued),
        };
        let newcomer = Newcomer {
            host,
            name: &name,
            agent_version: &request.agent_version,
            fingerprint: tls::fingerprint(&certificate),
            not_after,
        };
        if !enrollment_tokens::claim(&self.inner.db, &token, &newcomer, now).await? {
            return Err(EnrolError::Token);
        }
        Ok(Enrolled { host, certificate: Bytes(certificate), ca: Bytes(self.inner.ca_certificate.clone()) })
    }

    fn issue(
        &self,
        request: &EnrolRequest,
        host: HostId,
        now: UnixMs,
    ) -> Result<(Vec<u8>, UnixMs), EnrolError> {
        issue::host(&self.inner.ca, &request.csr.0, host, self.inner.host_life_ms, now).map_err(|e| match e {
            IdentityError::BadRequest => EnrolError::Request(
                "the certificate request must be PKCS#10 for an ECDSA P-256 key and signed by it",
            ),
            other => EnrolError::Failed(other),
        })
    }
}

/// A host's name as it may be shown: printable, not empty, not too long.
fn display_name(text: &str) -> Option<String> {
    let name = text.trim();
    let fits = !name.is_empty() && name.len() <= hosts::MAX_NAME && !name.chars().any(char::is_control);
    fits.then(|| name.to_owned())
}
