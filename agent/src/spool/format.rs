//! What the spool's files look like; shared by writer and reader, which know nothing else of each other.
//!
//! | file | content |
//! |---|---|
//! | `NUMBER-EPOCH.seg` | records, appended; both names in 16 hexadecimal digits |
//! | `state` | two slots of 4 KiB, written in turn: the epochs, what each gave out and what of it is acknowledged |
//! | `gaps` | 1024 slots of 64 B, preallocated: samples that were dropped, with the reason |
//!
//! A record is a mark, its kind, its length, a checksum and the body. The checksum also covers the
//! host, the epoch, the segment's number and the position: a block of another host, of another
//! segment or from another place is damage like a flipped bit, and costs only what it overwrote,
//! since a reader finds the next mark with a good checksum.

use sysop_common::ids::{Epoch, HostId, SchemaId, Seq};
use sysop_common::time::UnixMs;
use sysop_common::wire::GapReason;

/// First bytes of a segment, for people who look at it.
pub(super) const HEADER: &[u8; 16] = b"sysop spool 1\n\0\0";
/// Bytes before a record's body.
pub(super) const HEAD: usize = 10;
/// Most bytes of a record's body: a schema of 4096 columns with long labels stays below.
pub(super) const MAX_BODY: usize = 1 << 20;
/// Bytes of a slot of the state file.
pub(super) const STATE_SLOT: usize = 4096;
/// Most epochs in a slot of the state file.
pub(super) const MAX_EPOCHS: usize = 120;
/// Bytes of a slot of the gap file.
pub(super) const GAP_SLOT: usize = 64;
/// Slots of the gap file.
pub(super) const GAP_SLOTS: usize = 1024;

const MARK: [u8; 2] = [0xa7, 0x53];
const KIND_SCHEMA: u8 = 1;
const KIND_SAMPLE: u8 = 2;
const STATE_MAGIC: &[u8; 8] = b"sysopst1";
/// Seq, time and schema of a sample before its frame.
const SAMPLE_HEAD: usize = 32;

/// CRC-32C (Castagnoli), reflected polynomial 0x82f63b78 (RFC 3720, appendix B.4).
#[derive(Clone, Copy)]
pub(super) struct Crc(u32);

const CRC_TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ 0x82f6_3b78 } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

impl Crc {
    pub(super) const fn new() -> Self {
        Self(!0)
    }

    pub(super) fn add(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = self.0 >> 8 ^ CRC_TABLE[usize::from(self.0 as u8 ^ byte)];
        }
        self
    }

    pub(super) const fn sum(self) -> u32 {
        !self.0
    }
}

/// What a segment's checksums are bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) host: HostId,
    pub(super) epoch: Epoch,
    pub(super) number: u64,
}

impl Seal {
    fn crc(&self, offset: u64, kind: u8, body: &[u8]) -> u32 {
        Crc::new()
            .add(self.host.0.as_bytes())
            .add(&self.epoch.0.to_le_bytes())
            .add(&self.number.to_le_bytes())
            .add(&offset.to_le_bytes())
            .add(&[kind])
            .add(&(body.len() as u32).to_le_bytes())
            .add(body)
            .sum()
    }

    /// The file's name.
    pub(super) fn name(&self) -> String {
        format!("{:016x}-{:016x}.seg", self.number, self.epoch.0)
    }

