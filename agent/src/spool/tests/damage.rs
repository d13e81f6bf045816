//! Damage to files on disk.

use super::*;

#[derive(Debug, Clone)]
enum Damage {
    Flip(usize, u8),
    Cut(usize),
    Zero(usize, usize),
    Copy(usize, usize),
    Remove,
    Junk(usize),
    Swap(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<usize>(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        any::<usize>().prop_map(Damage::Cut),
        (any::<usize>(), 1usize..5000).prop_map(|(at, len)| Damage::Zero(at, len)),
        (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Damage::Copy(from, to)),
        Just(Damage::Remove),
        (0usize..3000).prop_map(Damage::Junk),
        any::<usize>().prop_map(Damage::Swap),
    ]
}

fn inflict(sim: &Sim, file: usize, damage: &Damage) {
    let mut state = sim.state();
    let names: Vec<String> = state.files.keys().cloned().collect();
    // Two files in each other's place are two damaged files: where one of them is the table of epochs,
    // nobody knows any more what the other one held.
    let segments: Vec<String> = names.iter().filter(|name| name.ends_with(".seg")).cloned().collect();
    let names = if matches!(damage, Damage::Swap(_)) && !segments.is_empty() { segments } else { names };
    let name = &names[file % names.len()];
    let mut data = state.files[name].data.clone();
    let len = data.len().max(1);
    match damage {
        Damage::Flip(at, bit) => data.iter_mut().skip(at % len).take(1).for_each(|byte| *byte ^= 1 << bit),
        Damage::Cut(at) => data.truncate(at % len),
        Damage::Zero(at, count) => data.iter_mut().skip(at % len).take(*count).for_each(|byte| *byte = 0),
        Damage::Copy(from, to) => {
            let block: Vec<u8> = data.iter().skip(from % len).take(512).copied().collect();
            data.iter_mut().skip(to % len).zip(block).for_each(|(byte, new)| *byte = new);
        }
        Damage::Junk(len) => data = (0..*len).map(|n| (n * 7 + n / 251) as u8).collect(),
        Damage::Remove => {
            state.files.remove(name);
            return;
        }
        Damage::Swap(other) => {
            let other = &names[other % names.len()];
            let theirs = state.files[other].data.clone();
            state.files.get_mut(other).unwrap().data = std::mem::replace(&mut data, theirs);
        }
    }
    state.files.get_mut(name).unwrap().data = data;
}

/// Every number that a drain yields, as a sample or in a gap.
fn numbers(run: &Run) -> Vec<(Epoch, u64)> {
    let mut numbers = Vec::new();
    for entry in run.drain() {
        match entry {
            Entry::Sample { epoch, seq, .. } => numbers.push((epoch, seq.0)),
            Entry::Gap(Gap { epoch, seqs: Some((first, last)), .. }) => {
                numbers.extend((first.0..=last.0).map(|seq| (epoch, seq)));
            }
            Entry::Gap(_) => {}
        }
    }
    numbers
}

/// A disk after [`story`].
fn told() -> Sim {
    static STORY: std::sync::LazyLock<Sim> = std::sync::LazyLock::new(|| {
        let sim = Sim::default();
        story(&sim);
        sim
    });
    STORY.fork()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn one_damaged_file_costs_what_it_held_and_every_number_is_accounted_for(
        file in any::<usize>(), damage in damage(),
    ) {
        let sim = told();
        let wanted: Vec<(Epoch, u64)> = numbers(&Run::start(&sim.fork(), 3, 2_000_000));
        inflict(&sim, file, &damage);
        let mut run = Run::start(&sim, 4, 2_100_000);
        run.check();
        let got = numbers(&run);
        for number in wanted {
            prop_assert!(got.contains(&number), "{:?} is neither stored nor missed", number);
        }
    }

    #[test]
    fn no_damage_stops_the_spool(files in prop::collection::vec((any::<usize>(), damage()), 1..12)) {
        let sim = told();
        for (file, damage) in &files {
            inflict(&sim, *file, damage);
        }
        Run::start(&sim, 4, 2_100_000).check();
        let mut again = Run::start(&sim, 5, 2_200_000);
        again.add(40);
        again.check();
    }
}

#[test]
fn a_foreign_spool_is_set_aside_and_nothing_of_it_is_sent() {
    let sim = told();
    let files = sim.list().unwrap();
    let other = HostId(uuid::Uuid::from_u128(8));
    let (spool, writer) =
        recover::open(Box::new(sim.clone()), files, other, SMALL, Epoch(9), UnixMs(5_000_000), None);
    let mut run = Run { spool, writer, at: 5_000_000, rows: 8 };
    assert_eq!(run.spool.previous(), None);
    assert_eq!(run.check(), (1, vec![]));
}
