//! The dashboard in headless Chromium, driven by Node's own test runner.

use anyhow::{Result, bail};

use super::case::Case;
use super::{Setting, cargo, install, run_and_parse};
use crate::shell::succeeds;

/// Where the stories lie.
const FOLDER: &str = "controller/tests/browser";

pub(super) fn run(setting: &Setting) -> Result<Vec<Case>> {
    if let Some(reason) = install::ensure(install::BROWSER)?.or(cargo::build(setting)?) {
        return Ok(vec![Case::skipped("browser", reason)]);
    }
    let folder = setting.root.join(FOLDER);
    if !succeeds(setting.command("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder))? {
        bail!("npm ci failed in {FOLDER}");
    }
    let mut stories: Vec<String> = std::fs::read_dir(folder.join("stories"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".test.mjs"))
        .map(|name| format!("stories/{name}"))
        .collect();
    stories.sort();
    let mut command = setting.command("node");
    command
        .current_dir(&folder)
        .env("SYSOP_CONTROLLER", setting.target.join("debug/sysop-controller"))
        .env("SYSOP_SHOTS", setting.target.join("browser"))
        .env("CHROMIUM", crate::shell::find("chromium").unwrap_or_default())
        .args(["--test", "--test-concurrency=1", "--test-reporter=./report.mjs"])
        .args(stories);
    run_and_parse("browser", &mut command, None)
}