    /// Number and epoch of a file of this name.
    pub(super) fn of_name(name: &str, host: HostId) -> Option<Self> {
        let (number, epoch) = name.strip_suffix(".seg")?.split_once('-')?;
        let hex = |text: &str| (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten();
        Some(Self { host, number: hex(number)?, epoch: Epoch(hex(epoch)?) })
    }
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// An encoded schema.
    Schema(&'a [u8]),
    /// A sample.
    Sample {
        seq: Seq,
        at: UnixMs,
        schema: SchemaId,
        /// A full frame.
        frame: &'a [u8],
    },
}

/// Appends a record that will stand at `offset` of its segment.
pub(super) fn put(out: &mut Vec<u8>, seal: &Seal, offset: u64, record: &Record<'_>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    let kind = match record {
        Record::Schema(bytes) => {
            out.extend_from_slice(bytes);
            KIND_SCHEMA
        }
        Record::Sample { seq, at, schema, frame } => {
            out.extend_from_slice(&seq.0.to_le_bytes());
            out.extend_from_slice(&at.0.to_le_bytes());
            out.extend_from_slice(&schema.0);
            out.extend_from_slice(frame);
            KIND_SAMPLE
        }
    };
    let (head, body) = out[start..].split_at_mut(HEAD);
    head[..2].copy_from_slice(&MARK);
    head[2] = kind;
    head[3..6].copy_from_slice(&(body.len() as u32).to_le_bytes()[..3]);
    head[6..10].copy_from_slice(&seal.crc(offset, kind, body).to_le_bytes());
}

/// What stands at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A good record, and the bytes that it takes.
    Record(Record<'a>, usize),
    /// A record of this many bytes may begin here, of which not all are in the buffer.
    Short(usize),
    /// No good record begins here.
    Damage,
}

/// Looks at the start of `bytes`, which stand at `offset` of their segment.
pub(super) fn get<'a>(bytes: &'a [u8], seal: &Seal, offset: u64) -> Found<'a> {
    if bytes.len() < HEAD {
        return if MARK.starts_with(&bytes[..bytes.len().min(2)]) {
            Found::Short(HEAD)
        } else {
            Found::Damage
        };
    }
    let (head, rest) = bytes.split_at(HEAD);
    let (kind, len) =
        (head[2], usize::from(head[3]) | usize::from(head[4]) << 8 | usize::from(head[5]) << 16);
    if head[..2] != MARK || !(KIND_SCHEMA..=KIND_SAMPLE).contains(&kind) || len > MAX_BODY {
        return Found::Damage;
    }
    let Some(body) = rest.get(..len) else { return Found::Short(HEAD + len) };
    if seal.crc(offset, kind, body).to_le_bytes() != head[6..10] {
        return Found::Damage;
    }
    if kind == KIND_SCHEMA {
        return Found::Record(Record::Schema(body), HEAD + len);
    }
    let (Some(seq), Some(at), Some(schema)) = (word(body, 0), word(body, 8), body.get(16..SAMPLE_HEAD))
    else {
        return Found::Damage;
    };
    let mut id = [0; 16];
    id.copy_from_slice(schema);
    let sample = Record::Sample {
        seq: Seq(seq),
        at: UnixMs(at as i64),
        schema: SchemaId(id),
        frame: &body[SAMPLE_HEAD..],
    };
    Found::Record(sample, HEAD + len)
}

/// Position of the next place after the first byte where a record may begin.
pub(super) fn next_mark(bytes: &[u8]) -> Option<usize> {
    bytes.get(1..)?.iter().position(|byte| *byte == MARK[0]).map(|at| at + 1)
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

/// What is known of one life of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EpochInfo {
    pub(super) epoch: Epoch,
    /// The last number given out.
    pub(super) last: Seq,
    /// Time of it, or of the start.
    pub(super) last_at: UnixMs,
    /// The last number that is acknowledged.
    pub(super) acked: Seq,
}

/// One slot of the state file.
pub(super) fn put_state(host: HostId, counter: u64, epochs: &[EpochInfo]) -> Vec<u8> {
    let epochs = &epochs[epochs.len().saturating_sub(MAX_EPOCHS)..];
    let mut slot = Vec::with_capacity(STATE_SLOT);
    slot.extend_from_slice(STATE_MAGIC);
    slot.extend_from_slice(host.0.as_bytes());
    slot.extend_from_slice(&counter.to_le_bytes());
    slot.extend_from_slice(&(epochs.len() as u64).to_le_bytes());
    for info in epochs {
        for value in [info.epoch.0, info.last.0, info.last_at.0 as u64, info.acked.0] {
            slot.extend_from_slice(&value.to_le_bytes());
        }
    }
    slot.resize(STATE_SLOT - 4, 0);
    let sum = Crc::new().add(&slot).sum();
    slot.extend_from_slice(&sum.to_le_bytes());
    slot
}

/// Counter and epochs of a slot of the state file, if it is whole and of this host.
pub(super) fn get_state(slot: &[u8], host: HostId) -> Option<(u64, Vec<EpochInfo>)> {
    let (content, sum) = slot.get(..STATE_SLOT)?.split_at(STATE_SLOT - 4);
    if Crc::new().add(content).sum().to_le_bytes() != *sum
        || content[..8] != *STATE_MAGIC
        || content[8..24] != *host.0.as_bytes()
    {
        return None;
    }
    let count = usize::try_from(word(content, 32)?).ok().filter(|count| *count <= MAX_EPOCHS)?;
    let info = |at: usize| {
        Some(EpochInfo {
            epoch: Epoch(word(content, at)?),
            last: Seq(word(content, at + 8)?),
            last_at: UnixMs(word(content, at + 16)? as i64),
            acked: Seq(word(content, at + 24)?),
        })
    };
    let epochs = (0..count).map(|n| info(40 + 32 * n)).collect::<Option<Vec<_>>>()?;
    Some((word(content, 24)?, epochs))
}

/// A gap as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredGap {
    pub(super) epoch: Epoch,
    /// Numbers that are missing. Where none was given to what is missing: the number that follows,
    /// and zero.
    pub(super) first: Seq,
    pub(super) last: Seq,
    pub(super) from: UnixMs,
    pub(super) to: UnixMs,
    pub(super) reason: GapReason,
}

const REASONS: [GapReason; 7] = [
    GapReason::SpoolFull,
    GapReason::SpoolAge,
    GapReason::SpoolCorrupt,
    GapReason::SpoolWrite,
    GapReason::AgentDown,
    GapReason::StateLost,
    GapReason::Stalled,
];

