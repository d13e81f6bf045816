//! Rows, findings and offers out of the material.

use std::collections::{BTreeMap, BTreeSet};

use sysop_common::action::Action;
use sysop_common::finding::{Category, Culprit, Evidence, Finding, Value};
use sysop_common::ids::sha256;
use sysop_common::sample::{Active, Unit};

use super::render::{ago, amount, bucket, span};
use super::{Caps, Choice, Material, Row, Says, Sheet, Shown};
use crate::analyse::model::names::{Kind, Names};
use crate::analyse::model::redact::Redactor;
use crate::analyse::model::sanitise::clean;

/// Most findings that are shown.
const FINDINGS: usize = 6;
/// Most characters of a state's word.
const WORD: usize = 24;

/// Whether findings of the category are facts of kernel or systemd, not statistics.
#[must_use]
pub const fn hard(category: Category) -> bool {
    matches!(
        category,
        Category::FsReadOnly
            | Category::OomKill
            | Category::UnitFlapping
            | Category::UnitFailed
            | Category::StuckProcess
            | Category::MustRun
            | Category::AgentClone
    )
}

pub(super) fn sheet(material: &Material<'_>, caps: Caps, redactor: &mut Redactor) -> Sheet {
    let mut maker =
        Maker { material, redactor, names: Names::default(), rows: Vec::new(), findings: Vec::new() };
    maker.names.handle(Kind::Host, "host", maker.redactor);
    maker.findings(caps.rows);
    let offers = maker.offers();
    let units = maker.units(caps.units);
    let processes = maker.processes(caps.processes);
    let past = maker.past(caps.past);
    let Maker { names, rows, findings, .. } = maker;
    let digest = digest(material, &rows, &findings, &offers);
    let mut sheet = Sheet { names, rows, findings, offers, text: String::new(), digest, caps };
    sheet.text = super::render::text(material, &sheet, &units, &processes, &past);
    sheet
}

struct Maker<'a, 'b> {
    material: &'a Material<'a>,
    redactor: &'b mut Redactor,
    names: Names,
    rows: Vec<Row>,
    findings: Vec<Shown>,
}

impl Maker<'_, '_> {
    fn handle(&mut self, entity: &str) -> Option<String> {
        self.names.handle(Kind::of(entity), entity, self.redactor)
    }

    fn culprit(&mut self, finding: &Finding) -> Option<String> {
        match finding.culprit.as_ref()? {
            Culprit::Unit { unit, .. } => self.names.handle(Kind::Unit, unit, self.redactor),
            Culprit::Process { pid, comm, user, .. } => self.names.process(*pid, comm, user, self.redactor),
            Culprit::Diffuse { .. } => None,
        }
    }

    /// The findings with their rows; each finding has its first row before any has its second.
    fn findings(&mut self, most: usize) {
        let shown: Vec<&Finding> = self.material.incident.findings.iter().take(FINDINGS).collect();
        let deepest = shown.iter().map(|finding| finding.evidence.len()).max().unwrap_or(0);
        let ranks = (0..deepest).flat_map(|rank| (0..shown.len()).map(move |at| (rank, at)));
        let chosen: BTreeSet<(usize, usize)> = ranks
            .filter(|(rank, at)| *rank < shown[*at].evidence.len())
            .take(most)
            .map(|(rank, at)| (at, rank))
            .collect();
        let mut numbers: BTreeMap<String, String> = BTreeMap::new();
        for (at, finding) in shown.iter().enumerate() {
            numbers.insert(finding.fingerprint(), format!("N{}", at + 1));
        }
        for (at, finding) in shown.iter().enumerate() {
            let Some(entity) = self.handle(&finding.entity) else { continue };
            let culprit = self.culprit(finding);
            let handle = format!("N{}", at + 1);
            let first = self.rows.len();
            for (rank, evidence) in finding.evidence.iter().enumerate() {
                if chosen.contains(&(at, rank)) {
                    self.row(finding, &handle, &entity, culprit.as_deref(), evidence);
                }
            }
            let rows: Vec<&str> = self.rows[first..].iter().map(|row| row.handle.as_str()).collect();
            let shown = self.finding(finding, handle, entity, culprit, &rows.join(","), &numbers);
            self.findings.push(shown);
        }
    }

