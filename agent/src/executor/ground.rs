//! What every decision stands on: the host's trust files and its journal.

use std::time::{Duration, Instant};

use sysop_common::order::TrustRoot;

use super::{Paths, trust};
use crate::journal::{Journal, Stamp};

/// Least time between two tries to open what could not be opened.
const RETRY: Duration = Duration::from_secs(2);

/// What every decision stands on: opened together, or not at all.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) open: Result<(TrustRoot, Journal), String>,
    tried: Instant,
}

impl Ground {
    pub(super) fn new(paths: &Paths, now: &Stamp) -> Self {
        let open = trust::load(&paths.trust).map_err(|e| e.to_string()).and_then(|(trust, host)| {
            Ok((trust, Journal::open(&paths.state, host, now).map_err(|e| e.to_string())?))
        });
        if let Err(why) = &open {
            tracing::error!(%why, "no order is taken");
        }
        Self { open, tried: Instant::now() }
    }

    /// Root may have mended it meanwhile.
    pub(super) fn try_again(&mut self, paths: &Paths, now: &Stamp) {
        if self.open.is_err() && self.tried.elapsed() >= RETRY {
            *self = Self::new(paths, now);
        }
    }

    pub(super) fn journal(&mut self) -> Option<&mut Journal> {
        self.open.as_mut().ok().map(|(_, journal)| journal)
    }
}
