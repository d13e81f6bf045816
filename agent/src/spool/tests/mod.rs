//! The spool's promise, on disks that fail in every way: see [`Run::check`].

mod crash;
mod damage;
mod sim;

use std::collections::BTreeMap;

use proptest::prelude::*;
use sysop_common::metric;
use sysop_common::sample::{Column, NOT_OBSERVED};
use sysop_common::wire::GapReason;

use super::disk::Disk as _;
use super::*;
use sim::Sim;

const HOST: HostId = HostId(uuid::Uuid::from_u128(7));
const SMALL: Options =
    Options { max_bytes: 64 << 10, max_age: Duration::from_secs(86_400), silence: Duration::from_secs(25) };

/// One life of an agent on a disk.
struct Run {
    spool: Spool,
    writer: Writer,
    at: i64,
    /// 8 make frames so large that a segment of 16 KiB takes a few.
    rows: u32,
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema { columns: vec![Column::new(metric::FS_FREE, "/var").unwrap()] })
}

/// A text of 150 bytes that has nothing in common with others: frames leave out what repeats.
fn noise(at: i64, pid: u32) -> String {
    let seed = format!("{at} {pid}");
    let word = |n: u8| sysop_common::ids::hex(&sysop_common::ids::sha256(format!("{seed} {n}").as_bytes()));
    (0..3).map(word).collect::<String>()[..150].to_owned()
}

impl Run {
    fn start(sim: &Sim, epoch: u64, at: i64) -> Self {
        let files = sim.list().unwrap();
        let disk = Box::new(sim.clone());
        let (spool, writer) = recover::open(disk, files, HOST, SMALL, Epoch(epoch), UnixMs(at), None);
        Self { spool, writer, at, rows: 8 }
    }

    fn append(&mut self) -> Seq {
        self.append_under(&schema())
    }

    fn append_under(&mut self, schema: &Arc<Schema>) -> Seq {
        self.at += 10_000;
        let processes = (0..self.rows)
            .map(|pid| sysop_common::sample::Process {
                pid,
                args: noise(self.at, pid).into(),
                ..Default::default()
            })
            .collect();
        let tick =
            Tick { seq: Seq(0), at: UnixMs(self.at), values: vec![NOT_OBSERVED], processes, units: vec![] };
        self.spool.append(schema, tick)
    }

    fn add(&mut self, count: usize) {
        for _ in 0..count {
            self.append();
            self.writer.step();
        }
    }

    fn drain(&self) -> Vec<Entry> {
        let mut drain = self.spool.drain();
        std::iter::from_fn(|| drain.next_entry()).collect()
    }

    /// What every drain must be: per epoch each number after the acknowledged ones exactly once and in
    /// order, as a sample or in a gap. Returns the number of samples and the reasons of gaps.
    fn check(&mut self) -> (usize, Vec<GapReason>) {
        self.add(1);
        let table: BTreeMap<Epoch, (Seq, Seq)> =
            self.spool.shared.index().epochs.iter().map(|i| (i.epoch, (i.acked, i.last))).collect();
        let mut next: BTreeMap<Epoch, Seq> = table.iter().map(|(e, (acked, _))| (*e, acked.next())).collect();
        let (mut samples, mut reasons) = (0, Vec::new());
        for entry in self.drain() {
            let (epoch, first, last) = match &entry {
                Entry::Sample { epoch, seq, frame, .. } => {
                    samples += 1;
                    let mut decoder = codec::Decoder::default();
                    assert_eq!(decoder.decode(frame, 1).unwrap().seq, *seq);
                    (*epoch, *seq, *seq)
                }
                Entry::Gap(gap) => {
                    reasons.push(gap.reason);
                    assert!(gap.from <= gap.to, "{gap:?}");
                    let Some((first, last)) = gap.seqs else { continue };
                    (gap.epoch, first, last)
                }
            };
            let next = next.entry(epoch).or_insert(first);
            assert_eq!(first, *next, "{entry:?} of {table:?}");
            *next = last.next();
        }
        for (epoch, (_, last)) in table {
            assert_eq!(next[&epoch], last.next(), "epoch {epoch}");
        }
        (samples, reasons)
    }
}

