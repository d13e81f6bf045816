//! Rows of a frame: processes and units, whole or as what changed.

use std::collections::VecDeque;

use super::codec::{CodecError, REMEMBERED};
use super::varint::{
    Reader, in_steps, put, put_signed, put_stepped, put_text, read_stepped, unzigzag, zigzag,
};
use super::window::{Window, Words};
use super::{Active, MAX_PROCESSES, Process, Text, Tick, Unit};

/// What stays the same of a process as long as it lives (its arguments nearly so).
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) pid: u32,
    pub(super) start_ticks: u64,
    comm: Text,
    user: Text,
    unit: Text,
    args: Text,
}

impl Identity {
    pub(super) fn of(p: &Process) -> Self {
        Self {
            pid: p.pid,
            start_ticks: p.start_ticks,
            comm: p.comm.clone(),
            user: p.user.clone(),
            unit: p.unit.clone(),
            args: p.args.clone(),
        }
    }

    pub(super) fn is(&self, p: &Process) -> bool {
        self.pid == p.pid
            && self.start_ticks == p.start_ticks
            && self.comm == p.comm
            && self.user == p.user
            && self.unit == p.unit
            && self.args == p.args
    }

    pub(super) fn texts(&self) -> [&str; 4] {
        [&self.comm, &self.user, &self.unit, &self.args]
    }

    /// Whether `a` and `b` may be written as a difference: the same process with the same texts.
    pub(super) fn matches(a: &Process, b: &Process) -> bool {
        a.pid == b.pid
            && a.start_ticks == b.start_ticks
            && a.comm == b.comm
            && a.user == b.user
            && a.unit == b.unit
            && a.args == b.args
    }

    pub(super) fn to_process(&self) -> Process {
        Process {
            pid: self.pid,
            start_ticks: self.start_ticks,
            comm: self.comm.clone(),
            user: self.user.clone(),
            unit: self.unit.clone(),
            args: self.args.clone(),
            ..Process::default()
        }
    }
}

/// Page size of most hosts: memory and storage are counted in pages.
const PAGE: u64 = 4096;
/// Sector size: what is read from disks is counted in sectors.
const SECTOR: u64 = 512;
/// A clock tick of most hosts in ms.
const TICK_MS: u64 = 10;

fn put_option(out: &mut Vec<u8>, value: Option<u64>) {
    match value {
        Some(value) => {
            out.push(1);
            put(out, value);
        }
        None => out.push(0),
    }
}

fn read_option(reader: &mut Reader<'_>) -> Result<Option<u64>, CodecError> {
    if reader.byte()? == 0 { Ok(None) } else { reader.unsigned().map(Some) }
}

const NONE: u64 = 0;
const EXACT: u64 = 1;
const STEPS: u64 = 2;

/// A changed optional number, with its form in the two low bits of the first number: not observed; the
/// exact difference, which follows; the difference in steps. One that was not observed counts as zero.
fn put_option_delta(out: &mut Vec<u8>, before: Option<u64>, now: Option<u64>, step: u64) {
    let Some(now) = now else { return put(out, NONE) };
    let delta = now.wrapping_sub(before.unwrap_or(0)) as i64;
    match in_steps(delta, step) {
        Some(steps) => put(out, zigzag(steps) << 2 | STEPS),
        None => {
            put(out, EXACT);
            put_signed(out, delta);
        }
    }
}

fn read_option_delta(
    reader: &mut Reader<'_>,
    before: Option<u64>,
    step: u64,
) -> Result<Option<u64>, CodecError> {
    let head = reader.unsigned()?;
    let before = before.unwrap_or(0);
    match head & 3 {
        NONE => Ok(None),
        EXACT => Ok(Some(before.wrapping_add(reader.signed()? as u64))),
        _ => Ok(Some(before.wrapping_add(unzigzag(head >> 2).wrapping_mul(step as i64) as u64))),
    }
}

/// The process that began last: new ones are near it.
pub(super) fn newest(processes: &[Process]) -> Option<&Process> {
    processes.iter().max_by_key(|process| (process.start_ticks, process.pid))
}

/// A process that was not there: what is usual of one, near the one that stands before it.
fn usual(near: Option<&Process>) -> Process {
    let (pid, start_ticks) = near.map_or((0, 0), |near| (near.pid, near.start_ticks));
    Process { pid, start_ticks, threads: 1, state: b'S', ..Process::default() }
}