impl StoredGap {
    /// Whether numbers were given to what is missing.
    pub(super) const fn has_seqs(&self) -> bool {
        self.last.0 > 0
    }

    /// The number whose acknowledgement covers this gap too.
    pub(super) const fn acked_with(&self) -> Seq {
        if self.has_seqs() { self.last } else { self.first }
    }

    /// The slot's bytes; `None` stands for a free one.
    pub(super) fn put(gap: Option<&Self>, host: HostId, slot: usize) -> [u8; GAP_SLOT] {
        let mut out = [0; GAP_SLOT];
        let Some(gap) = gap else { return out };
        let reason = REASONS.iter().position(|r| *r == gap.reason).unwrap_or_default();
        out[4] = reason as u8 + 1;
        for (at, value) in
            [gap.epoch.0, gap.first.0, gap.last.0, gap.from.0 as u64, gap.to.0 as u64].into_iter().enumerate()
        {
            out[8 + 8 * at..16 + 8 * at].copy_from_slice(&value.to_le_bytes());
        }
        let sum = gap_crc(&out, host, slot);
        out[..4].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// The gap in a slot; `None` when it is free or damaged.
    pub(super) fn get(bytes: &[u8], host: HostId, slot: usize) -> Option<Self> {
        let bytes = bytes.get(..GAP_SLOT)?;
        let reason = *REASONS.get(usize::from(bytes[4]).checked_sub(1)?)?;
        if gap_crc(bytes, host, slot).to_le_bytes() != bytes[..4] {
            return None;
        }
        Some(Self {
            epoch: Epoch(word(bytes, 8)?),
            first: Seq(word(bytes, 16)?),
            last: Seq(word(bytes, 24)?),
            from: UnixMs(word(bytes, 32)? as i64),
            to: UnixMs(word(bytes, 40)? as i64),
            reason,
        })
    }
}

fn gap_crc(bytes: &[u8], host: HostId, slot: usize) -> u32 {
    Crc::new().add(host.0.as_bytes()).add(&(slot as u64).to_le_bytes()).add(&bytes[4..]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEAL: Seal = Seal { host: HostId(uuid::Uuid::from_u128(7)), epoch: Epoch(9), number: 3 };

    #[test]
    fn the_checksum_is_crc32c() {
        assert_eq!(Crc::new().add(b"123456789").sum(), 0xe306_9283);
    }

    #[test]
    fn a_record_is_good_only_where_it_was_written() {
        let sample = Record::Sample { seq: Seq(5), at: UnixMs(-1), schema: SchemaId([4; 16]), frame: b"abc" };
        let mut bytes = Vec::new();
        put(&mut bytes, &SEAL, 16, &sample);
        assert_eq!(get(&bytes, &SEAL, 16), Found::Record(sample, bytes.len()));
        assert_eq!(get(&bytes, &SEAL, 17), Found::Damage);
        assert_eq!(get(&bytes, &Seal { number: 4, ..SEAL }, 16), Found::Damage);
        assert_eq!(get(&bytes, &Seal { epoch: Epoch(8), ..SEAL }, 16), Found::Damage);
        assert_eq!(get(&bytes, &Seal { host: HostId(uuid::Uuid::nil()), ..SEAL }, 16), Found::Damage);
        for cut in 0..bytes.len() {
            assert!(matches!(get(&bytes[..cut], &SEAL, 16), Found::Short(_)), "{cut}");
        }
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert!(!matches!(get(&flipped, &SEAL, 16), Found::Record(..)), "{at}");
        }
    }

    #[test]
    fn names_states_and_gaps_read_as_they_were_written() {
        assert_eq!(Seal::of_name(&SEAL.name(), SEAL.host), Some(SEAL));
        for bad in ["state", "x-y.seg", "0000000000000003-9.seg", "+000000000000003-0000000000000009.seg.new"]
        {
            assert_eq!(Seal::of_name(bad, SEAL.host), None);
        }
        let info = EpochInfo { epoch: Epoch(1), last: Seq(2), last_at: UnixMs(3), acked: Seq(1) };
        let slot = put_state(SEAL.host, 8, &[info; MAX_EPOCHS + 1]);
        assert_eq!(slot.len(), STATE_SLOT);
        assert_eq!(get_state(&slot, SEAL.host), Some((8, vec![info; MAX_EPOCHS])));
        assert_eq!(get_state(&slot, HostId(uuid::Uuid::nil())), None);
        for reason in REASONS {
            let gap = StoredGap {
                epoch: Epoch(1),
                first: Seq(2),
                last: Seq(3),
                from: UnixMs(4),
                to: UnixMs(5),
                reason,
            };
            let bytes = StoredGap::put(Some(&gap), SEAL.host, 6);
            assert_eq!(StoredGap::get(&bytes, SEAL.host, 6), Some(gap));
            assert_eq!(StoredGap::get(&bytes, SEAL.host, 7), None);
        }
        assert_eq!(StoredGap::get(&StoredGap::put(None, SEAL.host, 0), SEAL.host, 0), None);
    }
}
