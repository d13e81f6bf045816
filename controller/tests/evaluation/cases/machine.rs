//! Storage: space, files, bandwidth.

use sysop_common::finding::Category as C;

use super::super::host::{Host, MIB, Mount};
use super::super::noise::Noise;
use super::{Case, Do, Plot, Root, fault, pick, plot, restart_or_stop};

pub(super) fn cases() -> Vec<Case> {
    vec![
        fault("F11", "temporary files of a service fill a file system", fill),
        fault("F12", "a service floods the log", flood),
        fault("F13", "a service makes 100,000 empty files", inodes),
        fault("F15", "a service wants more than its limit on writing", limited),
        fault("F16", "a service uses up the disk", hog),
        fault("F18", "a file system becomes read-only", read_only),
    ]
}

/// A small file system of its own.
pub(super) fn small(host: &mut Host, path: &'static str, total: f64, inodes: f64) {
    host.mounts.push(Mount {
        path,
        total,
        used: 0.08 * total,
        inodes,
        inodes_used: 0.04 * inodes,
        read_only: false,
        temp: 1.0,
        temp_inodes: 1.0,
    });
}

fn fill(noise: &mut Noise, host: &mut Host) -> Plot {
    small(host, "/tmp", 512.0 * MIB, 400_000.0);
    let unit = pick(noise, host);
    let speed = 470.0 * MIB / noise.between(600.0, 1_500.0);
    let name = unit.clone();
    let hand = Box::new(move |host: &mut Host, _: f64, dt: f64| {
        let at = host.with(&name, false);
        host.works[at].more_write = speed;
        if let Some(mount) = host.mount("/tmp") {
            mount.used = (mount.used + speed * dt).min(mount.total);
        }
    });
    let mut good = restart_or_stop(&unit);
    good.push(Do::Clean);
    // 15 min before the end, or 3 min.
    let left = 470.0 * MIB / speed;
    let goal = (left * 0.8).max(180.0);
    Plot { lasts: left + 600.0, ..plot(&[C::DiskFill], Root::Unit(unit), goal, hand).good(&good) }
}

fn flood(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let rate = noise.between(12.0, 24.0) * MIB;
    let name = unit.clone();
    let hand = Box::new(move |host: &mut Host, _: f64, dt: f64| {
        let at = host.with(&name, false);
        host.works[at].load = 0.35;
        let journal = host.with("systemd-journald.service", false);
        (host.works[journal].load, host.works[journal].more_write) = (0.6, rate);
        host.extra.log_bytes_per_s = rate;
        // The journal keeps to its share and drops the oldest.
        if let Some(root) = host.mount("/")
            && root.used < 0.7 * root.total
        {
            root.used += 0.15 * rate * dt;
        }
    });
    let plot = plot(&[C::LogFlood], Root::Unit(unit.clone()), 120.0, hand);
    plot.good(&restart_or_stop(&unit)).with(&[C::DiskFill, C::IoPressure, C::CpuPressure])
}

fn inodes(noise: &mut Noise, host: &mut Host) -> Plot {
    small(host, "/tmp", 4_096.0 * MIB, 110_000.0);
    let unit = pick(noise, host);
    let speed = 104_000.0 / noise.between(60.0, 240.0);
    let name = unit.clone();
    let hand = Box::new(move |host: &mut Host, _: f64, dt: f64| {
        let at = host.with(&name, false);
        let full = host.mount("/tmp").is_some_and(|mount| mount.inodes_used >= mount.inodes - 1.0);
        // Making files is work of the kernel, and goes through the journal of the file system.
        (host.works[at].load, host.works[at].more_write) =
            if full { (0.02, 0.0) } else { (0.5, speed * 600.0) };
        if let Some(mount) = host.mount("/tmp") {
            mount.inodes_used = (mount.inodes_used + speed * dt).min(mount.inodes);
        }
    });
    let mut good = restart_or_stop(&unit);
    good.push(Do::Clean);
    plot(&[C::InodeFill], Root::Unit(unit), 180.0, hand).good(&good)
}

fn limited(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let wanted = noise.between(5.0, 12.0) * MIB;
    let name = unit.clone();
    let hand = Box::new(move |host: &mut Host, _: f64, _: f64| {
        let at = host.with(&name, false);
        (host.works[at].io_limit, host.works[at].more_write) = (Some(MIB), wanted);
    });
    plot(&[C::IoLimited, C::IoPressure], Root::Unit(unit), 180.0, hand).with(&[C::IoPressure])
}

fn hog(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let (name, times) = (unit.clone(), noise.between(1.4, 2.5));
    let reads = noise.chance(0.5);
    let hand = Box::new(move |host: &mut Host, _: f64, _: f64| {
        let wanted = host.disk * times;
        let at = host.with(&name, false);
        let work = &mut host.works[at];
        if reads { work.more_read = wanted } else { work.more_write = wanted }
    });
    let comm = unit.trim_end_matches(".service").to_owned();
    let mut good = restart_or_stop(&unit);
    good.push(Do::Kill(comm));
    plot(&[C::IoPressure], Root::Unit(unit), 120.0, hand).good(&good)
}

fn read_only(noise: &mut Noise, host: &mut Host) -> Plot {
    small(host, "/srv", 20_480.0 * MIB, 1e6);
    let fails = noise.chance(0.5).then(|| pick(noise, host));
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        if let Some(mount) = host.mount("/srv") {
            mount.read_only = true;
        }
        if let Some(at) = fails.as_ref().and_then(|name| host.find(name))
            && t > 40.0
            && host.works[at].runs()
        {
            host.end(at, Some("exit-code"));
        }
    });
    plot(&[C::FsReadOnly], Root::Entity("/srv".into()), 30.0, hand).with(&[C::UnitFailed])
}
