//! Processes in trouble: ended and not collected, stuck in the kernel, stopped, near their limit of open
//! files. Costs a walk over the table that the sweep has made anyway, and one question per process and
//! minute for its open files, which everybody may ask since Linux 6.2.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::AtFlags;
use sysop_common::metric;

use super::read_below;
use super::table::{Entry, Table};
use crate::sample::read::number;
use crate::sample::sensor::{Cycle, Output, clean};

/// Ended children from which a parent is named, and most parents named.
const ZOMBIES: u64 = 10;
const PARENTS: usize = 4;
/// What waits or is stopped for so long is told, and most that are told of each kind.
const LONG: Duration = Duration::from_secs(45);
const HELD: usize = 8;
/// Open files from which the limit is looked up, and most processes told.
const FEW_FILES: u64 = 64;
const FILES: usize = 4;
/// Every process is asked for its open files in one look out of so many.
const TURNS: u64 = 6;
/// Looks after which limits are looked up again.
const LIMITS: u64 = 60;
/// The kernel's thread that begins all other threads of the kernel.
const KTHREADD: u32 = 2;

/// Which process, for ever.
type Id = (u32, u64);

/// What is remembered of processes in trouble.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    held: BTreeMap<Id, Held>,
    files: BTreeMap<Id, u64>,
    limits: BTreeMap<Id, Option<u64>>,
    /// Whether the kernel tells the number of open files; `None` before the first look.
    counts: Option<bool>,
    at: Duration,
}

/// A process that waits without a pause, or is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    state: u8,
    cpu_ticks: u64,
    since: Duration,
    channel: String,
}

impl Tasks {
    /// Looks; the processes returned are told about and must be described.
    pub(super) fn look(
        &mut self,
        table: &Table,
        folder: &OwnedFd,
        cycle: &Cycle,
        out: &mut Output,
    ) -> Vec<u32> {
        self.at += cycle.elapsed;
        let mut named = zombies(table, out);
        named.extend(self.hold(table, folder, out));
        named.extend(self.open_files(table, folder, cycle.number, out));
        named
    }

    fn hold(&mut self, table: &Table, folder: &OwnedFd, out: &mut Output) -> Vec<u32> {
        let before = std::mem::take(&mut self.held);
        for entry in table.entries() {
            let stuck = entry.state == b'D' && entry.parent != KTHREADD;
            let stopped = matches!(entry.state, b'T' | b't');
            if !(stuck || stopped) {
                continue;
            }
            let id = (entry.pid, entry.start_ticks);
            let known = before.get(&id);
            let channel = if stuck { channel(folder, entry.pid) } else { String::new() };
            let same = |held: &&Held| {
                held.state == entry.state && held.cpu_ticks == entry.cpu_ticks && held.channel == channel
            };
            let since = known.filter(same).map_or(self.at, |held| held.since);
            let held = Held { state: entry.state, cpu_ticks: entry.cpu_ticks, since, channel };
            self.held.insert(id, held);
        }
        let mut named = self.tell(b'D', out);
        named.extend(self.tell(b'T', out));
        named
    }

    /// Columns of those that are held longest.
    fn tell(&self, state: u8, out: &mut Output) -> Vec<u32> {
        let lasts = |held: &Held| self.at.saturating_sub(held.since);
        let matches = |held: &Held| held.state.to_ascii_uppercase() == state && lasts(held) >= LONG;
        let mut found: Vec<_> = self.held.iter().filter(|(_, held)| matches(held)).collect();
        found.sort_by_key(|(id, held)| (held.since, **id));
        found.truncate(HELD);
        found.sort_by_key(|(id, _)| **id);
        for ((pid, _), held) in &found {
            let ms = u64::try_from(lasts(held).as_millis()).ok();
            match state {
                b'D' => out.put_labelled(metric::TASK_STUCK, &format!("{pid} {}", held.channel), ms),
                _ => out.put_labelled(metric::TASK_STOPPED, &pid.to_string(), ms),
            }
        }
        found.into_iter().map(|((pid, _), _)| *pid).collect()
    }

    fn open_files(&mut self, table: &Table, folder: &OwnedFd, look: u64, out: &mut Output) -> Vec<u32> {
        let counts = *self.counts.get_or_insert_with(|| count(folder, "self").is_some());
        if !counts {
            out.put(metric::TASK_FDS, None);
            return Vec::new();
        }
        if look.is_multiple_of(LIMITS) {
            self.limits.clear();
        }
        let before = std::mem::take(&mut self.files);
        for entry in table.entries().iter().filter(|entry| entry.rss_pages > 0) {
            let id = (entry.pid, entry.start_ticks);
            let turn = look == 0 || (u64::from(entry.pid) + look).is_multiple_of(TURNS);
            let files = if turn { count(folder, &entry.pid.to_string()) } else { before.get(&id).copied() };
            self.files.extend(files.filter(|files| *files >= FEW_FILES).map(|files| (id, files)));
        }
        out.put(metric::TASK_FDS, Some(self.files.values().copied().max().unwrap_or(0)));
        let limits = &mut self.limits;
        let mut near: Vec<(u32, u64, u64)> = self
            .files
            .iter()
            .filter_map(|(id, files)| {
                let max = *limits.entry(*id).or_insert_with(|| limit(folder, id.0));
                max.filter(|max| files.saturating_mul(2) >= *max).map(|max| (id.0, *files, max))
            })
            .collect();
        near.sort_by(|a, b| (b.1.saturating_mul(a.2)).cmp(&a.1.saturating_mul(b.2)).then(a.0.cmp(&b.0)));
        near.truncate(FILES);
        near.sort_unstable();
        for (pid, files, max) in &near {
            out.put_labelled(metric::TASK_FDS, &pid.to_string(), Some(*files));
            out.put_labelled(metric::TASK_FDS_MAX, &pid.to_string(), Some(*max));
        }
        near.into_iter().map(|(pid, ..)| pid).collect()
    }
}

