//! Enrolment: a key that is made here and never leaves, a request, and what the controller answers.
//!
//! The token is sent only after the controller proved that its certificate comes from the CA whose
//! fingerprint the person at this host was given.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sysop_common::bytes::{Bytes, Digest, from_hex};
use sysop_common::ids::HostId;
use sysop_common::tls;
use sysop_common::wire::frame::FrameBuf;
use sysop_common::wire::{EnrolAnswer, EnrolRequest, Enrolled};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::config::{Config, Transport as Choice};
use crate::guard::{AllowClass, template};
use crate::identity::files::{self, Owner};
use crate::identity::{HostKey, Identity, IdentityError};
use crate::link::Transport;
use crate::link::dial::{Connection, DialError, Target, dial};

/// How long the controller may take to answer.
const ANSWER: Duration = Duration::from_secs(15);
/// Longest token that is sent.
const MAX_TOKEN: usize = 512;

/// What a host needs to be taken in.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// Its settings: the controller's address and where files go.
    pub config: Config,
    /// The one-time token.
    pub token: String,
    /// Fingerprint of the controller's CA.
    pub ca: Digest,
    /// Name to show; empty means the kernel's host name.
    pub name: String,
    /// What the first policy allows.
    pub allow: Vec<AllowClass>,
    /// Who owns key, certificate and state; `None` means whoever runs this.
    pub owner: Option<Owner>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// The host's id.
    pub host: HostId,
    /// How the controller was reached.
    pub transport: Transport,
    /// Whether a first policy was written; one that was there is kept.
    pub wrote_policy: bool,
}

