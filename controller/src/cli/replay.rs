//! `replay`: looks at a recorded incident again, offline; with a model, asks that one about it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::say;
use crate::analyse::model::client::ModelClient;
use crate::analyse::model::desk::Stage;
use crate::analyse::model::sanitise::prose;
use crate::analyse::model::tryout;
use crate::analyse::recording::Recording;
use crate::clock::Clock;
use crate::config::Config;

/// A recording comes from elsewhere: its texts reach no terminal as they are.
fn tell(text: &str) {
    say(&prose(text, 500));
}

/// Looks again; success when the findings are the same.
pub(super) async fn replay(config: &Config, file: &Path, model: Option<&str>) -> Result<ExitCode> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let recording = Recording::read(&bytes)?;
    let incident = &recording.incident;
    tell(&format!("Incident {} of {}: {}", incident.id, recording.host, incident.title));
    tell(&format!(
        "Recorded by version {}, looked at again by version {}",
        recording.product,
        env!("CARGO_PKG_VERSION")
    ));
    let found = recording.replay()?;
    let same = found == recording.found;
    if same {
        tell(&format!("The same findings, byte for byte ({} bytes)", found.len()));
    } else {
        tell("The findings differ:");
        for line in differences(&recording.found, &found) {
            tell(&line);
        }
    }
    if let Some(name) = model {
        ask(config, &recording, name).await?;
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks a model about the incident as it stood, and tells what it says otherwise than the recorded one.
async fn ask(config: &Config, recording: &Recording, name: &str) -> Result<()> {
    let mut model = config.model.clone();
    model.change("name", name).map_err(|must| anyhow::anyhow!("--model {must}"))?;
    let client = ModelClient::new(&model, Clock::system())?;
    let stage = Stage { ask: std::sync::Arc::new(client), model, pseudonyms: true };
    let outcome = tryout::ask(&stage, &recording.gathered()?).await;
    let now = outcome.opinion.as_ref().and_then(|opinion| serde_json::to_value(opinion).ok());
    let before = recording.analyses.iter().find(|one| !one["opinion"].is_null());
    tell(&format!(
        "Then  {}",
        opinion(
            before.map(|one| &one["opinion"]),
            before.map_or("nobody", |one| one["model"].as_str().unwrap_or(""))
        )
    ));
    tell(&format!("Now   {}", opinion(now.as_ref(), name)));
    if let Some(error) = &outcome.error {
        tell(&format!("      no answer: {error}"));
    }
    for reject in &outcome.rejects {
        tell(&format!("      thrown out: {}", reject.text));
    }
    Ok(())
}

/// An opinion in one line.
fn opinion(opinion: Option<&Value>, model: &str) -> String {
    let Some(opinion) = opinion else { return format!("{model}: no opinion") };
    let text = |value: &Value| value.as_str().unwrap_or("nothing").to_owned();
    let view = &opinion["views"][0];
    let picks: Vec<String> =
        view["picks"].as_array().into_iter().flatten().map(|pick| text(&pick["action"]["action"])).collect();
    format!(
        "{model}: {}, root {}, {} % sure, risk {}, would take {}",
        text(&opinion["verdict"]),
        text(&view["root"]),
        view["confidence"],
        text(&view["risk"]),
        if picks.is_empty() { "nothing".to_owned() } else { picks.join(", ") }
    )
}

/// Findings that are on one side alone, or differ.
fn differences(then: &str, now: &str) -> Vec<String> {
    let findings = |text: &str| -> Vec<Value> {
        let groups: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
        groups.iter().flat_map(|group| group["findings"].as_array().cloned().unwrap_or_default()).collect()
    };
    let (then, now) = (findings(then), findings(now));
    let name = |one: &Value| {
        format!("{}:{}", one["category"].as_str().unwrap_or(""), one["entity"].as_str().unwrap_or(""))
    };
    let mut lines = Vec::new();
    for old in &then {
        match now.iter().find(|new| name(new) == name(old)) {
            None => lines.push(format!("- {}", name(old))),
            Some(new) if new != old => lines.push(format!("~ {}", name(old))),
            Some(_) => {}
        }
    }
    lines.extend(
        now.iter()
            .filter(|new| !then.iter().any(|old| name(old) == name(new)))
            .map(|new| format!("+ {}", name(new))),
    );
    if lines.is_empty() {
        lines.push("~ their order, or their offers".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_what_went_and_what_came() {
        let group = |names: &[(&str, u8)]| {
            let findings: Vec<Value> = names
                .iter()
                .map(|(name, confidence)| serde_json::json!({ "category": "unit_failed", "entity": name, "confidence": confidence }))
                .collect();
            serde_json::json!([{ "findings": findings, "offers": [] }]).to_string()
        };
        let lines = differences(&group(&[("a", 1), ("b", 1)]), &group(&[("b", 2), ("c", 1)]));
        assert_eq!(lines, ["- unit_failed:a", "~ unit_failed:b", "+ unit_failed:c"]);
    }
}
