//! Opening a spool, in whatever state it is: what is good is kept, what is not becomes a gap later.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::fs::FlockOperation;
use sysop_common::ids::{Epoch, HostId, Seq};
use sysop_common::time::UnixMs;
use sysop_common::wire::GapReason;
use tokio::sync::Notify;

use super::append::{GAPS, STATE, Writer};
use super::disk::{Directory, Disk};
use super::format::{
    self, EpochInfo, GAP_SLOT, GAP_SLOTS, MAX_BODY, MAX_EPOCHS, STATE_SLOT, Seal, StoredGap,
};
use super::index::Index;
use super::segment::{self, Segment};
use super::{Options, Shared, Spool, SpoolError};

/// Epochs of which samples wait at most; beyond, the smallest are dropped whole.
const KEEP_EPOCHS: usize = MAX_EPOCHS - 8;
/// No segment is longer than its bound and one large record; a longer file is not read further.
const MAX_SEGMENT: u64 = 4 * MAX_BODY as u64;

impl Spool {
    /// Opens the spool in `directory` for `host` and begins a new epoch. The writer must be run, in a
    /// thread of its own.
    ///
    /// # Errors
    /// When the directory cannot be used at all or another agent uses it. Damage and a full disk are
    /// no errors.
    pub fn open(
        directory: &Path,
        host: HostId,
        options: Options,
        now: UnixMs,
    ) -> Result<(Self, Writer), SpoolError> {
        let lock = lock(directory)?;
        let disk = Directory(directory.to_owned());
        let files = disk
            .list()
            .map_err(|source| SpoolError::Directory { directory: directory.to_owned(), source })?;
        let mut epoch = [0; 8];
        SystemRandom::new().fill(&mut epoch).map_err(|_| SpoolError::Random)?;
        let epoch = Epoch(u64::from_le_bytes(epoch));
        Ok(open(Box::new(disk), files, host, options, epoch, now, lock))
    }
}

/// One agent per directory. The lock ends with the process, however it ends.
fn lock(directory: &Path) -> Result<Option<File>, SpoolError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let wrong = |source| SpoolError::Directory { directory: directory.to_owned(), source };
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::StorageFull => return Ok(None),
        made => made.map_err(wrong)?,
    }
    let file = File::open(directory).map_err(wrong)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(SpoolError::Locked(directory.to_owned())),
        Err(e) => Err(wrong(e.into())),
    }
}

/// Opens what is on `disk`, where `files` are.
pub(super) fn open(
    disk: Box<dyn Disk>,
    files: Vec<(String, u64)>,
    host: HostId,
    options: Options,
    epoch: Epoch,
    now: UnixMs,
    lock: Option<File>,
) -> (Spool, Writer) {
    let (counter, mut epochs) = read_state(&*disk, host);
    let known = !epochs.is_empty();
    let (segments, next_number) = read_segments(&*disk, files, host);
    for segment in &segments {
        join(&mut epochs, segment, known);
    }
    let mut index = Index { bytes: segments.iter().map(|s| s.len).sum(), ..Index::default() };
    index.segments = segments.into();
    index.epochs = epochs;
    let slots = read_gaps(&*disk, host);
    if !known {
        // What is recorded as lost was not acknowledged.
        for gap in slots.iter().flatten().filter(|gap| gap.has_seqs()) {
            if let Some(info) = index.epochs.iter_mut().find(|info| info.epoch == gap.epoch) {
                info.acked = info.acked.min(Seq(gap.first.0.saturating_sub(1)));
            }
        }
    }
    let acked = |gap: &StoredGap| index.info(gap.epoch).is_some_and(|info| gap.acked_with() <= info.acked);
    index.gaps = slots.iter().flatten().filter(|gap| !acked(gap)).copied().collect();
    index.gaps.sort_by_key(|gap| (gap.from, gap.first));
    index.epochs.push(EpochInfo { epoch, last: Seq(0), last_at: now, acked: Seq(0) });
    index.prune();
    let dropped = drop_small_epochs(&mut index);
    let shared = Arc::new(Shared {
        index: Mutex::new(index),
        work: Condvar::new(),
        offered: Notify::new(),
        disk,
        host,
        options,
        epoch,
    });
    let mut writer = Writer::new(shared.clone(), lock, next_number, counter, slots, now);
    writer.begin(&dropped);
    (Spool { shared }, writer)
}

