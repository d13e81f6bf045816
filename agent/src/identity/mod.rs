//! Who this host is: its key, its certificate, and the CA that its root pinned.
//!
//! `trust/ca.pem` and `trust/host_id` belong to root and are written at enrolment only.
//! `state/key.pem` and `state/cert.pem` belong to the agent's user and are renewed by it. A renewal
//! writes `key.next.pem` and `cert.next.pem` first and renames the certificate before the key, so
//! that after a crash at any point one pair that fits is there; [`Identity::load`] finds it, and
//! [`Identity::take_up`] leaves it alone under its names.

mod certificate;
pub mod files;
#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sysop_common::ids::HostId;
use sysop_common::tls;

use crate::config::Paths;
pub use certificate::{CertificateError, Facts};
use files::Owner;

/// The host's identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The host was never enrolled, or its files were removed.
    #[error("{} is missing: this host is not enrolled; run `sysop-agent enroll` with the line that \"Add host\" shows", .0.display())]
    NotEnrolled(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {source}; check who owns it and that the disk is not full", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {problem}; restore it, or run `sysop-agent unenroll` and enrol again", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Others can read the key.
    #[error("{}: others can read this key; run `chmod 600 {}`", .0.display(), .0.display())]
    Exposed(PathBuf),
    /// A certificate from the controller is not usable.
    #[error("the controller's answer is not usable: {0}")]
    Answer(String),
    /// A key could not be made or used.
    #[error("key: {0}")]
    Key(#[from] rcgen::Error),
    /// The settings of TLS could not be made.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A key that was made on this host and never leaves it.
pub struct HostKey(KeyPair);

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostKey")
    }
}

impl HostKey {
    /// A new key: ECDSA P-256.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// A PKCS#10 request for it, DER. It names nothing: the controller decides the names.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn request(&self) -> Result<Vec<u8>, IdentityError> {
        Ok(CertificateParams::default().serialize_request(&self.0)?.der().to_vec())
    }

    fn fits(&self, facts: &Facts) -> bool {
        self.0.public_key_raw() == facts.public_key
    }
}

/// A host's identity, checked.
#[derive(Debug)]
pub struct Identity {
    ca: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: HostKey,
    facts: Facts,
}

struct Files {
    ca: PathBuf,
    host: PathBuf,
    key: PathBuf,
    certificate: PathBuf,
    next_key: PathBuf,
    next_certificate: PathBuf,
}

impl Files {
    fn of(paths: &Paths) -> Self {
        Self {
            ca: paths.trust.join("ca.pem"),
            host: paths.trust.join("host_id"),
            key: paths.state.join("key.pem"),
            certificate: paths.state.join("cert.pem"),
            next_key: paths.state.join("key.next.pem"),
            next_certificate: paths.state.join("cert.next.pem"),
        }
    }
}

impl Identity {
    /// Reads and checks the identity. Writes nothing: whoever looks may be another user than its owner.
    ///
    /// # Errors
    /// When a file is missing, damaged, exposed, or they do not fit together.
    pub fn load(paths: &Paths) -> Result<Self, IdentityError> {
        let files = Files::of(paths);
        let ca = read_certificate(&files.ca)?;
        let host = read_host(&files.host)?;
        let (mut best, mut first_error): (Option<Self>, Option<IdentityError>) = (None, None);
        for (certificate, key) in [
            (&files.certificate, &files.key),
            (&files.certificate, &files.next_key),
            (&files.next_certificate, &files.next_key),
        ] {
            match load_pair(certificate, key, &ca, host) {
                Ok(pair) if best.as_ref().is_none_or(|b| pair.facts.to > b.facts.to) => best = Some(pair),
                Ok(_) => {}
                Err(e) => first_error = first_error.or(Some(e)),
            }
        }
        best.ok_or_else(|| first_error.unwrap_or(IdentityError::NotEnrolled(files.key.clone())))
    }

    /// Reads the identity for use, as the user that it belongs to, and completes a renewal that a crash
    /// cut short.
    ///
    /// # Errors
    /// As [`Identity::load`].
    pub fn take_up(paths: &Paths) -> Result<Self, IdentityError> {
        let (files, found) = (Files::of(paths), Self::load(paths)?);
        if files.next_key.exists() || files.next_certificate.exists() {
            // A full disk must not keep the agent from starting with an identity that is good.
            let _ = found.settle(&files);
        }
        Ok(found)
    }

    /// Writes the identity that a controller gave at enrolment and returns it.
    ///
    /// # Errors
    /// When the answer does not fit the key, or a file cannot be written.
    pub fn install(
        paths: &Paths,
        key: HostKey,
        ca: &[u8],
        certificate: &[u8],
        owner: Option<Owner>,
    ) -> Result<Self, IdentityError> {
        let identity = Self::from_answer(ca, certificate, key)?;
        let files = Files::of(paths);
        let made = |path: &Path, result: io::Result<()>| {
            result.map_err(|source| IdentityError::File { path: path.to_owned(), source })
        };
        made(&paths.trust, files::directory(&paths.trust, 0o755, None))?;
        made(&paths.state, files::directory(&paths.state, 0o700, owner))?;
        if let Some(Owner { uid, gid }) = owner {
            made(&paths.state, std::os::unix::fs::chown(&paths.state, Some(uid), Some(gid)))?;
        }
        identity.write(&files.key, &files.certificate, owner)?;
        made(&files.next_key, files::remove(&files.next_key))?;
        made(&files.next_certificate, files::remove(&files.next_certificate))?;
        let ca = pem("CERTIFICATE", &identity.ca);
        made(&files.ca, files::write(&files.ca, ca.as_bytes(), 0o644, None))?;
        let id = format!("{}\n", identity.facts.host);
        made(&files.host, files::write(&files.host, id.as_bytes(), 0o644, None))?;
        Ok(identity)
    }

