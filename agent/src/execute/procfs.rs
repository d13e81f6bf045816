//! What `/proc` tells of a process. Every byte of it may be chosen by that process: it is data only.

use std::path::PathBuf;

/// Flag of a thread of the kernel, from the kernel's `PF_KTHREAD`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// The fields of `/proc/PID/stat` that are needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) comm: String,
    /// `Z` is a process that has ended and was not collected.
    pub(super) state: char,
    pub(super) parent: u32,
    pub(super) kernel: bool,
    pub(super) start_ticks: u64,
}

/// Reads `/proc/PID/stat`.
pub(super) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&read(pid, "stat")?)
}

/// The short name stands in parentheses and may itself hold parentheses, spaces and line feeds.
pub(super) fn parse_stat(text: &str) -> Option<Stat> {
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let comm = text.get(open + 1..close)?.to_owned();
    let fields: Vec<&str> = text.get(close + 1..)?.split_whitespace().collect();
    // proc(5) counts from 1 and this from the third field.
    let field = |number: usize| fields.get(number - 3).copied();
    let flags: u64 = field(9)?.parse().ok()?;
    Some(Stat {
        comm,
        state: field(3)?.chars().next()?,
        parent: field(4)?.parse().ok()?,
        kernel: flags & KERNEL_THREAD != 0,
        start_ticks: field(22)?.parse().ok()?,
    })
}

/// Real, effective, saved and file-system user.
pub(super) fn uids(pid: u32) -> Option<[u32; 4]> {
    parse_uids(&read(pid, "status")?)
}

pub(super) fn parse_uids(text: &str) -> Option<[u32; 4]> {
    // A name with a line feed shows as `\n` here, so no process can write this line itself.
    let line = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let numbers: Vec<u32> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    numbers.try_into().ok()
}

/// The units of a process by its control groups, the outermost first.
pub(super) fn units(pid: u32) -> Vec<String> {
    parse_units(&read(pid, "cgroup").unwrap_or_default())
}

/// Every part of a path counts that could be a unit: below a unit with groups of its own anybody may call
/// a group what he likes, but the unit's own name stays in the path.
pub(super) fn parse_units(text: &str) -> Vec<String> {
    let of_systemd = |line: &&str| line.starts_with("0::") || line.contains(":name=systemd:");
    let paths = text.lines().filter(of_systemd).filter_map(|line| line.splitn(3, ':').nth(2));
    let is_unit = |part: &&str| {
        [".service", ".scope", ".socket", ".mount", ".swap"].iter().any(|end| part.ends_with(end))
    };
    // Names that could be taken for the kernel's own files are led by an underscore.
    let plain = |part: &str| part.strip_prefix('_').unwrap_or(part).to_owned();
    paths.flat_map(|path| path.split('/')).filter(is_unit).map(plain).collect()
}

/// Whether `pid` is this process or one that it descends from.
pub(super) fn is_ours(pid: u32) -> bool {
    let mut at = std::process::id();
    // Deeper than any real tree: a loop in what is read must not be one here.
    for _ in 0..1_024 {
        if at == pid {
            return true;
        }
        match stat(at) {
            Some(stat) if stat.parent > 0 && stat.parent != at => at = stat.parent,
            _ => return pid == 1,
        }
    }
    true
}

fn read(pid: u32, file: &str) -> Option<String> {
    let bytes = std::fs::read(PathBuf::from(format!("/proc/{pid}/{file}"))).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
