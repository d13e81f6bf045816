//! The probes that a controller asks this host to run, as far as the owner's policy allows.
//!
//! A controller's list is bounded here, whatever it says: its length by the wire, each probe's interval and
//! fields by [`HostProbe::validate`], and all of them together by [`STARTS`] within [`SPAN`], also when the
//! list changes all the time.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sysop_common::probe::{HostProbe, MAX_PROBES, Outcome, ProbeId, ProbeList, Reason};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Gate, ask};
use crate::guard::Policy;
use crate::sample::ProbeBoard;

/// Tries that may start within [`SPAN`].
const STARTS: usize = MAX_PROBES;
const SPAN: Duration = Duration::from_secs(10);
/// Tries at a time.
const AT_ONCE: usize = 8;
/// The first tries after a new list are spread over this.
const SPREAD_MS: u64 = 5_000;

/// The owner's word on targets.
struct Owner(Option<Policy>);

impl Owner {
    fn read(path: &Path) -> Self {
        match Policy::load(path) {
            Ok(policy) => Self(Some(policy)),
            Err(error) if error.is_missing() => Self(Some(Policy::none(path))),
            // A policy that cannot be used allows nothing.
            Err(error) => {
                tracing::debug!(%error, "no probe is run");
                Self(None)
            }
        }
    }
}

impl Gate for Owner {
    fn allows_name(&self, name: &str, port: Option<u16>) -> bool {
        self.0.as_ref().is_some_and(|policy| policy.allows_probe_name(name, port))
    }

    fn allows_address(&self, name: Option<&str>, address: IpAddr, port: Option<u16>) -> bool {
        self.0.as_ref().is_some_and(|policy| policy.allows_probe(name, address, port))
    }

    fn refusal(&self) -> Reason {
        Reason::PolicyRefused
    }
}

/// A probe and when it is due.
struct Slot {
    probe: HostProbe,
    due: Instant,
    busy: bool,
}

/// Runs probes.
pub struct Prober {
    policy: PathBuf,
    board: ProbeBoard,
    slots: BTreeMap<ProbeId, Slot>,
    tries: JoinSet<(HostProbe, Outcome)>,
    starts: VecDeque<Instant>,
}

impl Prober {
    /// Tells its results to `board` and asks the policy in `policy` before each try.
    #[must_use]
    pub fn new(policy: PathBuf, board: ProbeBoard) -> Self {
        Self { policy, board, slots: BTreeMap::new(), tries: JoinSet::new(), starts: VecDeque::new() }
    }

