//! The walls that the units build: they keep in what must not get out, and hide nothing that is needed.
//!
//! A drop-in replaces the program of a unit and leaves its walls as they are.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use sysop_agent::sample::{Options, Roots, Sampler};
use sysop_common::ids::Seq;
use sysop_common::metric;
use sysop_common::sample::NOT_OBSERVED;
use sysop_common::time::UnixMs;

use crate::ROLE;
use crate::hosts::{Host, Lab};

/// Prints what the sampler observes, one metric and label a line: the role of this program inside the walls.
pub fn look() -> Result<()> {
    let mut sampler = Sampler::new(Roots::default(), Options::default());
    let now = || UnixMs::from_system(SystemTime::now());
    sampler.tick(Seq(1), now());
    std::thread::sleep(Duration::from_millis(1100));
    let seen = sampler.tick(Seq(2), now());
    for (column, value) in seen.schema.columns.iter().zip(&seen.tick.values) {
        let verdict = if *value == NOT_OBSERVED { "hidden" } else { "seen" };
        println!("{verdict} {:?} {}", column.metric, column.label);
    }
    println!("seen {} processes", seen.tick.processes.len());
    println!("seen {} units", seen.tick.units.len());
    Ok(())
}

/// Whether the file in the first argument is in use as the second one says, `held` or `free`.
pub fn tell_use() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (path, wanted) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let held = sysop_agent::execute::is_in_use(path.as_ref())?;
    ensure!(held == (wanted == "held"), "in use: {held}");
    Ok(())
}

pub fn hides_no_metric() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot("one")?;
    host.install_agent()?;
    host.copy_in(&std::env::current_exe()?, "/usr/bin/look", 0o755)?;
    let role = format!("--setenv={ROLE}=look");
    let free = host.check(&["systemd-run", "--quiet", "--pipe", "--wait", &role, "/usr/bin/look"])?;

    host.check(&["mkdir", "--parents", "/etc/sysop/trust"])?;
    host.write("/etc/sysop/trust/ca.pem", b"", 0o644)?;
    let walled =
        run_behind_walls(&host, "sysop-agent.service", "/usr/bin/look", &format!("Environment={ROLE}=look"))?;

    let observed = |text: &str| -> BTreeSet<String> {
        text.lines().filter_map(|line| line.strip_prefix("seen ")).map(str::to_owned).collect()
    };
    let (free, walled) = (observed(&free), observed(&walled));
    let left = |what: &&String| !counts(what) && !roots_alone(what);
    let hidden: Vec<&String> = free.difference(&walled).filter(left).collect();
    ensure!(free.len() > 50, "the sampler sees almost nothing even without walls: {free:?}");
    ensure!(hidden.is_empty(), "the walls hide {hidden:?}");
    ensure!(walled.iter().any(|what| counts(what) && !what.starts_with("0 ")), "no process or unit is seen");
    Ok(())
}

/// What only root sees, or a collector to which the owner gave more than its unit has: descriptors of
/// others, and who failed to sign in.
fn roots_alone(what: &str) -> bool {
    [metric::FS_DELETED_OPEN, metric::SIGNIN_SOURCES, metric::SIGNIN_FAILED_5M, metric::SIGNIN_FAILED_60M]
        .iter()
        .any(|id| what.starts_with(&format!("{id:?} ")))
}

/// Lines whose number changes from look to look.
fn counts(what: &str) -> bool {
    what.ends_with(" processes") || what.ends_with(" units")
}

/// What the executor's actions need, and what an attacker in it would like to have.
const PROBE: &str = r#"
say() { if "$@" > /dev/null 2>&1; then echo "can $name"; else echo "cannot $name"; fi; }
name="restart a unit" say systemctl restart nginx.service
name="signal a stranger" say kill -CONT "$(cat /run/stranger.pid)"
name="remove a stranger's temporary file" say rm /tmp/strangers
name="tell that a stranger reads a file" say /usr/bin/use /tmp/held held
name="tell that nobody reads a file" say /usr/bin/use /tmp/free free
name="keep a journal" say touch /var/lib/sysop-executor/journal
name="write settings" say touch /etc/sysop/policy.toml
name="write programs" say touch /usr/bin/planted
name="open the network" say bash -c 'echo > /dev/tcp/127.0.0.1/22'
name="mount" say mount -t tmpfs none /mnt
name="load a module" say modprobe dummy
name="set the clock" say date --set=2001-01-01
name="become another user" say setpriv --reuid=33 --clear-groups true
"#;

pub fn executor_can_work() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot("one")?;
    host.install_agent()?;
    host.write("/etc/sysop/policy.toml", b"", 0o644)?;
    host.check(&["runuser", "-u", "www-data", "--", "touch", "/tmp/strangers"])?;
    host.check(&["runuser", "-u", "www-data", "--", "touch", "/tmp/held", "/tmp/free"])?;
    let held = "--property=StandardInput=file:/tmp/held";
    host.check(&["systemd-run", "--quiet", "--unit=reader", "--uid=www-data", held, "sleep", "1000"])?;
    host.copy_in(&std::env::current_exe()?, "/usr/bin/use", 0o755)?;
    let pid = host.check(&["systemctl", "show", "--property=MainPID", "--value", "dbus.service"])?;
    host.write("/run/stranger.pid", pid.as_bytes(), 0o644)?;
    host.write("/opt/probe", PROBE.as_bytes(), 0o755)?;
    let found = run_behind_walls(
        &host,
        "sysop-executor.service",
        "/usr/bin/bash /opt/probe",
        &format!("Environment={ROLE}=use"),
    )?;

    let expected: Vec<&str> = vec![
        "can restart a unit",
        "can signal a stranger",
        "can remove a stranger's temporary file",
        "can tell that a stranger reads a file",
        "can tell that nobody reads a file",
        "can keep a journal",
        "cannot write settings",
        "cannot write programs",
        "cannot open the network",
        "cannot mount",
        "cannot load a module",
        "cannot set the clock",
        "cannot become another user",
    ];
    let found: Vec<&str> = found.lines().collect();
    ensure!(found == expected, "the executor {found:#?}");
    Ok(())
}

/// Runs `program` in place of a unit's own, behind that unit's walls; what it printed.
fn run_behind_walls(host: &Host, unit: &str, program: &str, more: &str) -> Result<String> {
    let drop_in = format!(
        "[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart={program}\nStandardOutput=file:/run/said\n{more}\n"
    );
    host.write(&format!("/etc/systemd/system/{unit}.d/probe.conf"), drop_in.as_bytes(), 0o644)?;
    host.check(&["systemctl", "daemon-reload"])?;
    host.check(&["systemctl", "start", unit])?;
    Ok(String::from_utf8(host.read("/run/said")?)?)
}
