//! What may be asked of a host, with typed parameters, and what came of it.

mod catalogue;
mod name;
mod outcome;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use catalogue::{CATALOGUE, Entry, entry_by_name};
pub use name::{NameError, TempRoot, UnitName};
pub use outcome::{Event, OrderEvent, Refusal, RunState};

/// How much harm an action can do. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Harmless or easily undone.
    Low,
    /// A short outage or loss of what can be made again.
    Medium,
    /// An outage of the host, or loss of what cannot be made again.
    High,
}

impl Risk {
    /// One level up; high stays high.
    #[must_use]
    pub const fn raised(self) -> Self {
        match self {
            Self::Low => Self::Medium,
            Self::Medium | Self::High => Self::High,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High].into_iter().find(|risk| risk.word() == word)
    }
}

/// One process for ever: a pid alone could be another one by the time the order arrives.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessRef {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot, as in `/proc/PID/stat`.
    pub start_ticks: u64,
    /// Kernel's short name, checked too.
    pub comm: String,
}

/// An action with its parameters. Its JSON form is `{"action": "restart_service", "params": {"unit": "…"}}`.
///
/// Variants and fields are only ever appended: their order is the wire format.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "action", content = "params", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Stops and starts a service.
    RestartService {
        /// Which.
        unit: UnitName,
    },
    /// Starts a service that is not running.
    StartService {
        /// Which.
        unit: UnitName,
    },
    /// Stops a service.
    StopService {
        /// Which.
        unit: UnitName,
    },
    /// Ends one process: SIGTERM, and SIGKILL after ten seconds.
    KillProcess {
        /// Which.
        process: ProcessRef,
    },
    /// Removes old files below a temporary directory.
    CleanupTempFiles {
        /// Below which directory.
        root: TempRoot,
        /// Only files not modified for this long, in seconds; at least 600.
        min_age_s: u32,
        /// Stop after this many bytes.
        max_bytes: u64,
    },
}

/// Smallest age of a file that `cleanup_temp_files` may remove, in seconds.
pub const MIN_TEMP_AGE_S: u32 = 600;

impl Action {
    /// The action's name in catalogue, policy and API.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RestartService { .. } => "restart_service",
            Self::StartService { .. } => "start_service",
            Self::StopService { .. } => "stop_service",
            Self::KillProcess { .. } => "kill_process",
            Self::CleanupTempFiles { .. } => "cleanup_temp_files",
        }
    }

    /// Its catalogue entry.
    #[must_use]
    pub fn entry(&self) -> &'static Entry {
        // Every variant has an entry; a test walks them.
        entry_by_name(self.name()).unwrap_or(&CATALOGUE[0])
    }

    /// The unit that it acts on, if it acts on one.
    #[must_use]
    pub const fn unit(&self) -> Option<&UnitName> {
        match self {
            Self::RestartService { unit } | Self::StartService { unit } | Self::StopService { unit } => {
                Some(unit)
            }
            Self::KillProcess { .. } | Self::CleanupTempFiles { .. } => None,
        }
    }

    /// What it acts on, as one line for people and for the uniqueness of plans.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::RestartService { unit } | Self::StartService { unit } | Self::StopService { unit } => {
                unit.as_str().to_owned()
            }
            Self::KillProcess { process } => {
                format!("{} (pid {}, started at tick {})", process.comm, process.pid, process.start_ticks)
            }
            Self::CleanupTempFiles { root, .. } => root.as_str().to_owned(),
        }
    }

    /// Checks what the types do not: ranges of numbers and lengths of texts.
    ///
    /// # Errors
    /// Names the parameter and the range.
    pub fn validate(&self) -> Result<(), NameError> {
        match self {
            Self::KillProcess { process } if process.pid < 2 => {
                Err(NameError::new("pid", "must be 2 or greater; process 1 is the init system"))
            }
            Self::KillProcess { process } if process.comm.is_empty() || process.comm.len() > 64 => {
                Err(NameError::new("comm", "must be 1 to 64 bytes, as in /proc/PID/comm"))
            }
            Self::CleanupTempFiles { min_age_s, .. } if *min_age_s < MIN_TEMP_AGE_S => {
                Err(NameError::new("min_age_s", "must be at least 600"))
            }
            Self::CleanupTempFiles { max_bytes, .. } if *max_bytes == 0 => {
                Err(NameError::new("max_bytes", "must be at least 1"))
            }
            _ => Ok(()),
        }
    }
}