    /// Takes a renewed certificate for `key` into use and returns the new identity.
    ///
    /// # Errors
    /// When it is for another host, another key or from another CA, or cannot be written; the old
    /// identity is then still in force.
    pub fn renewed(&self, paths: &Paths, key: HostKey, certificate: &[u8]) -> Result<Self, IdentityError> {
        let new = Self::from_answer(&self.ca, certificate, key)?;
        if new.facts.host != self.facts.host {
            return Err(IdentityError::Answer("the certificate is for another host".into()));
        }
        let files = Files::of(paths);
        new.write(&files.next_key, &files.next_certificate, None)?;
        let renamed = |from: &Path, to: &Path| {
            std::fs::rename(from, to).map_err(|source| IdentityError::File { path: to.to_owned(), source })
        };
        renamed(&files.next_certificate, &files.certificate)?;
        renamed(&files.next_key, &files.key)?;
        files::sync_directory(&files.key)
            .map_err(|source| IdentityError::File { path: files.key.clone(), source })?;
        Ok(new)
    }

    /// Removes the identity: the host is not enrolled any more.
    ///
    /// # Errors
    /// When a file is there and cannot be removed.
    pub fn remove(paths: &Paths) -> Result<(), IdentityError> {
        let files = Files::of(paths);
        for path in
            [files.key, files.certificate, files.next_key, files.next_certificate, files.host, files.ca]
        {
            files::remove(&path).map_err(|source| IdentityError::File { path: path.clone(), source })?;
        }
        Ok(())
    }

    /// Settings of TLS with this identity.
    ///
    /// # Errors
    /// When key and certificate are not usable for TLS.
    pub fn tls(&self) -> Result<ClientConfig, IdentityError> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.0.serialize_der()));
        Ok(tls::agent(self.ca.clone(), vec![self.certificate.clone()], key)?)
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> HostId {
        self.facts.host
    }

    /// What the certificate says.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    fn from_answer(ca: &[u8], certificate: &[u8], key: HostKey) -> Result<Self, IdentityError> {
        let ca = CertificateDer::from(ca.to_vec());
        let certificate = CertificateDer::from(certificate.to_vec());
        let facts = Facts::read(&certificate, &ca).map_err(|e| IdentityError::Answer(e.to_string()))?;
        if !key.fits(&facts) {
            return Err(IdentityError::Answer("the certificate is for another key".into()));
        }
        Ok(Self { ca, certificate, key, facts })
    }

    fn write(&self, key: &Path, certificate: &Path, owner: Option<Owner>) -> Result<(), IdentityError> {
        let text = pem("CERTIFICATE", &self.certificate);
        for (path, text) in [(key, self.key.0.serialize_pem()), (certificate, text)] {
            files::write(path, text.as_bytes(), 0o600, owner)
                .map_err(|source| IdentityError::File { path: path.to_owned(), source })?;
        }
        Ok(())
    }

    /// Key and certificate, for tests that trust another CA than the one that issued them.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> (PrivateKeyDer<'static>, Vec<CertificateDer<'static>>) {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.0.serialize_der()));
        (key, vec![self.certificate.clone()])
    }

    /// Leaves this pair under its names and nothing of a renewal.
    fn settle(&self, files: &Files) -> Result<(), IdentityError> {
        self.write(&files.key, &files.certificate, None)?;
        for path in [&files.next_key, &files.next_certificate] {
            files::remove(path).map_err(|source| IdentityError::File { path: path.clone(), source })?;
        }
        Ok(())
    }
}

fn load_pair(
    certificate: &Path,
    key: &Path,
    ca: &CertificateDer<'static>,
    host: HostId,
) -> Result<Identity, IdentityError> {
    let wrong = |path: &Path, problem: String| IdentityError::Content { path: path.to_owned(), problem };
    let text = read(key)?;
    let mode = std::fs::metadata(key).map_or(0, |m| m.permissions().mode());
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed(key.to_owned()));
    }
    let text = String::from_utf8(text).map_err(|_| wrong(key, "is not a PEM file".into()))?;
    let pair =
        HostKey(KeyPair::from_pem(&text).map_err(|e| wrong(key, format!("holds no usable key ({e})")))?);
    let der = read_certificate(certificate)?;
    let facts = Facts::read(&der, ca).map_err(|e| wrong(certificate, e.to_string()))?;
    if facts.host != host {
        return Err(wrong(certificate, format!("is for host {}, but host_id says {host}", facts.host)));
    }
    if !pair.fits(&facts) {
        return Err(wrong(certificate, "does not fit the key beside it".into()));
    }
    Ok(Identity { ca: ca.clone(), certificate: der, key: pair, facts })
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => IdentityError::NotEnrolled(path.to_owned()),
        _ => IdentityError::File { path: path.to_owned(), source },
    })
}

fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(&read(path)?).map_err(|e| IdentityError::Content {
        path: path.to_owned(),
        problem: format!("holds no certificate ({e:?})"),
    })
}

fn read_host(path: &Path) -> Result<HostId, IdentityError> {
    let text = String::from_utf8_lossy(&read(path)?).trim().to_owned();
    text.parse().map_err(|e| IdentityError::Content { path: path.to_owned(), problem: format!("{e}") })
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
