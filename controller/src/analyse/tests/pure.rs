use proptest::prelude::*;
use sysop_common::action::Risk;
use sysop_common::ids::HostId;
use sysop_common::sample::Active;
use sysop_common::time::{MINUTE_MS, SECOND_MS, UnixMs};
use uuid::Uuid;

use super::*;
use crate::analyse::attribute::{Attribution, Part, attribute};
use crate::analyse::forecast::{next_reset, resets, slope};
use crate::analyse::messages::Text;
use crate::analyse::rules::silence::{Beat, look};
use crate::analyse::seam::{Advice, apply};

fn any_unit() -> impl Strategy<Value = Unit> {
    (0u8..3, 0u8..7, 0u32..9, prop::option::of(0u64..5), "[a-z]{0,8}").prop_map(
        |(name, active, restarts, oom_kills, result)| Unit {
            restarts,
            oom_kills,
            result: result.into(),
            anon_bytes: oom_kills.map(|kills| kills << 28),
            ..unit(&format!("u{name}.service"), Active::from_code(active), "x")
        },
    )
}

fn any_look() -> impl Strategy<Value = Seen> {
    let value = || prop_oneof![Just(MISSING), 0i64..3, 0i64..100 * GIB];
    let ids = [
        (metric::FS_TOTAL, "/"),
        (metric::FS_FREE, "/"),
        (metric::FS_AVAILABLE, "/"),
        (metric::FS_READ_ONLY, "/"),
        (metric::FS_INODES_TOTAL, "/"),
        (metric::FS_INODES_FREE, "/"),
        (metric::MEMORY_OOM_KILLS, ""),
        (metric::MEMORY_ANON, ""),
    ];
    let values = prop::collection::vec(value(), ids.len());
    (values, prop::collection::vec(any_unit(), 0..4), 0u64..2).prop_map(move |(values, mut units, boot)| {
        units.sort_by(|a, b| a.name.cmp(&b.name));
        units.dedup_by(|a, b| a.name == b.name);
        let seen =
            ids.iter().zip(values).fold(Seen::default(), |seen, ((id, label), v)| seen.set(*id, label, v));
        Seen { units, boot, ..seen }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_same_samples_give_the_same_findings_byte_for_byte_in_whatever_order_they_are_read(
        looks in prop::collection::vec(any_look(), 1..14), keys in prop::collection::vec(any::<u32>(), 14),
    ) {
        let ticks: Vec<Arc<Stored>> = looks.iter().enumerate()
            .map(|(n, seen)| seen.stored(n as u64 + 1, START.plus(n as i64 * 10_000))).collect();
        let mut mixed: Vec<_> = ticks.iter().cloned().zip(keys).collect();
        mixed.sort_by_key(|(_, key)| *key);
        let input = |ticks| HostInput { window: Window::new(ticks, None), ..HostInput::default() };
        let text = |input: &HostInput| {
            groups(input).iter().map(|g| serde_json::to_string(&(&g.findings, &g.offers)).unwrap()).collect::<String>()
        };
        let straight = text(&input(ticks));
        prop_assert_eq!(&straight, &text(&input(mixed.into_iter().map(|(tick, _)| tick).collect())));
        let json: Result<Vec<(Vec<Finding>, Vec<sysop_common::finding::Offer>)>, _> =
            serde_json::Deserializer::from_str(&straight).into_iter().collect();
        prop_assert!(json.is_ok());
    }

    #[test]
    fn a_slope_lies_within_its_interval_and_finds_a_straight_line(
        noise in prop::collection::vec(-5.0f64..5.0, 4..200), per_step in -3.0f64..3.0,
    ) {
        let points: Vec<(UnixMs, f64)> = noise.iter().enumerate()
            .map(|(n, noise)| (UnixMs(n as i64 * 1_000), n as f64 * per_step + noise)).collect();
        let found = slope(&points).unwrap();
        prop_assert!(found.low <= found.mid && found.mid <= found.high);
        let straight: Vec<_> = points.iter().enumerate().map(|(n, (at, _))| (*at, n as f64 * per_step)).collect();
        let found = slope(&straight).unwrap();
        prop_assert!((found.mid * 1_000.0 - per_step).abs() < 1e-6);
    }

    #[test]
    fn nobody_is_named_without_half_of_the_change_and_a_clear_lead(
        amounts in prop::collection::vec(-50.0f64..100.0, 0..6), whole in -10.0f64..300.0,
    ) {
        let parts: Vec<Part<usize>> =
            amounts.iter().enumerate().map(|(who, amount)| Part { who, amount: *amount }).collect();
        if let Attribution::One { who, share } = attribute(whole, &parts) {
            prop_assert!(share >= 50 && whole > 0.0);
            let base = whole.max(amounts.iter().filter(|a| **a > 0.0).sum());
            let rest = amounts.iter().enumerate().filter(|(at, _)| *at != who);
            prop_assert!(rest.clone().all(|(_, other)| amounts[who] - other >= 0.2 * base - 1e-9));
        }
    }

    #[test]
    fn advice_only_makes_things_safer(risk in 0usize..3, least in prop::option::of(0usize..3), withdraw in any::<bool>()) {
        let risks = [Risk::Low, Risk::Medium, Risk::High];
        let input = every_10s([Seen::default().unit(failed("a.service", "signal"))]);
        let mut offers = groups(&input)[0].offers.clone();
        offers[0].risk = risks[risk];
        let before = offers.clone();
        let advice = Advice { offer: "O1".into(), at_least: least.map(|at| risks[at]), withdraw, why: String::new() };
        let foreign = Advice { offer: "O9".into(), at_least: Some(Risk::High), withdraw: true, why: String::new() };
        apply(&mut offers, &[advice, foreign]);
        prop_assert_eq!(offers.len(), before.len());
        for (now, was) in offers.iter().zip(&before) {
            prop_assert!(now.risk >= was.risk && (was.unattended || !now.unattended));
            prop_assert_eq!(&now.action, &was.action);
        }
        prop_assert_eq!(&offers[1], &before[1]);
    }
}

#[test]
fn regular_resets_are_found_and_the_next_one_is_expected() {
    let saw: Vec<(UnixMs, f64)> = (0..50).map(|n| (UnixMs(n * MINUTE_MS), (n % 10) as f64)).collect();
    let found = resets(&saw);
    assert_eq!(found, [10, 20, 30, 40].map(|n| UnixMs(n * MINUTE_MS)));
    assert_eq!(next_reset(&found), Some(UnixMs(50 * MINUTE_MS)));
    assert_eq!(next_reset(&found[..2]), None);
    assert!(resets(&[]).is_empty() && resets(&[(UnixMs(0), 1.0), (UnixMs(1), 1.0)]).is_empty());
}

fn beat(n: u128, silent_s: i64, open: bool) -> Beat {
    let last = START.plus(-silent_s * SECOND_MS);
    Beat {
        host: HostId(Uuid::from_u128(n)),
        last,
        interval_ms: 10 * SECOND_MS,
        jitter_ms: 0,
        leaving: false,
        stopped: false,
        connected: false,
        open,
    }
}

#[test]
fn one_silent_host_is_its_own_trouble_and_many_at_once_are_the_controllers() {
    let long_ago = START.plus(-60 * MINUTE_MS);
    let hosts = |beats: &[Beat], started, fleet| {
        let found = look(beats, started, START, fleet, Text::default());
        (found.hosts.len(), found.fleet.is_some())
    };
    let fine = |n| beat(n, 5, false);
    // Three beats of ten seconds, and two seconds of patience.
    assert_eq!(hosts(&[beat(1, 32, false), fine(2)], long_ago, false), (0, false));
    assert_eq!(hosts(&[beat(1, 33, false), fine(2)], long_ago, false), (1, false));
    // Just started: hosts are on their way back. One that was silent before stays so.
    assert_eq!(hosts(&[beat(1, 600, false), beat(2, 600, true)], START.plus(-30_000), false), (1, false));
    // Never heard of: not enrolled fully, not silent.
    let never = Beat { last: UnixMs(0), ..fine(3) };
    assert_eq!(hosts(&[never], long_ago, false), (0, false));
    let many: Vec<Beat> = (1..=4).map(|n| beat(n, 40, false)).chain((5..=6).map(fine)).collect();
    assert_eq!(hosts(&many, long_ago, false), (0, true));
    // Few of many, or one after the other: each for itself.
    let few: Vec<Beat> = (1..=3).map(|n| beat(n, 40, false)).chain((4..=20).map(fine)).collect();
    assert_eq!(hosts(&few, long_ago, false), (3, false));
    let apart: Vec<Beat> = (1..=4).map(|n| beat(n, 40 + 120 * n as i64, false)).collect();
    assert_eq!(hosts(&apart, long_ago, false), (4, false));
    // Samples that come unevenly, and a host that was being restarted, are waited for longer.
    let uneven = |silent_s| Beat { jitter_ms: 4_000, ..beat(1, silent_s, false) };
    assert_eq!(hosts(&[uneven(32), fine(2)], long_ago, false), (0, false));
    assert_eq!(hosts(&[uneven(34), fine(2)], long_ago, false), (1, false));
    let leaving = |silent_s| Beat { leaving: true, ..beat(1, silent_s, false) };
    assert_eq!(hosts(&[leaving(290), fine(2)], long_ago, false), (0, false));
    assert_eq!(hosts(&[leaving(310), fine(2)], long_ago, false), (1, false));
    let stopped = |silent_s| Beat { stopped: true, ..beat(1, silent_s, false) };
    assert_eq!(hosts(&[stopped(175), fine(2)], long_ago, false), (0, false));
    assert_eq!(hosts(&[stopped(185), fine(2)], long_ago, false), (1, false));
    // The fleet's incident stays until fewer than a quarter are silent.
    let back: Vec<Beat> = (1..=2).map(|n| beat(n, 90, false)).chain((3..=6).map(fine)).collect();
    assert_eq!(hosts(&back, long_ago, true), (0, true));
    assert_eq!(hosts(&back, long_ago, false), (2, false));
}
