//! Ordinary work that tempts to a wrong verdict.

use sysop_common::metric as m;

use super::super::host::{GIB, Host, MIB};
use super::super::noise::Noise;
use super::{Case, Hand, Plot, harmless, ordinary, outside, pick};

pub(super) fn cases() -> Vec<Case> {
    vec![
        harmless("B01", "a compressed backup of 30 minutes", backup),
        harmless("B02", "an upgrade that restarts twelve services", upgrade),
        harmless("B03", "rotation and compression of logs", rotation),
        harmless("B04", "a build on all cores at low priority", build),
        harmless("B05", "page cache takes what is free", cache),
        harmless("B06", "checkpoints of a database", checkpoint),
        harmless("B08", "an operator stops a service", operator),
        harmless("B09", "a release needs 15 % more memory", release),
        harmless("B11", "twice the load in the morning", morning),
        harmless("B13", "a copy fills 30 % of a file system and ends", copy),
        harmless("B15", "an image of 5 GiB is fetched", image),
        harmless("B17", "five typos, then a sign-in", typos),
        harmless("B18", "a scanner whose users sign in, too", scanner),
        harmless("B20", "the clock is slewed by 40 ms", slew),
    ]
}

/// Loads that lie over a part of all runs.
pub fn overlay(noise: &mut Noise, host: &mut Host) -> Vec<Hand> {
    let all = [rotation, build, cache, checkpoint, copy_small, image];
    let first = noise.below(all.len());
    let second = (first + 1 + noise.below(all.len() - 1)) % all.len();
    [first, second].map(|at| all[at](noise, host).hand).into()
}

fn backup(noise: &mut Noise, host: &mut Host) -> Plot {
    let name = ["restic-backup.service", "nightly-dump.service", "borgmatic.service"][noise.below(3)];
    let share = noise.between(0.3, 0.6);
    let (cores, disk) = (host.cores, host.disk);
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        if t < 1_800.0 {
            let at = host.with(name, false);
            host.works[at].threads = 1.0;
            host.works[at].load = 0.2 * cores;
            (host.works[at].more_read, host.works[at].more_write) = (share * disk, 0.15 * disk);
        }
    });
    ordinary(2_100.0, hand)
}

fn upgrade(noise: &mut Noise, host: &mut Host) -> Plot {
    let names: Vec<String> =
        host.works.iter().filter(|w| !w.session && w.runs()).map(|w| w.name.clone()).collect();
    let mut next = 0;
    let every = noise.between(8.0, 20.0);
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        let at = host.with("apt", true);
        "root".clone_into(&mut host.works[at].user);
        if t < 12.0 * every + 60.0 {
            host.works[at].threads = 1.0;
            host.works[at].more_write = 6.0 * MIB;
            host.extra.forks_per_s = 8.0;
        }
        // A restart by hand begins the count of restarts anew.
        if next < 12 && t >= next as f64 * every + 30.0 {
            if let Some(at) = host.find(&names[next % names.len()]) {
                host.begin(at, true);
            }
            next += 1;
        }
    });
    ordinary(600.0, hand)
}

fn rotation(noise: &mut Noise, _: &mut Host) -> Plot {
    let over = noise.between(60.0, 200.0);
    let hand = Box::new(move |host: &mut Host, t: f64, dt: f64| {
        if t < over {
            let at = host.with("logrotate.service", false);
            host.works[at].threads = 1.0;
            host.works[at].more_read = 25.0 * MIB;
            if let Some(root) = host.mount("/") {
                root.used = (root.used - 3.0 * MIB * dt).max(0.2 * root.total);
            }
        } else if let Some(at) = host.find("logrotate.service")
            && host.works[at].runs()
        {
            host.end(at, None);
        }
    });
    ordinary(600.0, hand)
}

fn build(noise: &mut Noise, host: &mut Host) -> Plot {
    let (threads, over) = (host.cores, noise.between(200.0, 900.0));
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        if t < over {
            let at = host.with("cc1plus", true);
            host.works[at].nice = true;
            host.works[at].threads = threads;
            host.works[at].more_write = 2.0 * MIB;
            host.extra.forks_per_s = 4.0;
        }
    });
    ordinary(1_000.0, hand)
}

fn cache(_: &mut Noise, _: &mut Host) -> Plot {
    let hand = Box::new(|host: &mut Host, t: f64, _: f64| {
        host.extra.cache = host.memory;
        if t < 300.0 {
            let at = host.with("rsync", true);
            host.works[at].more_read = 0.3 * host.disk;
            host.works[at].load = 0.2;
        }
    });
    ordinary(900.0, hand)
}

