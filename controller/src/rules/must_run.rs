//! Whether what must run does: a unit, so many processes, something that listens.

use sysop_common::grant::matches_pattern;
use sysop_common::metric;
use sysop_common::sample::{Active, MAX_UNITS, Unit};

use super::standing::{Reason, Truth};
use crate::store::rules::Check;
use crate::store::samples::Stored;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whether it does *not* run.
    pub down: Truth,
    /// What was seen, in a few words: `inactive (dead)`, `2 processes`.
    pub words: String,
}

impl Seen {
    fn known(down: bool, words: String) -> Self {
        Self { down: if down { Truth::Yes } else { Truth::No }, words }
    }

    fn unknown(reason: Reason) -> Self {
        Self { words: reason.to_string(), down: Truth::Unknown(reason) }
    }
}

/// Looks at one tick; `None` for an expression.
#[must_use]
pub fn seen(check: &Check, tick: &Stored) -> Option<Seen> {
    match check {
        Check::Expression { .. } => None,
        Check::Unit { unit } => Some(of_unit(unit, tick)),
        Check::Process { name, least } => Some(processes(name, *least, tick)),
        Check::Port { port } => Some(listening(*port, tick)),
    }
}

fn of_unit(name: &str, tick: &Stored) -> Seen {
    let units = &tick.tick.units;
    if units.is_empty() {
        return Seen::unknown(Reason::NoUnits);
    }
    match units.binary_search_by(|unit| unit.name.as_str().cmp(name)) {
        Ok(at) => {
            Seen::known(is_down(&units[at]), format!("{} ({})", units[at].active.word(), units[at].sub))
        }
        Err(_) if units.len() >= MAX_UNITS => Seen::unknown(Reason::UnitsCut),
        // systemd keeps no unit in memory that does nothing and that nothing asks for.
        Err(_) => Seen::known(true, "not loaded".to_owned()),
    }
}

/// On its way up is not down yet; waiting for the next try after it ended is.
fn is_down(unit: &Unit) -> bool {
    match unit.active {
        Active::Active | Active::Reloading => false,
        Active::Activating => unit.sub.as_str() == "auto-restart",
        Active::Inactive | Active::Failed | Active::Deactivating | Active::Other => true,
    }
}

/// A tick has the top processes only: that there are enough can be seen, that there are not only where all
/// of the host are in it.
fn processes(name: &str, least: u32, tick: &Stored) -> Seen {
    let by_line = name.contains(['/', ' ']);
    let all = &tick.tick.processes;
    let matches = all.iter().filter(|process| {
        let text = if by_line { process.args.as_str() } else { process.comm.as_str() };
        // Z: it ended, and is only not collected yet.
        process.state != b'Z' && matches_pattern(name, text)
    });
    let count = u32::try_from(matches.count()).unwrap_or(u32::MAX);
    let words = if count == 1 { "1 process".to_owned() } else { format!("{count} processes") };
    if count >= least {
        return Seen::known(false, words);
    }
    match tick.raw(metric::PROCS_TOTAL, "") {
        Some(total) if total <= all.len() as f64 => Seen::known(true, words),
        _ => Seen::unknown(Reason::TopProcesses),
    }
}

fn listening(port: u16, tick: &Stored) -> Seen {
    let label = port.to_string();
    let mut ports = tick.labels(metric::TCP_LISTENING).peekable();
    let any = ports.peek().is_some();
    if ports.any(|known| known == label) {
        let on = tick.raw(metric::TCP_LISTENING, &label);
        return match on {
            Some(on) => {
                Seen::known(on < 1.0, if on < 1.0 { "nothing listens" } else { "listens" }.to_owned())
            }
            None => Seen::unknown(Reason::NoPorts),
        };
    }
    let none = tick.raw(metric::TCP_LISTEN, "").is_some_and(|count| count < 1.0);
    let cut = tick.labels(metric::TCP_LISTENING).any(|known| known == metric::MORE_PORTS);
    match (any, cut) {
        (_, true) => Seen::unknown(Reason::PortsCut),
        (true, false) => Seen::known(true, "nothing listens".to_owned()),
        (false, _) if none => Seen::known(true, "nothing listens on any port".to_owned()),
        (false, _) => Seen::unknown(Reason::NoPorts),
    }
}