#[test]
fn a_restart_goes_on_where_the_acknowledgement_was() {
    let sim = Sim::default();
    let mut one = Run::start(&sim, 1, 0);
    one.add(30);
    one.spool.acknowledge(Epoch(1), Seq(12));
    one.writer.step();
    drop(one);
    let mut two = Run::start(&sim, 2, 310_000);
    assert_eq!(
        two.spool.previous().map(|p| (p.epoch, p.last_seq, p.last_at)),
        Some((Epoch(1), Seq(30), UnixMs(300_000)))
    );
    assert_eq!(two.check(), (19, vec![]));
    drop(two);
    let mut three = Run::start(&sim, 3, 900_000);
    assert_eq!(three.check(), (20, vec![GapReason::AgentDown]));
    assert!(sim.list().unwrap().iter().filter(|(name, _)| name.ends_with(".seg")).count() >= 3);
}

#[test]
fn acknowledged_segments_go_and_the_numbers_do_not_come_back() {
    let sim = Sim::default();
    let mut run = Run::start(&sim, 1, 0);
    for seq in 1..200 {
        run.add(1);
        run.spool.acknowledge(Epoch(1), Seq(seq));
        run.writer.step();
        assert!(run.spool.depth().bytes < 40 << 10);
    }
    assert_eq!(run.drain(), vec![]);
    assert_eq!(run.spool.depth().unacked, 0);
    run.spool.acknowledge(Epoch(1), Seq(u64::MAX));
    assert_eq!(run.check().0, 1);
    drop(run);
    assert_eq!(Run::start(&sim, 2, 2_001_000).check().0, 2);
}

#[test]
fn a_layout_that_comes_back_after_many_others_is_read_again() {
    let sim = Sim::default();
    let mut run = Run::start(&sim, 1, 0);
    run.rows = 0;
    for layout in [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 3, 9, 0, 1] {
        let column = Column::new(metric::FS_FREE, format!("/{layout}")).unwrap();
        run.append_under(&Arc::new(Schema { columns: vec![column] }));
        run.writer.step();
    }
    assert_eq!(run.check(), (16, vec![]));
}

#[test]
fn a_host_out_of_descriptors_loses_no_sample_and_is_seen_again() {
    let sim = Sim::default();
    let mut run = Run::start(&sim, 1, 0);
    run.rows = 0;
    run.add(2);
    let mut drain = run.spool.drain();
    assert_eq!(std::iter::from_fn(|| drain.next_entry()).count(), 2);
    run.add(2);
    sim.state().fail_reads = (20, libc::EMFILE);
    for _ in 0..20 {
        assert_eq!(drain.next_entry(), None);
    }
    for seq in [3, 4] {
        assert!(matches!(drain.next_entry(), Some(Entry::Sample { seq: Seq(got), .. }) if got == seq));
    }
    drop(run);
    sim.state().fail_reads = (1, libc::EMFILE);
    // A start that cannot read at once waits, instead of reporting as lost what is there.
    let run = Run::start(&sim, 2, 50_000);
    let found = run.drain();
    assert_eq!(found.iter().filter(|entry| matches!(entry, Entry::Sample { .. })).count(), 4, "{found:?}");
}

#[test]
fn a_place_that_can_never_be_read_costs_what_it_held() {
    let sim = Sim::default();
    let mut run = Run::start(&sim, 1, 0);
    run.add(30);
    let mut drain = run.spool.drain();
    assert!(matches!(drain.next_entry(), Some(Entry::Sample { seq: Seq(1), .. })));
    sim.state().fail_reads = (8, libc::EIO);
    let mut rest = Vec::new();
    for _ in 0..60 {
        rest.extend(drain.next_entry());
    }
    let lost = |entry: &&Entry| matches!(entry, Entry::Gap(gap) if gap.reason == GapReason::SpoolCorrupt);
    assert_eq!(rest.iter().filter(lost).count(), 1, "{rest:?}");
    assert!(matches!(rest.last(), Some(Entry::Sample { seq: Seq(30), .. })), "{rest:?}");
}

