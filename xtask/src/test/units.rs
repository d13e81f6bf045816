//! The systemd units are as closed as we promise: `systemd-analyze security` gives each at most its score.

use anyhow::Result;

use super::case::Case;
use super::{Setting, install};
use crate::shell::capture;

/// Services and their highest allowed exposure, in tenths (10.0 is worst).
const LIMITS: &[(&str, u32)] =
    &[("sysop-agent.service", 25), ("sysop-executor.service", 30), ("sysop-controller.service", 15)];

pub(super) fn run(setting: &Setting) -> Result<Vec<Case>> {
    let missing = install::ensure(install::UNITS)?;
    LIMITS.iter().map(|limit| judge(setting, limit, missing.as_deref())).collect()
}

fn judge(setting: &Setting, (unit, limit): &(&str, u32), missing: Option<&str>) -> Result<Case> {
    let name = format!("{unit} has an exposure of at most {}.{}", limit / 10, limit % 10);
    if let Some(reason) = missing {
        return Ok(Case::skipped(name, reason));
    }
    let mut command = setting.command("systemd-analyze");
    command
        .args(["security", "--offline=yes", "--no-pager", &format!("--threshold={limit}")])
        .arg(setting.root.join("packaging/systemd").join(unit));
    Ok(match capture(&mut command)? {
        Ok(report) if report.contains("Overall exposure level") => Case::passed(name),
        Ok(words) | Err(words) => {
            println!("{words}");
            Case::failed(name)
        }
    })
}
