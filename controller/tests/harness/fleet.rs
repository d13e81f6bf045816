//! A controller with booted hosts that were enrolled by the very line that "Add host" shows.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sysop_common::wire::DEFAULT_PORT;

use super::api::{Api, text};
use super::controller::Controller;
use super::hosts::{Host, Lab, wait_for};

/// What a fleet begins with.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Name of the host.
    pub name: &'static str,
    /// What its first policy allows: `restart_service=nginx.service`.
    pub allow: &'static [&'static str],
    /// Variables of the agent's environment.
    pub settings: &'static [(&'static str, &'static str)],
}

impl Plan {
    /// A host that is only monitored.
    pub const fn named(name: &'static str) -> Self {
        Self { name, allow: &[], settings: &[] }
    }

    pub const fn allow(self, allow: &'static [&'static str]) -> Self {
        Self { allow, ..self }
    }

    pub const fn settings(self, settings: &'static [(&'static str, &'static str)]) -> Self {
        Self { settings, ..self }
    }
}

/// A host that the controller knows.
pub struct Member {
    pub host: Host,
    /// Its id.
    pub id: String,
    /// Time from the pasted line to its being online.
    pub took: Duration,
}

/// A controller and its hosts.
pub struct Fleet {
    pub controller: Controller,
    /// An administrator.
    pub api: Api,
    pub members: Vec<Member>,
    // Last: the hosts end before their lab.
    pub lab: Lab,
}

impl Fleet {
    /// Tells a story with a fleet; when it fails, prints what controller and agents had to say.
    pub fn tell(plans: &[Plan], story: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let lab = Lab::new()?;
        let hosts = boot(&lab, plans)?;
        let agents = SocketAddr::from((lab.address(), DEFAULT_PORT));
        let settings = [
            ("SYSOP_AGENTS_LOCAL", "off"),
            ("SYSOP_AGENTS_INTERVAL", "1s"),
            // So often that whatever happens to a controller happens during a compaction too.
            ("SYSOP_RETENTION_COMPACT_EVERY", "2s"),
        ];
        let controller = Controller::start(agents, &settings)?;
        let api = controller.api("admin")?;
        let mut fleet = Self { controller, api, members: Vec::new(), lab };
        let told = hosts
            .into_iter()
            .zip(plans)
            .try_for_each(|(host, plan)| fleet.take_in(host, plan))
            .and_then(|()| story(&mut fleet));
        if told.is_err() {
            eprintln!("--- the controller's last words ---\n{}", fleet.controller.log());
            fleet.members.iter().for_each(|member| eprintln!("{}", words(&member.host)));
        }
        told
    }

    fn take_in(&mut self, host: Host, plan: &Plan) -> Result<()> {
        let enrolled = self.enrol(&host, plan.allow);
        let member = match enrolled {
            Ok((id, took)) => Member { host, id, took },
            Err(error) => {
                eprintln!("{}", words(&host));
                return Err(error);
            }
        };
        self.members.push(member);
        Ok(())
    }

    /// Pastes the line into a host and waits until the API calls the host online: its id, and how long
    /// that took.
    fn enrol(&self, host: &Host, allow: &[&str]) -> Result<(String, Duration)> {
        let made =
            self.api.post("/api/v1/enrollment-tokens", &json!({ "name": host.name(), "allow": allow }))?;
        let start = Instant::now();
        host.check(&["sh", "-c", text(&made, "command")])?;
        let id = wait_for("enrolled host that is online", Duration::from_secs(30), || {
            let hosts = self.api.list("/api/v1/hosts")?;
            let found = hosts.iter().find(|one| text(one, "name") == host.name());
            Ok(found.filter(|one| text(one, "status") == "online").map(|one| text(one, "id").to_owned()))
        })?;
        Ok((id, start.elapsed()))
    }

    /// All that is known of a host.
    pub fn detail(&self, member: usize) -> Result<Value> {
        self.api.get(&format!("/api/v1/hosts/{}", self.members[member].id))
    }

