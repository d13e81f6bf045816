mod damage;

use std::io;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use sysop_common::action::Risk;
use sysop_common::order::{ORDER_VERSION, Origin};
use uuid::Uuid;

use super::disk::{Disk, Disks};
use super::record::FRAME;
use super::*;
use crate::guard::facts::ServiceFacts;
use crate::guard::{Policy, Verdict, check};

const T0: i64 = 1_800_000_000_000;
const POLICY: &str =
    "[limits]\nactions_per_hour = 60\n[[allow]]\naction = \"restart_service\"\nunits = [\"*\"]\n";

fn host() -> HostId {
    HostId(Uuid::from_u128(7))
}

fn at(ms: i64) -> Stamp {
    Stamp { at: UnixMs(T0 + ms), up_ms: 1_000_000 + ms.unsigned_abs(), boot: Digest([1; 32]) }
}

fn order(id: u128, not_before: i64) -> Order {
    let action = Action::RestartService { unit: format!("u{id}.service").parse().unwrap() };
    Order {
        version: ORDER_VERSION,
        id: OrderId(Uuid::from_u128(id)),
        host: host(),
        entry: action.entry().digest(),
        action,
        not_before: UnixMs(T0 + not_before),
        expires: UnixMs(T0 + not_before + 60_000),
        lease: 1,
        audit_head: Digest([9; 32]),
        origin: Origin::Person,
        risk: Risk::Low,
        reason: "r".repeat(400),
    }
}

fn digest(order: &Order) -> Digest {
    Digest(sysop_common::ids::sha256(&order.encode().unwrap()))
}

fn facts(order: &Order) -> Facts {
    let name = order.action.target();
    Facts::Service(ServiceFacts {
        id: name.clone(),
        names: vec![name],
        load: "loaded".into(),
        active: "failed".into(),
        sub: "failed".into(),
        can_start: true,
        can_stop: true,
        ..ServiceFacts::default()
    })
}

/// The whole way of an order up to its start; what the executor does.
fn try_start(journal: &mut Journal, order: &Order, now: &Stamp) -> Result<Started, String> {
    let policy = Policy::parse(Path::new("p"), POLICY).unwrap();
    let history = journal.history(order, now);
    let admitted =
        check::admit(order.clone(), digest(order), &history, journal.now(now.at)).map_err(|v| match v {
            Verdict::Duplicate => "duplicate".to_owned(),
            Verdict::Refused(refused) => format!("{:?}", refused.reason),
        })?;
    let permitted = check::check(admitted, &policy, facts(order), &history)
        .map_err(|(_, r)| format!("{:?}", r.reason))?;
    journal.start(permitted, now).map_err(|e| e.to_string())
}

fn finished() -> Event {
    Event::Finished {
        state: RunState::Succeeded,
        exit: Some(0),
        duration_ms: 5,
        detail: "d".repeat(2_000),
        output: Digest([3; 32]),
        output_bytes: 10,
    }
}

/// What a disk remembers: bytes that are safe, and writes since the last sync.
#[derive(Debug, Default)]
struct Platter {
    safe: Vec<u8>,
    loose: Vec<(u64, Vec<u8>)>,
    fail_in: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct TestDisk(Arc<Mutex<Platter>>);

impl Platter {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.fail_in {
            Some(0) => Err(io::Error::other("no space left on this disk")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        let (from, to) = (at as usize, at as usize + bytes.len());
        self.safe.resize(self.safe.len().max(to), 0);
        self.safe[from..to].copy_from_slice(bytes);
    }

    fn settle(&mut self) {
        for (at, bytes) in std::mem::take(&mut self.loose) {
            self.put(at, &bytes);
        }
    }
}

impl Disk for TestDisk {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut platter = self.0.lock().unwrap();
        platter.settle();
        Ok(platter.safe.clone())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.step()?;
        platter.loose.push((at, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut platter = self.0.lock().unwrap();
        platter.step()?;
        platter.settle();
        Ok(())
    }
}

#[derive(Debug, Clone, Default)]
struct TestDisks([TestDisk; 3]);

impl TestDisks {
    fn new() -> Self {
        let disks = Self::default();
        Store::format(disks.boxed(), host(), None, UnixMs(T0)).unwrap();
        disks
    }

    fn boxed(&self) -> Disks {
        let disk = |at: usize| -> Box<dyn Disk> { Box::new(self.0[at].clone()) };
        Disks { files: [disk(0), disk(1)], mark: disk(2) }
    }

    fn open(&self, now: i64) -> Result<Journal, JournalError> {
        Journal::recover(self.boxed(), None, host(), &at(now))
    }