fn checkpoint(noise: &mut Noise, host: &mut Host) -> Plot {
    let (every, over) = (noise.between(240.0, 360.0), noise.between(20.0, 60.0));
    host.with("postgresql.service", false);
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        if t % every < over {
            let at = host.with("postgresql.service", false);
            host.works[at].more_write = 0.6 * host.disk;
        }
    });
    ordinary(1_800.0, hand)
}

fn operator(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let mut once = false;
    let hand = Box::new(move |host: &mut Host, _: f64, _: f64| {
        if let Some(at) = host.find(&unit).filter(|_| !once) {
            host.end(at, None);
            once = true;
        }
    });
    ordinary(600.0, hand)
}

fn release(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let (mut once, more) = (false, noise.between(0.12, 0.18));
    let hand = Box::new(move |host: &mut Host, _: f64, _: f64| {
        if let Some(at) = host.find(&unit).filter(|_| !once) {
            host.begin(at, true);
            host.works[at].memory *= 1.0 + more;
            once = true;
        }
    });
    ordinary(2_400.0, hand)
}

fn morning(noise: &mut Noise, _: &mut Host) -> Plot {
    let over = noise.between(900.0, 1_800.0);
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| host.extra.demand = 1.0 + (t / over).min(1.0));
    ordinary(2_700.0, hand)
}

fn grow_root(host: &mut Host, bytes: f64) {
    let at = host.with("cp", true);
    host.works[at].more_write = bytes;
}

fn copy(noise: &mut Noise, host: &mut Host) -> Plot {
    host.mounts.push(super::super::host::Mount {
        path: "/data",
        total: 100.0 * GIB,
        used: 40.0 * GIB,
        inodes: 6e6,
        inodes_used: 2e5,
        read_only: false,
        temp: 0.0,
        temp_inodes: 0.0,
    });
    let speed = noise.between(0.25, 0.45) * host.disk;
    let hand = Box::new(move |host: &mut Host, _: f64, dt: f64| {
        let Some(mount) = host.mount("/data") else { return };
        if mount.used < 70.0 * GIB {
            mount.used += speed * dt;
            grow_root(host, speed);
        }
    });
    ordinary(1_500.0, hand)
}

fn copy_small(noise: &mut Noise, host: &mut Host) -> Plot {
    let speed = noise.between(0.1, 0.2) * host.disk;
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        if t < 240.0 {
            grow_root(host, speed);
        }
    });
    ordinary(600.0, hand)
}

fn image(noise: &mut Noise, host: &mut Host) -> Plot {
    let speed = noise.between(20.0, 60.0) * MIB;
    let speed = speed.min(0.4 * host.disk);
    let over = 5.0 * GIB / speed;
    let hand = Box::new(move |host: &mut Host, t: f64, dt: f64| {
        if t < over {
            let at = host.with("containerd.service", false);
            (host.works[at].more_write, host.works[at].load) = (speed, 0.4);
            host.extra.net_bytes = speed;
            if let Some(root) = host.mount("/") {
                root.used += speed * dt;
            }
        }
    });
    ordinary(over.max(300.0) + 300.0, hand)
}

fn typos(_: &mut Noise, _: &mut Host) -> Plot {
    let hand = Box::new(|host: &mut Host, t: f64, _: f64| {
        let tries = (t / 6.0).min(5.0);
        host.failed_signins = f64::from(u8::from(t < 30.0));
        outside::failures(
            host,
            "10.0.0.17",
            if t < 300.0 { tries } else { 0.0 },
            tries,
            f64::from(u8::from(t > 35.0)),
        );
    });
    ordinary(600.0, hand)
}

fn scanner(noise: &mut Noise, _: &mut Host) -> Plot {
    let per_minute = noise.between(6.0, 20.0);
    let hand = Box::new(move |host: &mut Host, t: f64, dt: f64| {
        let all = per_minute * t / 60.0;
        host.failed_signins = per_minute * dt / 60.0;
        outside::failures(host, "10.0.0.9", (per_minute * 5.0).min(all), all, 240.0);
        host.gauge(m::SIGNIN_SOURCES, "", 0.0);
    });
    ordinary(900.0, hand)
}

fn slew(noise: &mut Noise, _: &mut Host) -> Plot {
    let off = noise.between(35_000.0, 44_000.0);
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        host.extra.clock_offset_us = off * (1.0 - t / 1_500.0).max(0.0);
        host.extra.clock_ahead_ms = (host.extra.clock_offset_us / 1_000.0) as i64;
    });
    ordinary(1_500.0, hand)
}
