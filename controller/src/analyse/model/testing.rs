//! An incident with everything in it, and a sound answer about it, for the tests of this folder.

use serde_json::{Value as Json, json};
use sysop_common::action::{Action, ProcessRef, Risk};
use sysop_common::finding::{
    Category, Culprit, Evidence, Finding, Offer, OfferSource, Severity, Value, fingerprint,
};
use sysop_common::ids::HostId;
use sysop_common::sample::{Active, Process, Unit};
use sysop_common::time::{HOUR_MS, MINUTE_MS, UnixMs};
use uuid::Uuid;

use super::evidence::{Caps, Material, Past, Sheet, sheet};
use super::redact::Redactor;
use crate::store::incidents::Incident;

pub(crate) const NOW: UnixMs = UnixMs(1_800_000_000_000);

/// Names that a host, or an attacker on it, chose.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    pub(crate) host: String,
    pub(crate) writer: String,
    pub(crate) victim: String,
    pub(crate) comm: String,
    pub(crate) user: String,
    pub(crate) sub: String,
    pub(crate) mount: String,
    pub(crate) text: String,
}

impl Default for Words {
    fn default() -> Self {
        let own = str::to_owned;
        Self {
            host: own("web-07"),
            writer: own("shop-api.service"),
            victim: own("nginx.service"),
            comm: own("shop-api"),
            user: own("shop"),
            sub: own("failed"),
            mount: own("/var"),
            text: own("/var is 98 % full"),
        }
    }
}

fn row(id: &str, metric: &str, label: &str, before: Option<i64>, value: Value, text: &str) -> Evidence {
    Evidence {
        id: id.into(),
        metric: metric.into(),
        label: label.into(),
        from: NOW.plus(-12 * MINUTE_MS),
        to: NOW.plus(-MINUTE_MS),
        before: before.map(Value::Number),
        value,
        text: text.into(),
    }
}

/// A file system that one service fills, and another that failed because of it.
pub(crate) fn incident(words: &Words) -> Incident {
    let finding = |category, entity: &str, evidence, culprit, caused_by| Finding {
        category,
        entity: entity.into(),
        severity: Severity::Critical,
        confidence: 96,
        onset: NOW.plus(-34 * MINUTE_MS),
        last_true: NOW,
        active: true,
        title: words.text.clone(),
        cause: words.text.clone(),
        culprit,
        evidence,
        not_observed: vec![words.text.clone()],
        caused_by,
    };
    let fill = finding(
        Category::DiskFill,
        &words.mount,
        vec![
            row("E1", "fs.available", &words.mount, Some(40 << 30), Value::Number(1 << 20), &words.text),
            row("E2", "fs.free", &words.mount, None, Value::Number(1 << 20), &words.text),
            row("E3", "unit.io_write_bytes", &words.writer, Some(0), Value::Number(39 << 30), &words.text),
        ],
        Some(Culprit::Unit { unit: words.writer.as_str().into(), share: 91 }),
        None,
    );
    let failed = finding(
        Category::UnitFailed,
        &words.victim,
        vec![row("E1", "unit.active", &words.victim, None, Value::Word(words.sub.clone()), &words.text)],
        None,
        Some(fill.fingerprint()),
    );
    let offer = |id: &str, action: Action, finding: &Finding, unattended| Offer {
        id: id.into(),
        finding: finding.fingerprint(),
        risk: action.entry().floor,
        action,
        source: OfferSource::Analyser,
        unattended,
        why: words.text.clone(),
        pre_check: words.text.clone(),
        expect: words.text.clone(),
        not_fixed: words.text.clone(),
    };
    let unit = |name: &str| name.parse().unwrap_or_else(|_| "shop-api.service".parse().unwrap());
    let process = ProcessRef { pid: 4242, start_ticks: 9, comm: words.comm.clone() };
    let offers = vec![
        offer("O1", Action::RestartService { unit: unit(&words.writer) }, &fill, true),
        offer("O2", Action::StopService { unit: unit(&words.writer) }, &fill, false),
        offer("O3", Action::KillProcess { process }, &fill, false),
        offer("O4", Action::StartService { unit: unit(&words.victim) }, &failed, true),
    ];
    Incident {
        id: 1042,
        host: Some(HostId(Uuid::from_u128(7))),
        fingerprint: fingerprint(Category::DiskFill, &words.mount),
        category: Category::DiskFill,
        entity: words.mount.clone(),
        severity: Severity::Critical,
        title: words.text.clone(),
        cause: words.text.clone(),
        confidence: 96,
        findings: vec![fill, failed],
        offers,
        opened_at: NOW.plus(-14 * MINUTE_MS),
        updated_at: NOW,
        last_true: NOW,
        closed_at: None,
        close_why: None,
        acked_by: None,
        acked_at: None,
        opens: 1,
    }
}

