//! How long things are kept, and how soon they are packed.

use sysop_common::time::{DAY_MS, MINUTE_MS};

use super::sources::{ConfigError, Key, Sources};
use super::units::duration;

/// `[retention]`.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Samples at full resolution, in ms.
    pub samples_ms: i64,
    /// Outputs of runs, in ms.
    pub run_outputs_ms: i64,
    /// Runs, closed incidents and what the link saw of hosts, in ms. Audit records stay for ever.
    pub records_ms: i64,
    /// Time between two packings of samples into columns, in ms.
    pub compact_every_ms: i64,
}

const SAMPLES: Key = Key::new("retention.samples", &["SYSOP_RETENTION_SAMPLES"]);
const RUN_OUTPUTS: Key = Key::new("retention.run_outputs", &["SYSOP_RETENTION_RUN_OUTPUTS"]);
const RECORDS: Key = Key::new("retention.records", &["SYSOP_RETENTION_RECORDS"]);
const COMPACT_EVERY: Key = Key::new("retention.compact_every", &["SYSOP_RETENTION_COMPACT_EVERY"]);

impl Retention {
    pub(super) fn read(sources: &mut Sources) -> Result<Self, ConfigError> {
        Ok(Self {
            samples_ms: sources.read(SAMPLES, duration("1d", "366d"))?.unwrap_or(7 * DAY_MS),
            run_outputs_ms: sources.read(RUN_OUTPUTS, duration("1d", "3660d"))?.unwrap_or(90 * DAY_MS),
            records_ms: sources.read(RECORDS, duration("7d", "3660d"))?.unwrap_or(365 * DAY_MS),
            compact_every_ms: sources.read(COMPACT_EVERY, duration("1s", "1h"))?.unwrap_or(10 * MINUTE_MS),
        })
    }
}
