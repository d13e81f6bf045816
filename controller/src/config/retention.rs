//! How long things are kept.

use sysop_common::time::DAY_MS;

use super::sources::{ConfigError, Key, Sources};
use super::units::duration;

/// `[retention]`.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Samples at full resolution, in ms.
    pub samples_ms: i64,
}

const SAMPLES: Key = Key::new("retention.samples", &["SYSOP_RETENTION_SAMPLES"]);

impl Retention {
    pub(super) fn read(sources: &mut Sources) -> Result<Self, ConfigError> {
        Ok(Self { samples_ms: sources.read(SAMPLES, duration("1d", "366d"))?.unwrap_or(7 * DAY_MS) })
    }
}
