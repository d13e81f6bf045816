//! One tick of one host: scalar columns under a schema, top processes, systemd units.

pub mod codec;
mod normal;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod text;
mod varint;
mod window;

use serde::{Deserialize, Serialize};

use crate::ids::Seq;
use crate::time::UnixMs;
pub use schema::{Column, MAX_COLUMNS, Schema, SchemaError};
pub use text::{Text, Texts};

/// A column's value when the quantity could not be observed. Never zero in its place.
pub const NOT_OBSERVED: i64 = i64::MIN;

/// Most processes in one tick: the top ten by CPU, by memory and by I/O overlap.
pub const MAX_PROCESSES: usize = 64;
/// Most units in one tick.
pub const MAX_UNITS: usize = 512;
/// Most bytes of any string in a tick; the agent cuts longer ones at a character boundary.
pub const MAX_TEXT: usize = 160;

/// What one look at a host saw. Counters are raw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// Number within the agent's epoch.
    pub seq: Seq,
    /// The host's wall clock when the look began.
    pub at: UnixMs,
    /// One value per column of the schema in force; [`NOT_OBSERVED`] where there is none.
    pub values: Vec<i64>,
    /// Top processes, at most [`MAX_PROCESSES`].
    pub processes: Vec<Process>,
    /// systemd services, by name, at most [`MAX_UNITS`].
    pub units: Vec<Unit>,
}

/// A process among the top ones.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot; with the pid it names one process for ever.
    pub start_ticks: u64,
    /// Kernel's short name.
    pub comm: Text,
    /// Owner's name, or the number where no name is known.
    pub user: Text,
    /// systemd unit, empty when it belongs to none.
    pub unit: Text,
    /// Command line with secrets redacted, cut to [`MAX_TEXT`].
    pub args: Text,
    /// CPU time used so far, in ms (counter).
    pub cpu_ms: u64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// Bytes read from and written to storage so far (counters); `None` when not observed.
    pub io_read_bytes: Option<u64>,
    /// See `io_read_bytes`.
    pub io_write_bytes: Option<u64>,
    /// Number of threads.
    pub threads: u32,
    /// State letter as in `ps`: R, S, D, Z, T, I.
    pub state: u8,
}

/// systemd's ActiveState.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Active {
    /// Running or done as it should.
    Active = 0,
    /// Reloading its configuration.
    Reloading = 1,
    /// Not running.
    #[default]
    Inactive = 2,
    /// Ended badly.
    Failed = 3,
    /// On its way up; with sub-state `auto-restart` a restart is pending.
    Activating = 4,
    /// On its way down.
    Deactivating = 5,
    /// A state that this version does not know.
    Other = 6,
}

impl Active {
    /// From the number on the wire; unknown numbers are [`Active::Other`].
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Active,
            1 => Self::Reloading,
            2 => Self::Inactive,
            3 => Self::Failed,
            4 => Self::Activating,
            5 => Self::Deactivating,
            _ => Self::Other,
        }
    }

    /// From systemd's word.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "active" => Self::Active,
            "reloading" | "refreshing" => Self::Reloading,
            "inactive" => Self::Inactive,
            "failed" => Self::Failed,
            "activating" => Self::Activating,
            "deactivating" => Self::Deactivating,
            _ => Self::Other,
        }
    }

    /// systemd's word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Reloading => "reloading",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
            Self::Activating => "activating",
            Self::Deactivating => "deactivating",
            Self::Other => "other",
        }
    }
}

/// A systemd service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unit {
    /// Full name, `nginx.service`.
    pub name: Text,
    /// ActiveState.
    pub active: Active,
    /// SubState: `running`, `exited`, `failed`, `auto-restart`, …
    pub sub: Text,
    /// Result of the last run: `success`, `exit-code`, `signal`, `oom-kill`, …; empty when not read.
    pub result: Text,
    /// Automatic restarts so far (counter, reset by a start by hand).
    pub restarts: u32,
    /// Main process, 0 when there is none.
    pub main_pid: u32,
    /// When the state was entered, host's wall clock in ms; 0 when not known.
    pub since_ms: i64,
    /// Memory of its cgroup in bytes; `None` when not observed.
    pub memory_bytes: Option<u64>,
    /// Anonymous memory of its cgroup in bytes; `None` when not observed.
    pub anon_bytes: Option<u64>,
    /// CPU time in µs (counter); `None` when not observed.
    pub cpu_us: Option<u64>,
    /// Number of tasks; `None` when not observed.
    pub tasks: Option<u64>,
    /// Bytes read by its cgroup (counter); `None` when not observed.
    pub io_read_bytes: Option<u64>,
    /// Bytes written by its cgroup (counter); `None` when not observed.
    pub io_write_bytes: Option<u64>,
    /// Processes of it that the kernel killed for memory (counter); `None` when not observed.
    pub oom_kills: Option<u64>,
}
