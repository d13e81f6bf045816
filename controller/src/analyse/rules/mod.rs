//! What is looked for. The hard lane: facts of kernel and systemd that are true or false. The soft lane:
//! numbers that are too high by an absolute limit and by what is usual for the host. Pure: the same
//! input gives the same findings, byte for byte.

mod agent;
mod blame;
mod clock;
mod cpu_pressure;
mod disk;
pub(in crate::analyse) mod entity;
mod fill;
mod io_pressure;
mod memory;
mod memory_pressure;
mod network;
mod service;
pub mod silence;
mod soft;
mod steal;

use sysop_common::finding::{Category, Evidence, Finding, Value};
use sysop_common::time::UnixMs;

use super::input::HostInput;
use super::messages::bytes;
use super::window::Look;

/// Finds one category of trouble on one host. The soft lane's detectors are more of these.
pub trait Detector: Send + Sync {
    /// What it finds.
    fn category(&self) -> Category;

    /// What it reads; a finding says "not observed" for what is missing.
    fn inputs(&self) -> &'static [&'static str];

    /// What it finds.
    fn look(&self, input: &HostInput) -> Vec<Finding>;

    /// How seldom such a finding comes by chance, as a share of looks: what a soft finding costs of the
    /// host's budget. `None` for a fact, which opens an incident whatever the budget.
    fn odds(&self, _input: &HostInput, _finding: &Finding) -> Option<f64> {
        None
    }

    /// Whether the input tells if the trouble of `entity` holds: if not, an open finding is neither
    /// confirmed nor over.
    fn observes(&self, input: &HostInput, entity: &str) -> bool;
}

/// The detectors of the hard lane, causes before symptoms.
#[must_use]
pub fn hard_lane() -> Vec<Box<dyn Detector>> {
    vec![
        Box::new(disk::ReadOnly),
        Box::new(fill::Space),
        Box::new(fill::Inodes),
        Box::new(memory::OomKill),
        Box::new(service::Flapping),
        Box::new(service::Failed),
        Box::new(agent::Clone),
    ]
}

/// The detectors of the soft lane.
#[must_use]
pub fn soft_lane() -> Vec<Box<dyn Detector>> {
    vec![
        Box::new(memory_pressure::MemoryPressure),
        Box::new(cpu_pressure::CpuPressure),
        Box::new(steal::Steal),
        Box::new(io_pressure::IoPressure),
        Box::new(network::NetLoss),
        Box::new(network::Flood),
        Box::new(clock::Clock),
    ]
}

/// Collects evidence and numbers it.
#[derive(Debug, Default)]
struct Rows(Vec<Evidence>);

impl Rows {
    /// A change of a value from one look to another.
    fn change(
        &mut self,
        (metric, label): (&str, &str),
        before: Option<(UnixMs, Value)>,
        (to, value): (UnixMs, Value),
        text: String,
    ) {
        let (from, before) = before.map_or((to, None), |(at, value)| (at, Some(value)));
        self.0.push(Evidence {
            id: format!("E{}", self.0.len() + 1),
            metric: metric.to_owned(),
            label: label.to_owned(),
            from,
            to,
            before,
            value,
            text,
        });
    }

    /// One value.
    fn value(&mut self, key: (&str, &str), at: UnixMs, value: Value, text: String) {
        self.change(key, None, (at, value), text);
    }
}

fn word(text: &str) -> Value {
    Value::Word(text.to_owned())
}

fn number(value: u64) -> Value {
    Value::Number(i64::try_from(value).unwrap_or(i64::MAX))
}

/// How much a counter grew between two looks of one boot; a counter that fell was reset.
fn grown(before: Option<u64>, now: Option<u64>) -> Option<u64> {
    now?.checked_sub(before?)
}

/// Pairs of looks that follow each other within one boot.
fn pairs<'a>(looks: impl DoubleEndedIterator<Item = Look<'a>> + Clone) -> Vec<(Look<'a>, Look<'a>)> {
    let next = looks.clone().skip(1);
    looks.zip(next).filter(|(before, now)| before.same_boot(*now)).collect()
}
