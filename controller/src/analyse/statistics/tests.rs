use proptest::prelude::*;

use super::calibrate::{Table, logistic};
use super::change::changes;
use super::cusum::{CEILING, Cusum, FLOOR, Way, calibrate};
use super::distribution::{normal_quantile, normal_tail, poisson_tail, student_tail};
use super::peaks::Peaks;
use super::random::Seeded;
use super::robust::{MAX_PHI, lag1, mad, median, quantile, season_strength, sigma, whitened};
use super::trend::trend;
use super::wealth::Wealth;

fn near(a: f64, b: f64, within: f64) {
    assert!((a - b).abs() <= within, "{a} is not within {within} of {b}");
}

/// Normal values of a seed.
fn normal(random: &mut Seeded) -> f64 {
    (-2.0 * (1.0 - random.unit()).ln()).sqrt() * (2.0 * std::f64::consts::PI * random.unit()).cos()
}

/// Student's t with three degrees of freedom, with variance 1.
fn heavy(random: &mut Seeded) -> f64 {
    let squares: f64 = (0..3).map(|_| normal(random).powi(2)).sum();
    normal(random) / squares.sqrt()
}

fn series(n: usize, seed: u64, phi: f64, draw: fn(&mut Seeded) -> f64) -> Vec<f64> {
    let mut random = Seeded::new(seed);
    let mut value = 0.0;
    (0..n)
        .map(|_| {
            value = phi * value + draw(&mut random);
            value
        })
        .collect()
}

#[test]
fn tails_are_those_of_the_tables() {
    for (z, p) in
        [(0.0, 0.5), (1.0, 0.158_655_25), (1.96, 0.024_997_9), (3.0, 0.001_349_9), (-1.0, 0.841_344_75)]
    {
        near(normal_tail(z), p, 1e-7);
    }
    near(normal_tail(6.0) / 9.865_876e-10, 1.0, 1e-6);
    for p in [0.4, 0.025, 1e-4, 1e-8] {
        near(normal_tail(normal_quantile(p)) / p, 1.0, 1e-8);
    }
    for (t, df, p) in
        [(1.0, 1.0, 0.25), (2.228_139, 10.0, 0.025), (3.169_273, 10.0, 0.005), (-1.0, 1.0, 0.75)]
    {
        near(student_tail(t, df), p, 1e-6);
    }
    // 1 - e^-2 (1 + 2 + 2) and so on.
    near(poisson_tail(3, 2.0), 0.323_323_58, 1e-7);
    near(poisson_tail(20, 2.0) / 6.44e-14, 1.0, 0.1);
    assert_eq!(poisson_tail(0, 0.0), 1.0);
    assert_eq!(poisson_tail(1, 0.0), 0.0);
}

#[test]
fn what_follows_the_sample_before_is_taken_out() {
    for phi in [0.0, 0.3, 0.6, 0.9] {
        near(lag1(&series(4_000, 7, phi, normal)), phi, 0.08);
        near(lag1(&series(4_000, 7, phi, heavy)), phi, 0.12);
    }
    assert_eq!(lag1(&[0.0; 50]), 0.0);
    assert_eq!(whitened(1.0, 0.0, 0.0, 0.0, 0.0), super::robust::CLIP);
    assert_eq!(whitened(f64::NAN, 0.0, 0.0, 1.0, 1.0), 0.0);
}

/// False alarms in `n` samples of noise, whitened and calibrated by the first 480.
fn false_alarms(n: usize, seed: u64, phi: f64, draw: fn(&mut Seeded) -> f64) -> usize {
    let noise = series(n, seed, phi, draw);
    let known = &noise[..480];
    let center = median(&mut known.to_vec()).unwrap();
    let rests: Vec<f64> = known.iter().map(|value| value - center).collect();
    let (phi, spread) = (lag1(&rests), sigma(&rests, 0.0, 1e-9));
    let z = |pair: &[f64]| whitened(pair[1] - center, pair[0] - center, phi, spread, 1e-9);
    let quiet: Vec<f64> = known.windows(2).map(z).collect();
    let threshold = calibrate(&quiet, 0.05 / 1_440.0, 1);
    let (mut sums, mut alarms) = (Cusum::default(), 0);
    for pair in noise[480..].windows(2) {
        sums.push(z(pair));
        if sums.alarm(threshold).is_some() {
            (sums, alarms) = (Cusum::default(), alarms + 1);
        }
    }
    alarms
}