/// A whole row. Processes that are new at the same time have near numbers: those of `near` are left out.
pub(super) fn put_process(out: &mut Vec<u8>, p: &Process, near: Option<&Process>, texts: &mut Window<'_>) {
    let usual = usual(near);
    put_signed(out, i64::from(p.pid) - i64::from(usual.pid));
    put_signed(out, p.start_ticks.wrapping_sub(usual.start_ticks) as i64);
    texts.put(out, p);
    put_process_delta(out, &usual, p);
}

pub(super) fn read_process(
    r: &mut Reader<'_>,
    near: Option<&Process>,
    texts: &mut Window<'_>,
) -> Result<Process, CodecError> {
    let mut usual = usual(near);
    let pid = i64::from(usual.pid).checked_add(r.signed()?).and_then(|pid| u32::try_from(pid).ok());
    usual.pid = pid.ok_or(CodecError::Overflow)?;
    usual.start_ticks = usual.start_ticks.wrapping_add(r.signed()? as u64);
    let Words { comm, user, unit, args } = texts.read(r)?;
    read_process_delta(r, &Process { comm, user, unit, args, ..usual })
}

const CPU: u8 = 1;
const RSS: u8 = 2;
const READ: u8 = 4;
const WRITE: u8 = 8;
const THREADS: u8 = 16;
const STATE: u8 = 32;

pub(super) fn put_process_delta(out: &mut Vec<u8>, a: &Process, b: &Process) {
    let mask = flag(CPU, a.cpu_ms != b.cpu_ms)
        | flag(RSS, a.rss_bytes != b.rss_bytes)
        | flag(READ, a.io_read_bytes != b.io_read_bytes)
        | flag(WRITE, a.io_write_bytes != b.io_write_bytes)
        | flag(THREADS, a.threads != b.threads)
        | flag(STATE, a.state != b.state);
    out.push(mask);
    if mask & CPU != 0 {
        put_stepped(out, b.cpu_ms.wrapping_sub(a.cpu_ms) as i64, TICK_MS);
    }
    if mask & RSS != 0 {
        put_stepped(out, b.rss_bytes.wrapping_sub(a.rss_bytes) as i64, PAGE);
    }
    if mask & READ != 0 {
        put_option_delta(out, a.io_read_bytes, b.io_read_bytes, SECTOR);
    }
    if mask & WRITE != 0 {
        put_option_delta(out, a.io_write_bytes, b.io_write_bytes, PAGE);
    }
    if mask & THREADS != 0 {
        put(out, u64::from(b.threads));
    }
    if mask & STATE != 0 {
        out.push(b.state);
    }
}

pub(super) fn read_process_delta(r: &mut Reader<'_>, before: &Process) -> Result<Process, CodecError> {
    let mut p = before.clone();
    let mask = r.byte()?;
    if mask & CPU != 0 {
        p.cpu_ms = p.cpu_ms.wrapping_add(read_stepped(r, TICK_MS)? as u64);
    }
    if mask & RSS != 0 {
        p.rss_bytes = p.rss_bytes.wrapping_add(read_stepped(r, PAGE)? as u64);
    }
    if mask & READ != 0 {
        p.io_read_bytes = read_option_delta(r, p.io_read_bytes, SECTOR)?;
    }
    if mask & WRITE != 0 {
        p.io_write_bytes = read_option_delta(r, p.io_write_bytes, PAGE)?;
    }
    if mask & THREADS != 0 {
        p.threads = r.narrow()?;
    }
    if mask & STATE != 0 {
        p.state = r.byte()?;
    }
    Ok(p)
}

/// 0 and the whole row; or 1 + position in the last tick, or beyond that in the list of those who
/// left, and what changed. Returns the process that the next new one is near to.
pub(super) fn put_process_ref<'a>(
    last: &Tick,
    left: &VecDeque<Identity>,
    process: &'a Process,
    near: Option<&'a Process>,
    texts: &mut Window<'_>,
    out: &mut Vec<u8>,
) -> Option<&'a Process> {
    let same = |p: &Process| Identity::matches(p, process);
    if let Some(at) = last.processes.iter().position(same) {
        put(out, at as u64 + 1);
        put_process_delta(out, &last.processes[at], process);
    } else if let Some(at) = left.iter().position(|gone| gone.is(process)) {
        put(out, (last.processes.len() + at) as u64 + 1);
        put_process_delta(out, &left[at].to_process(), process);
    } else {
        put(out, 0);
        put_process(out, process, near, texts);
        return Some(process);
    }
    near
}

