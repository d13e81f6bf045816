//! The outer form: file sizes, header sentences, the top level, migrations in pairs.

use std::collections::BTreeSet;

use super::Finding;
use super::rules::{MAX_LINES, TOP_LEVEL};
use super::source::Source;

pub(super) fn check(source: &Source, findings: &mut Vec<Finding>) {
    if source.is_test() {
        return;
    }
    let lines = source.text.lines().count();
    if lines > MAX_LINES {
        let text = format!(
            "{lines} lines, {MAX_LINES} allowed: split it by what its parts do; tests over 120 lines move to a child tests.rs"
        );
        findings.push(Finding { path: source.path.clone(), line: MAX_LINES + 1, rule: "size", text });
    }
    if !has_header(&source.text) {
        let text = "no header: begin with `//!` and one sentence that says what the file is for".to_owned();
        findings.push(Finding { path: source.path.clone(), line: 1, rule: "header", text });
    }
}

fn has_header(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with("#!["))
        .and_then(|line| line.strip_prefix("//!"))
        .is_some_and(|sentence| !sentence.trim().is_empty())
}

/// The top of the repository holds the named entries only.
pub(super) fn top_level(paths: &[String], findings: &mut Vec<Finding>) {
    let entries: BTreeSet<&str> = paths.iter().filter_map(|path| path.split('/').next()).collect();
    for entry in entries.into_iter().filter(|entry| !TOP_LEVEL.contains(entry)) {
        let text = "not one of the entries the top level may hold: move it into a folder, or add it to xtask/src/tidy/rules.rs".to_owned();
        findings.push(Finding { path: entry.to_owned(), line: 1, rule: "top-level", text });
    }
}

/// Every migration exists for both databases, under one number and name, once there are two.
pub(super) fn migrations(paths: &[String], findings: &mut Vec<Finding>) {
    let of = |dialect: &str| -> BTreeSet<&str> {
        let folder = format!("migrations/{dialect}/");
        paths
            .iter()
            .filter_map(|path| path.strip_prefix(folder.as_str()))
            .filter(|name| name.ends_with(".sql"))
            .collect()
    };
    let (sqlite, mysql) = (of("sqlite"), of("mysql"));
    if mysql.is_empty() {
        return;
    }
    for name in sqlite.symmetric_difference(&mysql) {
        let (has, lacks) = if sqlite.contains(name) { ("sqlite", "mysql") } else { ("mysql", "sqlite") };
        let text = format!("has no counterpart: add migrations/{lacks}/{name}");
        findings.push(Finding {
            path: format!("migrations/{has}/{name}"),
            line: 1,
            rule: "migrations",
            text,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::findings_of;
    use super::*;

    #[test]
    fn a_file_over_the_limit_and_a_file_without_header_are_refused() {
        let long = format!("//! A sentence.\n{}", "\n".repeat(MAX_LINES));
        assert!(findings_of("common/src/x.rs", &long)[0].contains("401 lines"));
        assert!(findings_of("common/src/tests.rs", &long).is_empty());
        assert!(findings_of("common/src/x.rs", "#![allow(dead_code)]\nuse a::b;")[0].contains("no header"));
    }

    #[test]
    fn strangers_at_the_top_and_lonely_migrations_are_named() {
        let paths =
            ["notes.txt", "agent/src/lib.rs", "migrations/sqlite/0001_a.sql", "migrations/mysql/0002_b.sql"]
                .map(str::to_owned);
        let mut findings = Vec::new();
        top_level(&paths, &mut findings);
        migrations(&paths, &mut findings);
        let named: Vec<&str> = findings.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(named, ["notes.txt", "migrations/sqlite/0001_a.sql", "migrations/mysql/0002_b.sql"]);
    }
}