    /// A copy as after a power cut: of each sector written since the last sync, `keep` decides.
    fn after_power_cut(&self, mut keep: impl FnMut() -> bool) -> Self {
        let copy = Self::default();
        for (from, to) in self.0.iter().zip(&copy.0) {
            let (from, mut to) = (from.0.lock().unwrap(), to.0.lock().unwrap());
            to.safe.clone_from(&from.safe);
            for (at, bytes) in &from.loose {
                for (sector, piece) in bytes.chunks(512).enumerate() {
                    if keep() {
                        to.put(at + sector as u64 * 512, piece);
                    }
                }
            }
        }
        copy
    }

    fn copy(&self) -> Self {
        self.after_power_cut(|| true)
    }
}

fn last_event(journal: &Journal, order: &Order) -> Option<Event> {
    journal.reports(0).into_iter().rfind(|report| report.order == order.id).map(|report| report.event)
}

#[test]
fn an_id_starts_once_and_its_story_is_reported_until_it_is_acknowledged() {
    let disks = TestDisks::new();
    let mut journal = disks.open(0).unwrap();
    let first = order(1, 0);
    let started = try_start(&mut journal, &first, &at(1)).unwrap();
    assert_eq!(started.order(), &first);
    assert_eq!(try_start(&mut journal, &first, &at(2)).unwrap_err(), "duplicate");
    let other = Order { reason: "other bytes".into(), ..first.clone() };
    assert_eq!(try_start(&mut journal, &other, &at(2)).unwrap_err(), "Replayed");
    journal.event(first.id, finished(), &at(3)).unwrap();
    assert_eq!(journal.unchecked().len(), 1);
    journal.event(first.id, Event::Checked { verified: true, detail: "seen".into() }, &at(4)).unwrap();
    assert!(journal.unchecked().is_empty());
    let reports = journal.reports(0);
    assert_eq!(reports.iter().map(|r| r.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(reports.iter().all(|r| r.audit_head == Some(Digest([9; 32]))));
    journal.acknowledge(first.id, 2, &at(5)).unwrap();
    assert_eq!(journal.reports(0).len(), 2);
    journal.acknowledge(first.id, 4, &at(5)).unwrap();
    assert!(journal.is_settled(first.id) && journal.reports(0).is_empty());
    let again = disks.open(6).unwrap();
    assert_eq!(again.known(first.id), Some((digest(&first), true)));
}

#[test]
fn after_a_crash_what_had_started_is_unknown_and_never_starts_again() {
    let disks = TestDisks::new();
    let mut journal = disks.open(0).unwrap();
    let first = order(1, 0);
    try_start(&mut journal, &first, &at(1)).unwrap();
    drop(journal);
    for round in 0..3 {
        let mut journal = disks.open(2 + round).unwrap();
        assert!(matches!(last_event(&journal, &first), Some(Event::Unknown { .. })));
        assert_eq!(journal.reports(0).len(), 3);
        assert_eq!(try_start(&mut journal, &first, &at(3)).unwrap_err(), "duplicate");
    }
}

#[test]
fn refused_and_cancelled_orders_stay_so_while_they_could_come_back() {
    let disks = TestDisks::new();
    let mut journal = disks.open(0).unwrap();
    let (busy, gone) = (order(1, 0), order(2, 0));
    journal.refuse(&busy, digest(&busy), &Refused::new(Refusal::Busy, "x".repeat(5_000)), &at(1)).unwrap();
    journal.cancel(&gone, digest(&gone), &at(1)).unwrap();
    let mut journal = disks.open(2).unwrap();
    assert_eq!(try_start(&mut journal, &busy, &at(3)).unwrap_err(), "duplicate");
    assert_eq!(try_start(&mut journal, &gone, &at(3)).unwrap_err(), "duplicate");
}

#[test]
fn lease_and_clock_floor_survive_restart_and_a_clock_that_jumps() {
    let disks = TestDisks::new();
    let mut journal = disks.open(0).unwrap();
    let first = Order { lease: 7, ..order(1, 30_000) };
    try_start(&mut journal, &first, &at(40_000)).unwrap();
    let mut journal = disks.open(0).unwrap();
    // The clock went back a day: time does not.
    let back = Stamp { at: UnixMs(T0 - 86_400_000), ..at(41_000) };
    assert_eq!(journal.now(back.at), UnixMs(T0 + 40_000));
    assert_eq!(
        try_start(&mut journal, &Order { lease: 8, ..order(2, -60_001) }, &back).unwrap_err(),
        "Expired"
    );
    assert_eq!(try_start(&mut journal, &Order { lease: 6, ..order(3, 0) }, &back).unwrap_err(), "OldLease");
    // A clock ten years ahead expires what comes, and does not lock the host up once it is right again.
    let ahead = Stamp { at: UnixMs(T0 + 315_360_000_000), ..at(42_000) };
    let late = Order { lease: 8, ..order(4, 42_000) };
    assert_eq!(try_start(&mut journal, &late, &ahead).unwrap_err(), "Expired");
    journal.refuse(&late, digest(&late), &Refused::new(Refusal::Expired, "late"), &ahead).unwrap();
    assert!(try_start(&mut journal, &Order { lease: 8, ..order(5, 43_000) }, &at(43_001)).is_ok());
}

#[test]
fn the_rate_ceiling_counts_by_a_clock_that_nobody_sets() {
    let disks = TestDisks::new();
    let mut journal = disks.open(0).unwrap();
    for id in 0..60 {
        try_start(&mut journal, &order(id, 0), &at(1_000)).unwrap();
    }
    let mut journal = disks.open(2_000).unwrap();
    // Wall clock two hours ahead, 2 s of real time.
    let ahead = Stamp { at: UnixMs(T0 + 7_200_000), ..at(3_000) };
    assert_eq!(try_start(&mut journal, &order(100, 7_199_000), &ahead).unwrap_err(), "RateLimited");
    let later = Stamp { at: UnixMs(T0 + 7_200_000), up_ms: at(1_000).up_ms + 3_600_000, ..at(0) };
    assert!(try_start(&mut journal, &order(101, 7_199_000), &later).is_ok());
}

#[test]
fn a_full_file_gives_way_to_the_other_and_nothing_needed_is_lost() {
    let disks = TestDisks::new();
    let mut journal = disks.open(0).unwrap();
    let keep = order(999_999, 0);
    try_start(&mut journal, &keep, &at(1)).unwrap();
    journal.event(keep.id, finished(), &at(2)).unwrap();
    let mut numbers = 4;
    for id in 0..1_000u128 {
        // Each a minute later than the one before, so that the old ones expire.
        let ms = 62_000 * id as i64;
        let now = Stamp { up_ms: 1_000_000 + ms.unsigned_abs(), ..at(ms) };
        let one = order(id, ms);
        try_start(&mut journal, &one, &now).unwrap();
        journal.event(one.id, finished(), &now).unwrap();
        let last = journal.reports(numbers).last().unwrap().number;
        assert!(last > numbers);
        numbers = last;
        journal.acknowledge(one.id, last, &now).unwrap();
    }
    let now = 62_000 * 999;
    let mut journal = disks.open(now).unwrap();
    assert_eq!(journal.reports(0).len(), 3, "what no controller acknowledged is still reported");
    assert_eq!(try_start(&mut journal, &keep, &at(now)).unwrap_err(), "Expired");
    assert_eq!(try_start(&mut journal, &order(999, now), &at(now)).unwrap_err(), "duplicate");
}

#[test]
fn a_journal_full_of_reports_takes_no_order_and_recovers_by_acknowledgements() {
    let disks = TestDisks::new();
    let mut journal = disks.open(0).unwrap();
    let mut refused = Vec::new();
    let full = (0..2_000u128).find(|id| {
        let one = order(*id, 0);
        let result = journal.refuse(&one, digest(&one), &Refused::new(Refusal::NotAllowed, "no"), &at(1));
        refused.push(one);
        result.is_err()
    });
    assert!(full.unwrap() > 800);
    // Refusals left room for starts.
    let mut started = 0;
    let hour = |id: u128| Stamp { up_ms: 1_000_000 + 120_000 * (id as u64), ..at(2) };
    for id in 5_000..5_200u128 {
        match try_start(&mut journal, &order(id, 0), &hour(id)) {
            Ok(one) => journal.event(one.order().id, finished(), &at(3)).unwrap(),
            Err(_) => break,
        }
        started += 1;
    }
    assert!(started > 20, "{started}");
    assert!(matches!(
        journal.refuse(&order(9_000, 0), Digest([0; 32]), &Refused::new(Refusal::Busy, ""), &at(4)),
        Err(JournalError::Full)
    ));
    for report in journal.reports(0) {
        journal.acknowledge(report.order, report.number, &at(5)).unwrap();
    }
    // Once a newer order proves that time has passed, they can be forgotten.
    let later = Stamp { up_ms: 1_000_000_000, ..at(70_000) };
    assert!(try_start(&mut journal, &order(10_000, 70_000), &later).is_ok());
    let next = order(10_001, 70_000);
    journal.refuse(&next, digest(&next), &Refused::new(Refusal::Busy, ""), &later).unwrap();
    assert!(disks.open(70_001).unwrap().reports(0).len() <= 4);
}
