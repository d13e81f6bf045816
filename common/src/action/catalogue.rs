//! The catalogue: each action's risk floor, bounds and effect, compiled into both sides.

use super::Risk;
use crate::bytes::Digest;
use crate::ids::sha256;

/// An action's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Version of its meaning: raised when parameters, command or checks change.
    pub version: u16,
    /// One line on what it does.
    pub summary: &'static str,
    /// Risk before anything raises it.
    pub floor: Risk,
    /// Whether it cannot be undone.
    pub irreversible: bool,
    /// Name of the action that undoes it.
    pub undo: Option<&'static str>,
    /// Most seconds that it may run.
    pub timeout_s: u32,
    /// Most bytes of output that are kept.
    pub output_bytes: u32,
    /// Least seconds between two runs on one target.
    pub cool_down_s: u32,
    /// After this many seconds the effect is checked.
    pub verify_after_s: u32,
}

/// All actions, by name.
pub const CATALOGUE: &[Entry] = &[
    Entry {
        name: "cleanup_temp_files",
        version: 1,
        summary: "Remove old files below a temporary directory",
        floor: Risk::Low,
        irreversible: true,
        undo: None,
        timeout_s: 120,
        output_bytes: 16 * 1024,
        cool_down_s: 300,
        verify_after_s: 1,
    },
    Entry {
        name: "kill_process",
        version: 1,
        summary: "End one process: SIGTERM, and SIGKILL after 10 s",
        floor: Risk::Medium,
        irreversible: true,
        undo: None,
        timeout_s: 20,
        output_bytes: 4 * 1024,
        cool_down_s: 0,
        verify_after_s: 1,
    },
    Entry {
        name: "restart_service",
        version: 1,
        summary: "Stop and start a service",
        floor: Risk::Medium,
        irreversible: false,
        undo: None,
        timeout_s: 90,
        output_bytes: 16 * 1024,
        cool_down_s: 30,
        verify_after_s: 10,
    },
    Entry {
        name: "start_service",
        version: 1,
        summary: "Start a service that is not running",
        floor: Risk::Low,
        irreversible: false,
        undo: Some("stop_service"),
        timeout_s: 90,
        output_bytes: 16 * 1024,
        cool_down_s: 30,
        verify_after_s: 10,
    },
    Entry {
        name: "stop_service",
        version: 1,
        summary: "Stop a service",
        floor: Risk::Medium,
        irreversible: false,
        undo: Some("start_service"),
        timeout_s: 90,
        output_bytes: 16 * 1024,
        cool_down_s: 30,
        verify_after_s: 10,
    },
];

/// The entry called `name`.
#[must_use]
pub fn entry_by_name(name: &str) -> Option<&'static Entry> {
    CATALOGUE.iter().find(|entry| entry.name == name)
}

impl Entry {
    /// Digest of the entry's meaning: an order made for another meaning is refused.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(sha256(format!("sysop-action {} {}", self.name, self.version).as_bytes()))
    }
}
