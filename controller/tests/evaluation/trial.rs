//! One case on one host: what is told and when, what is done about it, and whether that was right.

use serde::Serialize;
use sysop_common::action::Action;
use sysop_common::finding::{Category, Culprit, Finding};
use sysop_common::time::{MINUTE_MS, UnixMs};
use sysop_controller::analyse::correlate::Group;
use sysop_controller::analyse::engine::{Engine, calls};
use sysop_controller::analyse::messages::Language;
use sysop_controller::analyse::rules::silence::{self, Beat};
use sysop_controller::store::incidents::Incident;
use sysop_controller::store::samples::Latest;

use super::cases::{Case, Hand, Plot, Root, benign};
use super::desk::{Desk, act};
use super::noise::Noise;
use super::truth;
use super::world::World;

/// Seconds between two samples.
pub const STEP: f64 = 10.0;
/// An incident that opens so long before a trouble began is about it, by the clock of samples.
const EARLY_S: f64 = 15.0;

/// What came of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    pub id: String,
    pub kind: String,
    pub seed: u64,
    pub fault: bool,
    pub unseen: bool,
    pub overlaid: bool,
    /// Seconds from the beginning until it was to be told, and until it was.
    pub goal: f64,
    pub detected: Option<f64>,
    /// Whether it was also called by its right name and its root named.
    pub category_right: bool,
    pub top1: bool,
    pub incidents: Vec<Told>,
    pub repairable: bool,
    pub done: Vec<Done>,
    pub repaired: Option<f64>,
    pub rows: usize,
    pub rows_true: usize,
    /// What the fixed limits of plain monitoring told: when, and how often for nothing.
    pub plain: Option<f64>,
    pub plain_false: usize,
    #[serde(skip)]
    pub times_us: Vec<f32>,
    #[serde(skip)]
    pub opened: Vec<Incident>,
}

/// An incident as it was opened.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    pub at: f64,
    pub what: String,
    pub confidence: u8,
    /// About the trouble, and with the right root.
    pub matched: bool,
    pub right: bool,
}

/// An action that ran.
#[derive(Debug, Clone, Serialize)]
pub struct Done {
    pub at: f64,
    pub what: String,
    pub automatic: bool,
    pub good: bool,
    pub harmful: bool,
}

/// The hours before: quiet, for so many seconds.
fn lead(noise: &mut Noise) -> f64 {
    (noise.between(960.0, 2_400.0) / STEP).round() * STEP
}

struct Stage<'a> {
    engine: &'a Engine,
    world: World,
    desk: Desk,
    plain: super::plain::Plain,
    whole_at: UnixMs,
    times_us: Vec<f32>,
}

impl Stage<'_> {
    /// A sample, and a look where the controller makes one. Returns what was opened and what plain limits say.
    fn step(&mut self, hands: &mut [(&mut Hand, f64)]) -> (Vec<Incident>, Vec<Category>) {
        let before = self.world.ticks.last().cloned();
        self.world.pass(STEP, hands);
        let now = self.world.host.now;
        let Some(newest) = self.world.ticks.last().cloned() else { return (Vec::new(), Vec::new()) };
        if self.world.host.extra.silent {
            let plain = if now.since(newest.at) > 60_000 { vec![Category::Silence] } else { Vec::new() };
            return (self.silent(newest.received_at, now), self.plain.news(plain));
        }
        let plain = self.plain.look(&self.world.ticks);
        let due = now.since(self.whole_at) >= MINUTE_MS;
        let latest = Latest { now: newest, previous: before };
        if !(due || self.desk.has_open() || calls(&latest)) {
            return (Vec::new(), plain);
        }
        self.whole_at = now;
        let start = cpu_us();
        let open = self.desk.open();
        let Some(step) = self.world.look(self.engine, &open) else { return (Vec::new(), plain) };
        self.times_us.push((cpu_us() - start) as f32);
        let observes = |finding: &Finding| self.engine.observes(&step.input, finding);
        let opened = self.desk.take(&step.groups, now, step.looked, &observes);
        self.world.take(step);
        (opened, plain)
    }

    fn silent(&mut self, last: UnixMs, now: UnixMs) -> Vec<Incident> {
        let beat = Beat {
            host: super::world::HOST,
            last,
            interval_ms: (STEP * 1_000.0) as i64,
            jitter_ms: 20,
            leaving: false,
            stopped: false,
            connected: false,
            open: self.desk.has_open(),
        };
        let found = silence::look(&[beat], UnixMs(1), now, false, Language::English.text());
        let groups: Vec<Group> = found
            .hosts
            .into_iter()
            .map(|(_, finding)| Group { findings: vec![finding], offers: Vec::new() })
            .collect();
        self.desk.take(&groups, now, now, &|_| true)
    }
}

