use super::*;
use crate::analyse::tests::seen::*;

fn app(mib: u64, pid: u32, restarts: u32) -> Unit {
    Unit { anon_bytes: Some(mib << 20), main_pid: pid, restarts, ..running("app.service") }
}

/// Looks of 10 s from `from` s on.
fn window(from: i64, looks: impl IntoIterator<Item = Seen>) -> Window {
    let at = |n: i64| START.plus((from + n * 10) * SECOND_MS);
    let looks =
        looks.into_iter().zip(0_i64..).map(|(seen, n)| seen.stored((from / 10 + n) as u64 + 1, at(n)));
    Window::new(looks.collect(), None)
}

#[test]
fn memory_is_followed_by_minutes_and_a_new_life_is_told_from_an_old_one() {
    let mut known = Entities::default();
    for minute in 0..45_i64 {
        let looks = (0..6).map(|n| Seen::default().unit(app(100 + minute as u64 + n, 7, 0)));
        known.advance(&window(minute * 60, looks), &BTreeSet::new());
    }
    let unit = known.unit("app.service").unwrap();
    let points = unit.points(UnixMs(0), false);
    assert_eq!(points.len(), 45);
    assert_eq!(points.last().unwrap().1, f64::from(144 << 20), "the least of the minute");
    assert!(unit.earlier(START.plus(45 * MINUTE_MS)).is_none());
    // Another main process: another life, compared with the one before.
    for minute in 45..60_i64 {
        let looks = (0..6).map(|_| Seen::default().unit(app(300, 8, 1)));
        known.advance(&window(minute * 60, looks), &BTreeSet::new());
    }
    let unit = known.unit("app.service").unwrap();
    assert_eq!(unit.points(UnixMs(0), false).len(), 15);
    let (age, then) = unit.earlier(START.plus(60 * MINUTE_MS)).unwrap();
    assert_eq!(age, 15);
    assert!((then / f64::from(115 << 20) - 1.0).abs() < 0.03, "{then}");
    assert!(unit.earlier(START.plus(50 * MINUTE_MS)).is_none(), "too young");
    assert_eq!(known.restarts("app.service").len(), 0, "seen from one window to the next only");
    assert_eq!(Entities::decode(&known.encode()), Some(known));
}

#[test]
fn state_stays_small_whatever_a_host_does() {
    let mut known = Entities::default();
    let mut noise = 1_u64;
    for minute in 0..1_500_i64 {
        let mut seen = Seen::default();
        for n in 0..60_u64 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let anon = (noise >> 40) + (n << 24);
            let restarts = u32::try_from(minute).unwrap();
            let unit = running(&format!("a-rather-long-name-of-a-service-{n}.service"));
            seen = seen.unit(Unit { anon_bytes: Some(anon), restarts, ..unit });
            let source = format!("2001:db8::{n:x}:{:x}", minute % 50);
            seen = seen.set(metric::TCP_INBOUND_FROM, &source, 60);
        }
        known.advance(&window(minute * 60, [seen.clone(), seen]), &BTreeSet::new());
    }
    assert_eq!(known.units.len(), MAX_UNITS);
    let mut state = crate::analyse::state::HostState { entities: known, ..Default::default() };
    let raw = state.entities.encode().len();
    let packed = state.pack();
    assert!(raw < 48 << 10, "{raw}");
    assert!(packed.len() < crate::analyse::state::MAX_SECTION, "{}", packed.len());
    let known = state.entities.clone();
    state.unpack(&packed);
    assert_eq!(state.entities, known, "nothing was left out");
    assert_eq!(Entities::decode(b"torn"), None);
}

#[test]
fn what_is_usual_is_not_learned_from_trouble() {
    let mut known = Entities::default();
    let looks = |minute: i64, rate: i64| {
        (0..30).map(move |n| {
            let at = minute * 6 + n;
            Seen::default().set(metric::LOG_BYTES, "journal", at * rate * 10)
        })
    };
    for minute in 0..30 {
        known.advance(&window(minute * 60, looks(minute, 100)), &BTreeSet::new());
    }
    let habit = known.usual("log:journal").unwrap();
    assert!((habit.mean - 100.0).abs() < 1.0 && habit.minutes == 30, "{habit:?}");
    let open = BTreeSet::from([fingerprint(Category::LogFlood, "journal")]);
    known.advance(&window(30 * 60, looks(30, 100_000)), &open);
    assert_eq!(known.usual("log:journal"), Some(habit));
}
