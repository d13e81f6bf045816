//! What is asked of systemd, as in org.freedesktop.systemd1(5).

use sysop_common::sample::{Active, Unit};

use super::wire::{Argument, Call, Malformed, Reader, Value};
use crate::sample::sensor::clean;

const DESTINATION: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "/org/freedesktop/systemd1";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
/// Every ActiveState but `inactive`: a host has many services that never ran.
const STATES: &[&str] =
    &["active", "reloading", "failed", "activating", "deactivating", "maintenance", "refreshing"];

/// A service as the list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) active: Active,
    pub(super) sub: String,
    /// D-Bus object.
    pub(super) path: String,
}

/// Asks for the list. Before version 230 systemd gave only the list of everything.
pub(super) const fn list_call(by_pattern: bool) -> Call<'static> {
    Call {
        destination: DESTINATION,
        path: MANAGER,
        interface: "org.freedesktop.systemd1.Manager",
        member: if by_pattern { "ListUnitsByPatterns" } else { "ListUnits" },
        arguments: if by_pattern { &[Argument::Texts(STATES), Argument::Texts(&["*.service"])] } else { &[] },
    }
}

/// Reads the list, `a(ssssssouso)`: services that are not inactive.
pub(super) fn parse_list(mut body: Reader<'_>) -> Result<Vec<Listed>, Malformed> {
    let mut out = Vec::new();
    body.structs(|unit| {
        let name = unit.text()?;
        let (_description, _load) = (unit.text()?, unit.text()?);
        let (active, sub) = (Active::from_word(unit.text()?), unit.text()?);
        let _followed = unit.text()?;
        let path = unit.text()?;
        let (_job, _job_type, _job_path) = (unit.number()?, unit.text()?, unit.text()?);
        if name.ends_with(".service") && active != Active::Inactive {
            let (name, sub) = (clean(name.as_bytes()), clean(sub.as_bytes()));
            out.push(Listed { name, active, sub, path: path.to_owned() });
        }
        Ok(())
    })?;
    Ok(out)
}

/// A property of a service, with its bit in [`Wanted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Property {
    /// Tells whether anything happened since it was read last.
    Since = 1,
    Result = 2,
    Restarts = 4,
    MainPid = 8,
    Group = 16,
    /// Whether systemd still knows a unit that is inactive.
    Load = 32,
    Sub = 64,
}

/// Which properties are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wanted(u8);

/// Marks that the time of the last change is read to see whether there was one.
const CHECKING: u8 = 128;

const ORDER: [Property; 7] = [
    Property::Load,
    Property::Sub,
    Property::Result,
    Property::Restarts,
    Property::MainPid,
    Property::Group,
    Property::Since,
];

impl Wanted {
    /// All that describe a service that is not inactive.
    pub(super) const STATE: Self = Self(1 | 2 | 4 | 8 | 16);
    /// What is to be known of one that just became inactive.
    pub(super) const END: Self = Self(1 | 2 | 4 | 32 | 64);
    /// Whether anything happened; only then more is read.
    pub(super) const CHECK: Self = Self(1 | CHECKING);

    /// Whether only a check is wanted.
    pub(super) const fn is_check(self) -> bool {
        self.0 & CHECKING != 0
    }

    /// Wants a check, unless more is wanted already.
    pub(super) const fn check(&mut self) {
        if self.0 == 0 {
            *self = Self::CHECK;
        }
    }

    /// Wants `more`, after which nothing is left to check.
    pub(super) const fn add(&mut self, more: Self) {
        self.0 = (self.0 | more.0) & !CHECKING;
    }

    pub(super) const fn done(&mut self, property: Property) {
        self.0 &= !(property as u8 | CHECKING);
    }

    /// The properties, those first that tell most.
    pub(super) fn properties(self) -> impl Iterator<Item = Property> {
        ORDER.into_iter().filter(move |property| self.0 & *property as u8 != 0)
    }
}

impl Property {
    /// Interface and name.
    const fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::Since => (UNIT, "StateChangeTimestamp"),
            Self::Result => (SERVICE, "Result"),
            Self::Restarts => (SERVICE, "NRestarts"),
            Self::MainPid => (SERVICE, "MainPID"),
            Self::Group => (SERVICE, "ControlGroup"),
            Self::Load => (UNIT, "LoadState"),
            Self::Sub => (UNIT, "SubState"),
        }
    }

    /// The arguments of the call that asks for it.
    pub(super) fn arguments(self) -> [Argument<'static>; 2] {
        let (interface, name) = self.name();
        [Argument::Text(interface), Argument::Text(name)]
    }

    /// The call that asks the object at `path` for it.
    pub(super) const fn call<'a>(path: &'a str, arguments: &'a [Argument<'a>]) -> Call<'a> {
        Call {
            destination: DESTINATION,
            path,
            interface: "org.freedesktop.DBus.Properties",
            member: "Get",
            arguments,
        }
    }

    /// Takes an answer over.
    pub(super) fn store(self, value: Value<'_>, unit: &mut Unit, group: &mut String, gone: &mut bool) {
        match (self, value) {
            // µs since 1970.
            (Self::Since, Value::Number(us)) => unit.since_ms = i64::try_from(us / 1000).unwrap_or(0),
            (Self::Result, Value::Text(result)) => unit.result = clean(result.as_bytes()).into(),
            (Self::Restarts, Value::Number(count)) => {
                unit.restarts = u32::try_from(count).unwrap_or(u32::MAX)
            }
            (Self::MainPid, Value::Number(pid)) => unit.main_pid = u32::try_from(pid).unwrap_or(0),
            (Self::Group, Value::Text(path)) => path.clone_into(group),
            (Self::Load, Value::Text(load)) => *gone = load == "not-found",
            (Self::Sub, Value::Text(sub)) => unit.sub = clean(sub.as_bytes()).into(),
            _ => {}
        }
    }
}
