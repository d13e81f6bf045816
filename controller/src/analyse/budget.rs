//! How many soft findings a host may have opened for nothing: an online false-discovery budget.

/// What is left to spend on soft findings of one host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Budget {}

impl Budget {
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
