use proptest::prelude::*;
use sysop_common::time::{HOUR_MS, MINUTE_MS};

use super::*;
use crate::analyse::incident::{Change, Stand, active, reconcile};
use crate::decide::fixture::host_id;
use crate::store::incidents::Incident;

/// Incidents as the store would hold them.
#[derive(Default)]
struct Book {
    known: Vec<Incident>,
}

impl Book {
    fn look(&mut self, groups: &[Group], now: UnixMs, repaired: &[(i64, UnixMs)]) -> Vec<&'static str> {
        self.look_blind(groups, now, repaired, true)
    }

    fn look_blind(
        &mut self,
        groups: &[Group],
        now: UnixMs,
        repaired: &[(i64, UnixMs)],
        observes: bool,
    ) -> Vec<&'static str> {
        let stand = Stand { host: Some(host_id(1)), now, looked: now, observes: &|_| observes, repaired };
        let changes = reconcile(groups, &self.known, &stand);
        changes.into_iter().map(|change| self.write(change)).collect()
    }

    fn write(&mut self, change: Change) -> &'static str {
        let word = match &change {
            Change::Open(_) => "open",
            Change::Reopen(_) => "reopen",
            Change::Update(_, true) => "update",
            Change::Update(_, false) => "touch",
            Change::Close(_) => "close",
        };
        let mut incident = change.incident().clone();
        if incident.id == 0 {
            incident.id = self.known.len() as i64 + 1;
            self.known.push(incident);
        } else {
            let at = self.known.iter().position(|known| known.id == incident.id).unwrap();
            self.known[at] = incident;
        }
        word
    }

    fn open(&self) -> usize {
        self.known.iter().filter(|incident| incident.closed_at.is_none()).count()
    }
}

fn at(seconds: i64) -> UnixMs {
    START.plus(seconds * SECOND_MS)
}

/// Groups of one look at `seconds`.
fn seen(seconds: i64, seen: &Seen) -> Vec<Group> {
    groups(&HostInput {
        window: Window::new(vec![seen.stored(seconds as u64 + 1, at(seconds))], None),
        ..HostInput::default()
    })
}

fn down() -> Seen {
    Seen::default().unit(failed("nginx.service", "signal"))
}

#[test]
fn an_incident_opens_once_is_touched_each_minute_and_closes_after_half_a_minute_of_quiet() {
    let mut book = Book::default();
    assert_eq!(book.look(&seen(0, &down()), at(0), &[]), ["open"]);
    for seconds in (10..60).step_by(10) {
        assert!(book.look(&seen(seconds, &down()), at(seconds), &[]).is_empty(), "{seconds}");
    }
    assert_eq!(book.look(&seen(60, &down()), at(60), &[]), ["touch"]);
    assert_eq!(book.look(&[], at(70), &[]), ["update"]);
    assert!(book.known[0].offers.is_empty() && !book.known[0].findings[0].active);
    assert!(book.look(&[], at(80), &[]).is_empty());
    assert_eq!(book.look(&[], at(90), &[]), ["close"]);
    assert_eq!(book.known[0].close_why.as_deref(), Some("the trouble is gone"));
    // Within the hour it is the same incident; later another.
    assert_eq!(book.look(&seen(600, &down()), at(600), &[]), ["reopen"]);
    assert_eq!((book.known[0].opens, book.open()), (2, 1));
    book.look(&[], at(700), &[]);
    assert_eq!(book.open(), 0);
    let later = at(700).plus(HOUR_MS + 1);
    assert_eq!(book.look(&seen(4_400, &down()), later, &[]), ["open"]);
    assert_eq!(book.known.len(), 2);
}

#[test]
fn a_verified_repair_closes_it_at_the_first_look_without_the_trouble() {
    let mut book = Book::default();
    book.look(&seen(0, &down()), at(0), &[]);
    // Verified, but the newest sample is from before.
    assert!(book.look(&seen(0, &down()), at(0), &[(1, at(12))]).is_empty());
    assert_eq!(book.look(&[], at(20), &[(1, at(12))]), ["close"]);
    assert_eq!(book.known[0].close_why.as_deref(), Some("repaired; the effect was seen"));
}

#[test]
fn what_cannot_be_observed_is_neither_confirmed_nor_over_for_an_hour() {
    let mut book = Book::default();
    book.look(&seen(0, &down()), at(0), &[]);
    for minutes in 1..60 {
        assert!(book.look_blind(&[], at(minutes * 60), &[], false).is_empty());
    }
    assert!(book.known[0].findings[0].active);
    assert_eq!(book.look_blind(&[], at(3_600), &[], false), ["close"]);
}

