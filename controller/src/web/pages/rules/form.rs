//! The form of a rule: one for each kind, what was typed kept, errors at their field.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde::Deserialize;

use super::PATH;
use crate::rules::explain;
use crate::store::assignments::Selector;
use crate::store::rules::{Check, Definition};
use crate::web::api::assignments::LabelBody;
use crate::web::api::rules::{NewRule, RuleKind, SeverityWord, Tried};
use crate::web::error::Problem;
use crate::web::layout::Ctx;
use crate::web::pages::settings::{Wrong, place};
use crate::web::widgets::form::{self, Choice, Field, Select};
use crate::web::widgets::state::State;
use crate::web::widgets::{card, format, list, note};

/// Fields that an error can stand at; the first takes those of none.
pub(super) const FIELDS: [&str; 13] = [
    "name",
    "when",
    "clear",
    "unit",
    "process",
    "least",
    "port",
    "for_s",
    "keep_s",
    "severity",
    place::FIELD,
    "labels",
    "enabled",
];
/// Kinds: value, words.
const KINDS: [(&str, &str); 4] = [
    ("expression", "Expression"),
    ("unit", "Unit must run"),
    ("process", "Process must run"),
    ("port", "Port must listen"),
];

/// A rule as the form sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    when: String,
    #[serde(default)]
    clear: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    process: String,
    #[serde(default)]
    least: String,
    #[serde(default)]
    port: String,
    #[serde(default)]
    for_s: String,
    #[serde(default)]
    keep_s: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    on: String,
    #[serde(default)]
    labels: String,
    #[serde(default)]
    enabled: String,
    /// `save` or `preview`.
    #[serde(default)]
    pub(super) act: String,
}

impl Sent {
    /// What a new rule of this kind begins with.
    pub(super) fn new(kind: &str) -> Self {
        let kind = KINDS.iter().find(|(known, _)| *known == kind).map_or("expression", |(known, _)| known);
        Self {
            kind: kind.to_owned(),
            least: "1".to_owned(),
            for_s: if kind == "expression" { "300" } else { "30" }.to_owned(),
            keep_s: "0".to_owned(),
            severity: if kind == "expression" { "warning" } else { "critical" }.to_owned(),
            on: "all".to_owned(),
            enabled: "on".to_owned(),
            ..Self::default()
        }
    }

    /// The same, filled from a row's menu: what must run, and where.
    pub(super) fn must_run(mut self, what: &str, host: Option<&str>) -> Self {
        self.name = match self.kind.as_str() {
            "unit" => {
                what.clone_into(&mut self.unit);
                format!("{what} must run")
            }
            "process" => {
                what.clone_into(&mut self.process);
                format!("{what} must run")
            }
            "port" => {
                what.clone_into(&mut self.port);
                format!("port {what} must listen")
            }
            _ => String::new(),
        };
        if let Some(host) = host {
            self.on = format!("host:{host}");
        }
        self
    }

    /// From what is stored.
    pub(super) fn of(definition: &Definition) -> Self {
        let labels = definition.labels.iter().map(|(name, value)| format!("{name}={value}"));
        let sent = Self {
            name: definition.name.clone(),
            for_s: (definition.for_ms / 1_000).to_string(),
            keep_s: (definition.keep_ms / 1_000).to_string(),
            severity: definition.severity.word().to_owned(),
            on: match &definition.scope {
                None => "all".to_owned(),
                Some(Selector::Host(host)) => format!("host:{host}"),
                Some(Selector::Label { name, value }) => format!("label:{name}={value}"),
            },
            labels: labels.collect::<Vec<_>>().join(", "),
            enabled: if definition.enabled { "on" } else { "off" }.to_owned(),
            least: "1".to_owned(),
            ..Self::default()
        };
        match &definition.check {
            Check::Expression { when, clear } => {
                Self { kind: "expression".into(), when: when.clone(), clear: clear.clone(), ..sent }
            }
            Check::Unit { unit } => Self { kind: "unit".into(), unit: unit.clone(), ..sent },
            Check::Process { name, least } => {
                Self { kind: "process".into(), process: name.clone(), least: least.to_string(), ..sent }
            }
            Check::Port { port } => Self { kind: "port".into(), port: port.to_string(), ..sent },
        }
    }