#[test]
fn a_calibrated_sum_keeps_its_budget_on_noise_of_any_shape() {
    // 100 series-days each; the budget is one alarm in 20 days.
    for (draw, name) in [(normal as fn(&mut Seeded) -> f64, "normal"), (heavy, "t3")] {
        for phi in [0.0, 0.6, 0.9] {
            let alarms: usize = (0..10).map(|seed| false_alarms(14_400, seed, phi, draw)).sum();
            assert!(alarms <= 20, "{name} with {phi}: {alarms} alarms in 100 days");
        }
    }
}

#[test]
fn a_shift_is_seen_with_its_beginning_and_its_way() {
    let mut sums = Cusum::default();
    let noise = series(300, 3, 0.0, normal);
    for (n, value) in noise.iter().enumerate() {
        sums.push((if n < 280 { *value } else { value - 3.0 }).clamp(-3.5, 3.5));
    }
    let (way, ago) = sums.alarm(FLOOR).unwrap();
    assert_eq!(way, Way::Down);
    assert!((19..=30).contains(&ago), "{ago}");
    // A series that wanders has no threshold that means anything.
    let wander = series(400, 1, 1.0, normal);
    assert!(calibrate(&wander, 1e-4, 1) > FLOOR);
    assert!(calibrate(&[3.5; 400], 1e-4, 1) == CEILING);
    assert_eq!(calibrate(&[], 1e-4, 1), FLOOR);
    assert_eq!(calibrate(&noise, 1e-4, 9), calibrate(&noise, 1e-4, 9));
}

#[test]
fn a_level_is_passed_as_seldom_as_it_should() {
    let noise = series(200_000, 5, 0.0, normal);
    let mut peaks = Peaks::learn(&noise[..1_000]);
    noise[1_000..20_000].iter().for_each(|value| peaks.push(*value));
    let level = peaks.level(1e-3).unwrap();
    let passed = noise[20_000..].iter().filter(|value| **value > level).count() as f64 / 180_000.0;
    assert!((2e-4..4e-3).contains(&passed), "{passed}");
    near(peaks.odds(level).unwrap().log10(), -3.0, 0.01);
    assert_eq!(peaks.odds(-9.0), Some(1.0));
    assert_eq!(Peaks::default().level(0.1), None);
}

#[test]
fn a_trend_is_told_from_a_walk() {
    let line: Vec<(f64, f64)> = (0..60).map(|n| (f64::from(n), 2.0 * f64::from(n))).collect();
    let found = trend(&line).unwrap();
    assert_eq!((found.low, found.mid, found.high), (2.0, 2.0, 2.0));
    assert!(found.p < 1e-12);
    // Noise that follows itself: without the correction far more than one in twenty would pass.
    let passed = (0..200)
        .filter(|seed| {
            let noise = series(60, *seed, 0.7, normal);
            let points: Vec<(f64, f64)> = noise.iter().enumerate().map(|(n, v)| (n as f64, *v)).collect();
            let found = trend(&points).unwrap();
            found.low > 0.0 || found.high < 0.0
        })
        .count();
    assert!(passed <= 40, "{passed} of 200");
    assert_eq!(trend(&line[..3]), None);
}

#[test]
fn a_change_of_level_is_found_where_it_is_and_noise_has_none() {
    let noise = series(200, 11, 0.0, normal);
    assert!(changes(&noise).is_empty());
    let moved: Vec<f64> = noise.iter().enumerate().map(|(n, v)| if n < 120 { *v } else { v + 4.0 }).collect();
    let found = changes(&moved);
    assert_eq!(found.len(), 1);
    assert!((118..=122).contains(&found[0].at), "{found:?}");
    near(found[0].after - found[0].before, 4.0, 0.4);
    let flat: Vec<f64> = (0..48).map(|n| if n < 24 { 1.0 } else { 2.0 }).collect();
    assert_eq!(changes(&flat)[0].at, 24);
    assert!(changes(&[1.0; 200]).is_empty() && changes(&[]).is_empty());
}

