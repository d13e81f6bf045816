//! Grammars of the names that parameters carry. What does not parse never reaches a command.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A parameter does not have the form that it must have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct NameError {
    /// The parameter.
    pub field: &'static str,
    /// What it must be.
    pub problem: &'static str,
}

impl NameError {
    pub(super) const fn new(field: &'static str, problem: &'static str) -> Self {
        Self { field, problem }
    }
}

/// Name of a systemd service: `[A-Za-z0-9:_.@-]`, not starting with `-` or `.`, ending in `.service`,
/// at most 255 bytes (`UNIT_NAME_MAX` of systemd is 256 with the final NUL). Backslashes, which
/// systemd uses in escaped names, are not accepted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

/// A directory for temporary files: absolute, normalised, and one of a fixed list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TempRoot(String);

/// Where temporary files may be cleaned up at all.
const TEMP_ROOTS: [&str; 2] = ["/tmp", "/var/tmp"];

impl FromStr for UnitName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let problem = "must be a service's full name such as nginx.service: letters, digits, and :_.@-";
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b":_.@-".contains(&b);
        let stem = text.strip_suffix(".service").unwrap_or_default();
        if stem.is_empty()
            || text.len() > 255
            || stem.starts_with(['-', '.', '@'])
            || !text.bytes().all(allowed)
        {
            return Err(NameError::new("unit", problem));
        }
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for TempRoot {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if TEMP_ROOTS.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError::new("root", "must be /tmp or /var/tmp"))
    }
}

macro_rules! text_name {
    ($name:ident) => {
        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

text_name!(UnitName);
text_name!(TempRoot);
