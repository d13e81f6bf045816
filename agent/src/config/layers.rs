//! From flags, environment and file to checked settings; each error names its source, the key and
//! the remedy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::{Config, DEFAULT_FILE};

/// Settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}; check that it exists and who may read it", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A setting is wrong.
    #[error("{place}: {key}: {problem}")]
    Wrong {
        /// File and line, environment variable or flag.
        place: String,
        /// The setting.
        key: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
}

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// A file that must exist. Without one, the default file is read if it exists.
    pub file: Option<PathBuf>,
    /// Variables of the environment.
    pub environment: BTreeMap<String, String>,
    /// Flags: key and value.
    pub flags: Vec<(String, String)>,
}

impl Layers {
    /// With the variables of this process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(key, _)| key.starts_with("SYSOP_"))
            .collect();
        Self { file, environment, flags }
    }

    /// The settings.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut merged = Merged::default();
        let default = PathBuf::from(DEFAULT_FILE);
        match &self.file {
            Some(file) => merged.add_file(file, &read(file)?)?,
            None if default.exists() => merged.add_file(&default, &read(&default)?)?,
            None => {}
        }
        let known = settings();
        for (key, example) in &known {
            if let Some(text) = self.environment.get(&variable(key)) {
                merged.add_text(key, example, text, variable(key))?;
            }
        }
        for (key, text) in &self.flags {
            let place = format!("--set {key}");
            let Some(example) = known.get(key) else {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                let problem = format!("is no setting; the settings are {}", names.join(", "));
                return Err(ConfigError::Wrong { place, key: key.clone(), problem });
            };
            merged.add_text(key, example, text, place)?;
        }
        merged.finish()
    }
}

/// `text` of a settings file with one setting put where it stands, commented out or not, or added.
#[must_use]
pub fn with_setting(text: &str, key: &str, value: &str) -> String {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let line = format!("{name} = {}", Value::String(value.to_owned()));
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let header = |line: &str| line.trim().strip_prefix('[')?.strip_suffix(']').map(str::to_owned);
    let is_setting = |line: &str| {
        let rest = line.trim_start_matches('#').trim_start().strip_prefix(name);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let from = if section.is_empty() {
        Some(0)
    } else {
        lines.iter().position(|line| header(line).as_deref() == Some(section)).map(|at| at + 1)
    };
    match from {
        Some(from) => {
            let end = lines.iter().skip(from).position(|line| header(line).is_some());
            let end = end.map_or(lines.len(), |at| from + at);
            match (from..end).find(|at| is_setting(&lines[*at])) {
                Some(at) => lines[at] = line,
                None => lines.insert(from, line),
            }
        }
        None => lines.extend([String::new(), format!("[{section}]"), line]),
    }
    lines.join("\n") + "\n"
}

fn read(file: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file).map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })
}

/// The environment variable of a setting: `sample.interval` is `SYSOP_SAMPLE_INTERVAL`.
fn variable(key: &str) -> String {
    format!("SYSOP_{}", key.replace('.', "_").to_uppercase())
}

/// Every setting that has one value, with its default.
fn settings() -> BTreeMap<String, Value> {
    let mut settings = BTreeMap::new();
    let defaults = Table::try_from(Config::default()).unwrap_or_default();
    for (section, value) in defaults {
        match value {
            Value::Table(table) => {
                let plain = table.into_iter().filter(|(_, value)| !value.is_table());
                settings.extend(plain.map(|(key, value)| (format!("{section}.{key}"), value)));
            }
            plain => {
                settings.insert(section, plain);
            }
        }
    }
    settings
}

/// What the layers so far say, and where each setting was said.
#[derive(Default)]
struct Merged {
    table: Table,
    places: BTreeMap<String, String>,
}

impl Merged {
    fn add_file(&mut self, file: &Path, text: &str) -> Result<(), ConfigError> {
        let lines = Lines::of(text);
        let wrong = |error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start);
            let problem = error.message().trim().replace('\n', "; ");
            let key = lines.key_at(at).unwrap_or("settings").to_owned();
            ConfigError::Wrong { place: format!("{}:{}", file.display(), line(text, at)), key, problem }
        };
        toml::from_str::<Config>(text).map_err(wrong)?;
        self.table = toml::from_str(text).map_err(wrong)?;
        for (key, at, _) in &lines.keys {
            self.places.insert(key.clone(), format!("{}:{}", file.display(), line(text, *at)));
        }
        Ok(())
    }

    fn add_text(&mut self, key: &str, example: &Value, text: &str, place: String) -> Result<(), ConfigError> {
        let wrong =
            |problem: String| ConfigError::Wrong { place: place.clone(), key: key.to_owned(), problem };
        let value = match example {
            Value::Integer(_) => {
                Value::Integer(text.parse().map_err(|_| wrong(format!("{text:?} is not a whole number")))?)
            }
            Value::Boolean(_) => Value::Boolean(
                text.parse().map_err(|_| wrong(format!("{text:?} is neither true nor false")))?,
            ),
            _ => Value::String(text.to_owned()),
        };
        let mut alone = Table::new();
        set(&mut alone, key, value.clone());
        Config::deserialize(alone).map_err(|e| wrong(e.message().trim().to_owned()))?;
        set(&mut self.table, key, value);
        self.places.insert(key.to_owned(), place);
        Ok(())
    }

    fn finish(self) -> Result<Config, ConfigError> {
        let wrong = |key: &str, problem: String| {
            let place = self.places.get(key).cloned().unwrap_or_else(|| "settings".to_owned());
            ConfigError::Wrong { place, key: key.to_owned(), problem }
        };
        let config = Config::deserialize(self.table.clone())
            .map_err(|e| wrong("settings", e.message().trim().to_owned()))?;
        match config.problem() {
            Some((key, problem)) => Err(wrong(key, problem)),
            None => Ok(config),
        }
    }
}

fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table.entry(section.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

fn line(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1
}

/// Where in a file each key stands: key, start of the key, end of the value.
struct Lines {
    keys: Vec<(String, usize, usize)>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let mut keys = Vec::new();
        if let Ok(table) = DeTable::parse(text) {
            Self::walk(table.get_ref(), "", &mut keys);
        }
        Self { keys }
    }

    fn walk(table: &DeTable<'_>, prefix: &str, keys: &mut Vec<(String, usize, usize)>) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) => {
                    keys.push((name.clone(), key.span().start, key.span().end));
                    Self::walk(inner, &format!("{name}."), keys);
                }
                _ => keys.push((name, Spanned::span(key).start, value.span().end)),
            }
        }
    }

    fn key_at(&self, at: usize) -> Option<&str> {
        self.keys.iter().find(|(_, from, to)| (*from..*to).contains(&at)).map(|(key, _, _)| key.as_str())
    }
}