/// Ended processes that nobody collected, and who should.
fn zombies(table: &Table, out: &mut Output) -> Vec<u32> {
    let mut parents: BTreeMap<u32, u64> = BTreeMap::new();
    let mut total = 0;
    for entry in table.entries().iter().filter(|entry: &&Entry| entry.state == b'Z') {
        total += 1;
        *parents.entry(entry.parent).or_default() += 1;
    }
    out.put(metric::TASKS_ZOMBIE, table.sees_all().then_some(total));
    let mut most: Vec<(u32, u64)> = parents.into_iter().filter(|(_, count)| *count >= ZOMBIES).collect();
    most.sort_by_key(|(pid, count)| (std::cmp::Reverse(*count), *pid));
    most.truncate(PARENTS);
    most.sort_unstable();
    for (pid, count) in &most {
        out.put_labelled(metric::TASK_ZOMBIES, &pid.to_string(), Some(*count));
    }
    most.into_iter().map(|(pid, _)| pid).collect()
}

/// The kernel function that a process waits in; `?` where that may not be read.
fn channel(folder: &OwnedFd, pid: u32) -> String {
    let mut buffer = [0; 64];
    let length = read_below(folder, &format!("{pid}/wchan"), &mut buffer).unwrap_or(0);
    let name = clean(buffer.get(..length).unwrap_or_default());
    if name.is_empty() || name == "0" { "?".to_owned() } else { name }
}

/// Number of open files: the size of the folder that lists them. It was 0 before Linux 6.2.
fn count(folder: &OwnedFd, process: &str) -> Option<u64> {
    let stat = rustix::fs::statat(folder, format!("{process}/fd"), AtFlags::empty()).ok()?;
    u64::try_from(stat.st_size).ok().filter(|count| *count > 0)
}

/// Most files that a process may have open.
fn limit(folder: &OwnedFd, pid: u32) -> Option<u64> {
    let mut buffer = [0; 2048];
    let length = read_below(folder, &format!("{pid}/limits"), &mut buffer)?;
    let text = buffer.get(..length)?;
    let line = text.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"Max open files"))?;
    number(line.trim_ascii_start().split(|b| *b == b' ').next()?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use sysop_common::sample::NOT_OBSERVED;

    fn process(proc: &Path, pid: u32, state: char, parent: u32, ticks: u64) {
        let folder = proc.join(pid.to_string());
        std::fs::create_dir_all(folder.join("fd")).unwrap();
        let line =
            format!("{pid} (x) {state} {parent} 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 70 1 10 0 1 1 0");
        std::fs::write(folder.join("stat"), line).unwrap();
    }

    fn look(tasks: &mut Tasks, proc: &Path, seconds: u64) -> (Vec<u32>, Vec<String>) {
        let folder = super::super::open_folder(proc).unwrap();
        let mut table = Table::default();
        table.begin();
        table.list(&folder, None).unwrap();
        table.read(&folder, |_| true);
        let (mut out, elapsed) = (Output::default(), Duration::from_secs(seconds));
        out.begin();
        let cycle = Cycle { elapsed, ..Cycle::default() };
        let named = tasks.look(&table, &folder, &cycle, &mut out);
        out.commit();
        let told = out.columns().iter().zip(out.values()).map(|(column, value)| {
            let value = if *value == NOT_OBSERVED { "-".to_owned() } else { value.to_string() };
            format!("{} [{}] {value}", metric::by_id(column.metric).unwrap().name, column.label)
        });
        (named, told.collect())
    }

    #[test]
    fn zombies_have_a_parent_and_who_waits_long_in_one_place_is_told() {
        let proc = tempfile::tempdir().unwrap();
        let proc = proc.path();
        process(proc, 1, 'S', 0, 1);
        process(proc, 2, 'S', 0, 1);
        process(proc, 3, 'D', 2, 1);
        process(proc, 40, 'D', 1, 7);
        std::fs::write(proc.join("40/wchan"), "nfs_wait").unwrap();
        process(proc, 41, 'D', 1, 7);
        process(proc, 42, 'T', 1, 7);
        for pid in 100..112 {
            process(proc, pid, 'Z', 40, 0);
        }
        process(proc, 112, 'Z', 1, 0);
        let mut tasks = Tasks::default();
        let few = ["tasks.zombie [] 13", "task.zombies [40] 12"];
        assert_eq!(look(&mut tasks, proc, 0).1[..2], few);
        assert_eq!(look(&mut tasks, proc, 30).0, [40]);
        let (named, told) = look(&mut tasks, proc, 30);
        assert_eq!(named, [40, 40, 41, 42]);
        let held = [
            "task.stuck [40 nfs_wait] 60000",
            "task.stuck [41 ?] 60000",
            "task.stopped [42] 60000",
            "task.fds [] -",
        ];
        assert_eq!(told[2..], held);
        // It went on, and waits anew.
        process(proc, 41, 'D', 1, 8);
        std::fs::write(proc.join("40/wchan"), "io_schedule").unwrap();
        assert_eq!(look(&mut tasks, proc, 30).1[2..], ["task.stopped [42] 90000", "task.fds [] -"]);
    }

    #[test]
    fn open_files_of_a_real_process_are_counted_against_its_limit() {
        let files: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let folder = super::super::open_folder(Path::new("/proc")).unwrap();
        let own = std::process::id();
        let Some(counted) = count(&folder, "self") else { return };
        assert!(counted >= files.len() as u64);
        let max = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        assert_eq!(limit(&folder, own), max);
    }
}
