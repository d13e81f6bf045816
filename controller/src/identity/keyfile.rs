//! The key that wraps all stored private keys. It is a file of its own beside the database, so that a
//! copy of the database alone gives nobody a key.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

const LEN: usize = 32;
const VERSION: u8 = 1;

/// The key file or something wrapped by it is not usable.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("key file {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database has wrapped keys and the file is gone.
    #[error("key file {0} is missing, and the database was made with it: restore it from a backup")]
    Missing(PathBuf),
    /// Others may read the file.
    #[error("key file {0} may be read by others: run chmod 600 on it, and make a new CA if somebody did")]
    Open(PathBuf),
    /// The file has not the length of a key.
    #[error("key file {0} does not have 32 bytes: restore it from a backup")]
    Length(PathBuf),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// A wrapped key does not open.
    #[error("the stored {0} does not open with the key file: it is from another installation or was changed")]
    Unwrap(&'static str),
}

/// The wrapping key.
pub struct KeyFile {
    key: Zeroizing<[u8; LEN]>,
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyFile")
    }
}

impl KeyFile {
    /// Reads `dir/key`, or makes it when `fresh`: when nothing is wrapped by it yet.
    ///
    /// # Errors
    /// When it is missing, open to others, or not a key.
    pub fn open(dir: &Path, fresh: bool) -> Result<Self, KeyError> {
        let path = dir.join("key");
        let failed = |source| KeyError::File { path: path.clone(), source };
        match fs::File::open(&path) {
            Ok(file) => {
                if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
                    return Err(KeyError::Open(path));
                }
                let mut key = Zeroizing::new(Vec::with_capacity(LEN + 1));
                (&file).take(LEN as u64 + 1).read_to_end(&mut key).map_err(failed)?;
                let key =
                    <[u8; LEN]>::try_from(key.as_slice()).map_err(|_| KeyError::Length(path.clone()))?;
                Ok(Self { key: Zeroizing::new(key) })
            }
            Err(error) if error.kind() == ErrorKind::NotFound && fresh => Self::make(dir, &path),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(KeyError::Missing(path)),
            Err(error) => Err(failed(error)),
        }
    }

    fn make(dir: &Path, path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        let mut key = Zeroizing::new([0; LEN]);
        random(&mut *key)?;
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all(&*key).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        Ok(Self { key })
    }

    fn cipher(&self) -> Result<LessSafeKey, KeyError> {
        UnboundKey::new(&AES_256_GCM, &*self.key).map(LessSafeKey::new).map_err(|_| KeyError::Random)
    }

    /// Wraps `secret` for the place named `place`, so that it opens nowhere else.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn wrap(&self, place: &str, secret: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut nonce = [0; NONCE_LEN];
        random(&mut nonce)?;
        let mut sealed = secret.to_vec();
        self.cipher()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut sealed)
            .map_err(|_| KeyError::Random)?;
        Ok([&[VERSION][..], &nonce, &sealed].concat())
    }

    /// Opens what was wrapped for the place named `place`; `what` is for the error's text.
    ///
    /// # Errors
    /// When it was wrapped by another key or for another place, or was changed.
    pub fn unwrap(
        &self,
        place: &str,
        wrapped: &[u8],
        what: &'static str,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let failed = || KeyError::Unwrap(what);
        let (version, rest) = wrapped.split_first().ok_or_else(failed)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or_else(failed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| failed())?;
        if *version != VERSION {
            return Err(failed());
        }
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let len =
            self.cipher()?.open_in_place(nonce, Aad::from(place), &mut bytes).map_err(|_| failed())?.len();
        bytes.truncate(len);
        Ok(bytes)
    }
}

/// Fills `bytes` from the system's generator.
///
/// # Errors
/// When it has none.
pub(super) fn random(bytes: &mut [u8]) -> Result<(), KeyError> {
    SystemRandom::new().fill(bytes).map_err(|_| KeyError::Random)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_wrapped_opens_for_its_place_only() {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyFile::open(dir.path(), true).unwrap();
        let wrapped = key.wrap("authority:1", b"secret").unwrap();
        let again = KeyFile::open(dir.path(), false).unwrap();
        assert_eq!(&**again.unwrap("authority:1", &wrapped, "key").unwrap(), b"secret");
        assert!(again.unwrap("authority:2", &wrapped, "key").is_err());
        for at in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert!(again.unwrap("authority:1", &changed, "key").is_err(), "{at}");
            assert!(again.unwrap("authority:1", &wrapped[..at], "key").is_err(), "{at}");
        }
    }

    #[test]
    fn a_lost_or_open_key_file_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let text = |result: Result<KeyFile, KeyError>| result.unwrap_err().to_string();
        assert!(text(KeyFile::open(dir.path(), false)).contains("restore it"));
        KeyFile::open(dir.path(), true).unwrap();
        let path = dir.path().join("key");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(text(KeyFile::open(dir.path(), false)).contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, b"short").unwrap();
        assert!(text(KeyFile::open(dir.path(), false)).contains("32 bytes"));
    }
}
