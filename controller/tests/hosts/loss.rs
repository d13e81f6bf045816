//! Kills, cuts and a rolled-back disk, under load: no sample is silently lost, none is counted twice.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sysop_agent::{Config, Enrolment};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::harness::api::{number, text};
use crate::harness::fleet::{Fleet, Plan};
use crate::harness::{full, stored};
use crate::hosts::{Traffic, wait_for};

/// A session comes soon after each blow.
const SETTINGS: &[(&str, &str)] = &[
    ("SYSOP_SAMPLE_INTERVAL", "1s"),
    ("SYSOP_LINK_ACK_TIMEOUT", "3s"),
    ("SYSOP_LINK_HANDSHAKE_TIMEOUT", "2s"),
    ("SYSOP_LINK_MAX_BACKOFF", "2s"),
];
/// With samples each second, a hole longer than this must be in a gap record.
const SILENCE_MS: i64 = 5_000;
/// Where the older copy of an agent's state is kept.
const COPY: &str = "/opt/older";
const STATE: &str = "/var/lib/sysop-agent";

/// How often, how long.
struct Numbers {
    kills: u32,
    cut: Duration,
    crowd: usize,
}

fn numbers() -> Numbers {
    if full() {
        Numbers { kills: 50, cut: Duration::from_secs(600), crowd: 24 }
    } else {
        Numbers { kills: 4, cut: Duration::from_secs(10), crowd: 4 }
    }
}

pub fn no_sample_is_lost() -> Result<()> {
    let numbers = numbers();
    let plans = [Plan::named("one").settings(SETTINGS), Plan::named("two").settings(SETTINGS)];
    Fleet::tell(&plans, |fleet| {
        let crowd = Crowd::enrol(fleet, numbers.crowd)?;
        for turn in 0..numbers.kills {
            kill_controller(fleet, turn)?;
            fleet.members[0].host.check(&["systemctl", "kill", "--signal=KILL", "sysop-agent.service"])?;
            pause(Duration::from_millis(2_500));
        }
        roll_back(fleet)?;
        cut(fleet, numbers.cut)?;
        fleet.members.iter().try_for_each(|member| caught_up(&|| member.status()))?;

        // Everything that was taken is acknowledged; now nothing more is taken.
        for member in &fleet.members {
            member.host.check(&["systemctl", "stop", "sysop-agent.service"])?;
        }
        let crowd = crowd.end()?;
        let stopped = fleet.controller.stop()?;
        ensure!(stopped < Duration::from_secs(2), "the controller took {stopped:?} to stop");

        let data = fleet.controller.data();
        let one = check(&data, &fleet.members[0].id)?;
        let two = check(&data, &fleet.members[1].id)?;
        ensure!(one.epochs > numbers.kills as usize, "{} starts for {} kills", one.epochs, numbers.kills);
        ensure!(two.epochs >= 5, "{} starts although the state was rolled back", two.epochs);
        for id in &crowd {
            let count = check(&data, id)?;
            ensure!(count.epochs == 1, "an agent that was never stopped has {} epochs", count.epochs);
        }
        Ok(())
    })
}

/// Every number once or in a gap record; none of the latter, since the spool had room.
fn check(data: &Path, id: &str) -> Result<stored::Count> {
    let stored = stored::read(data, id)?;
    let count = stored.check(SILENCE_MS).with_context(|| format!("host {id}"))?;
    ensure!(count.lost == 0, "host {id} lost {} samples: {:#?}", count.lost, stored.gaps);
    ensure!(count.samples > 10 && count.parts > 2, "host {id} has {count:?}");
    Ok(count)
}

/// Kills the controller and starts it again, at another moment of its work each time.
fn kill_controller(fleet: &mut Fleet, turn: u32) -> Result<()> {
    fleet.controller.kill()?;
    pause(Duration::from_millis(u64::from(turn * 373 % 1_500)));
    fleet.controller.run()?;
    pause(Duration::from_millis(1_000 + u64::from(turn * 517 % 1_300)));
    Ok(())
}

