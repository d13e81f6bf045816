//! Timed jobs of cron that run more than once at a time. A systemd timer cannot do that: while its service
//! runs it is not started again.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use sysop_common::metric;

use super::{open_folder, read_below, stat};
use crate::config::Redaction;
use crate::sample::read::{ReadError, number, read_once};
use crate::sample::sensor::{Cycle, Output, Sensor, clip};

/// Names of cron's service.
const SERVICES: [&str; 3] = ["cron.service", "crond.service", "cronie.service"];
/// Most processes of it that are looked at.
const MAX_PROCESSES: usize = 512;
const SHOWN: usize = 8;
/// Most bytes of a job's label.
const LABEL: usize = 100;
/// Runs of one job begin at least this far apart, in seconds; a job that starts helpers of the same command
/// line starts them at once.
const APART_S: u64 = 30;

/// The sensor of timed jobs.
#[derive(Debug)]
pub(crate) struct Jobs {
    proc: PathBuf,
    lists: Vec<PathBuf>,
    redaction: Redaction,
    ticks_per_second: u64,
    shown: Vec<(String, u64)>,
}

impl Jobs {
    pub(crate) fn new(proc: &Path, cgroup: &Path, redaction: Redaction) -> Self {
        let trees = ["", "systemd", "unified"];
        let list = |service: &str, tree: &str| cgroup.join(tree).join("system.slice").join(service);
        let lists = SERVICES.iter().flat_map(|service| trees.map(|tree| list(service, tree)));
        Self {
            proc: proc.to_owned(),
            lists: lists.map(|folder| folder.join("cgroup.procs")).collect(),
            redaction,
            ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
            shown: Vec::new(),
        }
    }

    fn look(&mut self) -> Result<(), ReadError> {
        self.shown.clear();
        let Some(pids) = self.lists.iter().find_map(|list| read_once(list).ok()) else { return Ok(()) };
        let pids = pids.lines().filter_map(|line| number(line.as_bytes())).take(MAX_PROCESSES);
        let folder = open_folder(&self.proc)?;
        let mut jobs: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
        for pid in pids {
            let Some(command) = command(&folder, pid) else { continue };
            jobs.entry(command).or_default().push(pid);
        }
        jobs.retain(|_, pids| pids.len() > 1);
        let mut found = Vec::new();
        for (command, pids) in jobs {
            let starts = pids.iter().filter_map(|pid| start(&folder, *pid)).collect();
            let runs = runs(starts, APART_S * self.ticks_per_second);
            if runs > 1 {
                let text = self.redaction.command_line(&command, false);
                found.push((clip(&text, LABEL).trim_end().to_owned(), runs));
            }
        }
        found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        found.dedup_by(|a, b| a.0 == b.0);
        found.truncate(SHOWN);
        found.sort();
        self.shown = found;
        Ok(())
    }
}

/// The command that cron gave to a shell; `None` for what is none of its shells.
fn command(folder: &OwnedFd, pid: u64) -> Option<Vec<u8>> {
    let mut buffer = [0; 1024];
    let length = read_below(folder, &format!("{pid}/cmdline"), &mut buffer)?;
    let mut words = buffer.get(..length)?.splitn(3, |b| *b == 0);
    let (shell, option, command) = (words.next()?, words.next()?, words.next()?);
    (shell.ends_with(b"sh") && option == b"-c" && !command.is_empty()).then(|| command.to_vec())
}

/// When it began, in ticks since boot.
fn start(folder: &OwnedFd, pid: u64) -> Option<u64> {
    let mut buffer = [0; 1024];
    let length = read_below(folder, &format!("{pid}/stat"), &mut buffer)?;
    stat::parse(buffer.get(..length)?).map(|stat| stat.start_ticks)
}

/// Starts that are `apart` from the one before.
fn runs(mut starts: Vec<u64>, apart: u64) -> u64 {
    starts.sort_unstable();
    let mut last = None;
    let mut count = 0;
    for start in starts {
        if last.is_none_or(|last| start >= last + apart) {
            count += 1;
            last = Some(start);
        }
    }
    count
}

impl Sensor for Jobs {
    fn name(&self) -> &'static str {
        "jobs"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        if cycle.slow {
            self.look()?;
        }
        for (job, runs) in &self.shown {
            out.put_labelled(metric::JOB_RUNS, job, Some(*runs));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_job_are_counted_and_its_helpers_are_not() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let process = |pid: u32, start: u64, cmdline: &str| {
            std::fs::create_dir_all(path(&format!("proc/{pid}"))).unwrap();
            std::fs::write(path(&format!("proc/{pid}/cmdline")), cmdline).unwrap();
            let line = format!("{pid} (sh) S 1 1 1 0 -1 0 0 0 0 0 5 5 0 0 20 0 1 0 {start} 1 10 0 1 1 0");
            std::fs::write(path(&format!("proc/{pid}/stat")), line).unwrap();
        };
        process(10, 100, "/usr/sbin/cron\0-f\0");
        for n in 0..4 {
            process(20 + n, 6_000 * u64::from(n), "/bin/sh\0-c\0/opt/sync --token canary-1234\0");
            process(30 + n, 6_000, "sh\0-c\0/opt/helper\0");
            process(40 + n, 6_000, "/usr/sbin/CRON\0-f\0");
        }
        process(50, 1, "/bin/sh\0-c\0/opt/once\0");
        let pids: String = (10..60).map(|pid| format!("{pid}\n")).collect();
        std::fs::create_dir_all(path("cgroup/systemd/system.slice/cron.service")).unwrap();
        std::fs::write(path("cgroup/systemd/system.slice/cron.service/cgroup.procs"), pids).unwrap();
        let mut jobs = Jobs::new(&path("proc"), &path("cgroup"), Redaction::default());
        jobs.ticks_per_second = 100;
        jobs.look().unwrap();
        assert_eq!(jobs.shown.len(), 1);
        let (label, runs) = &jobs.shown[0];
        assert_eq!(*runs, 4);
        assert!(label.starts_with("/opt/sync") && !label.contains("canary"), "{label}");
        let mut nobody = Jobs::new(&path("proc"), &path("none"), Redaction::default());
        nobody.look().unwrap();
        assert!(nobody.shown.is_empty());
    }
}
