//! The lab itself: hosts boot fast, fail apart, lose packets on demand, and leave nothing behind.

use std::io::{BufRead, BufReader};
use std::net::{TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::ROLE;
use crate::hosts::{Host, Lab, Traffic, wait_for};

pub fn two_hosts_boot() -> Result<()> {
    let lab = Lab::new()?;
    let start = Instant::now();
    let [one, two] = lab.boot_all(["one", "two"])?;
    let took = start.elapsed();
    ensure!(took < Duration::from_secs(20), "two hosts took {took:?} to boot");

    for host in [&one, &two] {
        ensure!(host.check(&["hostname"])? == host.name());
        host.wait_for_unit("nginx.service", "active", Duration::from_secs(10))?;
        ensure!(reaches(host, 80), "{} does not answer on port 80", host.name());
    }
    one.check(&["systemctl", "kill", "--signal=KILL", "nginx.service"])?;
    one.wait_for_unit("nginx.service", "failed", Duration::from_secs(5))?;
    ensure!(two.unit_state("nginx.service")? == "active", "the other host's nginx ended too");

    one.check(&["systemctl", "restart", "nginx.service"])?;
    one.wait_for_unit("nginx.service", "active", Duration::from_secs(5))
}

pub fn a_cut_drops_one_port() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot("one")?;
    host.wait_for_unit("nginx.service", "active", Duration::from_secs(10))?;
    host.wait_for_unit("ssh.service", "active", Duration::from_secs(10))?;

    host.cut(Traffic::Tcp(80))?;
    ensure!(!reaches(&host, 80), "port 80 answers although it is cut");
    ensure!(reaches(&host, 22), "port 22 was cut along");
    host.heal()?;
    ensure!(reaches(&host, 80), "port 80 stays cut");

    host.cut(Traffic::All)?;
    ensure!(!reaches(&host, 22), "port 22 answers although everything is cut");
    host.heal()?;
    ensure!(reaches(&host, 22), "port 22 stays cut");
    Ok(())
}

pub fn datagrams_are_lost() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot("one")?;
    let ear = UdpSocket::bind((lab.address(), 0))?;
    let port = ear.local_addr()?.port();
    let arrive = || -> Result<usize> {
        let shout = format!("for i in {{1..200}}; do echo > /dev/udp/{}/{port}; done", lab.address());
        // A packet that the filter drops is an error for its sender.
        host.run(&["bash", "-c", &shout])?;
        ear.set_read_timeout(Some(Duration::from_millis(300)))?;
        Ok(std::iter::from_fn(|| ear.recv(&mut [0; 8]).ok()).count())
    };
    ensure!(arrive()? == 200, "datagrams are lost although nobody asked");
    host.lose(Traffic::Udp(port), 20)?;
    let through = arrive()?;
    ensure!((120..=190).contains(&through), "{through} of 200 arrived although 20 % were to be lost");
    host.heal()?;
    host.cut(Traffic::Udp(port))?;
    ensure!(arrive()? == 0, "datagrams arrive although they are cut");
    Ok(())
}

pub fn a_power_cut() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot("one")?;
    host.write("/opt/note", b"kept", 0o600)?;
    let first = host.check(&["cat", "/etc/machine-id"])?;
    host.power_off()?;
    ensure!(host.leader().is_err(), "the host runs on without power");
    host.power_on()?;
    ensure!(host.read("/opt/note")? == b"kept");
    ensure!(host.check(&["stat", "--format=%a", "/opt/note"])? == "600");
    ensure!(host.check(&["cat", "/etc/machine-id"])? == first);
    Ok(())
}

pub fn nothing_remains() -> Result<()> {
    let mut owner =
        Command::new(std::env::current_exe()?).env(ROLE, "owner").stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(owner.stdout.take().context("no pipe")?).read_line(&mut line)?;
    let [link, leader] = line.split_whitespace().collect::<Vec<_>>()[..] else {
        anyhow::bail!("the owner of the lab said {line:?}");
    };
    let remains = || {
        [format!("/sys/class/net/{link}"), format!("/proc/{leader}")]
            .map(|path| std::fs::exists(path).unwrap_or(true))
    };
    ensure!(remains() == [true, true], "the lab does not run");
    owner.kill()?;
    owner.wait()?;
    wait_for("end of the lab", Duration::from_secs(5), || Ok((remains() == [false, false]).then_some(())))
}

/// Owns a lab with one host until it is killed: the role of a process that this test starts.
pub fn own_until_killed() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot("orphan")?;
    println!("sysoplab{} {}", lab.address().octets()[2], host.leader()?);
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}

fn reaches(host: &Host, port: u16) -> bool {
    TcpStream::connect_timeout(&(host.address(), port).into(), Duration::from_secs(1)).is_ok()
}
