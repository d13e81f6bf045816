//! Work that waits for processors. Busy processors alone are no trouble: they do what they are for.

use sysop_common::finding::{Category, Finding, Severity, fingerprint};
use sysop_common::metric;
use sysop_common::time::SECOND_MS;

use super::blame::{Use, blame};
use super::soft::{CLOSE, culprit, found, least, odds, over, percent, row, since, usual};
use super::{Detector, HostInput, Look, Rows};
use crate::analyse::baseline::Signal;

/// Some task waits for a processor in this share of the time.
const WAITING: f64 = 0.40;
/// Or so many tasks per core want to run.
const QUEUE: f64 = 1.5;
/// And the processors are busy to this share, work of low priority left out.
const BUSY: f64 = 0.85;
/// A host whose past is known: busier than it ever is, and this much waiting, is enough.
const ODD_BUSY: f64 = 0.70;
const ODD_WAITING: f64 = 0.20;
/// But for this many stretches: in a simulation, bursts of some minutes opened nearly four incidents a day
/// when the first number was enough.
const ODD_STRETCHES: usize = 10;
/// It must last in so many stretches of this length: a burst is over sooner.
const STRETCH_MS: i64 = 30 * SECOND_MS;
const STRETCHES: usize = 3;

/// Processors that are busy while work waits for them.
pub(super) struct CpuPressure;

/// What the look rests on.
struct Load {
    busy: f64,
    waiting: Option<f64>,
    queue: Option<f64>,
}

impl Load {
    fn of(input: &HostInput, stretches: usize) -> Option<Self> {
        let least = |signal| least(input, signal, "", STRETCH_MS, stretches);
        Some(Self {
            busy: least(Signal::CpuBusy)?,
            waiting: least(Signal::PsiCpu),
            queue: least(Signal::RunQueue),
        })
    }

    fn at_least(&self, busy: f64, waiting: f64, queue: f64) -> bool {
        let waits = self.waiting.is_some_and(|share| share >= waiting);
        self.busy >= busy && (waits || self.queue.is_some_and(|length| length >= queue))
    }
}

impl Detector for CpuPressure {
    fn category(&self) -> Category {
        Category::CpuPressure
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["cpu.*", "procs.running", "psi.cpu.some", "unit.cpu", "process.cpu"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        pressure(input).into_iter().collect()
    }

    fn odds(&self, input: &HostInput, _: &Finding) -> Option<f64> {
        Some(Load::of(input, 2).map_or(1.0, |load| chance(input, &load)))
    }

    fn observes(&self, input: &HostInput, _: &str) -> bool {
        Load::of(input, 1).is_some()
    }
}

/// Waiting and busy are two kinds of evidence: both must be odd.
fn chance(input: &HostInput, load: &Load) -> f64 {
    let waiting = load.waiting.map_or(1.0, |share| odds(input, Signal::PsiCpu, "", share, WAITING));
    let queue = load.queue.map_or(1.0, |length| odds(input, Signal::RunQueue, "", length, QUEUE));
    waiting.min(queue)
}

fn pressure(input: &HostInput) -> Option<Finding> {
    let open = input.open.contains(&fingerprint(Category::CpuPressure, "host"));
    let load = Load::of(input, if open { 1 } else { STRETCHES })?;
    let known = input.state.baselines.get(Signal::CpuBusy, "");
    let odd = known.is_some_and(|known| known.shifted_up().is_some() || known.peaked() || known.z() > 4.0);
    let holds = if open {
        load.at_least(0.5, WAITING * CLOSE, 1.0)
    } else {
        let plain = load.at_least(BUSY, WAITING, QUEUE);
        let long = || Load::of(input, ODD_STRETCHES);
        // What a host has some minutes a day is usual for minutes. What goes on is usual only where it is the
        // level of this hour.
        let level = |signal| input.state.baselines.get(signal, "").is_some_and(|known| known.z() < 3.0);
        let passes = || level(Signal::CpuBusy) && level(Signal::PsiCpu) || !goes_on(long().as_ref());
        let as_ever = usual(input, Signal::CpuBusy, "") && usual(input, Signal::PsiCpu, "") && passes();
        let rare = || {
            let odd = odd && !usual(input, Signal::PsiCpu, "");
            odd && long().is_some_and(|load| load.at_least(ODD_BUSY, ODD_WAITING, QUEUE))
        };
        !as_ever && (plain || rare())
    };
    if !holds {
        return None;
    }
    let say = input.text();
    let onset = since(input, Signal::CpuBusy, "", ODD_BUSY);
    let mut finding = found(input, Category::CpuPressure, "host", onset, chance(input, &load));
    finding.title = say.say("cpu.title", &[]);
    let mut rows = Rows::default();
    let now = over(input, Signal::CpuBusy, "", 60 * SECOND_MS).unwrap_or(load.busy);
    let text = say.say("cpu.busy", &[("percent", &percent(now))]);
    row(input, &mut rows, "cpu.usage", Signal::CpuBusy, (now, onset, text));
    match load.waiting {
        Some(share) => {
            let text = say.say("cpu.waiting", &[("percent", &percent(share))]);
            row(input, &mut rows, "psi.cpu.some", Signal::PsiCpu, (share, onset, text));
        }
        None => finding.not_observed.push("psi.cpu.some".to_owned()),
    }
    if let Some(length) = load.queue.filter(|length| *length >= 1.0) {
        let text = say.say("cpu.queue", &[("n", &format!("{length:.1}"))]);
        row(input, &mut rows, "procs.running", Signal::RunQueue, (length, onset, text));
    }
    let who = blame(input, Use::Cpu, onset, busy_ms);
    if who.is_none() {
        finding.not_observed.push(say.say("soft.unseen.cpu", &[]));
    }
    (finding.culprit, finding.cause) = culprit(say, who, "cpu.cause");
    let bad = load.waiting.is_some_and(|share| share >= 2.0 * WAITING);
    if bad || load.queue.is_some_and(|length| length >= 4.0 * QUEUE) {
        finding.severity = Severity::Critical;
    }
    finding.evidence = rows.0;
    Some(finding)
}

fn goes_on(long: Option<&Load>) -> bool {
    long.is_some_and(|load| load.at_least(BUSY, WAITING, QUEUE))
}

/// Busy CPU time in ms per second.
fn busy_ms(a: Look<'_>, b: Look<'_>) -> Option<f64> {
    let ms = b.at().since(a.at());
    let modes =
        [metric::CPU_USER, metric::CPU_NICE, metric::CPU_SYSTEM, metric::CPU_IRQ, metric::CPU_SOFTIRQ];
    let grown = |id| b.value(id, "")?.checked_sub(a.value(id, "")?).filter(|grown| *grown >= 0);
    let busy: i64 = modes.into_iter().filter_map(grown).sum();
    (ms > 0).then(|| busy as f64 * 1_000.0 / ms as f64)
}
