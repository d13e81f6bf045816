//! Limits that services run into: processor quota, number of tasks, memory, reading and writing.
//!
//! A column stands only where it says something: throttling of units that have a quota, tasks of units that
//! use half of what they may, events of memory limits that were hit, limits on disks. Files that change only
//! when somebody changes them are read every ten minutes, counters in turns, a sixth of the units in each
//! look; when very many processes were started since the look before, tasks are counted at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sysop_common::metric;

use super::read::ReadError;
use super::read::{number, read_once};
use super::sensor::{Cycle, Output, Sensor, clean};

/// Most units that are watched.
const MAX_UNITS: usize = 512;
/// Depth of slices within slices that is gone into.
const DEPTH: usize = 4;
/// Every unit has its turn in one look out of so many.
const TURNS: u64 = 6;
/// Looks at the list of units between two readings of settings.
const SETTINGS: u64 = 10;
/// So many forks between two looks are a storm.
const STORM: u64 = 100;

/// The limits sensor.
#[derive(Debug)]
pub(super) struct Limits {
    layout: Layout,
    units: BTreeMap<String, Group>,
    lists: u64,
    forks: Option<u64>,
}

/// Where which files are.
#[derive(Debug)]
struct Layout {
    root: PathBuf,
    unified: bool,
}

/// What is known of a unit's group.
#[derive(Debug, Default)]
struct Group {
    /// Below the tree's root, or a controller's.
    path: String,
    quota: bool,
    pids_max: Option<u64>,
    io: (Option<u64>, Option<u64>),
    periods: Option<(u64, u64)>,
    pids: Option<u64>,
    refused: Option<u64>,
    memory: Option<(Option<u64>, u64)>,
    memory_limit: Option<u64>,
    /// Its tasks have columns; they keep them until they fall below two fifths.
    crowded: bool,
}

impl Limits {
    pub(super) fn new(cgroup: &Path) -> Self {
        let unified = cgroup.join("cgroup.controllers").exists();
        let layout = Layout { root: cgroup.to_owned(), unified };
        Self { layout, units: BTreeMap::new(), lists: 0, forks: None }
    }

    /// Takes over the list of services below `system.slice`.
    fn list(&mut self) {
        let mut found = Vec::new();
        let top = self.layout.tree();
        services(&top, "system.slice", DEPTH, &mut found);
        let settings = self.lists.is_multiple_of(SETTINGS);
        self.lists += 1;
        let known = std::mem::take(&mut self.units);
        let mut known: BTreeMap<String, Group> = known;
        for (name, path) in found.into_iter().take(MAX_UNITS) {
            let fresh = !known.contains_key(&name);
            let mut group = known.remove(&name).unwrap_or_default();
            group.path = path;
            if settings || fresh {
                self.layout.settings(&mut group);
            }
            self.units.insert(name, group);
        }
    }
}

/// Services in a slice and in the slices in it.
fn services(tree: &Path, slice: &str, depth: usize, found: &mut Vec<(String, String)>) {
    let Ok(entries) = std::fs::read_dir(tree.join(slice)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if found.len() >= MAX_UNITS {
            return;
        }
        let path = format!("{slice}/{name}");
        if name.ends_with(".service") {
            found.push((clean(name.strip_prefix('_').unwrap_or(name).as_bytes()), path));
        } else if name.ends_with(".slice") && depth > 0 {
            services(tree, &path, depth - 1, found);
        }
    }
}

impl Layout {
    /// The folder whose subfolders are the slices.
    fn tree(&self) -> PathBuf {
        if self.unified {
            return self.root.clone();
        }
        let has = |name: &&&str| self.root.join(name).join("system.slice").is_dir();
        self.root
            .join(["pids", "cpu", "cpu,cpuacct", "memory", "systemd"].iter().find(has).unwrap_or(&"systemd"))
    }

    fn text(&self, controller: &str, path: &str, file: &str) -> Option<String> {
        let folder = if self.unified { self.root.join(path) } else { self.root.join(controller).join(path) };
        read_once(&folder.join(file)).ok()
    }

    fn cpu(&self, path: &str, file: &str) -> Option<String> {
        self.text("cpu", path, file)
            .or_else(|| if self.unified { None } else { self.text("cpu,cpuacct", path, file) })
    }

    /// What changes only when somebody changes it.
    fn settings(&self, group: &mut Group) {
        let path = group.path.as_str();
        let most = self.text("pids", path, "pids.max");
        group.pids_max = most.and_then(|text| number(text.trim().as_bytes()));
        if self.unified {
            group.quota = self.cpu(path, "cpu.max").is_some_and(|text| !text.starts_with("max"));
            let text = self.text("io", path, "io.max");
            group.io = text.map_or((None, None), |text| (least(&text, "rbps="), least(&text, "wbps=")));
        } else {
            let quota = self.cpu(path, "cpu.cfs_quota_us");
            group.quota = quota.is_some_and(|text| number(text.trim().as_bytes()).is_some());
            let limit = |file: &str| self.text("blkio", path, file).and_then(|text| least_v1(&text));
            group.io = (limit("blkio.throttle.read_bps_device"), limit("blkio.throttle.write_bps_device"));
        }
    }

