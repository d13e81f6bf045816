//! Where a setting's value comes from, and errors that say so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A setting cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// Flag, variable, or file and line.
    place: String,
    /// The setting's name and what it must be.
    problem: String,
}

impl ConfigError {
    pub(super) fn new(place: String, problem: String) -> Self {
        Self { place, problem }
    }
}

/// A setting: its name in the file, its flag if it has one, and its variables, newest name first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) variables: &'static [&'static str],
}

impl Key {
    pub(super) const fn new(name: &'static str, variables: &'static [&'static str]) -> Self {
        Self { name, variables }
    }
}

struct Entry {
    text: String,
    line: usize,
    used: bool,
}

/// Flags, environment and file together.
pub struct Sources {
    flags: BTreeMap<&'static str, String>,
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, Entry>,
    path: PathBuf,
    asked: Vec<Key>,
}

impl Sources {
    /// Puts the sources together. `flags` are by the settings' names in the file. `named` must exist;
    /// without it, `default` is read if it exists.
    ///
    /// # Errors
    /// When the file cannot be read or is not TOML.
    pub fn new(
        flags: Vec<(&'static str, String)>,
        environment: BTreeMap<String, String>,
        named: Option<PathBuf>,
        default: &Path,
    ) -> Result<Self, ConfigError> {
        let must = named.is_some();
        let path = named.unwrap_or_else(|| default.to_owned());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must => String::new(),
            Err(e) => {
                return Err(ConfigError::new(
                    path.display().to_string(),
                    format!("cannot be read: {e}; check the path given with --config and who may read it"),
                ));
            }
        };
        let file = parse(&text, &path)?;
        Ok(Self { flags: flags.into_iter().collect(), environment, file, path, asked: Vec::new() })
    }

    /// A variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value of `key`, made by `parse`, which says what the value must be when it is not.
    pub(super) fn read<T>(
        &mut self,
        key: Key,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        self.asked.push(key);
        let Some((place, text)) = self.find(key) else { return Ok(None) };
        parse(&text).map(Some).map_err(|must| {
            let shown: String = text.chars().take(80).collect();
            ConfigError::new(place, format!("{} {must}, not {shown:?}", key.name))
        })
    }

    /// As [`Sources::read`] for a value that must not be shown in an error.
    pub(super) fn read_secret<T>(
        &mut self,
        key: Key,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        self.asked.push(key);
        let Some((place, text)) = self.find(key) else { return Ok(None) };
        parse(&text).map(Some).map_err(|must| ConfigError::new(place, format!("{} {must}", key.name)))
    }

    fn find(&mut self, key: Key) -> Option<(String, String)> {
        // The file's entry counts as used also when something else overrules it.
        let from_file = self.file.get_mut(key.name).map(|entry| {
            entry.used = true;
            (format!("{} line {}", self.path.display(), entry.line), entry.text.clone())
        });
        if let Some(text) = self.flags.get(key.name) {
            return Some((format!("flag for {}", key.name), text.clone()));
        }
        let set = key.variables.iter().find_map(|name| self.variable(name).map(|value| (*name, value)));
        if let Some((name, value)) = set {
            return Some((format!("{name} (environment)"), value.to_owned()));
        }
        from_file
    }

    /// The settings that were asked for.
    #[cfg(test)]
    pub(super) fn keys(&self) -> &[Key] {
        &self.asked
    }

    /// Whatever stands in the file must be a setting.
    pub(super) fn refuse_unknown(&self) -> Result<(), ConfigError> {
        let Some((name, entry)) = self.file.iter().find(|(_, entry)| !entry.used) else { return Ok(()) };
        let section = name.split('.').next().unwrap_or_default();
        let like: Vec<_> = self
            .asked
            .iter()
            .map(|key| key.name)
            .filter(|key| key.split('.').next() == Some(section))
            .collect();
        let remedy = if like.is_empty() {
            "the sections are [server], [agents], [auth], [retention] and [model]".to_owned()
        } else {
            format!("[{section}] has {}", like.join(", "))
        };
        let place = format!("{} line {}", self.path.display(), entry.line);
        Err(ConfigError::new(place, format!("there is no setting {name}; {remedy}")))
    }

    /// Variables with our prefix that set nothing: most likely misspelt.
    pub(super) fn unknown_variables(&self) -> Vec<String> {
        let known =
            |name: &str| name == "SYSOP_CONFIG" || self.asked.iter().any(|key| key.variables.contains(&name));
        let ours = self.environment.keys().filter(|name| name.starts_with("SYSOP_") && !known(name));
        ours.map(|name| format!("{name} is set, but there is no such setting")).collect()
    }
}

fn parse(text: &str, path: &Path) -> Result<BTreeMap<String, Entry>, ConfigError> {
    let line = |at: usize| text.get(..at).unwrap_or(text).matches('\n').count() + 1;
    let table = DeTable::parse(text).map_err(|e| {
        let at = e.span().map_or(1, |span| line(span.start));
        ConfigError::new(format!("{} line {at}", path.display()), format!("not TOML: {}", e.message()))
    })?;
    let mut entries = BTreeMap::new();
    flatten("", table.get_ref(), &mut |name, value: &Spanned<DeValue<'_>>| {
        let at = line(value.span().start);
        let text = plain(value.get_ref()).ok_or_else(|| {
            let must = format!("{name} must be a text, a number, true, false, or a list of texts");
            ConfigError::new(format!("{} line {at}", path.display()), must)
        })?;
        entries.insert(name, Entry { text, line: at, used: false });
        Ok(())
    })?;
    Ok(entries)
}

fn flatten(
    prefix: &str,
    table: &DeTable<'_>,
    put: &mut impl FnMut(String, &Spanned<DeValue<'_>>) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    for (key, value) in table {
        let name =
            if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        match value.get_ref() {
            DeValue::Table(inner) => flatten(&name, inner, put)?,
            _ => put(name, value)?,
        }
    }
    Ok(())
}

/// A value as a variable would give it; lists are joined by commas.
fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(|item| plain(item.get_ref())).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}
