//! What is learned of single units and processes: opaque to everything but the detectors that read it.

use std::collections::BTreeSet;

use super::window::Window;

/// Points of units and processes of one host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entities {}

impl Entities {
    /// Takes in what is new in `window`. `open` are fingerprints of findings that are active in an open
    /// incident: nothing is learned from what is in trouble.
    pub fn advance(&mut self, _window: &Window, _open: &BTreeSet<String>) {}

    /// Packed, at most [`super::state::MAX_SECTION`] bytes once compressed.
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
