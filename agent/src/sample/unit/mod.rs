//! systemd services over the system bus, and what their control groups use.
//!
//! Each look asks for the list of services that are not inactive. Properties are read when a service's
//! state changed; that a service came back so fast that two lists look the same shows in the time of its
//! last change, which is asked for in turns, a sixth of the services in each look. Usage is read in the same
//! turns, and OOM kills at once when the kernel counted one. Services seen active stay listed when they
//! become inactive, as long as systemd knows them; others that are inactive are left out.

mod bus;
mod systemd;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sysop_common::sample::{Active, MAX_UNITS, Unit};

pub(crate) use self::bus::BusError;

use self::bus::Bus;
use self::systemd::{Listed, Property, Wanted, list_call, parse_list};
use super::cgroup::Tree;
use super::read::ReadError;
use super::sensor::{Cycle, Output, Sensor};

/// Longest time for all questions of one look.
const TIME: Duration = Duration::from_millis(200);
/// Questions on their way at a time; the bus allows a client at least 128.
const BATCH: usize = 64;
/// Looks in which the last states are repeated while systemd is too busy to answer, as in a reload.
const LATE: u32 = 3;
/// Looks between attempts to reach a bus that failed.
const RETRY: u64 = 3;
/// Every service has its turn in one look out of so many.
const TURNS: u64 = 6;

/// The unit sensor. Without systemd and its bus there are no units to observe, which is no failure.
#[derive(Debug)]
pub(super) struct Units {
    socket: PathBuf,
    /// Is there when systemd runs the host.
    booted: PathBuf,
    bus: Option<Bus>,
    tree: Tree,
    known: BTreeMap<String, Known>,
    /// Serial of a list that has not come yet.
    awaited: Option<u32>,
    late: u32,
    /// Look before which the bus is not tried again, and what failed in the last attempt.
    retry_at: u64,
    failed: Option<String>,
    by_pattern: bool,
}

/// A service seen active since the agent's start.
#[derive(Debug, Default)]
struct Known {
    unit: Unit,
    path: String,
    group: String,
    wanted: Wanted,
    /// Usage is to be read in this look.
    measure: bool,
    gone: bool,
}

/// What came of asking for the list.
enum Answer {
    List(Vec<Listed>),
    Late,
}

impl Units {
    pub(super) fn new(run: &Path, cgroup: &Path) -> Self {
        Self {
            socket: run.join("dbus/system_bus_socket"),
            booted: run.join("systemd/system"),
            bus: None,
            tree: Tree::new(cgroup),
            known: BTreeMap::new(),
            awaited: None,
            late: 0,
            retry_at: 0,
            failed: None,
            by_pattern: true,
        }
    }

