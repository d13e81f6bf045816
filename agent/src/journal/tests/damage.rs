//! Failing disks and files that are missing, foreign, rolled back or damaged.

use super::*;

#[test]
fn after_a_failed_write_or_sync_nothing_starts_and_a_restart_knows_no_less() {
    for fail_in in 0..4 {
        for disk in 0..3 {
            let disks = TestDisks::new();
            let mut journal = disks.open(0).unwrap();
            disks.0[disk].0.lock().unwrap().fail_in = Some(fail_in);
            let first = order(1, 0);
            let outcome = try_start(&mut journal, &first, &at(1));
            if outcome.is_ok() {
                continue;
            }
            assert!(journal.broken().is_some());
            disks.0[disk].0.lock().unwrap().fail_in = None;
            assert!(try_start(&mut journal, &order(2, 0), &at(2)).is_err(), "a broken journal stays broken");
            drop(journal);
            let journal = disks.open(3).unwrap();
            // It may be there or not, but it did not run, so both are right.
            assert!(journal.known(first.id).is_none() || last_event(&journal, &first).is_some());
        }
    }
}

#[test]
fn a_missing_foreign_or_rolled_back_journal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    assert!(matches!(Journal::open(&state, host(), &at(0)), Err(JournalError::Missing(_))));
    Journal::create(&state, host(), &at(0), false).unwrap();
    assert!(matches!(Journal::create(&state, host(), &at(0), false), Err(JournalError::Exists(_))));
    let mut journal = Journal::open(&state, host(), &at(0)).unwrap();
    assert!(matches!(Journal::open(&state, host(), &at(0)), Err(JournalError::InUse)));
    assert!(matches!(Journal::create(&state, host(), &at(0), true), Err(JournalError::InUse)));
    let before: Vec<_> =
        ["journal.0", "journal.1"].map(|f| std::fs::read(state.join("journal").join(f)).unwrap()).into();
    try_start(&mut journal, &order(1, 0), &at(1)).unwrap();
    drop(journal);
    assert!(matches!(
        Journal::open(&state, HostId(Uuid::from_u128(8)), &at(2)),
        Err(JournalError::OtherHost)
    ));
    for (name, bytes) in ["journal.0", "journal.1"].iter().zip(before) {
        std::fs::write(state.join("journal").join(name), bytes).unwrap();
    }
    assert!(matches!(Journal::open(&state, host(), &at(2)), Err(JournalError::Damaged(_))));
    Journal::create(&state, host(), &at(10_000), true).unwrap();
    let mut journal = Journal::open(&state, host(), &at(10_000)).unwrap();
    assert_eq!(try_start(&mut journal, &order(1, 0), &at(10_001)).unwrap_err(), "NoJournal");
    assert!(try_start(&mut journal, &order(2, 10_001), &at(10_002)).is_ok());
}

/// A journal with some history, an order that has run, and what it was.
fn lived_in() -> (TestDisks, Order) {
    let disks = TestDisks::new();
    let mut journal = disks.open(0).unwrap();
    let ran = order(1, 0);
    try_start(&mut journal, &ran, &at(1)).unwrap();
    journal.event(ran.id, finished(), &at(2)).unwrap();
    let refused = order(2, 0);
    journal.refuse(&refused, digest(&refused), &Refused::new(Refusal::Busy, "b"), &at(2)).unwrap();
    journal.compact(&at(3)).unwrap();
    (disks, ran)
}

#[derive(Debug, Clone)]
enum Mutation {
    Flip(usize, usize, u8),
    Truncate(usize, usize),
    Zero(usize, usize, usize),
    Copy(usize, usize, usize),
    Swap,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    // Half of the places near the start, where the records are.
    let place = prop_oneof![0usize..8 * FRAME, 0usize..1024 * FRAME];
    prop_oneof![
        (0usize..3, place.clone(), any::<u8>()).prop_map(|(f, at, bit)| Mutation::Flip(f, at, bit)),
        (0usize..3, place.clone()).prop_map(|(f, at)| Mutation::Truncate(f, at)),
        (0usize..3, place.clone(), 1usize..3 * FRAME).prop_map(|(f, at, n)| Mutation::Zero(f, at, n)),
        (0usize..2, 0usize..8, 0usize..8).prop_map(|(f, from, to)| Mutation::Copy(f, from, to)),
        Just(Mutation::Swap),
    ]
}