/// Runs a case on a host that was warmed up.
pub fn run(case: &Case, warm: &World, seed: u64, engine: &Engine) -> Outcome {
    let mut noise = Noise::new(seed);
    let mut world = warm.clone();
    world.host.noise = Noise::new(seed ^ 0xabcd);
    let mut plot = (case.plot)(&mut noise, &mut world.host);
    let overlaid = noise.chance(0.3);
    let mut others = if overlaid { benign::overlay(&mut noise, &mut world.host) } else { Vec::new() };
    let lead = lead(&mut noise);
    let starts: Vec<f64> = others.iter().map(|_| lead - noise.between(0.0, 600.0)).collect();
    let plain = super::plain::Plain::default();
    let mut stage =
        Stage { engine, world, desk: Desk::default(), plain, whole_at: UnixMs(0), times_us: Vec::new() };
    let mut out = Outcome {
        id: case.id.to_owned(),
        kind: warm.kind.to_owned(),
        seed,
        fault: case.fault,
        unseen: case.unseen,
        overlaid,
        goal: plot.goal,
        repairable: case.fault && !plot.good.is_empty(),
        ..Outcome::default()
    };
    let (mut at, mut ended) = (0.0, None::<f64>);
    while !over(&out, &plot, at - lead, ended) {
        at += STEP;
        let mut hands: Vec<(&mut Hand, f64)> = Vec::new();
        for (hand, start) in others.iter_mut().zip(&starts) {
            if at > *start {
                hands.push((hand, at - start));
            }
        }
        if at > lead && ended.is_none() {
            hands.push((&mut plot.hand, at - lead));
        }
        let (opened, plain) = stage.step(&mut hands);
        drop(hands);
        let t = at - lead;
        for category in plain {
            let fits = case.fault
                && t > 0.0
                && (plot.categories.contains(&category) || plot.symptoms.contains(&category));
            match (fits, out.plain) {
                (true, None) => out.plain = Some(t),
                (true, Some(_)) => {}
                (false, _) => out.plain_false += 1,
            }
        }
        opened.iter().for_each(|incident| told(&mut out, case, &plot, incident, t, &stage));
        let now = stage.world.host.now;
        for order in stage.desk.orders(&stage.world.host, now) {
            let good = plot.good.iter().any(|good| good.is(&order.action)) && t > 0.0;
            let useless = plot.useless.iter().any(|useless| useless.is(&order.action));
            act(&mut stage.world.host, &order.action);
            if good && ended.is_none() {
                ended = Some(t);
            }
            out.done.push(Done {
                at: t,
                what: format!("{} {}", order.action.name(), order.action.target()),
                automatic: order.automatic,
                good,
                harmful: !good && !useless && hurts(&order.action, &plot),
            });
        }
        stage.desk.settle(now, ended.is_some());
        if ended.is_some()
            && out.repaired.is_none()
            && !stage.desk.known.iter().any(|i| i.findings.iter().any(|f| f.active))
        {
            out.repaired = Some(t);
        }
    }
    out.times_us = stage.times_us;
    out
}

/// An action that hits somebody who takes no part; starting what stands still hurts nobody.
fn hurts(action: &Action, plot: &Plot) -> bool {
    match action {
        Action::StartService { .. } => false,
        Action::CleanupTempFiles { min_age_s, .. } => *min_age_s < 24 * 3_600 || plot.goal == 0.0,
        _ => true,
    }
}

fn over(out: &Outcome, plot: &Plot, t: f64, ended: Option<f64>) -> bool {
    if let Some(ended) = ended {
        return out.repaired.is_some_and(|at| t >= at + 60.0) || t >= ended + 900.0;
    }
    match (out.fault, out.detected) {
        (true, Some(told)) if t >= told + if plot.good.is_empty() { 120.0 } else { 420.0 } => true,
        _ => t >= plot.lasts,
    }
}

/// Processor time of this thread, so that other work on the machine does not count.
fn cpu_us() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}