#[test]
fn a_full_spool_drops_the_oldest_and_says_so_once() {
    let sim = Sim::default();
    let mut run = Run::start(&sim, 1, 0);
    run.add(300);
    assert!(run.spool.depth().bytes <= SMALL.max_bytes);
    let Some(Entry::Gap(gap)) = run.drain().first().cloned() else { panic!("no gap") };
    assert_eq!((gap.reason, gap.from), (GapReason::SpoolFull, UnixMs(10_000)));
    let (samples, reasons) = run.check();
    assert!(samples > 20 && reasons == [GapReason::SpoolFull], "{samples} {reasons:?}");
    drop(run);
    assert_eq!(Run::start(&sim, 2, 3_011_000).check().1, [GapReason::SpoolFull]);
}

#[test]
fn old_samples_go_by_age_but_not_when_the_clock_was_set() {
    let sim = Sim::default();
    let mut run = Run::start(&sim, 1, 0);
    run.add(5);
    run.at += 400 * 86_400_000;
    run.add(30);
    assert_eq!(run.check(), (36, vec![]));
    drop(run);
    let mut later = Run::start(&sim, 2, 401 * 86_400_000);
    let (_, reasons) = later.check();
    assert!(reasons.contains(&GapReason::SpoolAge), "{reasons:?}");
}

#[test]
fn gaps_stay_sound_when_the_clock_is_set_back() {
    let sim = Sim::default();
    let mut run = Run::start(&sim, 1, 1_000_000_000);
    for _ in 0..300 {
        run.at -= 15_000;
        run.add(1);
    }
    run.spool.stalled(UnixMs(5), UnixMs(1));
    assert_eq!(run.check().1, [GapReason::SpoolFull, GapReason::Stalled]);
    drop(run);
    assert!(Run::start(&sim, 2, 0).check().1.contains(&GapReason::SpoolFull));
}

#[test]
fn a_stall_is_told_before_the_sample_that_ends_it() {
    let sim = Sim::default();
    let mut run = Run::start(&sim, 1, 0);
    run.add(2);
    run.spool.stalled(UnixMs(20_000), UnixMs(90_000));
    run.add(1);
    assert!(
        matches!(&run.drain()[2], Entry::Gap(gap) if gap.seqs.is_none() && gap.reason == GapReason::Stalled)
    );
    run.spool.acknowledge(Epoch(1), Seq(2));
    assert_eq!(run.check(), (2, vec![GapReason::Stalled]));
    run.spool.acknowledge(Epoch(1), Seq(3));
    assert_eq!(run.check(), (2, vec![]));
}

#[test]
fn a_second_agent_on_the_same_directory_is_refused_and_a_real_disk_works() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spool");
    let open = || Spool::open(&path, HOST, SMALL, UnixMs(0));
    let (spool, writer) = open().unwrap();
    assert!(open().unwrap_err().to_string().contains("another sysop-agent"));
    let epoch = spool.epoch();
    let mut run = Run { spool, writer, at: 0, rows: 8 };
    run.add(30);
    let Run { spool, writer, .. } = run;
    let thread = std::thread::spawn(move || writer.run());
    spool.acknowledge(epoch, Seq(10));
    spool.close();
    thread.join().unwrap();
    drop(spool);
    let (spool, writer) = open().unwrap();
    assert_eq!(spool.previous().unwrap().last_seq, Seq(30));
    assert_eq!(Run { spool, writer, at: 305_000, rows: 8 }.check(), (21, vec![]));
}

/// Two lives with acknowledgements, drops and a live reader; the last numbers that the reader saw.
fn story(sim: &Sim) -> BTreeMap<Epoch, Seq> {
    let mut seen = BTreeMap::new();
    for (epoch, at) in [(1, 0), (2, 1_000_000)] {
        let mut run = Run::start(sim, epoch, at);
        let mut drain = run.spool.drain();
        for round in 0..10 {
            run.add(3);
            while let Some(entry) = drain.next_entry() {
                if let Entry::Sample { epoch, seq, .. } = entry {
                    seen.insert(epoch, seq);
                }
            }
            if round % 4 == 3 && epoch == 2 {
                run.spool.acknowledge(Epoch(1), Seq(round));
                run.spool.acknowledge(Epoch(2), Seq(round));
            }
        }
        run.spool.close();
        run.writer.run();
    }
    seen
}
