//! A policy in words, for `sysop-agent policy check` and `show`.

use std::fmt::Write as _;
use std::path::Path;

use super::parse::PolicyError;
use super::rules::{Policy, Rule};

/// Reads the policy as the executor would and says in words what it allows.
///
/// # Errors
/// Names file, line, key and remedy.
pub fn describe_file(path: &Path) -> Result<String, PolicyError> {
    Policy::load_guarded(path).map(|policy| policy.describe())
}

impl Policy {
    /// What it allows, one line each.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let queries = if self.queries.is_empty() { "none".to_owned() } else { self.queries.join(", ") };
        let _ = writeln!(text, "readings: {queries}");
        let probes: Vec<String> = self.probes.iter().map(ToString::to_string).collect();
        let _ = writeln!(
            text,
            "probes: {}",
            if probes.is_empty() { "none".to_owned() } else { probes.join(", ") }
        );
        if self.rules.is_empty() {
            text += "actions: none; this host is monitored only\n";
            return text;
        }
        let _ = writeln!(text, "actions: at most {} within an hour", self.actions_per_hour);
        self.rules.iter().for_each(|rule| {
            let _ = writeln!(text, "  {}", rule.describe());
        });
        if !self.protected.is_empty() {
            let _ = writeln!(
                text,
                "protected besides what is protected everywhere: {}",
                self.protected.join(", ")
            );
        }
        text
    }
}

impl Rule {
    fn describe(&self) -> String {
        let on = match self.action {
            "kill_process" if self.users.is_empty() => {
                format!("processes {} of any user but root", self.processes.join(", "))
            }
            "kill_process" => format!("processes {} of {}", self.processes.join(", "), self.users.join(", ")),
            "cleanup_temp_files" => {
                format!("{}, at most {} bytes at a time", self.roots.join(", "), self.max_bytes)
            }
            _ => self.units.join(", "),
        };
        let who = if self.automatic { "also without a person" } else { "by a person's word" };
        format!("{}: {on}; {who}", self.action)
    }
}