    fn counters(&self, group: &mut Group) {
        let path = group.path.as_str();
        group.periods = None;
        if group.quota
            && let Some(text) = self.cpu(path, "cpu.stat")
        {
            group.periods = field(&text, "nr_periods").zip(field(&text, "nr_throttled"));
        }
        self.tasks(group);
        self.memory(group);
    }

    fn tasks(&self, group: &mut Group) {
        let Some(max) = group.pids_max else { return };
        let path = group.path.as_str();
        let text = self.text("pids", path, "pids.current");
        let pids = text.and_then(|text| number(text.trim().as_bytes()));
        let used = pids.unwrap_or(0);
        group.crowded = used.saturating_mul(if group.crowded { 5 } else { 4 }) >= max.saturating_mul(2);
        group.pids = pids;
        group.refused = None;
        if group.crowded
            && let Some(text) = self.text("pids", path, "pids.events")
        {
            group.refused = field(&text, "max");
        }
    }

    fn memory(&self, group: &mut Group) {
        let path = group.path.as_str();
        let events = if self.unified {
            self.text("memory", path, "memory.events")
                .and_then(|text| Some((field(&text, "high"), field(&text, "max")?)))
        } else {
            let text = self.text("memory", path, "memory.failcnt");
            text.and_then(|text| Some((None, number(text.trim().as_bytes())?)))
        };
        let hit = events.filter(|(high, max)| high.unwrap_or(0) > 0 || *max > 0);
        if hit.is_some() {
            let files: &[&str] =
                if self.unified { &["memory.high", "memory.max"] } else { &["memory.limit_in_bytes"] };
            let limit = |file: &&str| {
                let text = self.text("memory", path, file)?;
                // What is as large as an address space is no limit.
                number(text.trim().as_bytes()).filter(|bytes| *bytes < 1 << 60)
            };
            group.memory_limit = files.iter().filter_map(limit).min();
        }
        group.memory = hit;
    }
}

/// The number after `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| number(line.strip_prefix(name)?.strip_prefix(' ')?.trim().as_bytes()))
}

/// The smallest number after `name`, over the devices.
fn least(text: &str, name: &str) -> Option<u64> {
    let words = text.split_ascii_whitespace();
    words.filter_map(|word| number(word.strip_prefix(name)?.as_bytes())).min()
}

/// Version 1: a line of device and number per device; zero is no limit.
fn least_v1(text: &str) -> Option<u64> {
    let value = |line: &str| number(line.split_ascii_whitespace().nth(1)?.as_bytes());
    text.lines().filter_map(value).filter(|limit| *limit > 0).min()
}

impl Sensor for Limits {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        if cycle.slow {
            self.list();
        }
        let before = std::mem::replace(&mut self.forks, cycle.forks);
        let forks = before.zip(cycle.forks).map_or(0, |(before, now)| now.saturating_sub(before));
        for (at, group) in (0_u64..).zip(self.units.values_mut()) {
            if cycle.number == 0 || (at + cycle.number).is_multiple_of(TURNS) {
                self.layout.counters(group);
            } else if forks >= STORM {
                self.layout.tasks(group);
            }
        }
        for (name, group) in &self.units {
            put(name, group, out);
        }
        Ok(())
    }
}

