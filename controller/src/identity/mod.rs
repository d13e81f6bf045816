//! Who is who: the CA, the controller's own certificates, enrolment and certificates of hosts.
//!
//! The CA is made once. Its key and the dispatch key are stored wrapped by a key file outside the
//! database. A host's certificate counts only while its row stands in the store: that is how it is
//! revoked.

mod enrol;
mod issue;
mod keyfile;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use rcgen::{KeyPair, PKCS_ED25519};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sysop_common::bytes::Digest;
use sysop_common::ids::{ControllerId, HostId};
use sysop_common::order::{DispatchKey, SignError};
use sysop_common::time::{DAY_MS, UnixMs};
use sysop_common::tls;

use crate::store::authority::{self, AuthorityRow, ControllerRow};
use crate::store::{Db, StoreError, certificates};
pub use enrol::{CreatedToken, EnrolError, NewToken, TOKEN_LIFE_MS};
pub use issue::{PeerError, host_of};
pub use keyfile::{KeyError, KeyFile};

/// Life of a host's certificate, unless the settings say otherwise. Agents renew at two thirds.
pub const HOST_LIFE_MS: i64 = 30 * DAY_MS;

const CA_PLACE: &str = "authority:1:wrapped_key";

/// The controller's identity cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate could not be made.
    #[error("certificate cannot be made: {0}")]
    Issue(#[from] rcgen::Error),
    /// The dispatch key is not one.
    #[error(transparent)]
    Dispatch(#[from] SignError),
    /// TLS settings do not fit.
    #[error("TLS settings: {0}")]
    Tls(#[from] rustls::Error),
    /// A certificate request is not acceptable.
    #[error("the certificate request must be PKCS#10 for an ECDSA P-256 key and signed by it")]
    BadRequest,
    /// The file that names this controller cannot be used.
    #[error("{path}: {why}")]
    ControllerFile {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        why: String,
    },
}

/// A certificate chain and its key.
pub type Certified = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The controller's identity. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    ca: issue::Ca,
    ca_certificate: Vec<u8>,
    controller: ControllerId,
    dispatch: Arc<DispatchKey>,
    host_life_ms: i64,
    key: KeyFile,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("controller", &self.inner.controller).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the identity, or makes what is missing of it: the CA once, the dispatch key per controller.
    ///
    /// # Errors
    /// When the key file is lost, or something stored does not open with it.
    pub async fn open(db: &Db, data_dir: &Path) -> Result<Self, IdentityError> {
        Self::open_with(db, data_dir, HOST_LIFE_MS).await
    }

    /// As [`Identity::open`], with another life of hosts' certificates, in ms.
    ///
    /// # Errors
    /// As [`Identity::open`].
    pub async fn open_with(db: &Db, data_dir: &Path, host_life_ms: i64) -> Result<Self, IdentityError> {
        let now = UnixMs::from_system(std::time::SystemTime::now());
        let stored = authority::get(db).await?;
        let key = KeyFile::open(data_dir, stored.is_none())?;
        let row = match stored {
            Some(row) => row,
            None => {
                let (certificate, ca_key) = issue::make_ca(now)?;
                let wrapped_key = key.wrap(CA_PLACE, &ca_key)?;
                authority::insert(db, &AuthorityRow { certificate, wrapped_key }, now).await?
            }
        };
        let ca = issue::load_ca(&row.certificate, &key.unwrap(CA_PLACE, &row.wrapped_key, "CA key")?)?;
        let controller = controller_id(data_dir)?;
        let dispatch = Arc::new(dispatch_key(db, &key, &ca, controller, now).await?);
        let inner = Inner {
            db: db.clone(),
            ca,
            ca_certificate: row.certificate,
            controller,
            dispatch,
            host_life_ms,
            key,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Wraps a secret for the place named `place`: with the database alone nobody opens it.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn seal(&self, place: &str, secret: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.inner.key.wrap(place, secret)
    }

    /// Opens what was sealed for the place named `place`; `what` is for the error's text.
    ///
    /// # Errors
    /// When it was sealed elsewhere or for another place, or was changed.
    pub fn unseal(
        &self,
        place: &str,
        sealed: &[u8],
        what: &'static str,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, KeyError> {
        self.inner.key.unwrap(place, sealed, what)
    }

    /// This controller's id.
    #[must_use]
    pub fn controller(&self) -> ControllerId {
        self.inner.controller
    }

    /// The CA's certificate, DER.
    #[must_use]
    pub fn ca_certificate(&self) -> &[u8] {
        &self.inner.ca_certificate
    }

    /// SHA-256 of the CA's certificate: what a person compares or pastes at enrolment.
    #[must_use]
    pub fn ca_fingerprint(&self) -> Digest {
        tls::fingerprint(&self.inner.ca_certificate)
    }

    /// The key that signs orders and heads of the audit chain.
    #[must_use]
    pub fn dispatch_key(&self) -> Arc<DispatchKey> {
        self.inner.dispatch.clone()
    }

    /// TLS settings of the listeners for agents, with a fresh server certificate. The CA is sent along, so
    /// that enrolment can pin it.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn server_config(&self) -> Result<ServerConfig, IdentityError> {
        let now = UnixMs::from_system(std::time::SystemTime::now());
        let (leaf, key) = issue::server(&self.inner.ca, now)?;
        let ca = CertificateDer::from(self.inner.ca_certificate.clone());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
        Ok(tls::controller(ca.clone(), vec![CertificateDer::from(leaf), ca], key)?)
    }

    /// A certificate for the dashboard from the CA, for these host names, `localhost`, the loopback
    /// addresses and `address`: the chain and its key.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn web_certificate(&self, names: &[String], address: IpAddr) -> Result<Certified, IdentityError> {
        let now = UnixMs::from_system(std::time::SystemTime::now());
        let names = [names, &["localhost".to_owned()]].concat();
        let mut addresses = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        if !address.is_unspecified() && !addresses.contains(&address) {
            addresses.push(address);
        }
        let (leaf, key) = issue::web(&self.inner.ca, &names, &addresses, now)?;
        let ca = CertificateDer::from(self.inner.ca_certificate.clone());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
        Ok((vec![CertificateDer::from(leaf), ca], key))
    }

    /// Gives a host the certificate that follows its own. Not for one that is revoked, expired or removed.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the old certificate does not stand, [`IdentityError::BadRequest`] when
    /// the request is not acceptable.
    pub async fn renew(
        &self,
        host: HostId,
        old: Digest,
        csr: &[u8],
        now: UnixMs,
    ) -> Result<Vec<u8>, IdentityError> {
        let (certificate, not_after) = issue::host(&self.inner.ca, csr, host, self.inner.host_life_ms, now)?;
        let fingerprint = tls::fingerprint(&certificate);
        certificates::renew(&self.inner.db, old, host, fingerprint, not_after, now).await?;
        Ok(certificate)
    }
}

#[cfg(test)]
impl Identity {
    /// The CA itself, for certificates that it would not sign.
    pub(crate) fn authority(&self) -> &issue::Ca {
        &self.inner.ca
    }
}

/// The id in `dir/controller-id`, made at the first start.
fn controller_id(dir: &Path) -> Result<ControllerId, IdentityError> {
    let path = dir.join("controller-id");
    let failed = |why: String| IdentityError::ControllerFile { path: path.clone(), why };
    match std::fs::read_to_string(&path) {
        Ok(text) => ControllerId::from_str(text.trim()).map_err(|e| failed(e.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = ControllerId(uuid::Uuid::now_v7());
            std::fs::write(&path, format!("{id}\n")).map_err(|e| failed(e.to_string()))?;
            Ok(id)
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The dispatch key of a controller; made when there is none, certified anew in the last fifth of its
/// certificate's life.
async fn dispatch_key(
    db: &Db,
    file: &KeyFile,
    ca: &issue::Ca,
    id: ControllerId,
    now: UnixMs,
) -> Result<DispatchKey, IdentityError> {
    let place = format!("controllers:{id}:wrapped_dispatch_key");
    let stored = authority::controller(db, id).await?;
    let key = match &stored {
        Some(row) => file.unwrap(&place, &row.wrapped_key, "dispatch key")?,
        None => KeyPair::generate_for(&PKCS_ED25519)?.serialize_der().into(),
    };
    let fresh = stored.filter(|row| {
        issue::ends(&row.certificate).is_some_and(|end| end.since(now) > issue::DISPATCH_DAYS * DAY_MS / 5)
    });
    let row = match fresh {
        Some(row) => row,
        None => {
            let pkcs8 = PrivatePkcs8KeyDer::from(key.as_slice());
            let pair = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ED25519)?;
            let certificate = issue::dispatch(ca, &pair, now)?;
            let row = ControllerRow { id, certificate, wrapped_key: file.wrap(&place, &key)? };
            authority::put_controller(db, &row, now).await?;
            row
        }
    };
    Ok(DispatchKey::new(&key, row.certificate)?)
}
