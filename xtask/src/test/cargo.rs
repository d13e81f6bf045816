//! The suites that Cargo runs: format, lint, packages, the workspace's tests, stories on hosts.
//!
//! All take the whole workspace with all targets, so that features resolve once and one build serves all.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::case::Case;
use super::{Setting, install, run_and_parse};
use crate::shell::{capture, find, succeeds};

/// Begins the name of each story on a host, and of no other test.
const HOSTS: &str = "booted::";

/// The version of cargo-deny that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";

/// Where Cargo puts what it builds.
pub(crate) fn target_folder(root: &Path) -> Result<PathBuf> {
    let mut command = Command::new(cargo());
    command.current_dir(root).args(["metadata", "--format-version=1", "--no-deps", "--locked"]);
    let metadata =
        capture(&mut command)?.map_err(|words| anyhow::anyhow!("cargo metadata failed: {}", words.trim()))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let folder = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    folder.map(PathBuf::from).context("cargo metadata names no target folder")
}

pub(super) fn format(setting: &Setting) -> Result<Vec<Case>> {
    let ok = succeeds(setting.command(cargo()).args(["fmt", "--all", "--check"]))?;
    Ok(vec![verdict("cargo fmt --check", ok)])
}

pub(super) fn lint(setting: &Setting) -> Result<Vec<Case>> {
    if let Some(reason) = install::ensure(install::BUILD)? {
        return Ok(vec![Case::skipped("clippy", reason)]);
    }
    let mut command = setting.command(cargo());
    command.args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    Ok(vec![verdict("cargo clippy", succeeds(&mut command)?)])
}

/// `cargo deny`, where it is installed; `--full` installs it. The ban list is a rule of tidy as well.
pub(super) fn deny(setting: &Setting) -> Result<Vec<Case>> {
    let installed = |setting: &Setting| {
        capture(setting.command(cargo()).args(["deny", "--version"])).is_ok_and(|output| output.is_ok())
    };
    if !installed(setting) && setting.full {
        succeeds(setting.command(cargo()).args([
            "install",
            "--locked",
            "--debug",
            "cargo-deny",
            "--version",
            CARGO_DENY,
        ]))?;
    }
    if !installed(setting) {
        println!(
            "cargo-deny is not installed; --full installs it. The banned packages were checked by tidy."
        );
        return Ok(Vec::new());
    }
    let check = |what: &str| -> Result<Case> {
        Ok(verdict(
            &format!("cargo deny {what}"),
            succeeds(setting.command(cargo()).args(["deny", "--locked", "check", what]))?,
        ))
    };
    ["bans", "licenses", "sources"].into_iter().map(check).collect()
}

/// Why a test is ignored that no other reason skips.
const MEASURES: &str = "it measures and proves nothing by itself; docs/analysis.md has its command";

/// Unit, property and integration tests.
pub(super) fn workspace(setting: &Setting) -> Result<Vec<Case>> {
    if let Some(reason) = build(setting)? {
        return Ok(vec![Case::skipped("workspace", reason)]);
    }
    let mut command = setting.command(cargo());
    if has_nextest() {
        nextest(setting, &mut command).args(["-E", "not binary(hosts)"]);
    } else {
        command.args([
            "test",
            "--locked",
            "--workspace",
            "--all-targets",
            "--no-fail-fast",
            "--",
            "--skip",
            HOSTS,
        ]);
    }
    let mut cases = run_and_parse("workspace", &mut command, Some(HOSTS))?;
    cases.iter_mut().for_each(|case| case.explain(MEASURES));
    Ok(cases)
}

/// Stories on booted hosts, as root.
pub(super) fn hosts(setting: &Setting) -> Result<Vec<Case>> {
    // One of the stories is told in a browser.
    let missing = install::ensure(install::HOSTS)?.or(install::ensure(install::BROWSER)?);
    if let Some(reason) = missing.or(build(setting)?) {
        return Ok(vec![Case::skipped("hosts", reason)]);
    }
    let mut command = setting.command(cargo());
    if let Some(prefix) = install::privilege().filter(|prefix| !prefix.is_empty()) {
        command.env(runner_variable()?, format!("{} --preserve-env", prefix.join(" ")));
    }
    if has_nextest() {
        nextest(setting, &mut command).args(["--test-threads=1", "--test", "hosts"]);
    } else {
        command.args(["test", "--locked", "--workspace", "--test", "hosts"]);
    }
    let mut cases = run_and_parse("hosts", &mut command, None)?;
    if install::privilege().is_none() {
        cases.iter_mut().for_each(|case| case.explain("test hosts need root: run `sudo cargo xtask test`"));
    }
    cases.iter_mut().for_each(|case| case.explain(MEASURES));
    Ok(cases)
}

/// Builds everything the suites run; the reason why that is not possible here, if so.
pub(super) fn build(setting: &Setting) -> Result<Option<String>> {
    if let Some(reason) = install::ensure(install::BUILD)? {
        return Ok(Some(reason));
    }
    let built =
        succeeds(setting.command(cargo()).args(["build", "--locked", "--workspace", "--all-targets"]))?;
    if built { Ok(None) } else { anyhow::bail!("the workspace does not build") }
}

fn nextest<'a>(setting: &Setting, command: &'a mut Command) -> &'a mut Command {
    command
        .args(["nextest", "run", "--config-file", "xtask/nextest.toml"])
        .args(["--profile", if setting.full { "full" } else { "default" }])
        .args(["--locked", "--workspace", "--no-fail-fast", "--color=never", "--show-progress=none"])
        .args(["--status-level=all", "--final-status-level=none"])
}

fn has_nextest() -> bool {
    find("cargo-nextest").is_some()
}

/// The variable that makes Cargo run this machine's test programs through another program.
fn runner_variable() -> Result<String> {
    let version = capture(Command::new("rustc").arg("-vV"))?.unwrap_or_default();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace(['-', '.'], "_")))
}

fn verdict(name: &str, ok: bool) -> Case {
    if ok { Case::passed(name) } else { Case::failed(name) }
}

/// The Cargo that runs this program.
fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
