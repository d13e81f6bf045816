//! Reads what `systemctl show` prints.

use std::collections::BTreeMap;
use std::time::Duration;

use super::runner::{Invocation, Runner};

/// Time for a look at units.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Most bytes that a look prints: many units with long lists of dependencies.
const KEEP: usize = 1 << 20;

/// Properties of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Properties(BTreeMap<String, String>);

impl Properties {
    /// The property's text; empty when systemd does not know it.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A property that is a list of units.
    pub(super) fn list(&self, name: &str) -> impl Iterator<Item = String> {
        self.text(name).split_whitespace().map(str::to_owned)
    }

    /// A property that is a number; 0 when it is not one.
    pub(super) fn number<T: std::str::FromStr + Default>(&self, name: &str) -> T {
        self.text(name).parse().unwrap_or_default()
    }

    /// A property that is `yes` or `no`.
    pub(super) fn is_yes(&self, name: &str) -> bool {
        self.text(name) == "yes"
    }

    /// Whether the unit runs, or is about to or about to stop.
    pub(super) fn is_running(&self) -> bool {
        !matches!(self.text("ActiveState"), "" | "inactive" | "failed")
    }
}

/// The named properties of `units`, in their order.
pub(super) fn show(
    runner: &dyn Runner,
    properties: &str,
    units: &[String],
) -> Result<Vec<Properties>, String> {
    let mut arguments = vec!["--no-ask-password".into(), "--no-pager".into(), "show".into()];
    arguments.push(format!("--property={properties}"));
    arguments.push("--".into());
    arguments.extend_from_slice(units);
    let ran = runner
        .run(&Invocation { program: "systemctl", arguments, timeout: TIMEOUT, keep: KEEP })
        .map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&ran.output.kept);
    if ran.timed_out {
        return Err("systemd did not answer in time".into());
    }
    if ran.exit != Some(0) {
        let why = text.lines().next().unwrap_or("no message");
        return Err(format!("systemd does not tell: {}", why.chars().take(200).collect::<String>()));
    }
    if ran.output.total > ran.output.kept.len() as u64 {
        return Err("systemd tells more than is read".into());
    }
    let found = parse(&text);
    if found.len() == units.len() {
        Ok(found)
    } else {
        Err("systemd told of other units than were asked for".into())
    }
}

/// Blocks of `Name=value` lines, divided by empty lines.
pub(super) fn parse(text: &str) -> Vec<Properties> {
    let mut units = Vec::new();
    let mut unit = Properties::default();
    for line in text.lines() {
        if line.is_empty() {
            units.push(std::mem::take(&mut unit));
        } else if let Some((name, value)) = line.split_once('=') {
            unit.0.insert(name.to_owned(), value.to_owned());
        }
    }
    if !unit.0.is_empty() {
        units.push(unit);
    }
    units
}
