//! Crashes, full disks and failing operations.

use super::*;

#[test]
fn spool_enospc_recovers_without_restart() {
    let sim = Sim::default();
    let mut run = Run::start(&sim, 1, 0);
    run.rows = 0;
    run.add(3);
    sim.state().quota = Some(0);
    let mut live = run.spool.drain();
    std::iter::from_fn(|| live.next_entry()).count();
    run.add(2);
    assert!(run.spool.depth().problem.is_some());
    // A host with a full disk is still seen.
    assert!(matches!(live.next_entry(), Some(Entry::Sample { seq: Seq(4), .. })));
    run.add(MAX_PENDING + 5);
    sim.state().quota = None;
    run.add(1);
    assert_eq!((run.spool.depth().pending, run.spool.depth().problem.clone()), (0, None));
    assert_eq!(run.check().1, [GapReason::SpoolWrite]);
    drop(run);
    assert_eq!(Run::start(&sim, 2, 2_000_000).check().1, [GapReason::SpoolWrite, GapReason::AgentDown]);
}

#[test]
fn a_disk_that_is_full_from_the_start_is_no_reason_to_stop() {
    let sim = Sim::default();
    sim.state().quota = Some(0);
    let mut run = Run::start(&sim, 1, 0);
    run.add(4);
    assert_eq!(run.check(), (5, vec![]));
    sim.state().quota = None;
    assert_eq!(run.check(), (6, vec![]));
}

#[test]
fn spool_crash_at_every_syscall_reopens() {
    let whole = Sim::default();
    story(&whole);
    let ops = whole.state().ops;
    assert!(ops > 200, "{ops}");
    for at in 1..=ops {
        let sim = Sim::default();
        sim.state().die_at = Some(at);
        story(&sim);
        sim.killed();
        Run::start(&sim, 3, 2_000_000).check();
        Run::start(&sim, 4, 2_100_000).check();
    }
}

#[test]
fn whatever_a_controller_saw_survives_a_power_cut() {
    let whole = Sim::default();
    story(&whole);
    let ops = whole.state().ops;
    let mut random = 1u64;
    for at in (1..=ops).step_by(2) {
        let sim = Sim::default();
        sim.state().die_at = Some(at);
        // A drain may read from memory once the disk fails: only what was seen before counts.
        let mut run = Run::start(&sim, 1, 0);
        let mut drain = run.spool.drain();
        let mut seen = Seq(0);
        for _ in 0..ops {
            run.add(1);
            if run.spool.depth().problem.is_some() {
                break;
            }
            while let Some(Entry::Sample { seq, .. }) = drain.next_entry() {
                seen = seq;
            }
        }
        drop(run);
        sim.power_cut(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random >> 62 == 0
        });
        let mut run = Run::start(&sim, 2, 900_000_000);
        let last = run.spool.shared.index().info(Epoch(1)).map_or(Seq(0), |info| info.last);
        assert!(last >= seen, "cut at {at}: {last:?} of {seen:?}");
        run.check();
    }
}

#[test]
fn one_failing_operation_loses_nothing() {
    let whole = Sim::default();
    let mut run = Run::start(&whole, 1, 0);
    run.add(40);
    let ops = whole.state().ops;
    for at in 1..=ops {
        let sim = Sim::default();
        sim.state().fail_at = Some(at);
        let mut run = Run::start(&sim, 1, 0);
        run.add(40);
        assert_eq!(run.check(), (41, vec![]), "operation {at}");
        assert_eq!(run.spool.depth().problem, None);
        drop(run);
        assert_eq!(Run::start(&sim, 2, 412_000).check(), (42, vec![]), "operation {at}");
    }
}

#[test]
fn a_crash_loop_without_a_controller_ends_in_gaps_not_in_a_full_table() {
    let sim = Sim::default();
    for epoch in 1..160 {
        Run::start(&sim, epoch, epoch as i64 * 20_000).add(1);
    }
    let mut run = Run::start(&sim, 160, 3_300_000);
    run.add(1);
    let epochs: std::collections::BTreeSet<u64> = run
        .drain()
        .iter()
        .filter_map(|entry| match entry {
            Entry::Sample { epoch, .. } => Some(epoch.0),
            Entry::Gap(gap) => gap.seqs.map(|_| gap.epoch.0),
        })
        .collect();
    assert_eq!(epochs, (1..=160).collect());
}

#[test]
fn a_crash_loop_does_not_cost_the_days_before_it() {
    let sim = Sim::default();
    Run::start(&sim, 1, 0).add(20);
    for epoch in 2..180 {
        let mut run = Run::start(&sim, epoch, 200_000 + epoch as i64 * 20_000);
        run.rows = 0;
        run.add(1);
    }
    let run = Run::start(&sim, 180, 4_000_000);
    let kept = |entry: &&Entry| matches!(entry, Entry::Sample { epoch: Epoch(1), .. });
    assert_eq!(run.drain().iter().filter(kept).count(), 20);
}
