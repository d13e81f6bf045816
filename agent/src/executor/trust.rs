//! The CA that root pinned and the id that the host was given, read so that nobody else can have written them.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sysop_common::ids::HostId;
use sysop_common::order::TrustRoot;

use crate::guard::owned::{self, OwnedError, Reach};

/// Most bytes of a trust file.
const MAX_TRUST: usize = 64 * 1024;

/// Orders cannot be checked: none is taken.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file cannot be read, or others could have written it.
    #[error("{0}; this host takes no orders until it is mended")]
    File(#[from] OwnedError),
    /// A file does not hold what it should.
    #[error("{}: {problem}; enrol the host again", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Reads `ca.pem` and `host_id` in `dir`.
///
/// # Errors
/// Names the file and the remedy.
pub(super) fn load(dir: &Path) -> Result<(TrustRoot, HostId), TrustError> {
    let host = load_host(dir)?;
    let path = dir.join("ca.pem");
    let pem = owned::read(&path, MAX_TRUST, Reach::Path)?;
    let wrong = |problem: String| TrustError::Content { path: path.clone(), problem };
    let ca = CertificateDer::from_pem_slice(&pem).map_err(|e| wrong(format!("is no certificate: {e}")))?;
    let trust = TrustRoot::new(&ca, host).map_err(|e| wrong(e.detail))?;
    Ok((trust, host))
}

/// Reads `host_id` in `dir`.
///
/// # Errors
/// Names the file and the remedy.
pub(super) fn load_host(dir: &Path) -> Result<HostId, TrustError> {
    let path = dir.join("host_id");
    let text = owned::read(&path, MAX_TRUST, Reach::Path)?;
    let text = String::from_utf8_lossy(&text);
    text.trim().parse().map_err(|e| TrustError::Content { path, problem: format!("{e}") })
}
