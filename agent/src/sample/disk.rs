//! `/proc/diskstats`: operations, bytes and busy time of whole disks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sysop_common::metric;

use super::read::{KeptFile, ReadError};
use super::sensor::{Cycle, Output, Sensor};

/// The kernel counts in sectors of this size, whatever the disk's own is.
const SECTOR: u64 = 512;
/// Most disks with columns.
pub(super) const MAX_DISKS: usize = 64;

/// The disk sensor. Partitions, loop devices and disks that never did anything are left out.
#[derive(Debug)]
pub(super) struct Disk {
    diskstats: KeptFile,
    block: PathBuf,
    /// Whether a name is a whole disk; asked of `/sys` once per name.
    whole: HashMap<Vec<u8>, bool>,
}

impl Disk {
    pub(super) fn new(proc: &Path, sys: &Path) -> Self {
        Self {
            diskstats: KeptFile::new(proc.join("diskstats")),
            block: sys.join("block"),
            whole: HashMap::new(),
        }
    }
}

impl Sensor for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn read(&mut self, _: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        let text = self.diskstats.read()?;
        let mut disks = 0;
        for mut line in text.lines() {
            if line.rest.is_empty() {
                continue;
            }
            line.numbers(&["major", "minor"])?;
            let Some(name) = line.word() else { return Err(text.missing("name")) };
            let items = [
                "reads",
                "reads merged",
                "sectors read",
                "ms reading",
                "writes",
                "writes merged",
                "sectors written",
                "ms writing",
                "in flight",
                "ms busy",
            ];
            let [reads, _, read, reading, writes, _, written, writing, in_flight, busy] =
                line.numbers(&items)?;
            if (reads | writes) == 0 || !is_whole(&mut self.whole, &self.block, name) {
                continue;
            }
            disks += 1;
            if disks > MAX_DISKS {
                break;
            }
            let Ok(label) = std::str::from_utf8(name) else { continue };
            out.put_labelled(metric::DISK_READS, label, Some(reads));
            out.put_labelled(metric::DISK_READ_BYTES, label, read.checked_mul(SECTOR));
            out.put_labelled(metric::DISK_READ_TIME, label, Some(reading));
            out.put_labelled(metric::DISK_WRITES, label, Some(writes));
            out.put_labelled(metric::DISK_WRITE_BYTES, label, written.checked_mul(SECTOR));
            out.put_labelled(metric::DISK_WRITE_TIME, label, Some(writing));
            out.put_labelled(metric::DISK_BUSY, label, Some(busy));
            out.put_labelled(metric::DISK_IN_FLIGHT, label, Some(in_flight));
        }
        Ok(())
    }
}

fn is_whole(known: &mut HashMap<Vec<u8>, bool>, block: &Path, name: &[u8]) -> bool {
    if let Some(whole) = known.get(name) {
        return *whole;
    }
    if known.len() > 4096 {
        known.clear();
    }
    let virtual_device = [&b"loop"[..], b"ram", b"fd", b"sr"]
        .iter()
        .any(|kind| name.strip_prefix(*kind).is_some_and(|rest| rest.iter().all(u8::is_ascii_digit)));
    // `/sys` writes the slash of names such as `cciss/c0d0` as an exclamation mark.
    let entry = String::from_utf8_lossy(name).replace('/', "!");
    let whole = !virtual_device && block.join(entry).exists();
    known.insert(name.to_vec(), whole);
    whole
}
