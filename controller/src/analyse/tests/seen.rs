//! Hosts made of a few lines, and how what is found on them is told in one line.

use std::collections::BTreeMap;
pub(in crate::analyse) use std::sync::Arc;

pub(in crate::analyse) use sysop_common::finding::{Culprit, Finding};
pub(in crate::analyse) use sysop_common::ids::{Epoch, Seq};
pub(in crate::analyse) use sysop_common::metric::{self, MetricId};
pub(in crate::analyse) use sysop_common::sample::{
    Active, Column, NOT_OBSERVED, Process, Schema, Tick, Unit,
};
pub(in crate::analyse) use sysop_common::time::{SECOND_MS, UnixMs};

pub(in crate::analyse) use super::super::correlate::{Group, group};
pub(in crate::analyse) use super::super::input::HostInput;
use super::super::offers::About;
pub(in crate::analyse) use super::super::rules::hard_lane;
pub(in crate::analyse) use super::super::window::Window;
pub(in crate::analyse) use crate::store::samples::{Boot, NamedSchema, Stored};

pub(in crate::analyse) const START: UnixMs = UnixMs(1_800_000_000_000);
pub(in crate::analyse) const GIB: i64 = 1 << 30;

/// What one look at a host shows.
#[derive(Debug, Clone, Default)]
pub(in crate::analyse) struct Seen {
    pub(in crate::analyse) values: BTreeMap<(u16, String), i64>,
    pub(in crate::analyse) units: Vec<Unit>,
    pub(in crate::analyse) processes: Vec<Process>,
    pub(in crate::analyse) boot: u64,
}

impl Seen {
    pub(in crate::analyse) fn set(mut self, id: MetricId, label: &str, value: i64) -> Self {
        self.values.insert((id.0, label.to_owned()), value);
        self
    }

    /// A file system of 100 GiB without reserve, with so much left.
    pub(in crate::analyse) fn fs(self, mount: &str, left: f64) -> Self {
        self.fs_of(mount, 100 * GIB, (left * GIB as f64) as i64)
    }

    pub(in crate::analyse) fn fs_of(self, mount: &str, total: i64, left: i64) -> Self {
        self.set(metric::FS_TOTAL, mount, total)
            .set(metric::FS_FREE, mount, left)
            .set(metric::FS_AVAILABLE, mount, left)
            .set(metric::FS_READ_ONLY, mount, 0)
    }

    pub(in crate::analyse) fn unit(mut self, unit: Unit) -> Self {
        self.units.push(unit);
        self
    }

    pub(in crate::analyse) fn process(mut self, process: Process) -> Self {
        self.processes.push(process);
        self
    }

    pub(in crate::analyse) fn stored(&self, seq: u64, at: UnixMs) -> Arc<Stored> {
        let columns =
            self.values.keys().map(|(id, label)| Column::new(MetricId(*id), label.as_str()).unwrap());
        let mut units = self.units.clone();
        units.sort_by(|a, b| a.name.cmp(&b.name));
        Arc::new(Stored {
            tick: Arc::new(Tick {
                seq: Seq(seq),
                at,
                values: self.values.values().copied().collect(),
                processes: self.processes.clone(),
                units,
            }),
            schema: NamedSchema::new(Schema { columns: columns.collect() }),
            epoch: Epoch(1),
            boot: Boot(self.boot),
            at,
            received_at: at,
        })
    }
}

/// A service.
pub(in crate::analyse) fn unit(name: &str, active: Active, sub: &str) -> Unit {
    Unit { name: name.into(), active, sub: sub.into(), result: "success".into(), ..Unit::default() }
}

pub(in crate::analyse) fn running(name: &str) -> Unit {
    unit(name, Active::Active, "running")
}

pub(in crate::analyse) fn failed(name: &str, result: &str) -> Unit {
    Unit { result: result.into(), ..unit(name, Active::Failed, "failed") }
}

/// One look every 10 s.
pub(in crate::analyse) fn every_10s(looks: impl IntoIterator<Item = Seen>) -> HostInput {
    let ticks = looks.into_iter().enumerate();
    let ticks = ticks.map(|(n, seen)| seen.stored(n as u64 + 1, START.plus(n as i64 * 10 * SECOND_MS)));
    HostInput { window: Window::new(ticks.collect(), None), ..HostInput::default() }
}

pub(in crate::analyse) fn find(input: &HostInput) -> Vec<Finding> {
    hard_lane().iter().flat_map(|detector| detector.look(input)).collect()
}

pub(in crate::analyse) fn groups(input: &HostInput) -> Vec<Group> {
    let mounts: Vec<&str> =
        input.window.latest().map(|latest| latest.labels(metric::FS_TOTAL).collect()).unwrap_or_default();
    group(find(input), &About { mounts, ..About::default() })
}

/// One line per group: its findings, root first, then its offers; `*` marks what may run unattended.
pub(in crate::analyse) fn told(input: &HostInput) -> Vec<String> {
    let line = |group: &Group| {
        let findings: Vec<String> = group.findings.iter().map(finding_told).collect();
        let offers: Vec<String> = group
            .offers
            .iter()
            .map(|offer| {
                let mark = if offer.unattended { "*" } else { "" };
                format!("{}{mark} {}", offer.action.name(), offer.action.target())
            })
            .collect();
        format!("{} => {}", findings.join(" > "), offers.join(", "))
    };
    groups(input).iter().map(line).collect()
}

pub(in crate::analyse) fn finding_told(finding: &Finding) -> String {
    let culprit = match &finding.culprit {
        None => String::new(),
        Some(Culprit::Unit { unit, share }) => format!(" by {unit} {share} %"),
        Some(Culprit::Process { comm, share, .. }) => format!(" by {comm} {share} %"),
        Some(Culprit::Diffuse { .. }) => " by nobody".to_owned(),
    };
    let seconds = |at: UnixMs| at.since(START) / SECOND_MS;
    format!(
        "{} {} {} {}..{}{culprit}",
        finding.category.word(),
        finding.entity,
        finding.severity.word(),
        seconds(finding.onset),
        seconds(finding.last_true)
    )
}

/// The one place that says what must be found.
#[track_caller]
pub(in crate::analyse) fn check(input: &HostInput, expected: &[&str]) {
    assert_eq!(told(input), expected);
    // Evidence is numbered, and every line of it was seen at the time it names.
    for finding in find(input) {
        assert!(!finding.evidence.is_empty() && !finding.title.is_empty());
        for (at, row) in finding.evidence.iter().enumerate() {
            assert_eq!(row.id, format!("E{}", at + 1));
            assert!(row.from <= row.to && !row.text.is_empty(), "{row:?}");
        }
    }
}

pub(in crate::analyse) const MISSING: i64 = NOT_OBSERVED;