    /// How a host's session is carried: `quic`, `tcp`, or empty without a session.
    pub fn carrier(&self, member: usize) -> Result<String> {
        Ok(text(&self.detail(member)?, "carrier").to_owned())
    }

    /// Time of a host's newest sample, on the controller's clock; waits for the first one.
    pub fn newest(&self, member: usize) -> Result<i64> {
        wait_for("first sample", Duration::from_secs(5), || {
            Ok(self.detail(member)?.pointer("/latest/at").and_then(Value::as_i64))
        })
    }

    /// Assigns an action to a host.
    pub fn assign(&self, member: usize, action: &str, automatic: bool) -> Result<()> {
        let body = json!({ "host": self.members[member].id, "action": action, "automatic": automatic });
        self.api.post("/api/v1/assignments", &body).map(drop)
    }

    /// Starts an action on a unit by hand; the run's id.
    pub fn start_run(&self, member: usize, action: &str, unit: &str) -> Result<String> {
        let body = json!({ "host": self.members[member].id, "action": action, "params": { "unit": unit } });
        Ok(text(&self.api.post("/api/v1/runs", &body)?, "id").to_owned())
    }

    /// A run with its steps.
    pub fn run(&self, id: &str) -> Result<Value> {
        self.api.get(&format!("/api/v1/runs/{id}"))
    }

    /// Waits until a run is in one of `states`.
    pub fn wait_for_run(&self, id: &str, states: &[&str], limit: Duration) -> Result<Value> {
        let mut last = Value::Null;
        let found = wait_for(&format!("run that is {}", states.join(" or ")), limit, || {
            last = self.run(id)?;
            Ok(states.contains(&text(&last, "state")).then_some(()))
        });
        match found {
            Ok(()) => Ok(last),
            Err(error) => bail!("{error:#}; the run is {last:#}"),
        }
    }
}

impl Member {
    /// What the agent says of itself. It is written at each change of the session, else every few seconds.
    pub fn status(&self) -> Result<Value> {
        serde_json::from_slice(&self.host.read("/run/sysop/agent.json")?).context("status is no JSON")
    }

    /// Replaces the owner's policy; the agent announces it when it starts again.
    pub fn set_policy(&self, text: &str) -> Result<()> {
        self.host.write("/etc/sysop/policy.toml", text.as_bytes(), 0o644)?;
        self.host.check(&["systemctl", "restart", "sysop-agent.service"])?;
        Ok(())
    }
}

fn boot(lab: &Lab, plans: &[Plan]) -> Result<Vec<Host>> {
    let boot = |plan: &Plan| -> Result<Host> {
        let host = lab.boot(plan.name)?;
        host.install_agent()?;
        // The line says sudo, which a host may do without when it is root's own.
        host.write("/usr/local/bin/sudo", b"#!/bin/sh\nexec \"$@\"\n", 0o755)?;
        let environment: String =
            plan.settings.iter().map(|(key, value)| format!("Environment={key}={value}\n")).collect();
        let drop_in = format!("[Service]\n{environment}");
        host.write("/etc/systemd/system/sysop-agent.service.d/story.conf", drop_in.as_bytes(), 0o644)?;
        host.check(&["systemctl", "daemon-reload"])?;
        host.wait_for_unit("nginx.service", "active", Duration::from_secs(10))?;
        Ok(host)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = plans.iter().map(|plan| scope.spawn(|| boot(plan))).collect();
        let booted =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("booting panicked")));
        booted.collect()
    })
}

/// The last words of a host's parts of the product.
fn words(host: &Host) -> String {
    let mut command = vec!["journalctl", "--no-pager", "--lines=80", "--output=short-precise"];
    command.extend(["--unit=sysop-agent", "--unit=sysop-executor", "--unit=nginx"]);
    let said = host.run(&command).map_or_else(|error| format!("{error:#}"), |output| output.stdout);
    format!("--- last words of {} ---\n{said}", host.name())
}

/// Fails with what was seen, unless `fact` holds.
pub fn within(what: &str, took: Duration, limit: Duration) -> Result<()> {
    ensure!(took <= limit, "{what} took {took:?}, more than {limit:?}");
    Ok(())
}