pub(super) fn read_process_ref(
    reader: &mut Reader<'_>,
    last: &Tick,
    left: &VecDeque<Identity>,
    near: &mut Option<Process>,
    texts: &mut Window<'_>,
) -> Result<Process, CodecError> {
    let reference = reader.count(2 * MAX_PROCESSES + REMEMBERED, "process references")?;
    let Some(at) = reference.checked_sub(1) else {
        let new = read_process(reader, near.as_ref(), texts)?;
        return Ok(near.insert(new).clone());
    };
    if let Some(before) = last.processes.get(at) {
        return read_process_delta(reader, before);
    }
    let gone = left.get(at - last.processes.len()).ok_or(CodecError::UnknownRow)?;
    read_process_delta(reader, &gone.to_process())
}

/// The optional numbers of a unit, in wire order.
fn numbers(u: &Unit) -> [Option<u64>; 7] {
    [u.memory_bytes, u.anon_bytes, u.cpu_us, u.tasks, u.io_read_bytes, u.io_write_bytes, u.oom_kills]
}

/// In what they are counted: memory and storage in pages and sectors.
const fn step(at: usize) -> u64 {
    match at {
        0 | 1 | 5 => PAGE,
        4 => SECTOR,
        _ => 1,
    }
}

fn set_number(u: &mut Unit, at: usize, value: Option<u64>) {
    let slot = match at {
        0 => &mut u.memory_bytes,
        1 => &mut u.anon_bytes,
        2 => &mut u.cpu_us,
        3 => &mut u.tasks,
        4 => &mut u.io_read_bytes,
        5 => &mut u.io_write_bytes,
        _ => &mut u.oom_kills,
    };
    *slot = value;
}

pub(super) fn put_unit(out: &mut Vec<u8>, u: &Unit) {
    put_text(out, &u.name);
    put_unit_state(out, u);
    numbers(u).into_iter().for_each(|value| put_option(out, value));
}

fn put_unit_state(out: &mut Vec<u8>, u: &Unit) {
    out.push(u.active as u8);
    put_text(out, &u.sub);
    put_text(out, &u.result);
    put(out, u64::from(u.restarts));
    put(out, u64::from(u.main_pid));
    put_signed(out, u.since_ms);
}

fn read_unit_state(r: &mut Reader<'_>, u: &mut Unit) -> Result<(), CodecError> {
    u.active = Active::from_code(r.byte()?);
    u.sub = r.text()?;
    u.result = r.text()?;
    u.restarts = r.narrow()?;
    u.main_pid = r.narrow()?;
    u.since_ms = r.signed()?;
    Ok(())
}

pub(super) fn read_unit(r: &mut Reader<'_>) -> Result<Unit, CodecError> {
    let mut unit = Unit { name: r.text()?, ..Unit::default() };
    read_unit_state(r, &mut unit)?;
    for at in 0..7 {
        set_number(&mut unit, at, read_option(r)?);
    }
    Ok(unit)
}

const UNIT_STATE: u8 = 128;

pub(super) fn put_unit_delta(out: &mut Vec<u8>, a: &Unit, b: &Unit) {
    let state = (a.active, &a.sub, &a.result, a.restarts, a.main_pid, a.since_ms)
        != (b.active, &b.sub, &b.result, b.restarts, b.main_pid, b.since_ms);
    let (before, now) = (numbers(a), numbers(b));
    let mask = (0..7).fold(flag(UNIT_STATE, state), |mask, at| mask | flag(1 << at, before[at] != now[at]));
    out.push(mask);
    if state {
        put_unit_state(out, b);
    }
    (0..7)
        .filter(|at| before[*at] != now[*at])
        .for_each(|at| put_option_delta(out, before[at], now[at], step(at)));
}

pub(super) fn read_unit_delta(r: &mut Reader<'_>, before: &Unit) -> Result<Unit, CodecError> {
    let mut unit = before.clone();
    let mask = r.byte()?;
    if mask & UNIT_STATE != 0 {
        read_unit_state(r, &mut unit)?;
    }
    let old = numbers(before);
    for (at, old) in old.into_iter().enumerate() {
        if mask & (1 << at) != 0 {
            set_number(&mut unit, at, read_option_delta(r, old, step(at))?);
        }
    }
    Ok(unit)
}

const fn flag(bit: u8, set: bool) -> u8 {
    if set { bit } else { 0 }
}
