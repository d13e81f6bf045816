//! Orders on a real host: an executor that is killed in the middle, and orders that must not be taken.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::net::{connect, recv, send, socket_with};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use sysop_agent::executor::{FromExecutor, MAX_MESSAGE, SOCKET_PATH, ToExecutor};
use sysop_common::action::Event;
use sysop_common::bytes::Bytes;
use sysop_common::order::{DispatchKey, Order, SignedOrder};
use sysop_common::wire::limits;

use crate::ROLE;
use crate::harness::api::text;
use crate::harness::fleet::{Fleet, Plan};
use crate::harness::full;
use crate::hosts::{Host, Traffic};

/// Each start appends a line: what ran twice is seen for ever.
const UNIT: &str = "\
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo started >> /opt/effect-%i; sleep 1'
";
const ALLOW: &[&str] = &["restart_service=append@*.service"];
/// All states after which the host has nothing more to say of a run.
const ENDED: &[&str] = &["verified", "not_verified", "failed", "unknown", "refused"];
const LIMIT: Duration = Duration::from_secs(40);
/// The packet that [`submit`] hands over.
const PACKET: &str = "/opt/packet";

fn prepare(host: &Host) -> Result<()> {
    host.write("/etc/systemd/system/append@.service", UNIT.as_bytes(), 0o644)?;
    host.check(&["systemctl", "daemon-reload"])?;
    // The kills are many, and each run is one action.
    let policy = String::from_utf8(host.read("/etc/sysop/policy.toml")?)?;
    let policy = policy.replace("actions_per_hour = 12", "actions_per_hour = 60");
    host.write("/etc/sysop/policy.toml", policy.as_bytes(), 0o644)
}

/// How often a unit was started.
fn starts(host: &Host, unit: &str) -> Result<usize> {
    let lines = host.run(&["cat", &format!("/opt/effect-{unit}")])?;
    Ok(lines.stdout.lines().count())
}

pub fn a_killed_executor() -> Result<()> {
    Fleet::tell(&[Plan::named("one").allow(ALLOW)], |fleet| {
        prepare(&fleet.members[0].host)?;
        // From before the order is there, through its run, to the look at its effect.
        let delays: Vec<u64> =
            if full() { (0..50).map(|n| n * 60).collect() } else { vec![0, 250, 600, 2_500] };
        let mut states = Vec::new();
        for (at, delay) in delays.into_iter().enumerate() {
            states.push(killed_after(fleet, at, delay)?);
        }
        // Otherwise no kill came in the middle, and nothing was shown.
        ensure!(states.iter().any(|state| state == "unknown"), "the runs were {states:?}");
        Ok(())
    })
}

/// Kills the executor so many milliseconds after an order was given; the state of its run.
fn killed_after(fleet: &Fleet, at: usize, delay: u64) -> Result<String> {
    let host = &fleet.members[0].host;
    let id = fleet.start_run(0, "restart_service", &format!("append@{at}.service"))?;
    std::thread::sleep(Duration::from_millis(delay));
    // There may be none yet.
    host.run(&["systemctl", "kill", "--kill-whom=main", "--signal=KILL", "sysop-executor.service"])?;
    let run = fleet.wait_for_run(&id, ENDED, LIMIT)?;
    let state = text(&run, "state");
    // Longer than systemd and the link take to try again, if anybody did.
    std::thread::sleep(Duration::from_secs(if state == "unknown" { 4 } else { 0 }));
    let starts = starts(host, &at.to_string())?;
    let right = match state {
        "verified" | "not_verified" => starts == 1,
        "refused" => starts == 0,
        _ => starts <= 1,
    };
    ensure!(right, "killed after {delay} ms the action ran {starts} times: {run:#}");
    let later = fleet.run(&id)?;
    ensure!(text(&later, "state") == state, "the run was {state} and became {later:#}");
    Ok(state.to_owned())
}

pub fn orders_that_are_not_taken() -> Result<()> {
    Fleet::tell(&[Plan::named("one").allow(ALLOW), Plan::named("two")], |fleet| {
        let host = &fleet.members[0].host;
        prepare(host)?;
        host.copy_in(&std::env::current_exe()?, "/opt/submit", 0o755)?;

        // The link breaks in the middle; the order is sent again, and the run goes on all the same.
        let id = fleet.start_run(0, "restart_service", "append@cut.service")?;
        fleet.wait_for_run(&id, &["accepted", "started"], LIMIT)?;
        let twice = fleet.start_run(0, "restart_service", "append@cut.service");
        ensure!(twice.is_err_and(|error| error.to_string().contains("409")), "the same was planned twice");
        host.cut(Traffic::All)?;
        std::thread::sleep(Duration::from_secs(8));
        host.heal()?;
        fleet.wait_for_run(&id, &["verified"], LIMIT)?;
        ensure!(starts(host, "cut")? == 1, "the action ran {} times", starts(host, "cut")?);

        let taken = captured(fleet, &id)?;
        ensure!(submit_to(host, &taken)? == "duplicate", "an order that ran was not known again");
        let foreign = fleet.start_run(1, "restart_service", "nginx.service")?;
        fleet.wait_for_run(&foreign, &["refused"], LIMIT)?;
        let foreign = captured(fleet, &foreign)?;

        let mut altered = taken.clone();
        let last = altered.order.0.last_mut().context("an order without bytes")?;
        *last ^= 1;
        let unsigned = SignedOrder { signature: Bytes(Vec::new()), ..taken.clone() };
        for (what, order, reason) in [
            ("altered by one bit", altered, "bad_signature"),
            ("for another host", foreign, "wrong_host"),
            ("not signed", unsigned, "unsigned"),
            ("signed by a stranger", by_a_stranger(&taken)?, "untrusted_key"),
        ] {
            let said = submit_to(host, &order)?;
            ensure!(said == reason, "an order {what} was answered with {said}");
        }
        ensure!(starts(host, "cut")? == 1, "a refused order ran");
        let noted = host.check(&["journalctl", "--no-pager", "--unit=sysop-executor"])?;
        ensure!(
            noted.matches("order refused").count() >= 4,
            "the host's own journal lacks a refusal: {noted}"
        );
        // Somebody without a right to it does not even get an answer.
        let stranger = host.run(&["runuser", "-u", "www-data", "--", "env", &role(), "/opt/submit"])?;
        ensure!(!stranger.success(), "a stranger may speak with the executor: {}", stranger.stdout);
        without_a_journal(fleet, &taken)
    })
}

