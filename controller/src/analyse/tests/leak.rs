//! Memory that leaks, and memory that only looks as if it did.

use super::seen::*;
use crate::analyse::rules::entity::entity_lane;
use crate::analyse::state::HostState;
use sysop_common::finding::{Category, Severity};

/// A service on a host of 4 GiB.
struct Service {
    state: HostState,
    ticks: Vec<Arc<Stored>>,
    cpu_us: f64,
    pid: u32,
    since: UnixMs,
    seq: i64,
    /// Goes on after a finding.
    ignored: bool,
}

impl Service {
    fn new() -> Self {
        Self {
            state: HostState::default(),
            ticks: Vec::new(),
            cpu_us: 0.0,
            pid: 10,
            since: START,
            seq: 0,
            ignored: false,
        }
    }

    fn restart(&mut self) {
        self.pid += 1;
        self.since = START.plus(self.seq * 10_000);
    }

    /// Runs for `minutes`; `mib` gives its memory and `cores` its processors by the minute of its life. The
    /// first finding, with the minute in which it was made.
    fn run(
        &mut self,
        minutes: i64,
        mib: impl Fn(f64) -> f64,
        cores: impl Fn(f64) -> f64,
    ) -> Option<(i64, Finding)> {
        for _ in 0..minutes * 6 {
            self.seq += 1;
            let at = START.plus(self.seq * 10_000);
            let minute = at.since(self.since) as f64 / 60_000.0;
            // Noise of a few MiB that a seed decides.
            let noise = ((self.seq * 7_919 + 13) % 101) as f64 / 25.0;
            let anon = ((mib(minute) + noise) * 1_048_576.0) as u64;
            self.cpu_us += cores(minute) * 1e7;
            let seen = Seen::default()
                .set(metric::MEMORY_AVAILABLE, "", 3 * GIB - anon as i64)
                .set(metric::SWAP_FREE, "", 0)
                .unit(Unit {
                    anon_bytes: Some(anon),
                    cpu_us: Some(self.cpu_us as u64),
                    main_pid: self.pid,
                    since_ms: self.since.0,
                    ..running("app.service")
                });
            self.ticks.push(seen.stored(self.seq as u64, at));
            let surplus = self.ticks.len().saturating_sub(90);
            self.ticks.drain(..surplus);
            if self.seq % 6 != 0 {
                continue;
            }
            let window = Window::new(self.ticks.clone(), None);
            let mut input =
                HostInput { window, state: std::mem::take(&mut self.state), ..HostInput::default() };
            input.state.entities.advance(&input.window, &input.open);
            let leak = entity_lane().into_iter().find(|d| d.category() == Category::MemoryLeak).unwrap();
            let found = leak.look(&input).pop();
            // What is not likely enough spends the budget for nothing.
            let found = found.filter(|found| leak.odds(&input, found).unwrap() < 1e-3);
            self.state = input.state;
            if let Some(found) = found.filter(|_| !self.ignored) {
                return Some((minute as i64, found));
            }
        }
        None
    }
}

fn steady(_: f64) -> f64 {
    0.2
}

#[test]
fn fast_leak_of_a_fresh_service_is_found_within_a_quarter_of_an_hour() {
    let (minute, found) = Service::new().run(40, |minute| 50.0 + 60.0 * minute, steady).unwrap();
    assert!(minute <= 17, "{minute}");
    assert_eq!((found.entity.as_str(), found.culprit.is_some()), ("app.service", true));
    assert!(found.evidence.len() >= 2 && found.confidence >= 70, "{found:?}");
    assert_eq!(found.not_observed.len(), 1, "earlier runs");
    assert!(found.severity >= Severity::Warning);
}

#[test]
fn slower_leak_is_found_within_its_hours() {
    let (minute, _) = Service::new().run(240, |minute| 200.0 + 10.0 * minute, steady).unwrap();
    assert!(minute <= 90, "{minute}");
}

#[test]
fn what_only_looks_like_a_leak_is_none() {
    type Memory = fn(f64) -> f64;
    let cases: [(&str, Memory, Memory); 6] = [
        ("flat", |_| 400.0, steady),
        // A new version needs more.
        ("step", |minute| if minute < 120.0 { 400.0 } else { 460.0 }, steady),
        ("cache that levels off", |minute| 900.0 * (1.0 - (-minute / 12.0).exp()), steady),
        ("garbage collection", |minute| 300.0 + 30.0 * (minute % 5.0), steady),
        (
            "wave of the day",
            |minute| 400.0 + 100.0 * (minute / 120.0).sin(),
            |minute| 0.5 + 0.3 * (minute / 120.0).sin(),
        ),
        // Memory follows the load, which doubles over two hours.
        (
            "load that doubles",
            |minute| 400.0 + 2.0 * minute.min(120.0),
            |minute| 0.2 + 0.02 * minute.min(120.0),
        ),
    ];
    for (name, memory, load) in cases {
        let found = Service::new().run(300, memory, load);
        assert!(found.is_none(), "{name}: {found:?}");
    }
}

#[test]
fn growth_that_earlier_lives_had_too_is_how_it_is() {
    let mut service = Service::new();
    let filling = |minute: f64| 50.0 + 45.0 * minute.min(25.0);
    // A first life that fills so fast cannot be told from a leak.
    assert!(service.run(60, filling, steady).is_some());
    service.ignored = true;
    for _ in 0..3 {
        service.restart();
        service.run(60, filling, steady);
    }
    service.ignored = false;
    service.restart();
    let found = service.run(60, filling, steady);
    assert!(found.is_none(), "{found:?}");
    service.restart();
    let (minute, found) = service.run(60, |minute| 50.0 + 100.0 * minute, steady).unwrap();
    assert!(minute <= 30 && found.evidence.iter().any(|row| row.metric == "unit.anon.earlier"), "{found:?}");
}
