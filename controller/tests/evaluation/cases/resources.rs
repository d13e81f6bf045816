//! Processors and memory.

use sysop_common::finding::Category as C;

use super::super::host::{Host, MIB};
use super::super::noise::Noise;
use super::{Case, Do, Plot, Root, fault, pick, plot, restart_or_stop};

pub(super) fn cases() -> Vec<Case> {
    vec![
        fault("F01", "a service spins on all cores", spin),
        fault("F02", "a process of a session spins on all cores", session_spin),
        fault("F03", "a service uses ever more processor time", creep),
        fault("F05", "the machine below takes 30 % of the time", steal),
        fault("F06", "a service leaks 1 MiB/s", slow_leak),
        fault("F07", "a service leaks 50 MiB/s", fast_leak),
        fault("F08", "a service grows to its memory limit and is killed", limit),
        fault("F09", "a service holds more than fits, and swap storms", thrash),
    ]
}

fn spin(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let threads = host.cores + noise.below(3) as f64;
    let name = unit.clone();
    let hand = Box::new(move |host: &mut Host, _: f64, _: f64| {
        let at = host.with(&name, false);
        host.works[at].threads = threads;
    });
    plot(&[C::CpuPressure], Root::Unit(unit.clone()), 120.0, hand).good(&restart_or_stop(&unit))
}

fn session_spin(noise: &mut Noise, host: &mut Host) -> Plot {
    let comm = ["python3", "ffmpeg", "stress", "R"][noise.below(4)];
    let threads = host.cores + 1.0;
    let hand = Box::new(move |host: &mut Host, _: f64, _: f64| {
        let at = host.with(comm, true);
        host.works[at].threads = threads;
    });
    plot(&[C::CpuPressure], Root::Process(comm.into()), 120.0, hand).good(&[Do::Kill(comm.into())])
}

fn creep(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let per_second = host.cores * 0.05 * noise.between(0.9, 1.2) / 600.0;
    let name = unit.clone();
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        let at = host.with(&name, false);
        host.works[at].load = per_second * t;
    });
    plot(&[C::CpuPressure], Root::Unit(unit.clone()), 1_500.0, hand).useless(&restart_or_stop(&unit))
}

fn steal(noise: &mut Noise, _: &mut Host) -> Plot {
    let share = noise.between(0.25, 0.35);
    let hand = Box::new(move |host: &mut Host, _: f64, _: f64| host.extra.steal = share);
    plot(&[C::CpuSteal], Root::Entity("host".into()), 300.0, hand).with(&[C::CpuPressure])
}

/// A service that takes so many bytes per second and keeps them.
fn leak(host: &mut Host, unit: &str, per_second: f64, dt: f64) {
    let at = host.with(unit, false);
    host.works[at].grown += per_second * dt;
}

fn slow_leak(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let speed = noise.between(0.85, 1.3) * MIB;
    let name = unit.clone();
    let hand = Box::new(move |host: &mut Host, _: f64, dt: f64| leak(host, &name, speed, dt));
    let plot = plot(&[C::MemoryLeak, C::MemoryPressure], Root::Unit(unit.clone()), 900.0, hand);
    plot.good(&restart_or_stop(&unit)).with(&[C::OomKill, C::UnitFlapping, C::IoPressure])
}

fn fast_leak(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    // So that it does not fit within a good minute, whatever the size of the host.
    let speed = (noise.between(45.0, 60.0) * MIB).max(host.memory / 110.0);
    let name = unit.clone();
    let hand = Box::new(move |host: &mut Host, _: f64, dt: f64| leak(host, &name, speed, dt));
    let plot = plot(&[C::MemoryPressure, C::MemoryLeak, C::OomKill], Root::Unit(unit.clone()), 60.0, hand);
    let comm = unit.trim_end_matches(".service").to_owned();
    let mut good = restart_or_stop(&unit);
    good.push(Do::Kill(comm));
    plot.good(&good).with(&[C::UnitFlapping, C::IoPressure, C::CpuPressure])
}

fn limit(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let at = host.with(&unit, false);
    let room = (host.works[at].now.max(host.works[at].memory) + 64.0 * MIB) * 1.3;
    let speed = (room - host.works[at].memory) / noise.between(50.0, 110.0);
    let (name, mut limited) = (unit.clone(), false);
    let hand = Box::new(move |host: &mut Host, _: f64, dt: f64| {
        let at = host.with(&name, false);
        if !limited {
            (host.works[at].memory_limit, limited) = (Some(room), true);
        }
        leak(host, &name, speed, dt);
    });
    // 30 s from the first kill.
    let plot = plot(&[C::OomKill, C::MemoryLeak], Root::Unit(unit.clone()), 150.0, hand);
    plot.good(&restart_or_stop(&unit)).with(&[C::UnitFlapping, C::MemoryPressure])
}

fn thrash(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let (name, over) = (unit.clone(), noise.between(1.04, 1.08));
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        let at = host.with(&name, false);
        let others: f64 = host
            .works
            .iter()
            .enumerate()
            .filter(|(n, w)| *n != at && w.runs())
            .map(|(_, w)| w.now + w.grown)
            .sum();
        let room = host.memory * 0.94 - 0.25 * super::super::host::GIB;
        let wanted = (room * over - others - host.works[at].now).max(0.0);
        host.works[at].grown = wanted * (t / 60.0).min(1.0);
    });
    let plot = plot(&[C::MemoryPressure, C::MemoryLeak], Root::Unit(unit.clone()), 120.0, hand);
    plot.good(&restart_or_stop(&unit)).with(&[C::OomKill, C::UnitFlapping, C::IoPressure])
}