/// Gives an agent an older copy of its state back, as a restored snapshot does: once when everything
/// since then had arrived, once when it is lost with the disk and nobody can know its numbers.
fn roll_back(fleet: &Fleet) -> Result<()> {
    let host = &fleet.members[1].host;
    for lost in [false, true] {
        host.check(&["sh", "-c", &format!("rm -rf {COPY} && cp --archive {STATE} {COPY}")])?;
        pause(Duration::from_secs(4));
        host.check(&["systemctl", "kill", "--signal=KILL", "sysop-agent.service"])?;
        pause(Duration::from_secs(5));
        if lost {
            host.cut(Traffic::All)?;
            pause(Duration::from_millis(SILENCE_MS as u64 + 2_000));
        }
        host.check(&["systemctl", "stop", "sysop-agent.service"])?;
        host.check(&["sh", "-c", &format!("rm -r {STATE}/* && cp --archive {COPY}/. {STATE}/")])?;
        host.heal()?;
        host.check(&["systemctl", "start", "sysop-agent.service"])?;
        pause(Duration::from_secs(3));
    }
    Ok(())
}

/// Cuts one host off, kills its agent meanwhile, and kills the controller while the agent catches up.
fn cut(fleet: &mut Fleet, time: Duration) -> Result<()> {
    let host = &fleet.members[0].host;
    host.cut(Traffic::All)?;
    pause(time / 2);
    host.check(&["systemctl", "kill", "--signal=KILL", "sysop-agent.service"])?;
    pause(time / 2);
    host.heal()?;
    pause(Duration::from_secs(2));
    kill_controller(fleet, 1)
}

/// Waits until everything that an agent has taken until now is acknowledged.
fn caught_up(status: &dyn Fn() -> Result<Value>) -> Result<()> {
    let start = number(&status()?, "at")?;
    wait_for("agent that has caught up", Duration::from_secs(90), || {
        let status = status()?;
        let open = number(&status, "unacked")? + number(&status, "gaps")?;
        let transport = status.pointer("/link/transport").and_then(Value::as_str).unwrap_or_default();
        // The sample of this second may be on its way.
        Ok((number(&status, "at")? > start && open <= 1 && !transport.is_empty()).then_some(()))
    })
}

/// More agents, in this process: load for the controller, and samples to count.
struct Crowd {
    runtime: Runtime,
    folder: tempfile::TempDir,
    agents: JoinSet<Result<(), sysop_agent::RunError>>,
    stop: tokio::sync::watch::Sender<bool>,
    ids: Vec<String>,
}

impl Crowd {
    fn enrol(fleet: &Fleet, size: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let (folder, mut agents, mut ids) = (tempfile::tempdir()?, JoinSet::new(), Vec::new());
        for at in 0..size {
            let made = fleet.api.post("/api/v1/enrollment-tokens", &json!({ "name": "crowd" }))?;
            let mut config =
                Config::in_directory(text(&made, "controller"), &folder.path().join(at.to_string()));
            config.host.name = format!("crowd{at}");
            config.sample.interval.0 = Duration::from_secs(1);
            config.link.max_backoff.0 = Duration::from_secs(2);
            let enrolment = Enrolment {
                config: config.clone(),
                token: text(&made, "token").to_owned(),
                ca: sysop_agent::enrol::parse_fingerprint(text(&made, "ca_fingerprint"))?,
                name: config.host.name.clone(),
                allow: Vec::new(),
                owner: None,
            };
            ids.push(runtime.block_on(sysop_agent::enrol(enrolment))?.host.to_string());
            let mut stopped = stopped.clone();
            agents.spawn_on(
                sysop_agent::run(config, async move {
                    let _ = stopped.wait_for(|stop| *stop).await;
                }),
                runtime.handle(),
            );
        }
        Ok(Self { runtime, folder, agents, stop, ids })
    }

    /// Waits until all have caught up and ends them; the ids of their hosts.
    fn end(mut self) -> Result<Vec<String>> {
        for at in 0..self.ids.len() {
            let path = self.folder.path().join(at.to_string()).join("run/agent.json");
            caught_up(&|| Ok(serde_json::from_slice(&std::fs::read(&path)?)?))?;
        }
        self.stop.send_replace(true);
        let start = Instant::now();
        self.runtime.block_on(async {
            while let Some(ended) = self.agents.join_next().await {
                ended??;
            }
            anyhow::Ok(())
        })?;
        ensure!(start.elapsed() < Duration::from_secs(5), "the agents took {:?} to stop", start.elapsed());
        Ok(self.ids)
    }
}

fn pause(time: Duration) {
    std::thread::sleep(time);
}
