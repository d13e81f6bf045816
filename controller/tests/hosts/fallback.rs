//! Sessions whose datagrams are dropped, and sessions that must not be.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use sysop_common::wire::DEFAULT_PORT;

use crate::harness::api::text;
use crate::harness::fleet::{Fleet, Plan, within};
use crate::harness::stored;
use crate::hosts::{Traffic, wait_for};

/// Shorter than by default, so that the story is.
const SETTINGS: &[(&str, &str)] = &[
    ("SYSOP_LINK_ACK_TIMEOUT", "2s"),
    ("SYSOP_LINK_HANDSHAKE_TIMEOUT", "2s"),
    ("SYSOP_LINK_QUIC_RETRY", "5s"),
    ("SYSOP_LINK_MAX_BACKOFF", "2s"),
    ("SYSOP_SAMPLE_INTERVAL", "1s"),
];
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
const QUIC_RETRY: Duration = Duration::from_secs(5);
/// From the end of a session to samples on another one.
const FALL_BACK: Duration = Duration::from_secs(5);
/// From a revocation to the end of live sessions.
const REVOKED: Duration = Duration::from_secs(5);
/// One sample and the one who looks.
const SLACK: Duration = Duration::from_secs(2);

pub fn datagrams_are_dropped() -> Result<()> {
    Fleet::tell(&[Plan::named("one").settings(SETTINGS)], |fleet| {
        ensure!(fleet.carrier(0)? == "quic");
        let (start, newest) = (Instant::now(), fleet.newest(0)?);
        fleet.members[0].host.cut(Traffic::Udp(DEFAULT_PORT))?;
        carried(fleet, "tcp", ACK_TIMEOUT + FALL_BACK + SLACK)?;
        wait_for("samples over TCP", FALL_BACK, || Ok((fleet.newest(0)? > newest + 2_000).then_some(())))?;
        within("falling back", start.elapsed(), ACK_TIMEOUT + FALL_BACK + SLACK)?;

        fleet.members[0].host.heal()?;
        let start = Instant::now();
        carried(fleet, "quic", QUIC_RETRY * 3)?;
        within("returning to QUIC", start.elapsed(), QUIC_RETRY + SLACK)?;
        let newest = fleet.newest(0)?;
        wait_for("samples over QUIC", FALL_BACK, || Ok((fleet.newest(0)? > newest).then_some(())))?;

        revoked(fleet)?;
        recovered(fleet)?;
        fleet.controller.stop()?;
        let count = stored::read(&fleet.controller.data(), &fleet.members[0].id)?.check(4_000)?;
        ensure!(count.epochs == 2 && count.lost == 0 && count.samples > 5, "{count:?}");
        Ok(())
    })
}

fn carried(fleet: &Fleet, by: &str, limit: Duration) -> Result<()> {
    wait_for(&format!("session over {by}"), limit, || Ok((fleet.carrier(0)? == by).then_some(())))
}

fn revoked(fleet: &Fleet) -> Result<()> {
    let start = Instant::now();
    fleet.api.post(&format!("/api/v1/hosts/{}/revoke", fleet.members[0].id), &json!({}))?;
    carried(fleet, "", REVOKED * 2)?;
    within("ending a revoked host's session", start.elapsed(), REVOKED)?;
    let newest = fleet.newest(0)?;
    no_session(fleet, Duration::from_secs(5))?;
    // The other transport is not less particular.
    fleet.members[0].host.cut(Traffic::Udp(DEFAULT_PORT))?;
    no_session(fleet, Duration::from_secs(7))?;
    fleet.members[0].host.heal()?;
    ensure!(fleet.newest(0)? == newest, "samples of a revoked host were taken");
    ensure!(fleet.members[0].host.unit_state("sysop-agent.service")? == "active", "the agent gave up");
    Ok(())
}

/// A token that names the host brings it back as what it was; what it sampled meanwhile is a gap.
fn recovered(fleet: &Fleet) -> Result<()> {
    let member = &fleet.members[0];
    let made = fleet.api.post("/api/v1/enrollment-tokens", &json!({ "recovers": member.id }))?;
    member.host.check(&["systemctl", "stop", "sysop-agent.service"])?;
    member.host.check(&["sysop-agent", "unenroll"])?;
    member.host.check(&["sh", "-c", text(&made, "command")])?;
    carried(fleet, "quic", FALL_BACK)?;
    let newest = fleet.newest(0)?;
    wait_for("samples of the recovered host", FALL_BACK, || {
        Ok((fleet.newest(0)? > newest + 3_000).then_some(()))
    })?;
    ensure!(fleet.api.list("/api/v1/hosts")?.len() == 1, "the host came back as another one");
    Ok(())
}

fn no_session(fleet: &Fleet, time: Duration) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        let carrier = fleet.carrier(0)?;
        ensure!(carrier.is_empty(), "a revoked host has a session over {carrier}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
