//! Typed read-only requests that a collector answers by itself, where policy lets it.

use serde::{Deserialize, Serialize};

use crate::action::UnitName;

/// A reading. Its JSON form is `{"query": "get_service_status", "params": {"unit": "…"}}`.
///
/// Variants and fields are only ever appended: their order is the wire format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "query", content = "params", rename_all = "snake_case", deny_unknown_fields)]
pub enum Query {
    /// CPU time by mode over one second, per core and in all.
    GetCpuUsage,
    /// Memory and swap.
    GetMemoryUsage,
    /// Space and inodes per file system.
    GetDiskUsage,
    /// Load averages, running and blocked tasks, pressure.
    GetSystemLoad,
    /// The processes that use most.
    GetTopProcesses {
        /// How many, at most 50.
        limit: u8,
    },
    /// State of one service.
    GetServiceStatus {
        /// Which.
        unit: UnitName,
    },
    /// Services that failed.
    GetFailedServices,
}

/// Names of all readings.
pub const QUERY_NAMES: [&str; 7] = [
    "get_cpu_usage",
    "get_memory_usage",
    "get_disk_usage",
    "get_system_load",
    "get_top_processes",
    "get_service_status",
    "get_failed_services",
];

/// Most bytes of an answer.
pub const MAX_ANSWER: usize = 16 * 1024;

impl Query {
    /// The reading's name in policy and API.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::GetCpuUsage => QUERY_NAMES[0],
            Self::GetMemoryUsage => QUERY_NAMES[1],
            Self::GetDiskUsage => QUERY_NAMES[2],
            Self::GetSystemLoad => QUERY_NAMES[3],
            Self::GetTopProcesses { .. } => QUERY_NAMES[4],
            Self::GetServiceStatus { .. } => QUERY_NAMES[5],
            Self::GetFailedServices => QUERY_NAMES[6],
        }
    }
}

/// Answer to a reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Number of the request within its session.
    pub id: u64,
    /// What came of it.
    pub result: Result<Reading, String>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Lines for people, at most [`MAX_ANSWER`] bytes.
    pub text: String,
    /// The same as JSON, at most [`MAX_ANSWER`] bytes.
    pub json: String,
}
