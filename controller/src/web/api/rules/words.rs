//! A rule as the API and the pages write it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sysop_common::finding::Severity;
use sysop_common::ids::HostId;
use sysop_common::time::MINUTE_MS;
use utoipa::ToSchema;

use crate::rules::check;
use crate::store::assignments::Selector;
use crate::store::rules::{Check, Definition, Rule};
use crate::web::api::assignments::LabelBody;
use crate::web::error::Problem;

/// What a rule looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// An expression over series.
    #[default]
    Expression,
    /// A unit must be active.
    Unit,
    /// Processes must run.
    Process,
    /// Something must listen on a TCP port.
    Port,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeverityWord {
    /// Worth knowing.
    Info,
    /// Will become trouble.
    #[default]
    Warning,
    /// Is trouble now.
    Critical,
}

impl From<SeverityWord> for Severity {
    fn from(word: SeverityWord) -> Self {
        match word {
            SeverityWord::Info => Self::Info,
            SeverityWord::Warning => Self::Warning,
            SeverityWord::Critical => Self::Critical,
        }
    }
}

impl From<Severity> for SeverityWord {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Critical => Self::Critical,
        }
    }
}

/// What a rule says.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRule {
    /// Its name; no two rules have the same.
    #[schema(max_length = 100, min_length = 1)]
    pub name: String,
    /// What it looks at.
    pub kind: RuleKind,
    /// For an expression: it fires when this holds.
    #[schema(max_length = 1000)]
    #[serde(default)]
    pub when: Option<String>,
    /// For an expression: once it fires it is over when this holds; without it, when `when` does not.
    #[schema(max_length = 1000)]
    #[serde(default)]
    pub clear: Option<String>,
    /// For a unit: its full name.
    #[schema(max_length = 255)]
    #[serde(default)]
    pub unit: Option<String>,
    /// For a process: the kernel's short name, or with a `/` or blank in it the command line; `*` and `?`
    /// stand for others.
    #[schema(max_length = 160)]
    #[serde(default)]
    pub process: Option<String>,
    /// For a process: how many, at least; one without it.
    #[schema(minimum = 1, maximum = 1000)]
    #[serde(default)]
    pub least: Option<u32>,
    /// For a port: which.
    #[schema(minimum = 1, maximum = 65535)]
    #[serde(default)]
    pub port: Option<u16>,
    /// It fires once its condition has held for this long, in ms, whole seconds; a minute without it.
    #[schema(minimum = 0, maximum = 86400000)]
    #[serde(default = "a_minute")]
    pub for_ms: i64,
    /// It goes on for at least this long after its condition last held, in ms, whole seconds.
    #[schema(minimum = 0, maximum = 86400000)]
    #[serde(default)]
    pub keep_ms: i64,
    /// How bad it is.
    pub severity: SeverityWord,
    /// The one host that it is about; or
    #[schema(value_type = Option<String>, format = "uuid")]
    #[serde(default)]
    pub host: Option<HostId>,
    /// the label that an admin gave its hosts; all hosts without either.
    #[serde(default)]
    pub label: Option<LabelBody>,
    /// Labels of its incidents, for those who are told; at most 16.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether it is looked at.
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn a_minute() -> i64 {
    MINUTE_MS
}

const fn yes() -> bool {
    true
}

impl NewRule {
    /// The rule, checked.
    ///
    /// # Errors
    /// Names the field that does not fit, and what it must be.
    pub fn definition(self) -> Result<Definition, Problem> {
        let scope = match (self.host, self.label) {
            (None, None) => None,
            (Some(host), None) => Some(Selector::Host(host)),
            (None, Some(label)) => Some(Selector::Label { name: label.name, value: label.value }),
            _ => return Err(Problem::invalid("host", "or label may be given, and not both")),
        };
        let own: &[&str] = match self.kind {
            RuleKind::Expression => &["when", "clear"],
            RuleKind::Unit => &["unit"],
            RuleKind::Process => &["process", "least"],
            RuleKind::Port => &["port"],
        };
        let given = [
            ("when", self.when.is_some()),
            ("clear", self.clear.is_some()),
            ("unit", self.unit.is_some()),
            ("process", self.process.is_some()),
            ("least", self.least.is_some()),
            ("port", self.port.is_some()),
        ];
        if let Some((field, _)) = given.iter().find(|(field, given)| *given && !own.contains(field)) {
            return Err(Problem::invalid(*field, "does not go with this kind of rule: leave it out"));
        }
        let need =
            |field: &'static str| move || Problem::invalid(field, "must be given for this kind of rule");
        let check_of = match self.kind {
            RuleKind::Expression => Check::Expression {
                when: self.when.ok_or_else(need("when"))?,
                clear: self.clear.unwrap_or_default(),
            },
            RuleKind::Unit => Check::Unit { unit: self.unit.ok_or_else(need("unit"))? },
            RuleKind::Process => Check::Process {
                name: self.process.ok_or_else(need("process"))?,
                least: self.least.unwrap_or(1),
            },
            RuleKind::Port => Check::Port { port: self.port.ok_or_else(need("port"))? },
        };
        let definition = Definition {
            name: self.name,
            check: check_of,
            for_ms: self.for_ms,
            keep_ms: self.keep_ms,
            severity: self.severity.into(),
            scope,
            labels: self.labels,
            enabled: self.enabled,
        };
        check(&definition).map_err(|wrong| {
            let field = if wrong.field == "scope" { "label" } else { wrong.field };
            Problem::invalid(field, wrong.must)
        })?;
        Ok(definition)
    }

    /// From what is stored.
    #[must_use]
    pub fn of(definition: Definition) -> Self {
        let (host, label) = match definition.scope {
            None => (None, None),
            Some(Selector::Host(host)) => (Some(host), None),
            Some(Selector::Label { name, value }) => (None, Some(LabelBody { name, value })),
        };
        let new = Self {
            name: definition.name,
            for_ms: definition.for_ms,
            keep_ms: definition.keep_ms,
            severity: definition.severity.into(),
            host,
            label,
            labels: definition.labels,
            enabled: definition.enabled,
            ..Self::default()
        };
        match definition.check {
            Check::Expression { when, clear } => Self {
                kind: RuleKind::Expression,
                when: Some(when),
                clear: Some(clear).filter(|clear| !clear.is_empty()),
                ..new
            },
            Check::Unit { unit } => Self { kind: RuleKind::Unit, unit: Some(unit), ..new },
            Check::Process { name, least } => {
                Self { kind: RuleKind::Process, process: Some(name), least: Some(least), ..new }
            }
            Check::Port { port } => Self { kind: RuleKind::Port, port: Some(port), ..new },
        }
    }
}

/// A rule.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuleBody {
    /// Id.
    pub id: i64,
    /// Its key where it came with the product: then it can be switched off and copied, nothing else.
    pub builtin: Option<String>,
    /// Raised with each change.
    pub version: i64,
    /// What it says.
    #[serde(flatten)]
    pub rule: NewRule,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: i64,
    /// Who changed it last.
    pub updated_by: String,
    /// When.
    pub updated_at: i64,
}

impl From<Rule> for RuleBody {
    fn from(rule: Rule) -> Self {
        Self {
            id: rule.id,
            builtin: Some(rule.builtin).filter(|key| !key.is_empty()),
            version: rule.version,
            rule: NewRule::of(rule.definition),
            created_by: rule.created_by,
            created_at: rule.created_at.0,
            updated_by: rule.updated_by,
            updated_at: rule.updated_at.0,
        }
    }
}
