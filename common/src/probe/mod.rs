//! Probes: a question put to a target again and again, from the controller or from a host.
//!
//! What comes of one is a state, a reason from a closed list, a time and a number: never a text of the
//! target's, so that nothing that a target says is stored, shown or carried.

mod check;
mod outcome;
mod target;
#[cfg(test)]
mod tests;
mod url;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub use check::{Check, CheckError, Method, Record, Resolver, is_name};
pub use outcome::{Outcome, ProbeState, Reason};
pub use target::{Pattern, PatternError, is_reserved};
pub use url::Url;

/// Probes that a host runs at most.
pub const MAX_PROBES: usize = 32;
/// Shortest interval, in ms.
pub const MIN_INTERVAL_MS: u32 = 10_000;
/// Longest interval, in ms.
pub const MAX_INTERVAL_MS: u32 = 3_600_000;
/// Longest wait for an answer, in ms.
pub const MAX_TIMEOUT_MS: u32 = 10_000;
/// Shortest wait for an answer, in ms.
pub const MIN_TIMEOUT_MS: u32 = 100;

/// Number of a probe, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProbeId(pub u32);

impl std::fmt::Display for ProbeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for ProbeId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A probe as a host is asked to run it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostProbe {
    /// Its number.
    pub id: ProbeId,
    /// What is asked.
    pub check: Check,
    /// Time between two tries, in ms.
    pub interval_ms: u32,
    /// How long an answer is waited for, in ms.
    pub timeout_ms: u32,
}

impl HostProbe {
    /// Whether it keeps to the bounds.
    ///
    /// # Errors
    /// Names what does not.
    pub fn validate(&self) -> Result<(), CheckError> {
        if !(MIN_INTERVAL_MS..=MAX_INTERVAL_MS).contains(&self.interval_ms) {
            return Err(CheckError::new("interval", "must be from 10 s to 1 h"));
        }
        if !(MIN_TIMEOUT_MS..=MAX_TIMEOUT_MS).contains(&self.timeout_ms) {
            return Err(CheckError::new("timeout", "must be from 100 ms to 10 s"));
        }
        self.check.validate()
    }
}

/// All probes that a host is asked to run, in place of those before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProbeList {
    /// At most [`MAX_PROBES`]; a longer list does not decode.
    #[serde(deserialize_with = "few")]
    pub probes: Vec<HostProbe>,
}

/// A list that ends before it is too long.
fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HostProbe>, D::Error> {
    struct Few;

    impl<'de> Visitor<'de> for Few {
        type Value = Vec<HostProbe>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "at most {MAX_PROBES} probes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut probes = Vec::new();
            while let Some(probe) = list.next_element()? {
                if probes.len() == MAX_PROBES {
                    return Err(serde::de::Error::invalid_length(MAX_PROBES + 1, &self));
                }
                probes.push(probe);
            }
            Ok(probes)
        }
    }

    deserializer.deserialize_seq(Few)
}
