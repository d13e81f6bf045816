use std::collections::BTreeSet;

use proptest::prelude::*;
use sysop_common::finding::{Category, fingerprint};
use sysop_common::time::MINUTE_MS;

use super::*;
use crate::analyse::baseline::{Baselines, MAX_SERIES, Signal};
use crate::analyse::state::{HostState, MAX_SECTION};
use crate::analyse::statistics::random::Seeded;

/// A host whose processors are busy to a share that a function of the minute gives, one look a minute.
struct Host {
    state: HostState,
    minute: i64,
    used_ms: f64,
    last: Vec<Arc<Stored>>,
    open: BTreeSet<String>,
}

impl Host {
    fn new() -> Self {
        Self { state: HostState::default(), minute: 0, used_ms: 0.0, last: Vec::new(), open: BTreeSet::new() }
    }

    fn run(&mut self, minutes: i64, busy: impl Fn(i64) -> f64) {
        for _ in 0..minutes {
            self.minute += 1;
            self.used_ms += 60_000.0 * busy(self.minute).clamp(0.0, 1.0);
            let used = self.used_ms as i64;
            let seen = Seen::default().set(metric::CPU_USER, "", used).set(
                metric::CPU_IDLE,
                "",
                self.minute * 60_000 - used,
            );
            let stored = seen.stored(self.minute as u64, START.plus(self.minute * MINUTE_MS));
            self.last.push(stored);
            let keep = self.last.len().saturating_sub(3);
            self.last.drain(..keep);
            self.state.baselines.advance(&Window::new(self.last.clone(), None), &self.open);
        }
    }

    fn cpu(&self) -> &crate::analyse::baseline::Learned {
        self.state.baselines.get(Signal::CpuBusy, "").unwrap()
    }
}

/// Noise that the minute decides.
fn noise(minute: i64) -> f64 {
    let mut random = Seeded::new(minute as u64);
    (0..4).map(|_| random.unit() - 0.5).sum::<f64>()
}

fn quiet(minute: i64) -> f64 {
    0.3 + 0.03 * noise(minute)
}

#[test]
fn nothing_is_odd_before_a_day_has_passed_and_then_a_peak_and_a_shift_are() {
    let mut host = Host::new();
    host.run(600, quiet);
    host.run(5, |_| 0.9);
    assert_eq!((host.cpu().z(), host.cpu().peaked(), host.cpu().odds()), (0.0, false, 1.0));
    let mut host = Host::new();
    host.run(1_600, quiet);
    assert!(host.cpu().usual() && host.cpu().grown_up());
    assert!((host.cpu().expected() - 0.3).abs() < 0.02, "{}", host.cpu().expected());
    host.run(3, |_| 0.9);
    assert!(host.cpu().peaked() && host.cpu().z() > 10.0 && host.cpu().odds() < 1e-3 && !host.cpu().usual());
    host.run(12, |_| 0.9);
    let onset = host.cpu().shifted_up().unwrap();
    let began = START.plus((host.minute - 15) * MINUTE_MS);
    assert!((onset.since(began) / MINUTE_MS).abs() <= 3, "{} min", onset.since(began) / MINUTE_MS);
}

#[test]
fn a_quiet_month_of_days_and_weeks_alarms_hardly_ever() {
    let mut host = Host::new();
    let day = |minute: i64| {
        let hour = (minute % 1_440) as f64 / 1_440.0;
        0.35 + 0.2 * (hour * std::f64::consts::TAU).sin() + 0.03 * noise(minute)
    };
    host.run(8 * 1_440, day);
    assert!(host.cpu().fit().season, "the hours of the day explain most of it");
    let (mut peaks, mut shifts, mut shifted) = (0, 0, false);
    for _ in 0..7 * 1_440 {
        host.run(1, day);
        peaks += u32::from(host.cpu().peaked());
        let now = host.cpu().shifted_up().is_some();
        shifts += u32::from(now && !shifted);
        shifted = now;
    }
    assert!(peaks <= 2 && shifts <= 2, "{peaks} peaks and {shifts} shifts in 7 days");
}