/// A host was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// There is an identity already.
    #[error("this host is enrolled already, as {0}; run `sysop-agent unenroll` first if it is to start anew")]
    AlreadyEnrolled(HostId),
    /// The fingerprint has another form.
    #[error("{0:?} is no fingerprint; copy the whole sha256:… that \"Add host\" shows")]
    BadFingerprint(String),
    /// The address has another form.
    #[error("{0:?} is no address; write HOST:PORT, as \"Add host\" shows it")]
    BadAddress(String),
    /// There is no token, or it cannot be one.
    #[error("no usable token was given; pass the one that \"Add host\" shows on standard input")]
    BadToken,
    /// The controller was not reached.
    #[error(
        "controller {address} was not reached: {reasons}; check address, firewall (udp and tcp) and that it runs"
    )]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What happened on each transport.
        reasons: String,
    },
    /// Its certificate is not the one that was announced.
    #[error(
        "whoever answers at {address} is not the controller whose fingerprint was given ({reason}); copy the line from \"Add host\" again, and if it still fails, somebody is in between: stop and find out who"
    )]
    NotTheController {
        /// Where it should be.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// It was reached and did not answer properly.
    #[error("the controller did not answer: {0}; the token may be used up: make a new one with \"Add host\"")]
    NoAnswer(String),
    /// It refused.
    #[error("the controller refused: {0}")]
    Refused(String),
    /// What it answered, or the files, cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The policy cannot be written.
    #[error("{}: {source}; check who owns the directory and that the disk is not full", path.display())]
    Policy {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A fingerprint as it is shown: `sha256:` and 64 hexadecimal digits, with or without colons.
///
/// # Errors
/// When it has another form.
pub fn parse_fingerprint(text: &str) -> Result<Digest, EnrolError> {
    let error = || EnrolError::BadFingerprint(text.chars().take(80).collect());
    let digits = text.trim().strip_prefix("sha256:").ok_or_else(error)?.replace(':', "");
    let bytes = from_hex(&digits.to_ascii_lowercase()).ok_or_else(error)?;
    Ok(Digest(bytes.try_into().map_err(|_| error())?))
}

/// Enrols this host: makes a key, asks, and writes identity, trust and a first policy.
///
/// # Errors
/// Says at which step it ended and what to do; a host that was not taken in has no identity.
pub async fn enrol(enrolment: Enrolment) -> Result<Done, EnrolError> {
    let Enrolment { config, token, ca, name, allow, owner } = enrolment;
    if let Ok(identity) = Identity::load(&config.paths) {
        return Err(EnrolError::AlreadyEnrolled(identity.host()));
    }
    let token = token.trim().to_owned();
    if token.is_empty() || token.len() > MAX_TOKEN || token.contains(char::is_whitespace) {
        return Err(EnrolError::BadToken);
    }
    let key = HostKey::generate()?;
    let request = EnrolRequest {
        token,
        csr: Bytes(key.request()?),
        hostname: if name.is_empty() { hostname() } else { name },
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let connection = connect(&config, ca).await?;
    let transport = connection.transport;
    let Enrolled { host, certificate, ca: issuer } = ask(connection, &request).await?;
    if tls::fingerprint(&issuer.0) != ca {
        return Err(IdentityError::Answer("the CA is not the one that was announced".into()).into());
    }
    let identity = Identity::install(&config.paths, key, &issuer.0, &certificate.0, owner)?;
    if identity.host() != host {
        Identity::remove(&config.paths)?;
        return Err(IdentityError::Answer("the certificate names another host".into()).into());
    }
    let wrote_policy = write_policy(&config, &allow)?;
    Ok(Done { host, transport, wrote_policy })
}

/// The kernel's name of this host.
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

async fn connect(config: &Config, ca: Digest) -> Result<Connection, EnrolError> {
    let address =
        config.controller_address().ok_or_else(|| EnrolError::BadAddress(config.controller.clone()))?;
    let settings = tls::enrolment(ca).map_err(IdentityError::Tls)?;
    let target = Target { address, tls: Arc::new(settings) };
    let transports: &[Transport] = match config.link.transport {
        Choice::Auto => &[Transport::Quic, Transport::Tcp],
        Choice::Quic => &[Transport::Quic],
        Choice::Tcp => &[Transport::Tcp],
    };
    let mut reasons = Vec::new();
    for transport in transports {
        match dial(*transport, &target, config.link.handshake_timeout.0).await {
            Ok(connection) => return Ok(connection),
            // The other transport is not asked whether it is less particular.
            Err(DialError::Certificate(reason)) => {
                return Err(EnrolError::NotTheController { address: config.controller.clone(), reason });
            }
            Err(e) => reasons.push(format!("{}: {e}", transport.word())),
        }
    }
    Err(EnrolError::Unreachable { address: config.controller.clone(), reasons: reasons.join(", ") })
}

async fn ask(mut connection: Connection, request: &EnrolRequest) -> Result<Enrolled, EnrolError> {
    let exchange = tokio::time::timeout(ANSWER, exchange(&mut connection, request)).await;
    let answer = match exchange {
        Err(_) => Err(EnrolError::NoAnswer(format!("nothing came within {} s", ANSWER.as_secs()))),
        Ok(Err(e)) => Err(EnrolError::NoAnswer(connection.explain(&e).to_string())),
        Ok(Ok(EnrolAnswer::Enrolled(enrolled))) => Ok(enrolled),
        Ok(Ok(EnrolAnswer::Refused(reason))) => Err(EnrolError::Refused(reason.chars().take(200).collect())),
    };
    connection.close().await;
    answer
}

async fn exchange(connection: &mut Connection, request: &EnrolRequest) -> io::Result<EnrolAnswer> {
    let mut out = Vec::new();
    request.encode(&mut out).map_err(io::Error::other)?;
    connection.writer.write_all(&out).await?;
    connection.writer.flush().await?;
    let (mut frames, mut buf) = (FrameBuf::default(), [0; 4096]);
    loop {
        let read = connection.reader.read(&mut buf).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        frames.extend(buf.get(..read).unwrap_or_default());
        if let Some(frame) = frames.next_frame().map_err(io::Error::other)? {
            return EnrolAnswer::decode(frame).map_err(io::Error::other);
        }
    }
}

/// Writes the first policy; one that is there is the owner's and stays.
fn write_policy(config: &Config, allow: &[AllowClass]) -> Result<bool, EnrolError> {
    let path = &config.paths.policy;
    if path.exists() {
        return Ok(false);
    }
    let parent = path.parent().map_or(Ok(()), |parent| files::directory(parent, 0o755, None));
    parent
        .and_then(|()| files::write(path, template(allow).as_bytes(), 0o644, None))
        .map_err(|source| EnrolError::Policy { path: path.clone(), source })?;
    Ok(true)
}
