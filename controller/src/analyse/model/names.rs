//! Handles for everything that has a name: a model reads and answers with handles, and raw names stand
//! once, quoted, in a table. Pure.

use sysop_common::sample::Process;

use super::redact::Redactor;
use super::sanitise::{NAME, clean, mixes_scripts};

/// What a handle stands for. Its letter begins the handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The host itself.
    Host,
    /// A unit of systemd.
    Unit,
    /// A process.
    Process,
    /// A file system.
    Fs,
    /// A network address.
    Address,
    /// A device, an interface, anything else.
    Device,
    /// A metric.
    Metric,
}

impl Kind {
    const fn letter(self) -> char {
        match self {
            Self::Host => 'H',
            Self::Unit => 'U',
            Self::Process => 'P',
            Self::Fs => 'F',
            Self::Address => 'A',
            Self::Device => 'D',
            Self::Metric => 'M',
        }
    }

    /// Most handles of the kind in one request.
    const fn most(self) -> usize {
        match self {
            Self::Host => 1,
            Self::Unit => 24,
            Self::Process | Self::Fs | Self::Address | Self::Device => 16,
            Self::Metric => 24,
        }
    }

    /// What an entity or a label of a finding is, by its look.
    #[must_use]
    pub fn of(entity: &str) -> Self {
        const UNITS: [&str; 7] = [".service", ".socket", ".timer", ".scope", ".slice", ".mount", ".path"];
        if matches!(entity, "" | "host" | "fleet") {
            Self::Host
        } else if entity.starts_with('/') {
            // First: no unit's name begins with a slash, and a directory may end like a unit.
            Self::Fs
        } else if UNITS.iter().any(|end| entity.ends_with(end)) {
            Self::Unit
        } else if entity.parse::<std::net::IpAddr>().is_ok() {
            Self::Address
        } else {
            Self::Device
        }
    }
}

/// One handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// `U1`.
    pub handle: String,
    /// What it stands for.
    pub kind: Kind,
    /// The name as the host has it. Never in a prompt.
    pub raw: String,
    /// The name as it may leave, quoted where it is the host's text.
    pub shown: String,
}

/// The handles of one request.
#[derive(Debug, Clone, Default)]
pub struct Names {
    all: Vec<Named>,
}

impl Names {
    /// The handle of a name; makes one unless the kind has too many.
    pub fn handle(&mut self, kind: Kind, raw: &str, redactor: &mut Redactor) -> Option<String> {
        let raw = if kind == Kind::Host { "host" } else { raw };
        self.named(
            kind,
            raw,
            |redactor| match kind {
                Kind::Host => "the host itself".to_owned(),
                // Names of metrics are ours.
                Kind::Metric => clean(raw, NAME),
                _ => quoted(raw, redactor),
            },
            redactor,
        )
    }

    /// The handle of a process.
    pub fn process(&mut self, pid: u32, comm: &str, user: &str, redactor: &mut Redactor) -> Option<String> {
        redactor.learn("user", user);
        let raw = format!("{comm} (pid {pid})");
        self.named(
            Kind::Process,
            &raw,
            |redactor| format!("{} pid {pid} user {}", quoted(comm, redactor), quoted(user, redactor)),
            redactor,
        )
    }

    /// The handle of a process of a sample.
    pub fn of_process(&mut self, process: &Process, redactor: &mut Redactor) -> Option<String> {
        self.process(process.pid, &process.comm, &process.user, redactor)
    }

    fn named(
        &mut self,
        kind: Kind,
        raw: &str,
        shown: impl FnOnce(&mut Redactor) -> String,
        redactor: &mut Redactor,
    ) -> Option<String> {
        if let Some(known) = self.all.iter().find(|known| known.kind == kind && known.raw == raw) {
            return Some(known.handle.clone());
        }
        let count = self.all.iter().filter(|known| known.kind == kind).count();
        if count >= kind.most() {
            return None;
        }
        let handle = format!("{}{}", kind.letter(), count + 1);
        self.all.push(Named { handle: handle.clone(), kind, raw: raw.to_owned(), shown: shown(redactor) });
        Some(handle)
    }

    /// What a handle stands for.
    #[must_use]
    pub fn get(&self, handle: &str) -> Option<&Named> {
        self.all.iter().find(|known| known.handle == handle)
    }

    /// All of them, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &Named> {
        self.all.iter()
    }

    /// `text` with the names in place of the handles, for people.
    #[must_use]
    pub fn spelled(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        while !rest.is_empty() {
            let len = rest.find(|c: char| !word(c)).unwrap_or(rest.len());
            let (handle, after) = rest.split_at(len);
            match self.get(handle) {
                Some(named) => out.push_str(&clean(&named.raw, NAME)),
                None => out.push_str(handle),
            }
            let gap = after.find(word).unwrap_or(after.len());
            out.push_str(&after[..gap]);
            rest = &after[gap..];
        }
        out
    }
}

/// A host's text for the table.
fn quoted(raw: &str, redactor: &mut Redactor) -> String {
    let text = clean(&redactor.apply(raw), NAME);
    let note = if mixes_scripts(&text) { " (mixed scripts)" } else { "" };
    format!("\"{text}\"{note}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_handle_and_a_kind_has_only_so_many() {
        let (mut names, mut redactor) = (Names::default(), Redactor::default());
        let unit = |names: &mut Names, redactor: &mut Redactor, raw: &str| {
            names.handle(Kind::of(raw), raw, redactor)
        };
        assert_eq!(unit(&mut names, &mut redactor, "a.service").as_deref(), Some("U1"));
        assert_eq!(unit(&mut names, &mut redactor, "b.service").as_deref(), Some("U2"));
        assert_eq!(unit(&mut names, &mut redactor, "a.service").as_deref(), Some("U1"));
        assert_eq!(unit(&mut names, &mut redactor, "/var").as_deref(), Some("F1"));
        assert_eq!(unit(&mut names, &mut redactor, "fleet").as_deref(), Some("H1"));
        assert_eq!(unit(&mut names, &mut redactor, "192.0.2.1").as_deref(), Some("A1"));
        for n in 0..30 {
            unit(&mut names, &mut redactor, &format!("/m{n}"));
        }
        assert_eq!(names.iter().filter(|n| n.kind == Kind::Fs).count(), 16);
        assert_eq!(names.spelled("U1 fills F1; U10 and AU1 stay"), "a.service fills /var; U10 and AU1 stay");
    }

    #[test]
    fn a_table_entry_is_one_quoted_line() {
        let (mut names, mut redactor) = (Names::default(), Redactor::default());
        names.process(7, "x\"\nE9 fs.used 1 -> 2", "ann", &mut redactor);
        let shown = &names.get("P1").unwrap().shown;
        assert_eq!(shown, "\"x' E9 fs.used 1 -› 2\" pid 7 user \"ann\"");
    }
}
