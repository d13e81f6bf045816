//! One TLS provider, one version of what decides about trust, nothing with a known hole.

use anyhow::{Context, Result};

use super::Finding;
use super::rules::{BANNED_PACKAGES, FLOORS, SINGLE_PACKAGES};

/// Checks the text of a `Cargo.lock`.
pub(super) fn check(text: &str, findings: &mut Vec<Finding>) -> Result<()> {
    let packages = parse(text)?;
    let mut say = |name: &str, remedy: String| {
        let entry = format!("name = \"{name}\"");
        let line = text.lines().position(|line| line == entry).map_or(1, |at| at + 1);
        findings.push(Finding { path: "Cargo.lock".to_owned(), line, rule: "packages", text: remedy });
    };
    for (name, _) in packages.iter().filter(|(name, _)| BANNED_PACKAGES.contains(&name.as_str())) {
        say(
            name,
            format!(
                "{name} is banned (one TLS provider, ring): turn off the feature that needs it, `cargo tree -i {name}` names it"
            ),
        );
    }
    for name in SINGLE_PACKAGES {
        let versions: Vec<&str> =
            packages.iter().filter(|(other, _)| other == name).map(|(_, version)| version.as_str()).collect();
        if versions.len() > 1 {
            say(
                name,
                format!(
                    "{name} is there in versions {}: align them, `cargo tree -d` shows who asks",
                    versions.join(" and ")
                ),
            );
        }
    }
    for (name, floor) in FLOORS {
        for (_, version) in
            packages.iter().filter(|(other, version)| other == name && numbers(version) < numbers(floor))
        {
            say(
                name,
                format!("{name} {version} has a known hole: `cargo update -p {name}` to {floor} or later"),
            );
        }
    }
    Ok(())
}

fn parse(text: &str) -> Result<Vec<(String, String)>> {
    let table: toml::Table = text.parse().context("Cargo.lock is not TOML")?;
    let packages =
        table.get("package").and_then(toml::Value::as_array).context("Cargo.lock lists no packages")?;
    let field = |package: &toml::Value, name: &str| {
        package.get(name).and_then(toml::Value::as_str).map(str::to_owned)
    };
    Ok(packages
        .iter()
        .filter_map(|package| Some((field(package, "name")?, field(package, "version")?)))
        .collect())
}

/// The numeric parts of a version; what follows `-` or `+` is left out.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(['-', '+'])
        .next()
        .unwrap_or_default()
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(packages: &[(&str, &str)]) -> Vec<String> {
        let lock: String = packages
            .iter()
            .map(|(name, version)| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n"))
            .collect();
        let mut findings = Vec::new();
        check(&lock, &mut findings).unwrap();
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_second_provider_a_second_version_and_an_old_version_are_refused() {
        assert!(texts(&[("rustls", "0.23.46"), ("ring", "0.17.14"), ("bytes", "1.12.2")]).is_empty());
        assert!(
            texts(&[("bytes", "1.12.2"), ("rsa", "0.9.10")])[0]
                .starts_with("Cargo.lock:5: packages: rsa is banned")
        );
        assert!(texts(&[("rustls", "0.23.46"), ("rustls", "0.24.0")])[0].contains("0.23.46 and 0.24.0"));
        assert!(texts(&[("bytes", "1.9.0")])[0].contains("1.11.1 or later"));
    }
}
