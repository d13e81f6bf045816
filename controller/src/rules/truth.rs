//! Yes, no, unknown; and why unknown.

use std::fmt::{self, Display, Formatter};

use sysop_common::time::UnixMs;

/// Why a condition is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The host has sent no sample that is in memory.
    NoSample,
    /// The newest sample is old.
    Stale(UnixMs),
    /// A series is not there or was not observed.
    NotObserved(String),
    /// The window of a function is less than half covered.
    Uncovered(String),
    /// A division by zero.
    NoNumber,
    /// The host has nothing with that label.
    NoLabel(&'static str),
    /// No systemd was seen.
    NoUnits,
    /// The host has more units than a sample holds.
    UnitsCut,
    /// Only the top processes are sampled.
    TopProcesses,
    /// The agent does not tell which ports are listened on.
    NoPorts,
    /// The host listens on more ports than a sample holds.
    PortsCut,
    /// This version cannot read the rule.
    Unreadable(String),
}

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSample => f.write_str("no sample of the last 15 min is here"),
            Self::Stale(_) => f.write_str("the host sends nothing; its newest sample is old"),
            Self::NotObserved(series) => write!(f, "{series} is not measured there"),
            Self::Uncovered(series) => write!(f, "less than half of the window of {series} is covered yet"),
            Self::NoNumber => f.write_str("the result is no number: something is divided by zero"),
            Self::NoLabel(key) => write!(f, "the host has no {key} to which this applies"),
            Self::NoUnits => f.write_str("no systemd was seen there"),
            Self::UnitsCut => f.write_str("the host has more units than a sample holds, and this one is not in it"),
            Self::TopProcesses => f.write_str(
                "a sample holds only the top processes, and too few of these are among them: watch its unit or port",
            ),
            Self::NoPorts => f.write_str("the host's agent does not tell which ports are listened on"),
            Self::PortsCut => f.write_str("the host listens on more ports than a sample holds"),
            Self::Unreadable(why) => write!(f, "this version cannot read the rule: {why}"),
        }
    }
}

/// Whether a condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It cannot be known.
    Unknown(Reason),
}