    fn look(&mut self, cycle: &Cycle, deadline: Instant) -> Result<(), BusError> {
        match self.list(deadline)? {
            Answer::Late => {}
            Answer::List(list) => {
                self.merge(list, cycle);
                match self.read_properties(deadline) {
                    // What is missing is asked for in the next look.
                    Ok(()) | Err(BusError::Timeout) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.measure(cycle);
        Ok(())
    }

    fn list(&mut self, deadline: Instant) -> Result<Answer, BusError> {
        if self.bus.is_none() {
            self.awaited = None;
            self.bus = Some(Bus::connect(&self.socket, deadline)?);
        }
        loop {
            let Some(bus) = &mut self.bus else { return Err(BusError::Timeout) };
            let serial = match self.awaited {
                Some(serial) => serial,
                None => bus.send(&[list_call(self.by_pattern)], deadline)?,
            };
            self.awaited = Some(serial);
            let answer = bus.receive(deadline, |incoming| {
                (incoming.answers == serial).then(|| incoming.body.map(parse_list))
            });
            match answer {
                Ok(Some(list)) => {
                    (self.awaited, self.late) = (None, 0);
                    return Ok(Answer::List(list?));
                }
                Ok(None) if self.by_pattern => (self.awaited, self.by_pattern) = (None, false),
                Ok(None) => return Err(BusError::Failed),
                Err(BusError::Timeout) if self.late < LATE => {
                    self.late += 1;
                    return Ok(Answer::Late);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the list over and marks what is to be read.
    fn merge(&mut self, list: Vec<Listed>, cycle: &Cycle) {
        let listed: HashSet<&str> = list.iter().map(|unit| unit.name.as_str()).collect();
        for known in self.known.values_mut().filter(|known| !listed.contains(known.unit.name.as_str())) {
            if known.unit.active != Active::Inactive {
                known.become_inactive();
            }
        }
        for Listed { name, active, sub, path } in list {
            let known = self.known.entry(name).or_insert_with_key(|name| Known {
                unit: Unit { name: name.as_str().into(), ..Unit::default() },
                ..Known::default()
            });
            if known.unit.active != active || known.unit.sub != sub {
                known.unit.active = active;
                known.unit.sub = sub.into();
                known.path = path;
                known.wanted.add(Wanted::STATE);
                known.measure = true;
            } else if has_turn(&known.unit.name, cycle.number) {
                known.wanted.check();
                known.measure = true;
            }
        }
        self.drop_surplus();
    }

    /// Keeps the number of services within what a tick can carry; inactive ones go first.
    fn drop_surplus(&mut self) {
        let mut surplus = self.known.len().saturating_sub(MAX_UNITS);
        for only_inactive in [true, false] {
            self.known.retain(|_, known| {
                let drop = surplus > 0
                    && known.unit.active != Active::Failed
                    && (known.unit.active == Active::Inactive || !only_inactive);
                surplus -= usize::from(drop);
                !drop
            });
        }
    }

    /// Asks for the properties that are wanted, in batches, until none is left or time is up.
    fn read_properties(&mut self, deadline: Instant) -> Result<(), BusError> {
        let Some(bus) = &mut self.bus else { return Ok(()) };
        loop {
            let batch = next_batch(&self.known);
            if batch.is_empty() {
                return Ok(());
            }
            let arguments: Vec<_> = batch.iter().map(|(_, property)| property.arguments()).collect();
            let calls: Vec<_> = batch
                .iter()
                .zip(&arguments)
                .filter_map(|((name, _), arguments)| {
                    Some(Property::call(&self.known.get(name)?.path, arguments))
                })
                .collect();
            let first = bus.send(&calls, deadline)?;
            let mut open = batch.len();
            while open > 0 {
                let answered = bus.receive(deadline, |incoming| {
                    let at = incoming.answers.wrapping_sub(first) as usize;
                    let (name, property) = batch.get(at)?;
                    let value = incoming.body.and_then(|mut body| body.variant().ok());
                    if let Some(known) = self.known.get_mut(name) {
                        known.answer(*property, value);
                    }
                    Some(())
                });
                answered?;
                open -= 1;
            }
            self.known.retain(|_, known| !known.gone);
        }
    }

    /// Reads what the services' control groups used.
    fn measure(&mut self, cycle: &Cycle) {
        for known in self.known.values_mut() {
            if std::mem::take(&mut known.measure) {
                let usage = self.tree.usage(&known.group);
                let unit = &mut known.unit;
                unit.memory_bytes = usage.memory_bytes;
                unit.anon_bytes = usage.anon_bytes;
                unit.cpu_us = usage.cpu_us;
                unit.tasks = usage.tasks;
                unit.io_read_bytes = usage.io_read_bytes;
                unit.io_write_bytes = usage.io_write_bytes;
                unit.oom_kills = usage.oom_kills;
            } else if cycle.oom && !known.group.is_empty() {
                known.unit.oom_kills = self.tree.oom_kills(&known.group);
            }
        }
    }
}

impl Known {
    fn become_inactive(&mut self) {
        self.unit = Unit {
            name: std::mem::take(&mut self.unit.name),
            sub: "dead".into(),
            result: std::mem::take(&mut self.unit.result),
            restarts: self.unit.restarts,
            active: Active::Inactive,
            ..Unit::default()
        };
        self.group.clear();
        self.wanted = Wanted::END;
        self.measure = false;
    }

    /// Takes an answer over; `None` is an error, which is not asked again before the next change.
    fn answer(&mut self, property: Property, value: Option<wire::Value<'_>>) {
        let since = self.unit.since_ms;
        let checked = self.wanted.is_check();
        self.wanted.done(property);
        if let Some(value) = value {
            property.store(value, &mut self.unit, &mut self.group, &mut self.gone);
        }
        if checked && self.unit.since_ms != since {
            self.wanted.add(Wanted::STATE);
            self.wanted.done(Property::Since);
        }
    }
}

/// Spreads the services over the looks, the same way in each.
fn has_turn(name: &str, look: u64) -> bool {
    let sum = name.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    sum.wrapping_add(look).is_multiple_of(TURNS)
}

/// The next questions; those first that come from a change.
fn next_batch(known: &BTreeMap<String, Known>) -> Vec<(String, Property)> {
    let mut waiting: Vec<_> = known.iter().filter(|(_, known)| known.wanted != Wanted::default()).collect();
    waiting.sort_by_key(|(_, known)| known.wanted.is_check());
    waiting
        .into_iter()
        .flat_map(|(name, known)| known.wanted.properties().map(|property| (name.clone(), property)))
        .take(BATCH)
        .collect()
}

impl Sensor for Units {
    fn name(&self) -> &'static str {
        "unit"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        if cycle.number < self.retry_at {
            return self.failed.as_ref().map_or(Ok(()), |error| Err(BusError::Before(error.clone()).into()));
        }
        if self.bus.is_none() && !(self.socket.exists() && self.booted.exists()) {
            self.failed = None;
            self.retry_at = cycle.number + TURNS;
            return Ok(());
        }
        let deadline = Instant::now() + TIME;
        let had_bus = self.bus.is_some();
        let mut result = self.look(cycle, deadline);
        // A bus that was restarted is tried again at once.
        if had_bus && result.as_ref().is_err_and(|error| !matches!(error, BusError::Timeout)) {
            self.bus = None;
            result = self.look(cycle, deadline);
        }
        if let Err(error) = result {
            self.bus = None;
            self.late = 0;
            self.retry_at = cycle.number + RETRY;
            self.failed = Some(error.to_string());
            return Err(error.into());
        }
        self.failed = None;
        out.units.extend(self.known.values().map(|known| known.unit.clone()));
        Ok(())
    }
}
