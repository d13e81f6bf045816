use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use sysop_common::action::{Event, OrderEvent};
use sysop_common::ids::OrderId;
use tokio::sync::mpsc;

use super::super::probe::{Probe, Step};
use super::super::serve::{Options, serve};
use super::super::{Client, Report};
use super::bench::{Bench, paths, tools};

const DIR: &str = "SYSOP_TEST_EXECUTOR_DIR";
const STEP: &str = "SYSOP_TEST_EXECUTOR_STEP";

/// Ends this process without any further ado when an order has come to `0`.
struct Ends(Option<Step>);

impl Probe for Ends {
    fn reached(&self, step: Step) {
        if self.0 == Some(step) {
            let own = rustix::process::getpid();
            let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        }
    }
}

/// The executor that the tests below end: this very program, started again with these variables.
#[test]
fn executor_of_the_crash_tests() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let dir = PathBuf::from(dir);
    let step =
        std::env::var(STEP).ok().and_then(|name| Step::ALL.into_iter().find(|s| format!("{s:?}") == name));
    let options = Options {
        tools: tools(&dir),
        probe: Arc::new(Ends(step)),
        ..Options::new(paths(&dir), Some(dir.join("executor.sock")))
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(serve(options))
        .unwrap();
}

fn below(rng: &mut TestRng, limit: u64) -> u64 {
    rng.next_u64() % limit
}

struct Executor(Child);

impl Executor {
    fn start(dir: &Path, step: Option<Step>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["executor::tests::crash::executor_of_the_crash_tests", "--exact"]);
        command.env(DIR, dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(step) = step {
            command.env(STEP, format!("{step:?}"));
        }
        let child = command.spawn().unwrap();
        // Where no socket is, a collector takes it that there is no executor.
        while !dir.join("executor.sock").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(child)
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What was heard of each order, by number, duplicates dropped.
#[derive(Default)]
struct Heard(BTreeMap<OrderId, BTreeMap<u64, OrderEvent>>);

impl Heard {
    fn take(&mut self, report: Report) {
        if let Report::Event(event) = report {
            self.0.entry(event.order).or_default().insert(event.number, event);
        }
    }

    fn is_over(&self, order: OrderId) -> bool {
        self.0.get(&order).is_some_and(|events| {
            let last = events.values().next_back().map(|event| &event.event);
            matches!(
                last,
                Some(
                    Event::Checked { .. } | Event::Unknown { .. } | Event::Cancelled | Event::Refused { .. }
                )
            )
        })
    }

    fn has(&self, order: OrderId, wanted: fn(&Event) -> bool) -> bool {
        self.0.get(&order).is_some_and(|events| events.values().any(|event| wanted(&event.event)))
    }

    async fn listen(&mut self, reports: &mut mpsc::Receiver<Report>, time: Duration, until: Option<OrderId>) {
        let deadline = Instant::now() + time;
        while !until.is_some_and(|order| self.is_over(order)) {
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, reports.recv()).await {
                Ok(Some(report)) => self.take(report),
                _ => return,
            }
        }
    }

    /// What must hold of an order whatever happened to the executor.
    fn check(&self, bench: &Bench, order: OrderId, unit: &str) {
        let lines = bench.effects(unit);
        let context = format!("{unit}: {lines} lines, {:?}", self.0.get(&order));
        assert!(lines <= 1, "{context}");
        assert!(self.is_over(order), "{context}");
        let unknown = self.has(order, |event| matches!(event, Event::Unknown { .. }));
        if self.has(order, |event| matches!(event, Event::Finished { .. })) {
            assert_eq!(lines, 1, "{context}");
        } else if !unknown {
            assert_eq!(lines, 0, "{context}");
        }
    }
}

#[tokio::test]
async fn ended_at_each_step_an_order_never_runs_twice_and_its_state_is_right_or_unknown() {
    let bench = Bench::new();
    let (sender, mut reports) = mpsc::channel(64);
    let collector = Client::start(bench.socket(), sender);
    let mut heard = Heard::default();
    for (number, step) in Step::ALL.into_iter().enumerate() {
        let unit = format!("u{number}.service");
        let order = bench.order(&unit);
        let mut executor = Executor::start(&bench.dir, Some(step));
        collector.submit(&bench.sign(&order)).await.unwrap();
        let started = Instant::now();
        while executor.0.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < Duration::from_secs(30), "{step:?} was not reached");
            heard.listen(&mut reports, Duration::from_millis(20), None).await;
        }
        let mut executor = Executor::start(&bench.dir, None);
        collector.poke().await.unwrap();
        heard.listen(&mut reports, Duration::from_secs(30), Some(order.id)).await;
        // And once more, as a controller would that heard nothing.
        collector.submit(&bench.sign(&order)).await.unwrap();
        heard.listen(&mut reports, Duration::from_millis(300), None).await;
        heard.check(&bench, order.id, &unit);
        let unknown = heard.has(order.id, |event| matches!(event, Event::Unknown { .. }));
        assert_eq!(unknown, matches!(step, Step::Started | Step::Ran), "{step:?}");
        executor.kill();
    }
}

#[tokio::test]
async fn killed_at_random_times_an_order_never_runs_twice() {
    let bench = Bench::new();
    let (sender, mut reports) = mpsc::channel(64);
    let collector = Client::start(bench.socket(), sender);
    let mut heard = Heard::default();
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut orders = Vec::new();
    let mut executor = Executor::start(&bench.dir, None);
    for number in 0..25 {
        let unit = format!("u{number}.service");
        let order = bench.order(&unit);
        collector.submit(&bench.sign(&order)).await.unwrap();
        orders.push((order, unit));
        heard.listen(&mut reports, Duration::from_millis(below(&mut rng, 120)), None).await;
        executor.kill();
        executor = Executor::start(&bench.dir, None);
        if below(&mut rng, 3) == 0 {
            let old = &orders[usize::try_from(below(&mut rng, orders.len() as u64)).unwrap()].0;
            collector.submit(&bench.sign(old)).await.unwrap();
        }
    }
    for (order, unit) in &orders {
        collector.poke().await.unwrap();
        heard.listen(&mut reports, Duration::from_secs(20), Some(order.id)).await;
        heard.check(&bench, order.id, unit);
    }
}