#[test]
fn what_is_in_trouble_teaches_nothing_until_it_is_how_things_are() {
    let mut host = Host::new();
    host.run(1_600, quiet);
    host.open.insert(fingerprint(Category::CpuPressure, "host"));
    host.run(600, |minute| 0.9 + 0.03 * noise(minute));
    assert!((host.cpu().expected() - 0.3).abs() < 0.02);
    host.run(900, |minute| 0.9 + 0.03 * noise(minute));
    assert!((host.cpu().expected() - 0.9).abs() < 0.03, "{}", host.cpu().expected());
}

#[test]
fn a_restart_in_the_middle_changes_nothing() {
    let mut straight = Host::new();
    straight.run(2_000, quiet);
    let packed = straight.state.pack();
    let mut again = Host { last: straight.last.clone(), ..Host::new() };
    (again.minute, again.used_ms) = (straight.minute, straight.used_ms);
    again.state.unpack(&packed);
    for host in [&mut straight, &mut again] {
        host.run(300, quiet);
    }
    assert_eq!(straight.state.baselines, again.state.baselines);
    // A minute that is over is taken in once, however often it is shown.
    let before = straight.state.baselines.clone();
    let window = Window::new(straight.last.clone(), None);
    straight.state.baselines.advance(&window, &BTreeSet::new());
    assert_eq!(straight.state.baselines, before);
}

#[test]
fn the_state_of_a_busy_host_stays_within_its_bounds() {
    let mut baselines = Baselines::default();
    let mut last: Vec<Arc<Stored>> = Vec::new();
    let mut random = Seeded::new(4);
    let mut counters = [0i64; 64];
    for minute in 1..2_000i64 {
        let ids: Vec<_> = metric::ALL.iter().take_while(|metric| metric.id.0 < 140).collect();
        let seen = ids.iter().enumerate().fold(Seen::default(), |seen, (at, metric)| {
            let counter = &mut counters[at % 64];
            *counter += (random.unit() * 50_000.0) as i64;
            let label = |n: i64| match metric.label {
                metric::Label::None => String::new(),
                _ => format!("d{n}x"),
            };
            let value = match metric.kind {
                metric::Kind::Counter => *counter,
                metric::Kind::Gauge => (random.unit() * 1e6) as i64 + 1,
            };
            (0..5).fold(seen, |seen, n| seen.set(metric.id, &label(n), value))
        });
        let stored = seen.stored(minute as u64, START.plus(minute * MINUTE_MS));
        last.push(stored);
        let keep = last.len().saturating_sub(3);
        last.drain(..keep);
        baselines.advance(&Window::new(last.clone(), None), &BTreeSet::new());
    }
    assert_eq!(baselines.all().count(), 30);
    assert!(baselines.all().count() <= MAX_SERIES);
    let state = HostState { baselines: baselines.clone(), ..HostState::default() };
    let packed = state.pack();
    println!("{} bytes of baselines, {} packed", baselines.encode().len(), packed.len());
    assert!(packed.len() <= MAX_SECTION, "{}", packed.len());
    let mut back = HostState::default();
    back.unpack(&packed);
    assert_eq!(back.baselines, baselines);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_is_stored_is_read_or_forgotten(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0usize..3_000, flip in any::<u8>()) {
        let mut state = HostState::default();
        state.unpack(&bytes);
        let _ = Baselines::decode(&bytes);
        let mut host = Host::new();
        host.run(70, quiet);
        let mut whole = host.state.baselines.encode();
        let at = cut % whole.len();
        whole[at] ^= flip;
        if let Some(read) = Baselines::decode(&whole) {
            let mut read = HostState { baselines: read, ..HostState::default() };
            let packed = read.pack();
            read.unpack(&packed);
        }
        prop_assert!(Baselines::decode(&whole[..at]).is_none());
    }
}
