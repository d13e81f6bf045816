//! The form of an answer: its JSON schema, whose choices are the handles of the request alone, and the
//! same as a type. Pure.

use serde::Deserialize;
use serde_json::{Value, json};
use sysop_common::action::Risk;
use sysop_common::finding::Category;
use sysop_common::query::QUERY_NAMES;

use super::evidence::{Says, Sheet};
use super::names::Kind;

/// Version of the form; part of the key under which an answer is kept.
pub const SCHEMA: &str = "1";
/// Stands where there is nothing to choose: strict formats know no empty choice.
pub const NONE: &str = "none";

/// The schema of an answer about `sheet`. No text of a host is in it: equal numbers of handles give
/// equal bytes.
#[must_use]
pub fn schema(sheet: &Sheet) -> Value {
    let rows: Vec<&str> = sheet.rows.iter().map(|row| row.handle.as_str()).collect();
    let offers: Vec<&str> = sheet.offers.iter().map(|offer| offer.handle.as_str()).collect();
    let things = sheet.things();
    let units: Vec<&str> =
        sheet.names.iter().filter(|n| n.kind == Kind::Unit).map(|n| n.handle.as_str()).collect();
    let categories: Vec<&str> = Category::ALL.iter().map(|category| category.word()).collect();
    let says: Vec<&str> = Says::ALL.iter().map(|says| says.word()).collect();
    let text = json!({ "type": "string" });
    let expect = object(&[
        ("metric", choice(&sheet.metrics())),
        ("dir", choice(&["up", "down"])),
        ("within_s", json!({ "type": "integer" })),
    ]);
    let action = object(&[("offer", choice(&offers)), ("why", text.clone()), ("expect", expect)]);
    let cite = object(&[("row", choice(&rows)), ("says", choice(&says))]);
    let finding = object(&[
        ("reasoning", text.clone()),
        ("evidence", list(cite)),
        ("against", list(choice(&rows))),
        ("category", choice(&categories)),
        ("root", or_null(&things)),
        ("affected", list(choice(&things))),
        ("risk", choice(&["low", "medium", "high"])),
        ("confidence", json!({ "type": "integer" })),
        ("title", text.clone()),
        ("summary", text),
        ("actions", list(action)),
    ]);
    let read = object(&[("tool", choice(&QUERY_NAMES)), ("target", or_null(&units))]);
    object(&[
        ("schema", choice(&[SCHEMA])),
        ("findings", list(finding)),
        ("verdict", choice(&["incident", "benign", "need_more"])),
        ("reads", list(read)),
    ])
}

fn object(fields: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    let properties: serde_json::Map<String, Value> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "properties": properties, "required": names, "additionalProperties": false })
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn choice<T: AsRef<str>>(of: &[T]) -> Value {
    let mut of: Vec<&str> = of.iter().map(AsRef::as_ref).collect();
    if of.is_empty() {
        of.push(NONE);
    }
    json!({ "type": "string", "enum": of })
}

fn or_null<T: AsRef<str>>(of: &[T]) -> Value {
    let mut of: Vec<Value> = of.iter().map(|text| json!(text.as_ref())).collect();
    of.push(Value::Null);
    json!({ "type": ["string", "null"], "enum": of })
}

/// What an answer says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// There is trouble.
    Incident,
    /// There is none.
    Benign,
    /// It wants to read more first.
    NeedMore,
}

/// An answer, well-formed and not yet judged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// Version of the form.
    pub schema: String,
    /// What it makes of the incident.
    pub findings: Vec<Said>,
    /// What it says it is.
    pub verdict: Verdict,
    /// What it wants to read.
    pub reads: Vec<Wanted>,
}

/// One finding of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// How it got there.
    pub reasoning: String,
    /// Rows that speak for it.
    pub evidence: Vec<Cite>,
    /// Rows that speak against it.
    pub against: Vec<String>,
    /// What kind.
    pub category: Category,
    /// Handle of the cause.
    pub root: Option<String>,
    /// Handles of what suffers.
    pub affected: Vec<String>,
    /// Risk of what it proposes.
    pub risk: Risk,
    /// How sure it says it is, in percent.
    pub confidence: i64,
    /// One line.
    pub title: String,
    /// A few sentences.
    pub summary: String,
    /// Offers that it chooses.
    pub actions: Vec<Chosen>,
}

/// A row and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cite {
    /// Handle of the row.
    pub row: String,
    /// What its numbers say.
    pub says: Says,
}

/// An offer that was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    /// Handle of the offer.
    pub offer: String,
    /// Why.
    pub why: String,
    /// What should be seen afterwards.
    pub expect: Expect,
}

/// What should be seen after an action.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Handle of the metric.
    pub metric: String,
    /// Where it goes.
    pub dir: Direction,
    /// Within which time, in seconds.
    pub within_s: i64,
}

/// Where a metric goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Up.
    Up,
    /// Down.
    Down,
}

/// A reading that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Its name.
    pub tool: String,
    /// Handle of a unit, for the one that has a parameter.
    pub target: Option<String>,
}

/// The answer in a model's text: the one JSON object in it, since some servers wrap it in prose, a code
/// fence or thoughts.
///
/// # Errors
/// What is wrong with it, for the model to mend.
pub fn parse(text: &str) -> Result<Reply, String> {
    let object = super::extract::object(text).map_err(|e| super::sanitise::clean(&e.to_string(), 200))?;
    serde_json::from_value(serde_json::Value::Object(object)).map_err(|error| short(&error))
}

/// What serde says, without what it quotes of the answer beyond a few words.
fn short(error: &serde_json::Error) -> String {
    super::sanitise::clean(&error.to_string(), 200)
}
