//! What the analyser says, in every language it speaks: texts under keys, with named placeholders.
//!
//! One file per language, lines of `key = text`. A test keeps the files alike, and another one reads
//! the analyser's source to see that every key that is said exists with those placeholders.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::LazyLock;

/// A language that the analyser speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Language {
    /// `en`, also in place of a language that it does not speak.
    #[default]
    English,
    /// `vi`.
    Vietnamese,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::Vietnamese];

    /// From a BCP-47 tag or the language's own or English name; English for any other.
    #[must_use]
    pub fn from_tag(tag: &str) -> Self {
        let tag = tag.trim().to_lowercase();
        let first = tag.split(['-', '_']).next().unwrap_or_default();
        match first {
            "vi" | "vie" | "vietnamese" | "tiếng việt" => Self::Vietnamese,
            _ => Self::English,
        }
    }

    /// Its BCP-47 tag.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Vietnamese => "vi",
        }
    }

    /// The texts in this language.
    #[must_use]
    pub const fn text(self) -> Text {
        Text(self)
    }
}

type Catalogue = BTreeMap<&'static str, &'static str>;

const SOURCES: [&str; 2] = [include_str!("en.txt"), include_str!("vi.txt")];
static CATALOGUES: LazyLock<[Catalogue; 2]> = LazyLock::new(|| SOURCES.map(parse));

/// Lines of `key = text`; empty ones and those that begin with `#` are left out.
fn parse(source: &'static str) -> Catalogue {
    let lines = source.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(" = ")).collect()
}

/// The texts of one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Text(Language);

impl Text {
    /// Whose texts these are.
    #[must_use]
    pub const fn language(self) -> Language {
        self.0
    }

    /// The text of `key` with its placeholders filled in. A value is never looked into: a name with
    /// braces stays as it is. A key without a text is said itself.
    #[must_use]
    pub fn say(self, key: &str, values: &[(&str, &dyn Display)]) -> String {
        let catalogue = &CATALOGUES[self.0 as usize];
        let mut rest = catalogue.get(key).copied().unwrap_or(key);
        let mut out = String::with_capacity(rest.len() + 32);
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let Some((name, behind)) = after.split_once('}') else { break };
            match values.iter().find(|(known, _)| *known == name) {
                // Writing to a string does not fail.
                Some((_, value)) => drop(write!(out, "{value}")),
                None => out.push_str(name),
            }
            rest = behind;
        }
        out.push_str(rest);
        out
    }

    /// The text of a key without placeholders; `None` where there is none.
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'static str> {
        CATALOGUES[self.0 as usize].get(key).copied()
    }

    /// A time in ms, for people.
    #[must_use]
    pub fn span(self, ms: i64) -> String {
        let minutes = ms / 60_000;
        let (key, n) = match minutes {
            0 => ("span.seconds", (ms / 1_000).max(0)),
            1..120 => ("span.minutes", minutes),
            120..2_880 => ("span.hours", minutes / 60),
            _ => ("span.days", minutes / 1_440),
        };
        self.say(key, &[("n", &n)])
    }
}

/// Bytes for people; the same in every language.
#[must_use]
pub fn bytes(value: f64) -> String {
    let mut value = value;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value.abs() < 1_024.0 {
            return if unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1_024.0;
    }
    format!("{value:.1} TiB")
}