/// A journal that is lost stops everything until root says so; what was ordered before never runs.
fn without_a_journal(fleet: &Fleet, taken: &SignedOrder) -> Result<()> {
    let host = &fleet.members[0].host;
    host.run(&["systemctl", "stop", "sysop-executor.service"])?;
    host.check(&["rm", "-r", "/var/lib/sysop-executor/journal"])?;
    let id = fleet.start_run(0, "restart_service", "append@lost.service")?;
    let run = fleet.wait_for_run(&id, &["refused"], LIMIT)?;
    ensure!(text(&run, "refusal") == "no_journal", "{run:#}");
    ensure!(text(&run, "detail").contains("sysop-agent execute --reset"), "{run:#}");
    host.run(&["systemctl", "stop", "sysop-executor.service"])?;
    host.check(&["sysop-agent", "execute", "--reset"])?;
    let said = submit_to(host, taken)?;
    ensure!(said == "no_journal", "an order of before the reset was answered with {said}");
    ensure!(starts(host, "cut")? == 1, "an order of before the reset ran");
    // An order is valid from a while before it is made: for that long it may be one of before, too.
    let id = fleet.start_run(0, "restart_service", "append@lost.service")?;
    let run = fleet.wait_for_run(&id, &["refused"], LIMIT)?;
    ensure!(text(&run, "detail").contains("one that is made in"), "{run:#}");
    if full() {
        std::thread::sleep(Duration::from_secs(125));
        let id = fleet.start_run(0, "restart_service", "append@lost.service")?;
        fleet.wait_for_run(&id, &["verified"], LIMIT)?;
    }
    Ok(())
}

/// The signed order of a run, as the controller keeps it.
fn captured(fleet: &Fleet, id: &str) -> Result<SignedOrder> {
    let data = fleet.controller.data();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bytes: Vec<u8> = runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(data.join("control.db"));
        let mut db = options.connect().await?;
        let query = sqlx::query_scalar("SELECT signed_order FROM runs WHERE id = ?").bind(id);
        let found = query.fetch_one(&mut db).await;
        db.close().await?;
        found
    })?;
    Ok(limits::decode(&bytes)?)
}

/// The same order under a new id, from somebody who has a key and a certificate, but not of the CA.
fn by_a_stranger(taken: &SignedOrder) -> Result<SignedOrder> {
    let mut order: Order = limits::decode(&taken.order.0)?;
    order.id = sysop_common::ids::OrderId(uuid::Uuid::now_v7());
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let certificate = rcgen::CertificateParams::default().self_signed(&key)?;
    Ok(DispatchKey::new(&key.serialize_der(), certificate.der().to_vec())?.sign(&order)?)
}

fn role() -> String {
    format!("{ROLE}=submit")
}

/// Hands an order to a host's executor past agent and controller: what it says.
fn submit_to(host: &Host, order: &SignedOrder) -> Result<String> {
    let order = serde_cbor::ser::to_vec_packed(order)?;
    let packet = serde_cbor::ser::to_vec_packed(&ToExecutor::Submit(Bytes(order)))?;
    host.write(PACKET, &packet, 0o644)?;
    host.check(&["env", &role(), "/opt/submit"])
}

/// Hands the packet over and prints the answer to it: the role of this program inside a host.
pub fn submit() -> Result<()> {
    let packet = std::fs::read(PACKET)?;
    let ToExecutor::Submit(Bytes(signed)) = limits::decode(&packet)? else { bail!("it is no order") };
    let order: Order = limits::decode(&limits::decode::<SignedOrder>(&signed)?.order.0)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(Path::new(SOCKET_PATH))?)?;
    send(&socket, &packet, SendFlags::NOSIGNAL)?;
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        // What the journal has of other orders, or of what became of this one before, comes along.
        match next(&socket)? {
            Some(FromExecutor::Event(event)) if event.order == order.id => match event.event {
                Event::Duplicate => return say("duplicate"),
                Event::Refused { reason, .. } => {
                    return say(serde_json::to_value(reason)?.as_str().unwrap_or_default());
                }
                _ => {}
            },
            _ => {}
        }
    }
    bail!("the executor said nothing")
}

fn say(word: &str) -> Result<()> {
    println!("{word}");
    Ok(())
}

fn next(socket: &OwnedFd) -> Result<Option<FromExecutor>> {
    let mut ready = [PollFd::new(socket, PollFlags::IN)];
    if poll(&mut ready, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }))? == 0 {
        return Ok(None);
    }
    let mut buffer = vec![0; MAX_MESSAGE];
    let (_, length) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
    ensure!(length > 0, "the executor closed the connection");
    Ok(Some(limits::decode(&buffer[..length])?))
}
