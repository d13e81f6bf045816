//! Sign-in: the first administrator, the life of sessions.

use std::fmt;

use zeroize::Zeroizing;

use super::sources::{ConfigError, Key, Sources};
use super::units::duration;

/// `[auth]`.
#[derive(Debug, Clone)]
pub struct Auth {
    /// First password of `admin`, in place of the setup code.
    pub init_secret: Option<InitSecret>,
    /// A session ends after this time without use, in ms.
    pub session_idle_ms: i64,
    /// A session ends after this time, in ms.
    pub session_life_ms: i64,
}

/// A password from the settings. It is not shown in logs.
#[derive(Clone)]
pub struct InitSecret(Zeroizing<String>);

impl InitSecret {
    /// The password.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InitSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InitSecret")
    }
}

const SECRET: Key = Key::new("auth.init_secret", &["SYSOP_INIT_SECRET", "APP_INIT_SECRET"]);
const IDLE: Key = Key::new("auth.session_idle", &["SYSOP_SESSION_IDLE"]);
const LIFE: Key = Key::new("auth.session_life", &["SYSOP_SESSION_LIFE"]);

/// Least length of a password, in characters.
pub const LEAST_CHARACTERS: usize = 12;
/// Most bytes of a password.
const MOST_BYTES: usize = 256;

/// Values that stand in published examples, in letters and digits only: whoever copied one shares it
/// with everybody.
const PUBLISHED: [&str; 12] = [
    "secret123",
    "yoursecretkey",
    "yourinitsecret",
    "yoursecret",
    "changethissecret",
    "changethissecretkeynow",
    "changethissecretkey",
    "changeme",
    "changemenow",
    "devsecretkey",
    "securepassword",
    "yoursecurepassword",
];

impl Auth {
    pub(super) fn read(sources: &mut Sources) -> Result<Self, ConfigError> {
        Ok(Self {
            init_secret: sources.read_secret(SECRET, init_secret)?,
            session_idle_ms: sources.read(IDLE, duration("1min", "12h"))?.unwrap_or(30 * 60_000),
            session_life_ms: sources.read(LIFE, duration("5min", "7d"))?.unwrap_or(12 * 3_600_000),
        })
    }
}

fn init_secret(text: &str) -> Result<InitSecret, String> {
    match weak_password(text) {
        Some(problem) => Err(problem),
        None => Ok(InitSecret(Zeroizing::new(text.to_owned()))),
    }
}

/// What is wrong with `text` as a password, if anything.
#[must_use]
pub fn weak_password(text: &str) -> Option<String> {
    let bare: String = text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if PUBLISHED.contains(&bare.as_str()) {
        return Some("is a value from published examples, which everybody knows: choose your own".to_owned());
    }
    if text.chars().count() < LEAST_CHARACTERS {
        return Some(format!("must have at least {LEAST_CHARACTERS} characters"));
    }
    if text.len() > MOST_BYTES {
        return Some(format!("must have at most {MOST_BYTES} bytes"));
    }
    let mut characters = text.chars();
    let first = characters.next();
    characters.all(|c| Some(c) == first).then(|| "must not be one character again and again".to_owned())
}