fn told(out: &mut Outcome, case: &Case, plot: &Plot, incident: &Incident, t: f64, stage: &Stage<'_>) {
    let root = &incident.findings[0];
    let of = |finding: &Finding| {
        plot.categories.contains(&finding.category) || plot.symptoms.contains(&finding.category)
    };
    let matched = case.fault && t > -EARLY_S && incident.findings.iter().any(of);
    let named = plot.categories.contains(&root.category);
    let right = matched && named && is_root(root, &plot.root);
    let (rows, rows_true) = truth::check(incident, &stage.world.ticks);
    (out.rows, out.rows_true) = (out.rows + rows, out.rows_true + rows_true);
    if matched && out.detected.is_none() {
        out.detected = Some(t);
        (out.category_right, out.top1) = (named, right);
    }
    let who = match &root.culprit {
        Some(Culprit::Unit { unit, share }) => format!(" by {unit} {share} %"),
        Some(Culprit::Process { comm, share, .. }) => format!(" by {comm} {share} %"),
        Some(Culprit::Diffuse { .. }) => " by nobody".to_owned(),
        None => String::new(),
    };
    let others: Vec<&str> = incident.findings[1..].iter().map(|f| f.category.word()).collect();
    let what = format!("{} {}{who} [{}]", root.category.word(), root.entity, others.join(" "));
    out.incidents.push(Told { at: t, what, confidence: root.confidence, matched, right });
    out.opened.push(incident.clone());
}

fn is_root(finding: &Finding, root: &Root) -> bool {
    match (root, &finding.culprit) {
        (Root::Unit(name), Some(Culprit::Unit { unit, .. })) => unit == name,
        (Root::Unit(name), None | Some(Culprit::Diffuse { .. })) => &finding.entity == name,
        (Root::Process(name), Some(Culprit::Process { comm, .. })) => comm == name,
        (Root::Entity(name), None | Some(Culprit::Diffuse { .. })) => &finding.entity == name,
        _ => false,
    }
}

/// A host that was watched for so many hours, a sample and a look a minute, with the incidents of that time.
pub fn warm(kind: &'static str, seed: u64, hours: u64, engine: &Engine) -> World {
    let (mut world, mut desk) = (World::new(kind, seed), Desk::default());
    for _ in 0..hours * 60 {
        world.pass(60.0, &mut []);
        let now = world.host.now;
        let Some(step) = world.look(engine, &desk.open()) else { continue };
        let observes = |finding: &Finding| engine.observes(&step.input, finding);
        desk.take(&step.groups, now, step.looked, &observes);
        world.take(step);
    }
    world
}

/// What a host told in ordinary days: incidents that were opened, and what plain limits say.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Soak {
    pub kind: String,
    pub days: f64,
    pub incidents: Vec<String>,
    pub done: Vec<String>,
    pub plain: usize,
    #[serde(skip)]
    pub times_us: Vec<f32>,
}

/// Ordinary days with some ordinary work in them.
pub fn soak(warm: &World, days: f64, seed: u64, engine: &Engine) -> Soak {
    let mut noise = Noise::new(seed);
    let mut world = warm.clone();
    world.host.noise = Noise::new(seed ^ 0xabcd);
    let plain = super::plain::Plain::default();
    let mut stage =
        Stage { engine, world, desk: Desk::default(), plain, whole_at: UnixMs(0), times_us: Vec::new() };
    let mut out = Soak { kind: warm.kind.to_owned(), days, ..Soak::default() };
    let (mut work, mut began, mut next) = (Vec::new(), 0.0, noise.between(3_600.0, 40_000.0));
    let mut at = 0.0;
    while at < days * 86_400.0 {
        at += STEP;
        if at >= next {
            work = benign::overlay(&mut noise, &mut stage.world.host);
            (began, next) = (at, at + noise.between(14_400.0, 60_000.0));
        }
        if at > began + 2_400.0 {
            work.clear();
        }
        let mut hands: Vec<(&mut Hand, f64)> = work.iter_mut().map(|hand| (hand, at - began)).collect();
        let (opened, plain) = stage.step(&mut hands);
        out.plain += plain.len();
        let now = stage.world.host.now;
        for incident in opened {
            let root = &incident.findings[0];
            let who = match &root.culprit {
                Some(Culprit::Unit { unit, .. }) => unit.clone(),
                Some(Culprit::Process { comm, .. }) => comm.clone(),
                _ => "nobody".to_owned(),
            };
            out.incidents.push(format!(
                "{:.2} d: {} {} by {who} ({} %)",
                at / 86_400.0,
                root.category.word(),
                root.entity,
                root.confidence
            ));
        }
        for order in stage.desk.orders(&stage.world.host, now) {
            out.done.push(format!("{} {}", order.action.name(), order.action.target()));
        }
        stage.desk.settle(now, false);
    }
    out.times_us = stage.times_us;
    out
}
