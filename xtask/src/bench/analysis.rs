//! `cargo xtask bench analysis`: the analyser held against simulated hosts, by what the test `evaluation` has a
//! sample of, built with optimisation.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::report::{Report, Row};

/// What may be asked for, its variable, and what is taken otherwise.
const OPTIONS: [(&str, &str, &str); 3] = [
    ("--seeds", "SYSOP_BENCH_SEEDS", "35"),
    ("--soak-days", "SYSOP_BENCH_SOAK_DAYS", "210"),
    ("--only", "SYSOP_BENCH_ONLY", ""),
];

/// Runs it.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<Report> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let dir = target.join("bench");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let cases = dir.join("analysis-cases.json");
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["bench", "--profile", "dev", "--package", "sysop-controller"]);
    command.args(["--bench", "analysis"]);
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "2").env("SYSOP_BENCH_OUT", &cases);
    for (_, variable, usual) in OPTIONS {
        command.env(variable, usual);
    }
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        let Some((_, variable, _)) = OPTIONS.iter().find(|(known, ..)| known == name) else {
            bail!("unknown: {name}; known are --seeds N, --soak-days D, --only ID");
        };
        command.env(variable, rest.next().with_context(|| format!("{name} needs a value"))?);
    }
    if !command.status().context("cannot start cargo")?.success() {
        bail!("the bench ended with an error");
    }
    let text = std::fs::read_to_string(&cases).with_context(|| format!("cannot read {}", cases.display()))?;
    Ok(report(&serde_json::from_str(&text)?, &cases))
}

fn report(all: &Value, cases: &Path) -> Report {
    let number = |path: &str| all.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let share = |path: &str| number(&format!("{path}/share"));
    let days = number("/days");
    let false_alarms = number("/alarms") / days.max(1.0);
    let limits = "fixed limits";
    let mut rows = vec![
        Row::new("recall", "", share("/seen/recall"))
            .goal(0.97)
            .more()
            .peer(share("/seen/plain_recall"), limits),
        Row::new("precision", "", share("/seen/precision"))
            .more()
            .peer(share("/seen/plain_precision"), limits),
        Row::new("top-1 root", "", share("/seen/top1")).goal(0.9).more(),
        Row::new("rows of evidence that are true", "", share("/seen/rows")).goal(1.0).more(),
        Row::new("right action first", "", share("/seen/right_action")).goal(0.85).more(),
        Row::new("harmful executions", "", number("/seen/harmful/yes") + number("/unseen/harmful/yes"))
            .goal(0.0),
        Row::new("executions", "", number("/seen/harmful/of") + number("/unseen/harmful/of")).more(),
        Row::new("trials", "", number("/trials")).more(),
        Row::new("actions against ordinary work", "", number("/seen/against_harmless")).goal(0.0),
        Row::new("false alarms per host and day", "1/d", false_alarms)
            .goal(0.05)
            .peer(number("/plain_alarms") / days.max(1.0), limits),
        Row::new("simulated host-days", "d", days).more(),
        Row::new("time to detect, p50", "s", number("/seen/detect_p50")),
        Row::new("time to detect, p90", "s", number("/seen/detect_p90")),
        Row::new("time to detect / goal, p90", "", number("/seen/late_p90")).goal(1.0),
        Row::new("time to repair, p50", "s", number("/seen/repair_p50")),
        Row::new("time to repair, p90", "s", number("/seen/repair_p90")),
        Row::new("a look, p50", "us CPU", number("/look_us/p50")),
        Row::new("a look, p99", "us CPU", number("/look_us/p99")).goal(5_000.0),
        Row::new("calibration error", "", number("/ece")).goal(0.05),
        Row::new("held out: recall", "", share("/unseen/recall")).more(),
        Row::new("held out: top-1 root", "", share("/unseen/top1")).goal(0.8).more(),
        Row::new("held out: right action first", "", share("/unseen/right_action")).more(),
        Row::new("held out: ordinary work told", "", share("/unseen/told_harmless")),
    ];
    rows.retain(|row| row.ours.is_finite());
    let notes = vec![
        "Simulated hosts, a sample every ten seconds; an operator approves every proposal after a minute."
            .into(),
        format!("each case and each incident: {}", cases.display()),
    ];
    Report { name: "analysis", notes, rows }
}