    /// Runs the newest of `lists` until its sender is gone.
    pub async fn run(mut self, mut lists: watch::Receiver<ProbeList>) {
        loop {
            let wait = self.start_due(Instant::now());
            tokio::select! {
                changed = lists.changed() => match changed {
                    Ok(()) => {
                        let list = lists.borrow_and_update().clone();
                        self.take(list, Instant::now());
                    }
                    Err(_) => return,
                },
                Some(done) = self.tries.join_next() => if let Ok((probe, outcome)) = done {
                    self.done(&probe, outcome);
                },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn done(&mut self, probe: &HostProbe, outcome: Outcome) {
        // A probe that was withdrawn meanwhile is not told of any more, nor what was asked before.
        if let Some(slot) = self.slots.get_mut(&probe.id) {
            slot.busy = false;
            if slot.probe == *probe {
                self.board.tell(probe.id, outcome);
            }
        }
    }

    /// Takes a new list in place of the one before. What stays as it was keeps its time.
    fn take(&mut self, list: ProbeList, now: Instant) {
        let (mut next, mut refused) = (BTreeMap::new(), Vec::new());
        for (place, probe) in list.probes.into_iter().take(MAX_PROBES).enumerate() {
            let id = probe.id;
            if let Err(why) = probe.validate() {
                tracing::warn!(probe = %id, %why, "a probe of the controller is not taken");
                self.board.tell(id, Outcome::of(Reason::NotTaken));
                refused.push(id);
                continue;
            }
            let slot = match self.slots.remove(&id) {
                Some(slot) if slot.probe == probe => slot,
                before => {
                    let spread = SPREAD_MS * place as u64 / MAX_PROBES as u64;
                    let busy = before.is_some_and(|slot| slot.busy);
                    self.board.keep(|known| known != id);
                    Slot { probe, due: now + Duration::from_millis(spread), busy }
                }
            };
            next.insert(id, slot);
        }
        tracing::info!(probes = next.len(), "probes of the controller");
        self.slots = next;
        let slots = &self.slots;
        self.board.keep(|id| slots.contains_key(&id) || refused.contains(&id));
    }

    /// Starts what is due; tells how long there is nothing to start.
    fn start_due(&mut self, now: Instant) -> Duration {
        while self.starts.front().is_some_and(|at| now.duration_since(*at) >= SPAN) {
            self.starts.pop_front();
        }
        let mut wait = Duration::from_secs(60);
        let due: Vec<ProbeId> = {
            let mut due: Vec<(Instant, ProbeId)> =
                self.slots.iter().filter(|(_, slot)| !slot.busy).map(|(id, slot)| (slot.due, *id)).collect();
            due.sort_unstable();
            if let Some((later, _)) = due.iter().find(|(at, _)| *at > now) {
                wait = wait.min(later.duration_since(now));
            }
            due.into_iter().filter(|(at, _)| *at <= now).map(|(_, id)| id).collect()
        };
        for id in due {
            if self.starts.len() >= STARTS || self.tries.len() >= AT_ONCE {
                return wait.min(Duration::from_millis(250));
            }
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            let interval = Duration::from_millis(slot.probe.interval_ms.into());
            slot.busy = true;
            slot.due = now + interval;
            self.starts.push_back(now);
            let (probe, policy) = (slot.probe.clone(), self.policy.clone());
            self.tries.spawn(async move {
                // Read before each try: what the owner changes holds at once.
                let owner = Owner::read(&policy);
                let timeout = Duration::from_millis(probe.timeout_ms.into());
                let outcome = ask(&probe.check, timeout, &owner).await;
                (probe, outcome)
            });
        }
        wait
    }
}

#[cfg(test)]
mod tests {
    use sysop_common::probe::Check;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    fn tcp(id: u32, host: &str, port: u16) -> HostProbe {
        let check = Check::Tcp { host: host.into(), port };
        HostProbe { id: ProbeId(id), check, interval_ms: 10_000, timeout_ms: 2_000 }
    }

    async fn until(board: &ProbeBoard, id: u32) -> Outcome {
        for _ in 0..600 {
            if let Some((_, outcome)) = board.last(ProbeId(id)) {
                return outcome;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("probe {id} told nothing");
    }

    #[tokio::test]
    async fn a_stolen_controllers_list_connects_nowhere_but_where_the_owner_allows() {
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("policy.toml");
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shut = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (allowed, forbidden) = (open.local_addr().unwrap().port(), shut.local_addr().unwrap().port());
        std::fs::write(&policy, format!("[probes]\nallow = [\"127.0.0.1:{allowed}\"]\n")).unwrap();
        let board = ProbeBoard::default();
        let (list, lists) = watch::channel(ProbeList::default());
        let running = tokio::spawn(Prober::new(policy.clone(), board.clone()).run(lists));
        let huge = tcp(9, &"x".repeat(100_000), 1);
        let often = HostProbe { interval_ms: 1, ..tcp(8, "127.0.0.1", allowed) };
        let forms =
            ["127.0.0.1", "localhost", "::ffff:127.0.0.1", "internal.example", "169.254.169.254", "10.0.0.1"];
        let mut probes = vec![tcp(1, "127.0.0.1", allowed), often, huge];
        probes.extend(forms.iter().zip(20..).map(|(host, id)| tcp(id, host, forbidden)));
        list.send(ProbeList { probes }).unwrap();
        assert_eq!(until(&board, 1).await.reason, Reason::Answered);
        for id in 20..26 {
            assert_eq!(until(&board, id).await.reason, Reason::PolicyRefused, "{id}");
        }
        // Whatever came to the listener that is forbidden would be waiting there.
        let came = tokio::time::timeout(Duration::from_millis(50), shut.accept()).await;
        assert!(came.is_err());
        drop(open.accept().await.unwrap().0.read(&mut [0; 1]).await);
        assert!(tokio::time::timeout(Duration::from_millis(50), open.accept()).await.is_err(), "often ran");
        // A policy that others may write, or that cannot be read, allows nothing.
        std::fs::write(&policy, "[probes]\nallow = 7\n").unwrap();
        list.send(ProbeList { probes: vec![tcp(40, "127.0.0.1", allowed)] }).unwrap();
        assert_eq!(until(&board, 40).await.reason, Reason::PolicyRefused);
        assert!(board.last(ProbeId(1)).is_none(), "what is withdrawn is not told any more");
        // Without a policy: nothing.
        std::fs::remove_file(&policy).unwrap();
        list.send(ProbeList { probes: vec![tcp(41, "localhost", allowed), tcp(42, "10.0.0.1", 1)] }).unwrap();
        assert_eq!(until(&board, 41).await.reason, Reason::PolicyRefused);
        assert_eq!(until(&board, 42).await.reason, Reason::PolicyRefused);
        drop(list);
        running.await.unwrap();
    }

    #[tokio::test]
    async fn lists_that_change_all_the_time_start_no_more_than_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let mut prober = Prober::new(dir.path().join("none"), ProbeBoard::default());
        let (mut started, begin) = (0, Instant::now());
        for round in 0..100u32 {
            let now = begin + Duration::from_millis(u64::from(round) * 90);
            let probes = (0..32).map(|n| tcp(round * 32 + n, "10.0.0.1", 1)).collect();
            prober.take(ProbeList { probes }, now);
            let before = prober.starts.len();
            prober.start_due(now + Duration::from_secs(6));
            started += prober.starts.len() - before;
            while prober.tries.join_next().await.is_some() {}
        }
        assert!(started <= STARTS * 2, "{started}");
    }
}