    /// The rule, checked; a problem names the field of the form.
    pub(super) fn read(&self) -> Result<Definition, Problem> {
        let kind = match self.kind.as_str() {
            "unit" => RuleKind::Unit,
            "process" => RuleKind::Process,
            "port" => RuleKind::Port,
            "expression" => RuleKind::Expression,
            _ => return Err(Problem::invalid("kind", "must be expression, unit, process or port")),
        };
        let severity = match self.severity.as_str() {
            "info" => SeverityWord::Info,
            "warning" => SeverityWord::Warning,
            "critical" => SeverityWord::Critical,
            _ => return Err(Problem::invalid("severity", "must be one of those in the list")),
        };
        let seconds = |text: &str, field: &'static str| {
            let read = text.trim().parse::<i64>().ok().filter(|s| (0..=86_400).contains(s));
            read.map(|s| s * 1_000)
                .ok_or_else(|| Problem::invalid(field, "must be whole seconds, 0 to 86400"))
        };
        let (host, label) = match place::parse(&self.on, true)? {
            None => (None, None),
            Some(Selector::Host(host)) => (Some(host), None),
            Some(Selector::Label { name, value }) => (None, Some(LabelBody { name, value })),
        };
        let own = |of: RuleKind, text: &str| (kind == of).then(|| text.trim().to_owned());
        let new = NewRule {
            name: self.name.trim().to_owned(),
            kind,
            when: own(RuleKind::Expression, &self.when),
            clear: own(RuleKind::Expression, &self.clear).filter(|clear| !clear.is_empty()),
            unit: own(RuleKind::Unit, &self.unit),
            process: own(RuleKind::Process, &self.process),
            least: match own(RuleKind::Process, &self.least) {
                None => None,
                Some(text) => Some(
                    text.parse()
                        .map_err(|_| Problem::invalid("least", "must be a whole number, 1 to 1000"))?,
                ),
            },
            port: match own(RuleKind::Port, &self.port) {
                None => None,
                Some(text) => Some(text.parse().map_err(|_| Problem::invalid("port", "must be 1 to 65535"))?),
            },
            for_ms: seconds(&self.for_s, "for_s")?,
            keep_ms: seconds(&self.keep_s, "keep_s")?,
            severity,
            host,
            label,
            labels: labels(&self.labels)?,
            enabled: self.enabled != "off",
        };
        new.definition().map_err(of_form)
    }
}

/// A problem at the field as the form names it.
pub(super) fn of_form(problem: Problem) -> Problem {
    let field = match problem.field.as_deref() {
        Some("for_ms") => "for_s",
        Some("keep_ms") => "keep_s",
        Some("scope" | "host" | "label") => place::FIELD,
        _ => return problem,
    };
    problem.about(field)
}

/// `team=web, service=shop`.
fn labels(text: &str) -> Result<BTreeMap<String, String>, Problem> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    let must = || Problem::invalid("labels", "must be written as team=web, service=shop");
    parts.map(|part| pair(part).ok_or_else(must)).collect()
}

/// The form's page: what it shows beside what was sent.
#[derive(Default)]
pub(super) struct FormView {
    /// Id of the rule; `None` for a new one.
    pub(super) id: Option<i64>,
    /// It came with the product.
    pub(super) builtin: bool,
    /// What was typed.
    pub(super) sent: Sent,
    /// Where it can hold.
    pub(super) places: Vec<Choice>,
    /// What is wrong.
    pub(super) wrong: Option<Wrong>,
    /// What it would have done.
    pub(super) tried: Option<Vec<Tried>>,
}

impl FormView {
    /// The kinds, and the form of the one that is chosen.
    pub(super) fn draw(&self, ctx: &Ctx) -> Markup {
        let action = self.id.map_or_else(|| format!("{PATH}/new"), |id| format!("{PATH}/{id}"));
        let kinds = KINDS.map(|(kind, words)| {
            (format!("{PATH}/new?kind={kind}"), html! { (words) }, self.sent.kind == kind)
        });
        // The place that a rule has stays on offer, also when no host is there now: a form must not widen it.
        let mut places = self.places.clone();
        if !places.iter().any(|place| place.value == self.sent.on) {
            places.push(Choice::new(&self.sent.on, &self.sent.on));
        }
        html! {
            @if self.id.is_none() { div.cb { (list::segments("Kind of rule", &kinds)) } }
            (form::post(ctx, &action, "cb stack", html! {
                (form::hidden("kind", &self.sent.kind))
                (self.field("name", "Name", &self.sent.name, Some("What people read when it fires."), false))
                (self.condition())
                (self.field("for_s", "Fires after, seconds", &self.sent.for_s, Some("Its condition must hold without a pause for this long."), false))
                (self.field("keep_s", "Goes on for, seconds", &self.sent.keep_s, Some("At least this long after its condition last held."), false))
                (self.choice("severity", "Severity", &[("info", "Notice"), ("warning", "Warning"), ("critical", "Critical")], &self.sent.severity))
                (Select { name: place::FIELD, label: "Where", choices: &places, chosen: &self.sent.on, hint: None,
                    error: Wrong::at(self.wrong.as_ref(), place::FIELD) }.draw())
                (self.field("labels", "Labels of its incidents", &self.sent.labels, Some("For example team=web, service=shop."), true))
                (self.choice("enabled", "State", &[("on", "On"), ("off", "Off")], &self.sent.enabled))
                div class="row-x wrap" {
                    @if !self.builtin { button class="btn pri" name="act" value="save" { "Save the rule" } }
                    button class="btn" name="act" value="preview" { "Try it on the past" }
                }
            }))
        }
    }