#[test]
fn wealth_keeps_false_openings_few_and_never_goes_deaf() {
    let mut random = Seeded::new(1);
    let mut wealth = Wealth::default();
    let opened = (0..20_000).filter(|_| wealth.test(random.unit())).count();
    assert!(opened <= 20, "{opened} of 20,000 true nothings");
    assert!(wealth.level() > 1e-6);
    assert!(wealth.test(1e-9));
    // What was right pays for what comes next.
    let mut fresh = Wealth::default();
    let before = fresh.level();
    fresh.test(1e-9);
    assert!(fresh.level() > before);
}

#[test]
fn measured_probabilities_rise_with_the_score() {
    let outcomes: Vec<(f64, bool)> = (0..400).map(|n| (f64::from(n % 20), (n * 7 % 20) < n % 20)).collect();
    let table = Table::fit(&outcomes);
    assert!(table.0.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
    assert!(table.at(-5.0) <= table.at(10.0) && table.at(10.0) <= table.at(99.0));
    assert_eq!(Table::default().at(2.0), logistic(2.0));
}

#[test]
fn a_season_that_explains_all_is_strong_and_one_that_explains_nothing_is_not() {
    let wave: Vec<f64> = (0..240).map(|n| f64::from(n % 24)).collect();
    assert!(season_strength(&wave, &[0.0; 240]) > 0.99);
    assert!(season_strength(&wave, &wave) < 0.01);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn middles_are_those_of_the_sorted_values(values in prop::collection::vec(-1e6f64..1e6, 1..60)) {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let oracle = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0;
        let mid = median(&mut values.clone()).unwrap();
        prop_assert!((mid - oracle).abs() <= 1e-9 * (1.0 + oracle.abs()));
        prop_assert!((quantile(&sorted, 0.5).unwrap() - oracle).abs() <= 1e-6);
        let mut off: Vec<f64> = values.iter().map(|v| (v - mid).abs()).collect();
        off.sort_by(f64::total_cmp);
        let spread = mad(&values, mid).unwrap();
        prop_assert!((spread - (off[(n - 1) / 2] + off[n / 2]) / 2.0).abs() <= 1e-9 * (1.0 + spread));
    }

    #[test]
    fn sums_are_those_that_are_counted_from_every_start(z in prop::collection::vec(-3.5f64..3.5, 1..80)) {
        let mut sums = Cusum::default();
        z.iter().for_each(|z| sums.push(*z));
        // The largest sum of any stretch that ends now.
        let oracle = |sign: f64| (0..=z.len()).map(|from| {
            z[from..].iter().map(|z| sign * z - 0.5).sum::<f64>()
        }).fold(0.0, f64::max).min(2.0 * CEILING);
        prop_assert!((sums.up - oracle(1.0)).abs() < 1e-9);
        prop_assert!((sums.down - oracle(-1.0)).abs() < 1e-9);
    }

    #[test]
    fn nothing_makes_a_statistic_fall_over(values in prop::collection::vec(prop_oneof![
        any::<f64>(), Just(0.0), -1e3f64..1e3], 0..130)) {
        let _ = (median(&mut values.clone()), quantile(&values, 0.98), changes(&values));
        prop_assert!((0.0..=MAX_PHI).contains(&lag1(&values)) || values.iter().any(|v| !v.is_finite()) || values.iter().any(|v| v.abs() > 1e100));
        let threshold = calibrate(&values, 1e-4, 1);
        prop_assert!((FLOOR..=CEILING).contains(&threshold));
        let mut peaks = Peaks::learn(&values);
        values.iter().for_each(|v| peaks.push(*v));
        let _ = (peaks.level(1e-5), peaks.odds(1.0), trend(&values.iter().map(|v| (*v, *v)).collect::<Vec<_>>()));
    }

    #[test]
    fn a_trend_lies_within_its_interval(noise in prop::collection::vec(-5.0f64..5.0, 4..100), slope in -3.0f64..3.0) {
        let points: Vec<(f64, f64)> = noise.iter().enumerate().map(|(n, v)| (n as f64, slope * n as f64 + v)).collect();
        let found = trend(&points).unwrap();
        prop_assert!(found.low <= found.mid && found.mid <= found.high && (0.0..=0.5).contains(&found.p));
    }
}
