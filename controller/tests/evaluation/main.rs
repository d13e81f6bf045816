//! The analyser held against simulated hosts: a sample of seeds as an ordinary test, all of it as a bench.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_macros)]
#![allow(dead_code, reason = "some of it is for the bench alone")]
#![allow(unreachable_pub, missing_docs, reason = "a test has no readers of its interface")]

mod cases;
mod desk;
mod host;
mod noise;
mod plain;
mod score;
mod trial;
mod truth;
mod world;

use std::collections::BTreeMap;

use sysop_controller::analyse::engine::Engine;

use trial::Outcome;
use world::{KINDS, World};

/// Hosts that were watched for a day and some hours, one of each kind per seed.
struct Warm(BTreeMap<(usize, u64), World>);

/// So many hosts of each kind are warmed up; seeds share them.
const HOSTS: u64 = 3;

impl Warm {
    fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn get(&mut self, kind: usize, seed: u64, engine: &Engine) -> &World {
        let seed = seed % HOSTS;
        let hours = 26 + 7 * seed + 3 * kind as u64;
        self.0.entry((kind, seed)).or_insert_with(|| trial::warm(KINDS[kind], 100 + seed, hours, engine))
    }
}

/// Runs `seeds` of all cases whose id begins with `only`.
fn trials(seeds: std::ops::Range<u64>, only: &str, warm: &mut Warm, engine: &Engine) -> Vec<Outcome> {
    let mut all = Vec::new();
    for (n, case) in cases::all().iter().enumerate().filter(|(_, case)| case.id.starts_with(only)) {
        for seed in seeds.clone() {
            let kind = (seed as usize + n) % KINDS.len();
            let world = warm.get(kind, seed / KINDS.len() as u64, engine);
            all.push(trial::run(case, world, seed * 1_000 + n as u64, engine));
        }
    }
    all
}

fn number(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The cases of the ordinary test: of each kind one that is short.
const SAMPLE: [&str; 13] =
    ["F01", "F02", "F05", "F07", "F08", "F16", "F18", "F19", "F20", "F24", "F34", "B08", "B17"];

/// Nothing that hurts, nothing against ordinary work, and nearly all that there is, on a seed that is fixed.
#[test]
fn a_sample_of_troubles_is_told_rightly_and_nothing_harmful_is_done() {
    let engine = Engine::new();
    let world = trial::warm("web", 100, 3, &engine);
    let all = cases::all();
    let sample = all.iter().filter(|case| SAMPLE.contains(&case.id));
    let outcomes: Vec<Outcome> = sample.map(|case| trial::run(case, &world, 1, &engine)).collect();
    let score = score::Score::of(&outcomes, |_| true);
    let told: Vec<String> = outcomes.iter().filter(|o| !o.is_fine()).map(Outcome::line).collect();
    assert_eq!(outcomes.len(), SAMPLE.len());
    assert_eq!(score.harmful.0, 0, "{told:#?}");
    assert!(outcomes.iter().all(|o| o.fault || o.done.is_empty()), "{told:#?}");
    assert!(score.recall.share() >= 0.9, "{told:#?}");
    assert!(score.top1.share() >= 0.8, "{told:#?}");
}

/// The whole of it: `cargo xtask bench analysis` runs this with numbers of its own, by `benches/analysis`.
pub fn main() {
    let engine = Engine::new();
    let mut warm = Warm::new();
    let only = std::env::var("SYSOP_BENCH_ONLY").unwrap_or_default();
    let seeds = number("SYSOP_BENCH_SEEDS", 3.0) as u64;
    let outcomes = trials(1..seeds + 1, &only, &mut warm, &engine);
    let days = number("SYSOP_BENCH_SOAK_DAYS", 0.0);
    let mut soaks = Vec::new();
    for kind in 0..KINDS.len() {
        for host in 0..HOSTS {
            let share = days / (KINDS.len() as u64 * HOSTS) as f64;
            let world = warm.get(kind, host, &engine);
            soaks.push(trial::soak(world, share, 7_000 + host * 10 + kind as u64, &engine));
        }
    }
    score::report(&outcomes, &soaks);
}
