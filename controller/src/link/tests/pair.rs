//! The real agent on the other side.

use std::path::Path;
use std::time::Duration;

use sysop_agent::config::{Config, Span, Transport as Choice};
use sysop_common::ids::HostId;
use sysop_common::query::Query;
use sysop_common::wire::GapReason;
use tokio::sync::oneshot;

use super::world::{World, now};
use crate::link::ports::Transport;
use crate::store::hosts;
use crate::store::samples::{Resolution, SeriesRequest};

const SECOND: Duration = Duration::from_secs(1);

fn config(address: std::net::SocketAddr, dir: &Path, choice: Choice) -> Config {
    let mut config = Config::in_directory(&address.to_string(), dir);
    config.link.transport = choice;
    config.sample.interval = Span(SECOND);
    config.sample.min_interval = Span(SECOND);
    config
}

/// An agent in this process; stops when dropped or told to.
struct Running {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(config: Config) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            Box::pin(sysop_agent::run::run(config, stop)).await.unwrap();
        });
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

async fn until(what: &str, mut met: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !met() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn seq(world: &World, host: HostId) -> u64 {
    world.store.latest(host).map_or(0, |latest| latest.now.tick.seq.0)
}

/// Numbers per epoch, in order; each must be there once.
async fn numbers(world: &World, host: HostId) -> Vec<(u64, u64)> {
    let ticks = world.store.recent(host, now().plus(-600_000));
    ticks.iter().map(|stored| (stored.epoch.0, stored.tick.seq.0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_agent_enrols_pushes_answers_and_survives_restarts_of_both_sides() {
    for (choice, transport) in [(Choice::Auto, Transport::Quic), (Choice::Tcp, Transport::Tcp)] {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (dir.path().join("controller"), dir.path().join("agent"));
        std::fs::create_dir_all(&ours).unwrap();
        let world =
            World::start_with(&ours, |link, ingest| (link.interval_ms, ingest.interval_ms) = (1_000, 1_000))
                .await;
        let address = world.address;
        let enrolment = sysop_agent::Enrolment {
            config: config(address, &theirs, choice),
            token: world.token().await,
            ca: world.identity.ca_fingerprint(),
            name: "pair".into(),
            allow: Vec::new(),
            owner: None,
        };
        let host = sysop_agent::enrol(enrolment).await.unwrap().host;
        let agent = Running::start(config(address, &theirs, choice));
        until("samples", || seq(&world, host) >= 3).await;
        assert_eq!(world.registry.session(host).unwrap().transport(), transport);
        let latest = world.store.latest(host).unwrap();
        let usage = latest.value("cpu.usage", "").unwrap();
        assert!((0.0..=1.0).contains(&usage), "{usage}");
        assert!(latest.value("memory.used_ratio", "").unwrap() > 0.0);
        let read = world.registry.query(host, Query::GetSystemLoad, Duration::from_secs(5)).await.unwrap();
        assert!(read.result.is_ok() || read.result.is_err_and(|why| why.contains("policy")));
        until("an inventory", || {
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current()
                    .block_on(hosts::get(&world.db, host))
                    .is_ok_and(|host| !host.inventory.kernel.is_empty())
            })
        })
        .await;

        // The controller restarts on the same port; the agent comes back and nothing is lost or double.
        world.stop().await;
        tokio::time::sleep(2 * SECOND).await;
        let world = World::start_with(&ours, |link, ingest| {
            (link.interval_ms, ingest.interval_ms, link.address) = (1_000, 1_000, address);
        })
        .await;
        let before = seq(&world, host);
        until("samples after the restart", || seq(&world, host) >= before + 4).await;
        let seen = numbers(&world, host).await;
        assert!(seen.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1), "{seen:?}");
        assert_eq!(world.store.numbered_gaps(host).await.unwrap(), []);

        // The agent restarts after a while: one gap of time, from whichever side.
        agent.stop().await;
        until("its goodbye", || world.presence.left(host).is_some()).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let agent = Running::start(config(address, &theirs, choice));
        let epoch = seen[0].0;
        until("the next epoch", || world.store.latest(host).is_some_and(|l| l.now.epoch.0 != epoch)).await;
        until("its samples", || seq(&world, host) >= 2).await;
        assert_eq!(world.presence.left(host), None, "it is back");
        let gaps = world.store.numbered_gaps(host).await.unwrap();
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        assert_eq!((gaps[0].seqs, gaps[0].reason), (None, GapReason::AgentDown));
        let request = SeriesRequest {
            host,
            metrics: vec![("load.1".into(), None)],
            from: now().plus(-600_000),
            to: now(),
            resolution: Resolution::Step(1_000),
        };
        let set = world.store.series(&request).await.unwrap();
        assert!(set.series[0].points.len() >= 8 && set.gaps.len() == 1);
        agent.stop().await;
        world.stop().await;
    }
}