    fn finding(
        &self,
        finding: &Finding,
        handle: String,
        entity: String,
        culprit: Option<String>,
        rows: &str,
        numbers: &BTreeMap<String, String>,
    ) -> Shown {
        let (kind, severity) = (finding.category.word(), finding.severity.word());
        let state = if finding.active { "active" } else { "over" };
        let because = finding.caused_by.as_ref().and_then(|cause| numbers.get(cause));
        let because = because.map(|cause| format!(" because {cause}")).unwrap_or_default();
        let by = match (&finding.culprit, &culprit) {
            (Some(Culprit::Diffuse { .. }), _) => " by nobody clearly".to_owned(),
            (Some(Culprit::Unit { share, .. } | Culprit::Process { share, .. }), Some(by)) => {
                format!(" by {by} share {share}%")
            }
            _ => String::new(),
        };
        let since = ago(self.material.now.since(finding.onset));
        let line = format!(
            "{handle} {kind} of {entity} {severity} confidence {} since {since} {state}{because}{by} rows {rows}",
            finding.confidence
        );
        // By name, too: an answer about another one's process is no answer here.
        let who = match &finding.culprit {
            Some(Culprit::Unit { unit, .. }) => unit.as_str(),
            Some(Culprit::Process { comm, .. }) => comm.as_str(),
            Some(Culprit::Diffuse { .. }) | None => "",
        };
        let shape = format!("{handle} {kind} {entity} {severity} {state}{because} {culprit:?} {who}");
        Shown {
            handle,
            fingerprint: finding.fingerprint(),
            category: finding.category,
            entity,
            culprit,
            line,
            shape,
        }
    }

    fn row(&mut self, finding: &Finding, of: &str, entity: &str, culprit: Option<&str>, evidence: &Evidence) {
        let label = if evidence.label.is_empty() { "host" } else { &evidence.label };
        let Some(label) = self.handle(label) else { return };
        let Some(metric) = self.names.handle(Kind::Metric, &evidence.metric, self.redactor) else { return };
        let (says, value, shape) = self.value(evidence);
        let time = if evidence.before.is_some() {
            span(evidence.to.since(evidence.from))
        } else {
            format!("at {}", ago(self.material.now.since(evidence.to)))
        };
        let handle = format!("E{}", self.rows.len() + 1);
        let line = format!("{handle} {metric} {label} {} {time} {value}", says.word());
        let about = [Some(label.as_str()), Some(entity), culprit].into_iter().flatten().map(str::to_owned);
        self.rows.push(Row {
            says,
            hard: hard(finding.category),
            about: about.collect(),
            finding: of.to_owned(),
            shape: format!("{handle} {} {label} {} {shape}", evidence.metric, says.word()),
            metric,
            handle,
            line,
        });
    }

    /// What the numbers say, how they are written, and the same by its order of magnitude alone.
    fn value(&mut self, evidence: &Evidence) -> (Says, String, String) {
        let mut word = |text: &str| clean(&self.redactor.apply(text), WORD);
        match (&evidence.before, &evidence.value) {
            (Some(Value::Number(before)), Value::Number(now)) => {
                let says = match now.cmp(before) {
                    std::cmp::Ordering::Greater => Says::Up,
                    std::cmp::Ordering::Less => Says::Down,
                    std::cmp::Ordering::Equal => Says::Same,
                };
                let of = |n| amount(&evidence.metric, n);
                (
                    says,
                    format!("{} -> {}", of(*before), of(*now)),
                    format!("{} {}", bucket(*before), bucket(*now)),
                )
            }
            (None, Value::Number(now)) => {
                (Says::State, amount(&evidence.metric, *now), bucket(*now).to_string())
            }
            (Some(before), now) => {
                let both = [before, now].map(|value| match value {
                    Value::Word(text) => word(text),
                    Value::Number(n) => n.to_string(),
                });
                let text = format!("'{}' -> '{}'", both[0], both[1]);
                (Says::State, text.clone(), text)
            }
            (None, Value::Word(now)) => {
                let text = format!("'{}'", word(now));
                (Says::State, text.clone(), text)
            }
        }
    }

    fn offers(&mut self) -> Vec<Choice> {
        let mut all = Vec::new();
        for offer in self.material.incident.offers.iter().take(9) {
            let target = match &offer.action {
                Action::RestartService { unit }
                | Action::StartService { unit }
                | Action::StopService { unit } => self.handle(unit.as_str()),
                Action::KillProcess { process } => self.known_process(process.pid, &process.comm),
                Action::CleanupTempFiles { root, min_age_s, .. } => {
                    Some(format!("{root} files older than {}", span(i64::from(*min_age_s) * 1_000)))
                }
                // An action that came after this was written is named alone.
                #[allow(unreachable_patterns)]
                _ => Some(String::new()),
            };
            let Some(target) = target else { continue };
            let handle = format!("O{}", all.len() + 1);
            let finding = self.findings.iter().find(|shown| shown.fingerprint == offer.finding);
            let finding = finding.map(|shown| shown.handle.clone()).unwrap_or_default();
            let line =
                format!("{handle} {} {target} risk {} for {finding}", offer.action.name(), offer.risk.word());
            all.push(Choice { handle, offer: offer.clone(), finding, line });
        }
        all
    }

