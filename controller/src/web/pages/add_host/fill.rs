//! Fills the page that adds a host.

use std::collections::BTreeMap;

use sysop_common::action::Risk;

use super::{Arrived, Power, WaitView};
use crate::store::enrollment_tokens;
use crate::store::{StoreError, hosts};
use crate::web::pages::shared::HostRef;
use crate::web::pages::source::{Source, fullest};
use crate::web::widgets::format;

/// What may be allowed on a host: value of `--allow`, words, what it means, highest risk.
const POWERS: [(&str, &str, &str, Risk); 5] = [
    (
        "restart_service",
        "Restart services",
        "ssh, the network, the agent itself and what the host needs to run are always protected.",
        Risk::Medium,
    ),
    ("start_service", "Start services", "The same limits.", Risk::Low),
    ("stop_service", "Stop services", "The same limits.", Risk::Medium),
    (
        "cleanup_temp_files",
        "Clean up temporary files",
        "Only below /tmp and /var/tmp, only files that nobody modified for a while.",
        Risk::Low,
    ),
    ("kill_process", "Kill processes", "By pid and start time, never those of root.", Risk::Medium),
];

/// The choices, with those of `allowed` ticked.
#[must_use]
pub fn powers(allowed: &[String]) -> Vec<Power> {
    let power = |(class, words, detail, risk): (&str, &str, &str, Risk)| Power {
        class: class.to_owned(),
        words: words.to_owned(),
        detail: detail.to_owned(),
        risk,
        chosen: allowed.iter().any(|chosen| chosen == class),
    };
    POWERS.into_iter().map(power).collect()
}

/// Labels as typed, `role=web site=fra-1`.
///
/// # Errors
/// What is wrong with them.
pub fn labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let pair = |word: &str| {
        let (name, value) =
            word.split_once('=').ok_or(format!("{word:?} must be NAME=VALUE, such as role=web"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    text.split_whitespace().map(pair).collect()
}

/// Where the waiting for the host of this token stands. `None` when there is no such token.
///
/// # Errors
/// When the store cannot be read.
pub async fn wait(source: Source<'_>, token: &str) -> Result<Option<WaitView>, StoreError> {
    let tokens = enrollment_tokens::list(source.db, 1_000).await?;
    let Some(token) = tokens.into_iter().find(|found| found.id == token) else { return Ok(None) };
    let mut view =
        WaitView { expired: token.uses == 0 && token.expires_at <= source.now, ..WaitView::default() };
    if token.uses > 0
        && let Some(host) = enrollment_tokens::newest_host(source.db, &token.id).await?
    {
        let host = hosts::get(source.db, host).await?;
        view.enrolled_ms = Some(host.created_at.0);
        view.certificate_until_ms = Some(host.created_at.0);
        let latest = source.samples.latest(host.id);
        view.first_sample_ms = latest.as_ref().map(|latest| latest.now.received_at.0);
        view.host = Some(arrived(&host, latest.as_ref()));
    }
    Ok(Some(view))
}

fn arrived(host: &hosts::Host, latest: Option<&crate::store::samples::Latest>) -> Arrived {
    let inventory = &host.inventory;
    let mut facts = vec![inventory.os.clone()];
    if inventory.cores > 0 {
        facts.push(format::counted(inventory.cores.into(), "CPU", "CPUs"));
        facts.push(format::bytes(inventory.memory_bytes));
    }
    if let Some(latest) = latest {
        facts.push(format::counted(latest.now.tick.units.len() as u64, "unit", "units"));
    }
    facts.retain(|fact| !fact.is_empty());
    let value = |name: &str| latest.and_then(|latest| latest.value(name, ""));
    let disk = latest.and_then(fullest).map(|(_, used)| used);
    let measures = value("cpu.usage")
        .zip(value("memory.used_ratio"))
        .zip(disk)
        .map(|((cpu, memory), disk)| (cpu, memory, disk));
    Arrived { host: HostRef { id: host.id.to_string(), name: host.name.clone() }, facts, measures }
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn labels_are_pairs_and_a_slip_is_named() {
        assert_eq!(labels(" role=web  site=fra-1 ").unwrap().len(), 2);
        assert!(labels("").unwrap().is_empty());
        assert!(labels("web").unwrap_err().contains("role=web"));
    }
}
