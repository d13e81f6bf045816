//! What outlives the samples in memory: what is known of a host, and what was learned of it.

use super::baseline::Baselines;
use super::budget::Budget;
use super::entities::Entities;
use super::input::HostMemory;
use crate::rules::States;

/// State of one host between two looks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostState {
    /// Facts.
    pub memory: HostMemory,
    /// What is normal for the host's own series.
    pub baselines: Baselines,
    /// What is learned of its units and processes.
    pub entities: Entities,
    /// What may still be spent on soft findings.
    pub budget: Budget,
    /// How far the rules of operators are; stored by itself.
    pub rules: States,
}

/// Version of the packed form. Another one is forgotten.
const VERSION: u8 = 1;
/// Most compressed bytes of one section of the packed form: a larger one is left out and learned again.
pub const MAX_SECTION: usize = 32 << 10;
/// Most bytes of one section once it is unpacked.
const MAX_UNPACKED: usize = 1 << 20;
/// Level of compression: state is packed often and read seldom.
const LEVEL: i32 = 3;

impl HostState {
    /// What was learned, packed: a version byte, then sections, each with its length. The facts are
    /// not in it; they are stored when they change.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for section in [self.baselines.encode(), self.entities.encode(), self.budget.encode()] {
            let packed = zstd::bulk::compress(&section, LEVEL).unwrap_or_default();
            let packed = if packed.len() > MAX_SECTION { &[][..] } else { &packed[..] };
            out.extend_from_slice(&u32::try_from(packed.len()).unwrap_or(0).to_le_bytes());
            out.extend_from_slice(packed);
        }
        out
    }

    /// Takes up what was packed; a section that cannot be read is as if it had never been.
    pub fn unpack(&mut self, bytes: &[u8]) {
        let Some((&VERSION, rest)) = bytes.split_first() else { return };
        let mut rest = rest;
        let mut next = || -> Option<Vec<u8>> {
            let (length, tail) = rest.split_first_chunk::<4>()?;
            let length = u32::from_le_bytes(*length) as usize;
            let packed = tail.get(..length)?;
            rest = tail.get(length..)?;
            zstd::bulk::decompress(packed, MAX_UNPACKED).ok()
        };
        let (baselines, entities, budget) = (next(), next(), next());
        self.baselines = baselines.and_then(|bytes| Baselines::decode(&bytes)).unwrap_or_default();
        self.entities = entities.and_then(|bytes| Entities::decode(&bytes)).unwrap_or_default();
        self.budget = budget.and_then(|bytes| Budget::decode(&bytes)).unwrap_or_default();
    }
}
