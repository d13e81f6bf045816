//! What is normal for the series of one host, learned from its own minutes.

use std::collections::BTreeSet;

use super::window::Window;

/// Baselines of one host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Baselines {}

impl Baselines {
    /// Takes in the minutes of `window` that are new. `open` are fingerprints of findings that are
    /// active in an open incident: nothing is learned from what is in trouble.
    pub fn advance(&mut self, _window: &Window, _open: &BTreeSet<String>) {}

    /// Packed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    /// From its packed form; `None` when it cannot be read.
    #[must_use]
    pub fn decode(_bytes: &[u8]) -> Option<Self> {
        Some(Self::default())
    }
}