    /// A process that a finding named already, or that the newest sample has.
    fn known_process(&mut self, pid: u32, comm: &str) -> Option<String> {
        let raw = format!("{comm} (pid {pid})");
        if let Some(known) = self.names.iter().find(|named| named.kind == Kind::Process && named.raw == raw) {
            return Some(known.handle.clone());
        }
        let user = self.material.processes.iter().find(|(p, _)| p.pid == pid && p.comm == comm);
        let user = user.map_or_else(|| "?".to_owned(), |(p, _)| p.user.to_string());
        self.names.process(pid, comm, &user, self.redactor)
    }

    fn units(&mut self, most: usize) -> Vec<String> {
        let material = self.material;
        let named: Vec<String> =
            self.names.iter().filter(|n| n.kind == Kind::Unit).map(|n| n.raw.clone()).collect();
        let mut chosen: Vec<&Unit> = material
            .units
            .iter()
            .filter(|unit| named.iter().any(|name| unit.name == *name) || unit.active == Active::Failed)
            .collect();
        chosen.sort_by_key(|unit| (!named.iter().any(|name| unit.name == *name), unit.name.clone()));
        let mut lines = Vec::new();
        for unit in chosen.into_iter().take(most) {
            let Some(handle) = self.names.handle(Kind::Unit, &unit.name, self.redactor) else { continue };
            let memory = unit.memory_bytes.map(|b| format!(" mem {}", bytes(b)));
            let [sub, result] = [&unit.sub, &unit.result].map(|word| clean(&self.redactor.apply(word), WORD));
            let result = if result.is_empty() { String::new() } else { format!(" result '{result}'") };
            lines.push(format!(
                "{handle} {} '{sub}'{result} restarts {}{}",
                unit.active.word(),
                unit.restarts,
                memory.unwrap_or_default()
            ));
        }
        lines
    }

    fn processes(&mut self, most: usize) -> Vec<String> {
        let material = self.material;
        let mut lines = Vec::new();
        for (process, cpu) in material.processes.iter().take(most) {
            let Some(handle) = self.names.of_process(process, self.redactor) else { continue };
            let unit = self.names.iter().find(|n| n.kind == Kind::Unit && n.raw == process.unit);
            let unit = unit.map(|unit| format!(" in {}", unit.handle)).unwrap_or_default();
            let cpu = cpu.map(|cpu| format!(" cpu {cpu:.0}%")).unwrap_or_default();
            lines.push(format!("{handle}{cpu} mem {}{unit}", bytes(process.rss_bytes)));
        }
        lines
    }

    fn past(&mut self, most: usize) -> Vec<String> {
        let material = self.material;
        let mut lines = Vec::new();
        for past in material.past.iter().take(most) {
            let Some(handle) = self.handle(&past.entity) else { continue };
            let how = if past.repaired { "a repair ended it" } else { "it ended by itself" };
            let when = ago(material.now.since(past.closed_at));
            lines.push(format!("{} of {handle} {when}, {how}", past.category.word()));
        }
        lines
    }
}

fn bytes(value: u64) -> String {
    super::render::bytes(value as f64)
}

/// Equal situations are equal here, whatever the host is called and however long it lasts already.
fn digest(material: &Material<'_>, rows: &[Row], findings: &[Shown], offers: &[Choice]) -> [u8; 32] {
    let mut text = format!("severity {}\n", material.incident.severity.word());
    for finding in findings {
        text.push_str(&finding.shape);
        text.push_str(&finding.fingerprint);
        text.push('\n');
    }
    for row in rows {
        text.push_str(&row.shape);
        text.push('\n');
    }
    for choice in offers {
        // A pid differs, what the action is does not.
        let what = match choice.action() {
            Action::KillProcess { process } => format!("kill {}", process.comm),
            action => format!("{action:?}"),
        };
        text.push_str(&format!("{} {what} {}\n", choice.line, choice.offer.unattended));
    }
    sha256(text.as_bytes())
}