    fn condition(&self) -> Markup {
        let sent = &self.sent;
        match sent.kind.as_str() {
            "unit" => self.mono(
                "unit",
                "Unit that must be active",
                &sent.unit,
                "Its name as the host's page lists it, such as nginx.service; not an alias.",
            ),
            "process" => html! {
                (self.mono("process", "Process that must run", &sent.process, "The kernel's short name, or with a / or blank in it the command line; * stands for others. A sample holds the busiest processes: of one that is not among them the rule says unknown."))
                (self.field("least", "How many, at least", &sent.least, None, false))
            },
            "port" => {
                self.mono("port", "TCP port that must be listened on", &sent.port, "Looked at once a minute.")
            }
            _ => html! {
                (self.mono("when", "Fires when", &sent.when, "For example load.15 / cpu.cores > 4, or avg(fs.used_ratio{mount=\"/\"}, 5 min) > 90 %."))
                (self.mono("clear", "Is over when", &sent.clear, "Empty: when the condition does not hold any more."))
            },
        }
    }

    fn field(&self, name: &str, label: &str, value: &str, hint: Option<&str>, optional: bool) -> Markup {
        let error = Wrong::at(self.wrong.as_ref(), name);
        Field { name, label, value, hint, error, optional, autocomplete: "off", ..Field::default() }.draw()
    }

    fn mono(&self, name: &str, label: &str, value: &str, hint: &str) -> Markup {
        let error = Wrong::at(self.wrong.as_ref(), name);
        let optional = name == "clear";
        let field =
            Field { name, label, value, hint: Some(hint), error, optional, mono: true, ..Field::default() };
        Field { autocomplete: "off", most: Some(1_000), ..field }.draw()
    }

    fn choice(&self, name: &str, label: &str, choices: &[(&str, &str)], chosen: &str) -> Markup {
        let choices: Vec<Choice> = choices.iter().map(|(value, words)| Choice::new(value, words)).collect();
        let error = Wrong::at(self.wrong.as_ref(), name);
        Select { name, label, choices: &choices, chosen, hint: None, error }.draw()
    }

    /// What it would have done.
    pub(super) fn draw_tried(&self, now: i64) -> Markup {
        let Some(tried) = &self.tried else { return html! {} };
        let body = html! {
            @if tried.is_empty() {
                div.cb { (note::callout(State::Off, html! { "No host is there that this rule is about." }, None)) }
            }
            @for one in tried {
                @let span = one.preview.from.zip(one.preview.to).map(|(from, to)| to.since(from));
                div.li { div.grow {
                    div.b { (one.name) }
                    div class="small t2" {
                        @match span {
                            Some(span) => {
                                "Would have fired " (format::counted(one.preview.firings.len() as u64, "time", "times"))
                                " in the last " (explain::span(span)) "."
                                @if one.preview.unknown > 0.005 {
                                    " Unknown for " (format::percent(one.preview.unknown)) " of it."
                                }
                            }
                            None => { "Nothing is stored of the series that it reads." }
                        }
                    }
                    @for firing in one.preview.firings.iter().rev().take(5) {
                        div class="small t3" {
                            (format::full(now, firing.from.0))
                            @match firing.until {
                                Some(until) => { ", for " (explain::span(until.since(firing.from))) },
                                None => { ", still" },
                            }
                            @if !firing.label.is_empty() { " · " (firing.label) }
                        }
                    }
                } }
            }
            div.cf { "Over a day of stored series, a point per minute; what must run over the samples in memory. Up to five hosts." }
        };
        card("preview", "On the past", html! {}, body)
    }
}