fn put(name: &str, group: &Group, out: &mut Output) {
    if group.quota {
        out.put_labelled(metric::UNIT_CPU_PERIODS, name, group.periods.map(|(periods, _)| periods));
        out.put_labelled(metric::UNIT_CPU_THROTTLED, name, group.periods.map(|(_, throttled)| throttled));
    }
    if group.crowded {
        out.put_labelled(metric::UNIT_PIDS, name, group.pids);
        out.put_labelled(metric::UNIT_PIDS_MAX, name, group.pids_max);
        out.put_labelled(metric::UNIT_PIDS_REFUSED, name, group.refused);
    }
    if let Some((high, max)) = group.memory {
        out.put_labelled(metric::UNIT_MEMORY_HIGH, name, high);
        out.put_labelled(metric::UNIT_MEMORY_MAX, name, Some(max));
        out.put_labelled(metric::UNIT_MEMORY_LIMIT, name, group.memory_limit);
    }
    if group.io.0.is_some() {
        out.put_labelled(metric::UNIT_IO_READ_LIMIT, name, group.io.0);
    }
    if group.io.1.is_some() {
        out.put_labelled(metric::UNIT_IO_WRITE_LIMIT, name, group.io.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sysop_common::sample::NOT_OBSERVED;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn look(sensor: &mut Limits, number: u64, forks: u64) -> Vec<String> {
        let mut out = Output::default();
        let mut cycle = Cycle { number, slow: number == 0, forks: Some(forks), ..Cycle::default() };
        out.begin();
        sensor.read(&mut cycle, &mut out).unwrap();
        out.commit();
        let told = out.columns().iter().zip(out.values()).map(|(column, value)| {
            let value = if *value == NOT_OBSERVED { "-".to_owned() } else { value.to_string() };
            format!("{} {} {value}", metric::by_id(column.metric).unwrap().name, column.label)
        });
        told.collect()
    }

    #[test]
    fn only_limits_that_say_something_have_columns_in_both_layouts() {
        let v2 = "system.slice/system-app.slice/app@1.service";
        let folder = tree(&[
            ("cgroup.controllers", "cpu memory pids io"),
            (&format!("{v2}/cpu.max"), "20000 100000\n"),
            (&format!("{v2}/cpu.stat"), "usage_usec 1\nnr_periods 500\nnr_throttled 200\nthrottled_usec 9\n"),
            (&format!("{v2}/pids.max"), "200\n"),
            (&format!("{v2}/pids.current"), "150\n"),
            (&format!("{v2}/pids.events"), "max 7\n"),
            (&format!("{v2}/memory.events"), "low 0\nhigh 5\nmax 0\noom 0\noom_kill 0\n"),
            (&format!("{v2}/memory.high"), "1048576\n"),
            (&format!("{v2}/memory.max"), "max\n"),
            (&format!("{v2}/io.max"), "8:0 rbps=max wbps=1048576 riops=max wiops=max\n"),
            ("system.slice/calm.service/cpu.max", "max 100000\n"),
            ("system.slice/calm.service/pids.max", "4915\n"),
            ("system.slice/calm.service/pids.current", "3\n"),
            ("system.slice/calm.service/memory.events", "low 0\nhigh 0\nmax 0\n"),
        ]);
        let expected = [
            "unit.cpu.periods app@1.service 500",
            "unit.cpu.throttled app@1.service 200",
            "unit.pids app@1.service 150",
            "unit.pids.max app@1.service 200",
            "unit.pids.refused app@1.service 7",
            "unit.memory.high app@1.service 5",
            "unit.memory.max app@1.service 0",
            "unit.memory.limit app@1.service 1048576",
            "unit.io.write_limit app@1.service 1048576",
        ];
        assert_eq!(look(&mut Limits::new(folder.path()), 0, 0), expected);

        let old = "system.slice/app.service";
        let folder = tree(&[
            (&format!("cpu,cpuacct/{old}/cpu.cfs_quota_us"), "20000\n"),
            (&format!("cpu,cpuacct/{old}/cpu.stat"), "nr_periods 10\nnr_throttled 4\nthrottled_time 9\n"),
            (&format!("pids/{old}/pids.max"), "max\n"),
            (&format!("memory/{old}/memory.failcnt"), "3\n"),
            (&format!("memory/{old}/memory.limit_in_bytes"), "1048576\n"),
            (&format!("blkio/{old}/blkio.throttle.read_bps_device"), "8:0 4096\n"),
        ]);
        let expected = [
            "unit.cpu.periods app.service 10",
            "unit.cpu.throttled app.service 4",
            "unit.memory.high app.service -",
            "unit.memory.max app.service 3",
            "unit.memory.limit app.service 1048576",
            "unit.io.read_limit app.service 4096",
        ];
        assert_eq!(look(&mut Limits::new(folder.path()), 0, 0), expected);
        assert!(look(&mut Limits::new(&folder.path().join("none")), 0, 0).is_empty());
    }

    #[test]
    fn storm_of_forks_is_counted_at_once_and_torn_files_are_not_observed() {
        let folder = tree(&[
            ("cgroup.controllers", "pids"),
            ("system.slice/a.service/pids.max", "200"),
            ("system.slice/a.service/pids.current", "10"),
            ("system.slice/a.service/pids.events", "torn"),
            ("system.slice/a.service/cpu.max", "1000 100000"),
        ]);
        let mut sensor = Limits::new(folder.path());
        assert_eq!(look(&mut sensor, 0, 100).len(), 2);
        std::fs::write(folder.path().join("system.slice/a.service/pids.current"), "199").unwrap();
        // It has no turn in this look.
        assert_eq!(look(&mut sensor, 1, 110).len(), 2);
        let expected = [
            "unit.cpu.periods a.service -",
            "unit.cpu.throttled a.service -",
            "unit.pids a.service 199",
            "unit.pids.max a.service 200",
            "unit.pids.refused a.service -",
        ];
        assert_eq!(look(&mut sensor, 2, 5_000), expected);
    }
}