/// Waits for a host that is out of descriptors or memory, which passes, for five seconds: what it could not
/// read would be taken for lost, and be let go of once that is acknowledged.
#[expect(clippy::disallowed_methods, reason = "at the start nothing else runs on this thread")]
fn patiently<T>(mut read: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    let mut tries = 0;
    loop {
        match read() {
            Err(error) if segment::passes(&error) && tries < 100 => {
                tries += 1;
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            done => return done,
        }
    }
}

/// The newer of the two slots that are good.
fn read_state(disk: &dyn Disk, host: HostId) -> (u64, Vec<EpochInfo>) {
    let mut bytes = vec![0; 2 * STATE_SLOT];
    let read = patiently(|| disk.read_at(STATE, 0, &mut bytes)).unwrap_or_default();
    bytes.truncate(read);
    let slots = bytes.chunks(STATE_SLOT).filter_map(|slot| format::get_state(slot, host));
    slots.max_by_key(|(counter, _)| *counter).unwrap_or_default()
}

fn read_gaps(disk: &dyn Disk, host: HostId) -> Vec<Option<StoredGap>> {
    let mut bytes = vec![0; GAP_SLOT * GAP_SLOTS];
    let read = patiently(|| disk.read_at(GAPS, 0, &mut bytes)).unwrap_or_default();
    bytes.truncate(read);
    let mut slots: Vec<Option<StoredGap>> =
        bytes.chunks(GAP_SLOT).enumerate().map(|(at, slot)| StoredGap::get(slot, host, at)).collect();
    slots.resize(GAP_SLOTS, None);
    slots
}

/// The segments that hold samples of this host, and a number that none has. Only what cannot be told
/// from the next one's start is read whole.
fn read_segments(disk: &dyn Disk, files: Vec<(String, u64)>, host: HostId) -> (Vec<Segment>, u64) {
    let mut seals = Vec::new();
    for (name, len) in files {
        if let Some(seal) = Seal::of_name(&name, host) {
            seals.push((seal, len.min(MAX_SEGMENT)));
        } else if name.ends_with(".damaged") {
            let _ = disk.remove(&name);
        } else if name != STATE && name != GAPS {
            tracing::warn!(file = name, "ignored a file that is not part of the spool");
        }
    }
    seals.sort_by_key(|(seal, _)| seal.number);
    let next = seals.last().map_or(1, |(seal, _)| seal.number.saturating_add(1));
    let mut segments: Vec<Segment> = Vec::new();
    for (seal, len) in &seals {
        match patiently(|| segment::scan(disk, *seal, *len, false)) {
            Ok(Some(segment)) => segments.push(segment),
            Ok(None) => set_aside(disk, seal),
            Err(e) => {
                tracing::warn!(file = seal.name(), error = %e, "a spool file cannot be read; it is left for the next start");
            }
        }
    }
    for at in 0..segments.len() {
        let segment = segments[at];
        let next = segments.get(at + 1).filter(|next| next.seal.epoch == segment.seal.epoch);
        let last = match next {
            Some(next) => Some((Seq(next.first.0.0.saturating_sub(1)).max(segment.first.0), next.first.1)),
            None => {
                let whole = patiently(|| segment::scan(disk, segment.seal, segment.len, true));
                whole.ok().flatten().map(|whole| whole.last)
            }
        };
        segments[at].last = last.unwrap_or(segment.first);
    }
    (segments, next)
}

/// Keeps a file without a good sample for a look, until the next start.
fn set_aside(disk: &dyn Disk, seal: &Seal) {
    let name = seal.name();
    tracing::warn!(file = name, "set aside a spool file without a good sample of this host");
    if disk.rename(&name, &format!("{name}.damaged")).is_err() {
        let _ = disk.remove(&name);
    }
}

/// Brings what a segment says into the table of epochs.
fn join(epochs: &mut Vec<EpochInfo>, segment: &Segment, known: bool) {
    let (first, last) = (segment.first, segment.last);
    if let Some(info) = epochs.iter_mut().find(|info| info.epoch == segment.seal.epoch) {
        if last.0 > info.last {
            (info.last, info.last_at) = last;
        }
        return;
    }
    // Without a table, what is not there any more was acknowledged: nothing else removes segments
    // without a record. With one, the epoch began after it was last written.
    let acked = if known { Seq(0) } else { Seq(first.0.0.saturating_sub(1)) };
    epochs.push(EpochInfo { epoch: segment.seal.epoch, last: last.0, last_at: last.1, acked });
}

/// Beyond the cap of epochs, those that hold the fewest samples become gaps, the oldest first: a crash
/// loop makes many epochs of one sample each, and must not cost the days before it. Their segments are
/// returned.
fn drop_small_epochs(index: &mut Index) -> Vec<Segment> {
    let mut dropped = Vec::new();
    while index.epochs.len() > KEEP_EPOCHS {
        // The last one grows, and the one before it is announced to the controller.
        let candidates = index.epochs.iter().take(index.epochs.len() - 2).enumerate();
        let waiting = |info: &EpochInfo| info.last.0.saturating_sub(info.acked.0);
        let Some((at, info)) = candidates.min_by_key(|(_, info)| waiting(info)) else { break };
        let info = *info;
        let segments = std::mem::take(&mut index.segments);
        let (gone, kept): (Vec<_>, Vec<_>) =
            segments.into_iter().partition(|segment| segment.seal.epoch == info.epoch);
        index.segments = kept.into();
        index.bytes = index.bytes.saturating_sub(gone.iter().map(|segment| segment.len).sum());
        dropped.extend(gone);
        let from = info.last_at;
        index.gaps.retain(|gap| gap.epoch != info.epoch);
        index.lose(info.acked.next(), info.last, from, from, GapReason::SpoolFull, Some(info.epoch));
        index.epochs.remove(at);
    }
    dropped
}
