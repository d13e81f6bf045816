//! What a bench measured, as a table and as JSON, in one form for all benches.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Less,
    More,
}

/// One measured quantity.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) metric: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    /// What it is compared with, and its name.
    pub(crate) peer: Option<(f64, &'static str)>,
    pub(crate) goal: Option<f64>,
    pub(crate) better: Better,
}

impl Row {
    /// A quantity without peer and goal.
    pub(crate) fn new(metric: impl Into<String>, unit: &'static str, ours: f64) -> Self {
        Self { metric: metric.into(), unit, ours, peer: None, goal: None, better: Better::Less }
    }

    pub(crate) fn goal(self, goal: f64) -> Self {
        Self { goal: Some(goal), ..self }
    }

    pub(crate) fn peer(self, value: f64, name: &'static str) -> Self {
        Self { peer: Some((value, name)), ..self }
    }

    pub(crate) fn more(self) -> Self {
        Self { better: Better::More, ..self }
    }

    fn ratio(&self) -> Option<f64> {
        self.peer.filter(|(peer, _)| *peer != 0.0).map(|(peer, _)| self.ours / peer)
    }

    fn met(&self) -> Option<bool> {
        self.goal.map(|goal| match self.better {
            Better::Less => self.ours <= goal,
            Better::More => self.ours >= goal,
        })
    }

    fn json(&self) -> Value {
        json!({
            "metric": self.metric,
            "unit": self.unit,
            "ours": self.ours,
            "peer": self.peer.map(|(value, _)| value),
            "peer_name": self.peer.map(|(_, name)| name),
            "ratio": self.ratio(),
            "goal": self.goal,
            "met": self.met(),
        })
    }
}

/// One run of a bench.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) name: &'static str,
    /// What a reader must know to judge the numbers.
    pub(crate) notes: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn print(&self) {
        self.notes.iter().for_each(|note| println!("{note}"));
        let width = self.rows.iter().map(|row| row.metric.len()).max().unwrap_or(0);
        println!(
            "\n{:width$} {:>12} {:8} {:>12} {:>7} {:>10}  met",
            "", "ours", "unit", "peer", "ratio", "goal"
        );
        for row in &self.rows {
            let peer = row.peer.map_or_else(String::new, |(value, _)| short(value));
            let ratio = row.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}"));
            let goal = row.goal.map_or_else(String::new, short);
            let met = match row.met() {
                Some(true) => "yes",
                Some(false) => "no",
                None => "",
            };
            let ours = short(row.ours);
            println!(
                "{:width$} {ours:>12} {:8} {peer:>12} {ratio:>7} {goal:>10}  {met}",
                row.metric, row.unit
            );
        }
        let mut peers: Vec<&str> =
            self.rows.iter().filter_map(|row| row.peer.map(|(_, name)| name)).collect();
        peers.dedup();
        peers.iter().for_each(|peer| println!("peer: {peer}"));
    }

    /// Writes `target/bench/NAME.json`.
    pub(crate) fn write(&self, root: &Path) -> Result<()> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
        let dir = target.join("bench");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let path = dir.join(format!("{}.json", self.name));
        let text = serde_json::to_string_pretty(&self.json())?;
        std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        println!("\nwritten to {}", path.display());
        Ok(())
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "at": at(),
            "machine": machine(),
            "notes": self.notes,
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        })
    }
}

/// Three significant digits and no more.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn at() -> String {
    let date = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output();
    date.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("")
        .trim_matches([' ', '\t', ':']);
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let load = read("/proc/loadavg");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} x {model}, Linux {}, load {}", kernel.trim(), load.split(' ').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_its_goal_is_met() {
        let less = Row::new("cpu", "us", 50.0).goal(60.0).peer(100.0, "peer");
        assert_eq!((less.met(), less.ratio()), (Some(true), Some(0.5)));
        let more = Row::new("rate", "1/s", 50.0).goal(60.0).more();
        assert_eq!((more.met(), more.ratio()), (Some(false), None));
        assert_eq!(less.json()["met"], true);
        assert_eq!(Row::new("x", "", 1.0).json()["goal"], Value::Null);
        assert_eq!([0.1234, 1.234, 12.34, 1234.4].map(short), ["0.123", "1.23", "12.3", "1234"]);
    }
}
