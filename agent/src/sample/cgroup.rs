//! Control groups: which unit a process belongs to, and what a unit uses, in both layouts.

use std::path::{Path, PathBuf};

use super::read::{number, read_once};
use super::sensor::clean;

/// Endings of the unit types that hold processes.
const HOLDERS: [&[u8]; 5] = [b".service", b".scope", b".socket", b".mount", b".swap"];

/// The unit that `/proc/PID/cgroup` names; empty for none.
///
/// systemd keeps its tree in the version 2 hierarchy (`0::`), or, on hosts with version 1, in one
/// named after it; the other then holds everything at its root.
pub(crate) fn unit_of(cgroup: &[u8]) -> String {
    let mut unified = None;
    for line in cgroup.split(|b| *b == b'\n') {
        let mut parts = line.splitn(3, |b| *b == b':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let unit = unit_in(path);
        if controllers == b"name=systemd" && !unit.is_empty() {
            return unit;
        }
        if controllers.is_empty() {
            unified = Some(unit);
        }
    }
    unified.unwrap_or_default()
}

/// The unit in a group's path: the first part below the slices. What lies below it is the unit's own
/// affair (containers, a user's services).
fn unit_in(path: &[u8]) -> String {
    path.split(|b| *b == b'/')
        .filter(|part| !part.is_empty() && !part.ends_with(b".slice"))
        .take(1)
        // Names that could be mistaken for the kernel's own files are led by an underscore.
        .map(|part| part.strip_prefix(b"_").filter(|rest| is_unit(rest)).unwrap_or(part))
        .find(|part| is_unit(part))
        .map(clean)
        .unwrap_or_default()
}

fn is_unit(name: &[u8]) -> bool {
    HOLDERS.iter().any(|ending| name.ends_with(ending))
}

/// What a control group used. `None` where its controller is off or the kernel lacks the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) anon_bytes: Option<u64>,
    pub(crate) cpu_us: Option<u64>,
    pub(crate) tasks: Option<u64>,
    pub(crate) io_read_bytes: Option<u64>,
    pub(crate) io_write_bytes: Option<u64>,
    pub(crate) oom_kills: Option<u64>,
}

/// Where control groups are mounted and in which layout.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    root: PathBuf,
    unified: bool,
}

impl Tree {
    pub(crate) fn new(root: &Path) -> Self {
        // Only the root of a version 2 tree has this file; with version 1, folders of controllers stand there.
        Self { root: root.to_owned(), unified: root.join("cgroup.controllers").exists() }
    }

    /// What the group at `path`, as systemd names it, used so far.
    pub(crate) fn usage(&self, path: &str) -> Usage {
        let path = path.trim_start_matches('/');
        // A path that climbs is none of systemd's.
        if path.is_empty() || path.split('/').any(|part| part == "..") {
            return Usage::default();
        }
        if self.unified { usage_v2(&self.root.join(path)) } else { usage_v1(&self.root, path) }
    }

    /// Processes of the group that the kernel killed for memory so far.
    pub(crate) fn oom_kills(&self, path: &str) -> Option<u64> {
        let path = path.trim_start_matches('/');
        let file = if self.unified {
            self.root.join(path).join("memory.events")
        } else {
            self.root.join("memory").join(path).join("memory.oom_control")
        };
        field(&read_once(&file).ok()?, "oom_kill")
    }
}

fn usage_v2(group: &Path) -> Usage {
    let text = |name: &str| read_once(&group.join(name)).ok();
    let (io_read_bytes, io_write_bytes) = match text("io.stat") {
        Some(text) => (Some(sum(&text, "rbytes=")), Some(sum(&text, "wbytes="))),
        None => (None, None),
    };
    Usage {
        memory_bytes: text("memory.current").and_then(|text| single(&text)),
        anon_bytes: text("memory.stat").and_then(|text| field(&text, "anon")),
        cpu_us: text("cpu.stat").and_then(|text| field(&text, "usage_usec")),
        tasks: text("pids.current").and_then(|text| single(&text)),
        io_read_bytes,
        io_write_bytes,
        oom_kills: text("memory.events").and_then(|text| field(&text, "oom_kill")),
    }
}

fn usage_v1(root: &Path, path: &str) -> Usage {
    let text = |controller: &str, name: &str| read_once(&root.join(controller).join(path).join(name)).ok();
    let io = text("blkio", "blkio.throttle.io_service_bytes_recursive")
        .or_else(|| text("blkio", "blkio.throttle.io_service_bytes"));
    let nanoseconds = text("cpuacct", "cpuacct.usage").or_else(|| text("cpu,cpuacct", "cpuacct.usage"));
    // In a container the controllers may be closed; the version 2 tree beside them counts CPU in any case,
    // and systemd's own tree lists the tasks.
    let cpu_us = nanoseconds.and_then(|text| single(&text)).map(|ns| ns / 1000);
    let cpu_v2 = || text("unified", "cpu.stat").and_then(|text| field(&text, "usage_usec"));
    let tasks = text("pids", "pids.current").and_then(|text| single(&text));
    let listed = || text("systemd", "tasks").map(|text| text.lines().count() as u64);
    Usage {
        memory_bytes: text("memory", "memory.usage_in_bytes").and_then(|text| single(&text)),
        anon_bytes: text("memory", "memory.stat").and_then(|text| field(&text, "total_rss")),
        cpu_us: cpu_us.or_else(cpu_v2),
        tasks: tasks.or_else(listed),
        io_read_bytes: io.as_deref().map(|text| sum(text, "Read ")),
        io_write_bytes: io.as_deref().map(|text| sum(text, "Write ")),
        oom_kills: text("memory", "memory.oom_control").and_then(|text| field(&text, "oom_kill")),
    }
}

fn single(text: &str) -> Option<u64> {
    number(text.trim().as_bytes())
}

/// The number after `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| single(line.strip_prefix(name)?.strip_prefix(' ')?))
}

/// The sum, over the lines, of the number after `name`, which may stand anywhere in a line.
fn sum(text: &str, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| {
            let rest = &line[line.find(name)? + name.len()..];
            number(rest.split(' ').next()?.trim().as_bytes())
        })
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_is_found_in_both_layouts() {
        for (cgroup, unit) in [
            ("0::/system.slice/nginx.service\n", "nginx.service"),
            ("0::/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", "user@1000.service"),
            ("0::/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
            ("9:name=systemd:/system.slice/a.service\n4:memory:/other\n0::/\n", "a.service"),
            ("9:name=systemd:/\n0::/system.slice/b.service\n", "b.service"),
            ("9:name=systemd:/docker/0123abcd\n0::/\n", ""),
            ("0::/init.scope", "init.scope"),
            ("0::/system.slice/docker.service/docker/0123", "docker.service"),
            ("0::/system.slice/_cpu.service", "cpu.service"),
            ("0::/", ""),
            ("torn", ""),
            ("", ""),
        ] {
            assert_eq!(unit_of(cgroup.as_bytes()), unit, "{cgroup}");
        }
    }

    #[test]
    fn foreign_content_is_not_observed() {
        assert_eq!(single("max\n"), None);
        assert_eq!(field("anon_thp 4096\nanon 8192\n", "anon"), Some(8192));
        assert_eq!(field("anon\n", "anon"), None);
        assert_eq!(sum("8:0 rbytes=1 wbytes=2\n8:16 rbytes=3 wbytes=x\n", "rbytes="), 4);
        assert_eq!(sum("", "rbytes="), 0);
    }
}