fn mutate(disks: &TestDisks, mutation: &Mutation) {
    if let Mutation::Swap = mutation {
        std::mem::swap(&mut disks.0[0].0.lock().unwrap().safe, &mut disks.0[1].0.lock().unwrap().safe);
        return;
    }
    let (Mutation::Flip(file, ..)
    | Mutation::Truncate(file, _)
    | Mutation::Zero(file, ..)
    | Mutation::Copy(file, ..)) = *mutation
    else {
        return;
    };
    let mut platter = disks.0[file].0.lock().unwrap();
    let len = platter.safe.len().max(1);
    platter.safe.resize(len, 0);
    match *mutation {
        Mutation::Flip(_, at, bit) => platter.safe[at % len] ^= 1 << (bit % 8),
        Mutation::Truncate(_, at) => platter.safe.truncate(at % len),
        Mutation::Zero(_, at, n) => {
            let from = at % len;
            platter.safe[from..(from + n).min(len)].fill(0);
        }
        Mutation::Copy(_, from, to) => {
            let Some(frame) = platter.safe.get(from * FRAME..(from + 1) * FRAME).map(<[u8]>::to_vec) else {
                return;
            };
            if let Some(place) = platter.safe.get_mut(to * FRAME..(to + 1) * FRAME) {
                place.copy_from_slice(&frame);
            }
        }
        Mutation::Swap => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_damage_panics_or_gives_a_second_start(mutation in mutation()) {
        let (disks, ran) = lived_in();
        let newest = order(3, 0);
        try_start(&mut disks.open(3).unwrap(), &newest, &at(3)).unwrap();
        mutate(&disks, &mutation);
        if let Ok(mut journal) = disks.open(4) {
            prop_assert!(try_start(&mut journal, &ran, &at(5)).is_err(), "{:?}", mutation);
            prop_assert!(try_start(&mut journal, &newest, &at(5)).is_err(), "{:?}", mutation);
        }
    }

    #[test]
    fn a_power_cut_at_any_time_loses_nothing_that_was_acted_on(
        cuts in prop::collection::vec(any::<bool>(), 64), steps in 1u128..12, acks in any::<u8>(),
    ) {
        let (disks, ran) = lived_in();
        let mut journal = disks.open(4).unwrap();
        let mut done = vec![ran];
        for id in 10..10 + steps {
            let one = order(id, 0);
            try_start(&mut journal, &one, &at(5)).unwrap();
            if acks & (1 << (id % 8)) != 0 {
                // Not synced: lies loose beside what comes next.
                journal.event(one.id, finished(), &at(6)).unwrap();
                let last = journal.reports(0).last().unwrap().number;
                journal.acknowledge(one.id, last, &at(6)).unwrap();
            }
            if acks & 0x80 != 0 {
                journal.compact(&at(6)).unwrap();
            }
            done.push(one);
        }
        let mut next = cuts.iter().cycle();
        let after = disks.after_power_cut(|| *next.next().unwrap());
        let mut journal = after.open(7).unwrap();
        for one in &done {
            prop_assert_eq!(try_start(&mut journal, one, &at(8)).unwrap_err(), "duplicate");
        }
        // And what is written now is there after the next cut.
        let one = order(500, 0);
        try_start(&mut journal, &one, &at(9)).unwrap();
        let mut journal = after.after_power_cut(|| false).open(10).unwrap();
        prop_assert_eq!(try_start(&mut journal, &one, &at(11)).unwrap_err(), "duplicate");
    }

    #[test]
    fn a_cut_in_the_middle_of_a_write_is_recovered(op in 0usize..8, cuts in prop::collection::vec(any::<bool>(), 32)) {
        // The disk stops at the op-th call of a start or of a compaction; then the power goes.
        for compacting in [false, true] {
            let (disks, ran) = lived_in();
            let mut journal = disks.open(4).unwrap();
            for disk in &disks.0 {
                disk.0.lock().unwrap().fail_in = Some(op);
            }
            let one = order(20, 0);
            let started = if compacting { journal.compact(&at(5)).is_ok() } else { try_start(&mut journal, &one, &at(5)).is_ok() };
            let mut next = cuts.iter().cycle();
            let after = disks.after_power_cut(|| *next.next().unwrap());
            let mut journal = after.open(7).unwrap();
            prop_assert_eq!(try_start(&mut journal, &ran, &at(8)).unwrap_err(), "duplicate");
            if started && !compacting {
                prop_assert_eq!(try_start(&mut journal, &one, &at(8)).unwrap_err(), "duplicate");
            }
            let _ = disks.copy();
        }
    }
}