#[test]
fn a_host_that_makes_up_trouble_opens_a_bounded_number_of_incidents() {
    let mut book = Book::default();
    for look in 0..200 {
        let mut seen_now = Seen::default();
        for n in 0..40 {
            seen_now = seen_now.unit(failed(&format!("u{look}-{n}.service"), "exit-code"));
        }
        book.look(&seen(look * 40, &seen_now), at(look * 40), &[]);
        assert!(book.open() <= 64, "{}", book.open());
    }
    // 8,000 made up within two hours and a quarter.
    assert!(book.known.len() <= 3 * 128, "{}", book.known.len());
}

#[test]
fn a_loop_stays_open_for_half_an_hour_of_quiet() {
    let mut book = Book::default();
    let looks = (0..5).map(|n| Seen::default().unit(Unit { restarts: n, ..running("web.service") }));
    book.look(&groups(&every_10s(looks)), at(40), &[]);
    book.look(&[], at(50), &[]);
    assert!(book.look(&[], at(40).plus(29 * MINUTE_MS), &[]).is_empty());
    assert_eq!(book.look(&[], at(40).plus(30 * MINUTE_MS), &[]), ["close"]);
}

#[test]
fn a_cause_that_shows_later_takes_the_lead_and_two_incidents_become_one() {
    let unit = Seen::default().unit(failed("db.service", "exit-code"));
    let low = Seen::default().fs_of("/", 100 * GIB, 4 * GIB);
    let both = Seen { units: unit.units.clone(), ..Seen::default().fs_of("/", 100 * GIB, 100) };
    let apart = Seen { units: unit.units.clone(), ..low.clone() };
    let mut book = Book::default();
    assert_eq!(book.look(&seen(0, &unit), at(0), &[]), ["open"]);
    assert_eq!(book.look(&seen(10, &apart), at(10), &[]), ["open"]);
    assert_eq!(book.open(), 2);
    assert_eq!(book.look(&seen(20, &both), at(20), &[]), ["close", "update"]);
    let lead = book.known.iter().find(|incident| incident.closed_at.is_none()).unwrap();
    assert_eq!((lead.id, lead.title.as_str(), lead.findings.len()), (1, "/ is almost out of space", 2));
    assert_eq!(lead.findings[1].caused_by.as_deref(), Some("disk_fill:/"));
    assert!(lead.offers.iter().all(|offer| offer.finding == "disk_fill:/"));
    // Space is back, the unit is still down: it leads again, with its own offers, in the same incident.
    assert_eq!(book.look(&seen(30, &unit), at(30), &[]), ["update"]);
    let lead = &book.known[0];
    assert_eq!(lead.title, "db.service failed");
    assert_eq!(lead.findings.iter().filter(|finding| finding.active).count(), 1);
    assert_eq!(lead.offers[0].action.name(), "restart_service");
    // They part: the incident goes on with what it was opened for, and nothing is opened twice.
    assert_eq!(book.look(&seen(40, &apart), at(40), &[]), ["open"]);
    assert!(book.look(&seen(41, &apart), at(41), &[]).is_empty());
}

#[test]
fn the_beginning_and_its_evidence_stay_when_the_window_moves_on() {
    let mut book = Book::default();
    let input = every_10s([Seen::default().unit(running("nginx.service")), down()]);
    book.look(&groups(&input), at(10), &[]);
    book.look(&seen(900, &down()), at(900), &[]);
    let finding = &book.known[0].findings[0];
    assert_eq!((finding.onset, finding.last_true), (at(10), at(900)));
    assert_eq!(finding.evidence[0].text, "nginx.service went from active to failed");
    assert_eq!(active(&book.known).into_iter().collect::<Vec<_>>(), ["unit_failed:nginx.service"]);
}

proptest! {
    #[test]
    fn looking_twice_writes_nothing_new_and_no_trouble_is_open_twice(
        looks in prop::collection::vec((prop::collection::vec(0u8..3, 3), 1i64..400), 1..25),
    ) {
        let mut book = Book::default();
        let mut seconds = 0;
        for (states, pause) in looks {
            seconds += pause;
            let mut look = Seen::default().fs_of("/", 100 * GIB, [50 * GIB, 4 * GIB, 100][usize::from(states[0])]);
            for (name, state) in ["a.service", "b.service"].iter().zip(&states[1..]) {
                look = look.unit(if *state == 2 { failed(name, "signal") } else { running(name) });
            }
            let groups = seen(seconds, &look);
            book.look(&groups, at(seconds), &[]);
            prop_assert!(book.look(&groups, at(seconds), &[]).is_empty());
            let mut keys: Vec<_> = book.known.iter().filter(|i| i.closed_at.is_none()).map(|i| &i.fingerprint).collect();
            let all = keys.len();
            keys.sort();
            keys.dedup();
            prop_assert_eq!(keys.len(), all);
            // Whatever is seen to hold is in exactly one open incident.
            for finding in groups.iter().flat_map(|group| &group.findings) {
                let holds = |i: &&Incident| i.closed_at.is_none()
                    && i.findings.iter().any(|f| f.active && f.fingerprint() == finding.fingerprint());
                prop_assert_eq!(book.known.iter().filter(holds).count(), 1);
            }
        }
    }
}
