//! How long things are kept, and how soon they are packed.

use sysop_common::time::{DAY_MS, MINUTE_MS};

use super::sources::{ConfigError, Key, Sources};
use super::units::duration;

/// `[retention]`.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Samples at full resolution, in ms.
    pub samples_ms: i64,
    /// Time between two packings of samples into columns, in ms.
    pub compact_every_ms: i64,
}

const SAMPLES: Key = Key::new("retention.samples", &["SYSOP_RETENTION_SAMPLES"]);
const COMPACT_EVERY: Key = Key::new("retention.compact_every", &["SYSOP_RETENTION_COMPACT_EVERY"]);

impl Retention {
    pub(super) fn read(sources: &mut Sources) -> Result<Self, ConfigError> {
        Ok(Self {
            samples_ms: sources.read(SAMPLES, duration("1d", "366d"))?.unwrap_or(7 * DAY_MS),
            compact_every_ms: sources.read(COMPACT_EVERY, duration("1s", "1h"))?.unwrap_or(10 * MINUTE_MS),
        })
    }
}
