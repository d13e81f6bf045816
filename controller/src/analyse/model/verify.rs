//! Judges an answer against what the request contained. The model is taken for hostile: whatever is not
//! proven by the request's own rows is rejected, with the exact reason. Pure.

mod actions;
mod opinion;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use sysop_common::query::QUERY_NAMES;

pub use opinion::{Opinion, Pick, View};

use super::evidence::Sheet;
use super::language;
use super::names::Kind;
use super::redact::Redactor;
use super::schema::{Reply, SCHEMA, Said, Verdict, Wanted, parse};

/// Most findings of an answer.
const FINDINGS: usize = 4;
/// Most rows that one finding cites.
const CITES: usize = 24;
/// Most readings of one turn.
pub const READS: usize = 4;

/// Why something of an answer does not count.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reject {
    /// What it costs.
    pub weight: Weight,
    /// A short name for counters; never changes.
    pub code: String,
    /// The exact reason, for the model's second try and for people. Of the answer it repeats handles alone.
    pub text: String,
}

/// What a reject costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Its words give way to the catalogue's.
    Text,
    /// Its actions do not count.
    Action,
    /// The whole answer does not count.
    Answer,
}

impl Reject {
    pub(super) fn new(weight: Weight, code: &str, text: impl Into<String>) -> Self {
        Self { weight, code: code.to_owned(), text: text.into() }
    }

    fn ghost(what: &str, handle: &str) -> Self {
        // A handle that is not one may be a text of any kind.
        let handle: String = handle.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        Self::new(Weight::Answer, "ghost", format!("{what} {handle} is not in the request"))
    }
}

/// What became of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What counts; nothing when the whole answer does not.
    pub opinion: Option<Opinion>,
    /// What it wants to read, checked.
    pub reads: Vec<Wanted>,
    /// What does not count.
    pub rejects: Vec<Reject>,
}

impl Judged {
    /// The heaviest reject.
    #[must_use]
    pub fn worst(&self) -> Option<Weight> {
        self.rejects.iter().map(|reject| reject.weight).max()
    }
}

/// Judges the text of an answer.
#[must_use]
pub fn judge(text: &str, sheet: &Sheet, tag: &str, redactor: &Redactor) -> Judged {
    let reply = match parse(text) {
        Ok(reply) => reply,
        Err(problem) => {
            let rejects = vec![Reject::new(Weight::Answer, "form", problem)];
            return Judged { opinion: None, reads: Vec::new(), rejects };
        }
    };
    let mut rejects = form(&reply);
    for said in &reply.findings {
        rejects.extend(handles(said, sheet));
        rejects.extend(signs(said, sheet));
    }
    rejects.extend(actions::check(&reply, sheet));
    rejects.extend(reads(&reply, sheet));
    let told = |said: &Said| format!("{} {}", said.title, said.summary);
    if reply.findings.iter().any(|said| !language::fits(tag, &told(said))) {
        rejects.push(Reject::new(Weight::Text, "language", format!("the text is not in the language {tag}")));
    }
    let worst = rejects.iter().map(|reject| reject.weight).max();
    let whole = worst != Some(Weight::Answer);
    let reads = if whole { reply.reads.clone() } else { Vec::new() };
    let opinion = whole.then(|| Opinion::of(&reply, sheet, &rejects, redactor));
    Judged { opinion, reads, rejects }
}

fn form(reply: &Reply) -> Vec<Reject> {
    let answer = |text: &str| Reject::new(Weight::Answer, "form", text);
    let mut found = Vec::new();
    if reply.schema != SCHEMA {
        found.push(answer("schema must be \"1\""));
    }
    if reply.findings.len() > FINDINGS {
        found.push(answer("there may be at most 4 findings"));
    }
    if reply.findings.is_empty() && reply.verdict != Verdict::NeedMore {
        found.push(answer("findings is empty"));
    }
    for said in &reply.findings {
        if !(0..=100).contains(&said.confidence) {
            found.push(answer("confidence must be 0 to 100"));
        }
        if said.evidence.len() + said.against.len() > CITES || said.affected.len() > CITES {
            found.push(answer("a finding names at most 24 rows and 24 handles"));
        }
        if said.title.trim().is_empty() || said.summary.trim().is_empty() {
            found.push(answer("title and summary must not be empty"));
        }
        if said.evidence.is_empty() {
            found.push(Reject::new(Weight::Answer, "grounds", "a finding must cite at least one row"));
        }
    }
    found
}

/// Whatever a finding names is in the request, and its root is named by a row that it cites.
fn handles(said: &Said, sheet: &Sheet) -> Vec<Reject> {
    let mut found = Vec::new();
    let rows = said.evidence.iter().map(|cite| &cite.row).chain(&said.against);
    found.extend(rows.filter(|row| sheet.row(row).is_none()).map(|row| Reject::ghost("row", row)));
    let things = sheet.things();
    for handle in said.affected.iter().chain(&said.root) {
        if !things.contains(handle) {
            found.push(Reject::ghost("handle", handle));
        }
    }
    let named: BTreeSet<&String> =
        said.evidence.iter().filter_map(|cite| sheet.row(&cite.row)).flat_map(|row| &row.about).collect();
    if let Some(root) = said.root.as_ref().filter(|root| things.contains(root) && !named.contains(root)) {
        let text = format!("root {root} is named by none of the rows that are cited");
        found.push(Reject::new(Weight::Answer, "root", text));
    }
    found
}

/// Each cited row says what the answer claims.
fn signs(said: &Said, sheet: &Sheet) -> Vec<Reject> {
    let wrong = said.evidence.iter().filter_map(|cite| {
        let row = sheet.row(&cite.row)?;
        (row.says != cite.says).then(|| {
            let text = format!(
                "row {} says {}, the answer claims {}",
                row.handle,
                row.says.word(),
                cite.says.word()
            );
            Reject::new(Weight::Action, "sign", text)
        })
    });
    wrong.collect()
}

fn reads(reply: &Reply, sheet: &Sheet) -> Vec<Reject> {
    let answer = |text: String| Reject::new(Weight::Answer, "read", text);
    let mut found = Vec::new();
    if reply.verdict != Verdict::NeedMore {
        if !reply.reads.is_empty() {
            found.push(answer("reads must be empty unless the verdict is need_more".into()));
        }
        return found;
    }
    if reply.reads.is_empty() || reply.reads.len() > READS {
        found.push(answer("need_more wants 1 to 4 reads".into()));
    }
    for read in &reply.reads {
        if !QUERY_NAMES.contains(&read.tool.as_str()) {
            found.push(Reject::ghost("reading", &read.tool));
        }
        let unit = |handle: &String| sheet.names.get(handle).is_some_and(|named| named.kind == Kind::Unit);
        let fits = if read.tool == "get_service_status" {
            read.target.as_ref().is_some_and(unit)
        } else {
            read.target.is_none()
        };
        if !fits {
            found.push(answer("target must be a U handle for get_service_status and null otherwise".into()));
        }
    }
    found
}
