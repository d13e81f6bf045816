//! What comes from outside: the way, the clock, strangers, silence.

use sysop_common::finding::Category as C;
use sysop_common::metric as m;

use super::super::host::Host;
use super::super::noise::Noise;
use super::{Case, Do, Plot, Root, fault, plot};

pub(super) fn cases() -> Vec<Case> {
    vec![
        fault("F31", "20 % of packets are lost", loss),
        fault("F32", "every answer takes 200 ms longer", delay),
        fault("F34", "200 failed sign-ins from one source", guesses),
        fault("F35", "30 sources fail to sign in once a minute", slow_guesses),
        fault("F36", "one source opens very many connections", connections),
        fault("F38", "the clock is 120 s ahead", clock),
        fault("F40", "the host falls silent", silence),
    ]
}

fn loss(noise: &mut Noise, _: &mut Host) -> Plot {
    let share = noise.between(0.15, 0.25);
    let hand = Box::new(move |host: &mut Host, _: f64, _: f64| host.extra.loss = share);
    plot(&[C::NetLoss], Root::Entity("host".into()), 180.0, hand).with(&[C::DnsFailure])
}

fn delay(noise: &mut Noise, _: &mut Host) -> Plot {
    let (ms, piles) = (noise.between(180.0, 260.0), noise.between(1.2, 2.0));
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        host.extra.delay_ms = ms;
        // By Little's law as many more are under way as each takes longer.
        host.extra.connections = host.established * piles * (t / 60.0).min(1.0);
    });
    plot(&[C::NetLoss], Root::Entity("host".into()), 300.0, hand).with(&[C::ConnectionFlood, C::ClockSkew])
}

/// Failures of one source as the agent counts them.
pub(super) fn failures(host: &mut Host, source: &str, five: f64, hour: f64, accepted: f64) {
    host.gauge(m::SIGNIN_FAILED_5M, source, five);
    host.gauge(m::SIGNIN_FAILED_60M, source, hour);
    host.gauge(m::SIGNIN_ACCEPTED_30D, source, accepted);
}

fn guesses(noise: &mut Noise, _: &mut Host) -> Plot {
    let source = format!("203.0.113.{}", 1 + noise.below(250));
    let (name, over) = (source.clone(), noise.between(40.0, 120.0));
    let hand = Box::new(move |host: &mut Host, t: f64, dt: f64| {
        let done = 200.0 * (t / over).min(1.0);
        host.failed_signins = done - 200.0 * ((t - dt).max(0.0) / over).min(1.0);
        let five = if t > 300.0 + over { 0.0 } else { done };
        failures(host, &name, five, done, 0.0);
        if done >= 30.0 {
            host.gauge(m::SIGNIN_SOURCES, "", 1.0);
        }
    });
    plot(&[C::BruteForce], Root::Entity(source), 60.0, hand)
}

fn slow_guesses(noise: &mut Noise, _: &mut Host) -> Plot {
    let (first, each) = (noise.below(100), noise.between(0.9, 1.2));
    let hand = Box::new(move |host: &mut Host, t: f64, dt: f64| {
        host.failed_signins = (30.0 * each * dt / 60.0).round();
        let (hour, five) = ((each * t / 60.0).min(60.0 * each), (each * t / 60.0).min(5.0 * each));
        for n in 0..8 {
            failures(host, &format!("198.51.100.{}", first + n * 7), five, hour, 0.0);
        }
        if hour >= 30.0 {
            host.gauge(m::SIGNIN_SOURCES, "", 30.0);
        }
    });
    plot(&[C::BruteForce], Root::Entity("sources".into()), 600.0, hand)
}

fn connections(noise: &mut Noise, host: &mut Host) -> Plot {
    let source = format!("192.0.2.{}", 1 + noise.below(250));
    let (name, many) = (source.clone(), host.established * 3.0 + noise.between(600.0, 3_000.0));
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        let now = many * (t / 30.0).min(1.0);
        host.extra.connections = now;
        host.extra.half_open = now * 0.05;
        host.gauge(m::TCP_INBOUND_FROM, name.as_str(), now);
    });
    let plot = plot(&[C::ConnectionFlood], Root::Entity(source), 60.0, hand);
    plot.with(&[C::CpuPressure, C::FdExhaustion])
}

fn clock(noise: &mut Noise, host: &mut Host) -> Plot {
    let ahead = noise.between(110_000.0, 130_000.0) as i64;
    host.with("chrony.service", false);
    let hand = Box::new(move |host: &mut Host, _: f64, _: f64| host.extra.clock_ahead_ms = ahead);
    let keeper = "chrony.service".to_owned();
    plot(&[C::ClockSkew], Root::Unit(keeper.clone()), 600.0, hand).good(&[Do::Restart(keeper)])
}

fn silence(_: &mut Noise, _: &mut Host) -> Plot {
    let hand = Box::new(|host: &mut Host, _: f64, _: f64| host.extra.silent = true);
    plot(&[C::Silence], Root::Entity("host".into()), 60.0, hand)
}
