//! How long things are kept.

use super::sources::{ConfigError, Key, Sources};
use super::units::duration;

/// `[retention]`, each in ms.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Samples at full resolution.
    pub samples_ms: i64,
    /// Outputs of runs.
    pub outputs_ms: i64,
    /// Closed incidents and ended runs.
    pub records_ms: i64,
}

const SAMPLES: Key = Key::new("retention.samples", &["SYSOP_RETENTION_SAMPLES"]);
const OUTPUTS: Key = Key::new("retention.outputs", &["SYSOP_RETENTION_OUTPUTS"]);
const RECORDS: Key = Key::new("retention.records", &["SYSOP_RETENTION_RECORDS"]);
const DAY_MS: i64 = sysop_common::time::DAY_MS;

impl Retention {
    pub(super) fn read(sources: &mut Sources) -> Result<Self, ConfigError> {
        Ok(Self {
            samples_ms: sources.read(SAMPLES, duration("1d", "366d"))?.unwrap_or(7 * DAY_MS),
            outputs_ms: sources.read(OUTPUTS, duration("1d", "3660d"))?.unwrap_or(90 * DAY_MS),
            records_ms: sources.read(RECORDS, duration("7d", "3660d"))?.unwrap_or(730 * DAY_MS),
        })
    }
}
