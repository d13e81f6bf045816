//! What is remembered of rules on one host between two looks, and over a restart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sysop_common::time::UnixMs;

use super::MAX_INSTANCES;

/// Version of the packed form; another one is worked out again.
const VERSION: u8 = 1;
/// Most bytes of the packed form.
const MAX_BYTES: usize = 256 << 10;

/// Where one rule stands for one label of a host. What is quiet is not remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Its condition holds, not yet for long enough.
    Pending {
        /// Since when.
        since: UnixMs,
    },
    /// It fires.
    Firing {
        /// Since when its condition holds.
        onset: UnixMs,
        /// Since when it fires.
        since: UnixMs,
        /// When its condition was last seen to hold, or not to be over yet.
        last_true: UnixMs,
    },
}

/// One label of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Where it stands.
    pub phase: Phase,
    /// When its condition was last known.
    pub known: UnixMs,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleState {
    /// Version of the rule.
    pub version: i64,
    /// Time of the newest tick that was judged.
    pub at: UnixMs,
    /// By label.
    pub instances: BTreeMap<String, Instance>,
}

/// All rules of one host, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct States {
    /// By the rule's id.
    pub rules: BTreeMap<i64, RuleState>,
}

impl States {
    /// Packed.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend(serde_cbor::ser::to_vec_packed(self).unwrap_or_default());
        if out.len() > MAX_BYTES { vec![VERSION] } else { out }
    }

    /// From the packed form; nothing where it cannot be read.
    #[must_use]
    pub fn unpack(bytes: &[u8]) -> Self {
        let Some((&VERSION, rest)) = bytes.split_first() else { return Self::default() };
        if rest.len() > MAX_BYTES {
            return Self::default();
        }
        let read: Self = serde_cbor::from_slice(rest).unwrap_or_default();
        let sane = read.rules.values().all(|rule| rule.instances.len() <= MAX_INSTANCES);
        if sane { read } else { Self::default() }
    }

    /// Whether any rule waits for its time: then each sample counts.
    #[must_use]
    pub fn pending(&self) -> bool {
        let waits = |instance: &Instance| matches!(instance.phase, Phase::Pending { .. });
        self.rules.values().any(|rule| rule.instances.values().any(waits))
    }

    /// Which rules and labels wait or fire: what is worth writing at once when it changes.
    #[must_use]
    pub fn shape(&self) -> Vec<(i64, &str, bool)> {
        self.rules
            .iter()
            .flat_map(|(id, rule)| {
                let fires = |instance: &Instance| matches!(instance.phase, Phase::Firing { .. });
                rule.instances.iter().map(move |(label, instance)| (*id, label.as_str(), fires(instance)))
            })
            .collect()
    }
}