pub(crate) fn processes(words: &Words) -> Vec<(Process, Option<f64>)> {
    let process = |pid, comm: &str| Process {
        pid,
        start_ticks: 9,
        comm: comm.into(),
        user: words.user.as_str().into(),
        unit: words.writer.as_str().into(),
        args: words.text.as_str().into(),
        rss_bytes: 3 << 30,
        ..Process::default()
    };
    (0..12).map(|n| (process(4242 + n, &words.comm), Some(97.0))).collect()
}

pub(crate) fn units(words: &Words) -> Vec<Unit> {
    let unit = |name: &str, active| Unit {
        name: name.into(),
        active,
        sub: words.sub.as_str().into(),
        result: "exit-code".into(),
        memory_bytes: Some(1 << 30),
        ..Unit::default()
    };
    vec![
        unit(&words.victim, Active::Failed),
        unit(&words.writer, Active::Active),
        unit("cron.service", Active::Active),
    ]
}

pub(crate) fn sheet_of(words: &Words, redactor: &mut Redactor) -> Sheet {
    let (incident, processes, units) = (incident(words), processes(words), units(words));
    let past = [Past {
        category: Category::DiskFill,
        entity: words.mount.clone(),
        closed_at: NOW.plus(-30 * HOUR_MS),
        repaired: true,
    }];
    let material = Material {
        incident: &incident,
        host: &words.host,
        processes: &processes,
        units: &units,
        past: &past,
        now: NOW,
    };
    sheet(&material, Caps::FULL, redactor)
}

pub(crate) fn plain() -> Sheet {
    sheet_of(&Words::default(), &mut Redactor::default())
}

/// An answer that passes: it cites the first finding's rows and chooses its first offer.
pub(crate) fn sound(sheet: &Sheet) -> Json {
    let first = &sheet.findings[0];
    let rows: Vec<_> = sheet.rows.iter().filter(|row| row.finding == first.handle).collect();
    let evidence: Vec<Json> =
        rows.iter().map(|row| json!({ "row": row.handle, "says": row.says.word() })).collect();
    let offer = sheet.offers.iter().find(|choice| choice.finding == first.handle);
    let actions: Vec<Json> = offer
        .map(|choice| {
            json!({ "offer": choice.handle, "why": "It stops the growth.",
                "expect": { "metric": rows[0].metric, "dir": "up", "within_s": 120 } })
        })
        .into_iter()
        .collect();
    json!({
        "schema": "1",
        "findings": [{
            "reasoning": "The rows of the file system fall while the unit writes.",
            "evidence": evidence, "against": [], "category": first.category.word(),
            "root": first.culprit.clone().unwrap_or_else(|| first.entity.clone()), "affected": [first.entity],
            "risk": Risk::Medium.word(), "confidence": 88,
            "title": format!("{} fills {}", first.culprit.as_deref().unwrap_or("H1"), first.entity),
            "summary": "The unit writes more than the file system can hold, and it is the cause of the failure.",
            "actions": actions,
        }],
        "verdict": "incident",
        "reads": [],
    })
}

/// A model that says what it is told to: an answer made from each request, or an error.
pub(crate) struct Scripted<F>(pub(crate) std::sync::Mutex<F>);

impl<F> super::ask::Ask for Scripted<F>
where
    F: FnMut(&super::ask::AskRequest) -> Result<String, super::error::AskError> + Send,
{
    fn ask(&self, request: super::ask::AskRequest) -> super::ask::Asking<'_> {
        let text = (self.0.lock().unwrap())(&request);
        Box::pin(async move {
            Ok(super::ask::Answer {
                text: text?,
                usage: super::ask::Usage {
                    prompt: 2_600,
                    cached: 2_000,
                    completion: 300,
                    ..Default::default()
                },
                model: "stub".into(),
                finish: super::ask::Finish::Stop,
                latency_ms: 7,
                tries: 1,
                shared: false,
            })
        })
    }
}

/// Hosts that answer every reading with the same, and how often they were asked.
#[derive(Default)]
pub(crate) struct Hosts(pub(crate) std::sync::Mutex<Vec<(HostId, sysop_common::query::Query)>>);

impl super::deep::Reader for Hosts {
    fn read(&self, host: HostId, query: sysop_common::query::Query) -> super::deep::Answering<'_> {
        self.0.lock().unwrap().push((host, query));
        let json = json!({ "bytes": { "total": 8, "free": 1 }, "used_percent": 88.0 }).to_string();
        Box::pin(async move { Ok(sysop_common::query::Reading { text: String::new(), json }) })
    }
}
