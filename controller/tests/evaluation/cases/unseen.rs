//! Kept aside: reported on their own, and never looked at while parameters were chosen.

use sysop_common::finding::Category as C;
use sysop_common::metric as m;

use super::super::host::{GIB, Host, MIB};
use super::super::noise::Noise;
use super::machine::small;
use super::{Case, Do, Plot, Root, fault, harmless, ordinary, pick, plot, restart_or_stop};

pub(super) fn cases() -> Vec<Case> {
    let all = vec![
        fault("U01", "a session's process takes all memory", session_memory),
        fault("U02", "the resolver does not answer", resolver),
        fault("U03", "a deleted file is held open and grows", deleted),
        fault("U04", "a service is held back by its quota", quota),
        fault("U05", "a service waits in the kernel for a lost share", stuck),
        fault("U06", "runs of a timed job overlap", overlap),
        fault("U07", "an interface damages 3 % of packets", damaged),
        fault("U08", "a service fills the file system within hours", slow_fill),
        fault("U09", "the machine below takes a tenth of the time", some_steal),
        fault("U10", "a session's process uses up the disk", session_disk),
        harmless("V01", "a cache that fills and levels off", warm),
        harmless("V02", "memory that goes up and down as it is collected", saw),
        harmless("V03", "three times the visitors for ten minutes", visitors),
        harmless("V04", "a busy minute every ten minutes", busy_minute),
        harmless("V05", "a service that crashes twice and stays up", twice),
    ];
    all.into_iter().map(|case| Case { unseen: true, ..case }).collect()
}

fn session_memory(noise: &mut Noise, host: &mut Host) -> Plot {
    let speed = (noise.between(30.0, 50.0) * MIB).max(host.memory / 150.0);
    let hand = Box::new(move |host: &mut Host, _: f64, dt: f64| {
        let at = host.with("ipython3", true);
        host.works[at].grown += speed * dt;
    });
    let root = Root::Process("ipython3".into());
    let plot = plot(&[C::MemoryPressure, C::OomKill], root, 120.0, hand).good(&[Do::Kill("ipython3".into())]);
    plot.with(&[C::IoPressure, C::UnitFlapping])
}

fn resolver(_: &mut Noise, _: &mut Host) -> Plot {
    let mut asked = 0.0;
    let hand = Box::new(move |host: &mut Host, _: f64, dt: f64| {
        // After a failure the agent asks more often.
        asked += dt / 10.0;
        host.gauge(m::DNS_TRIES, "", 1_000_000.0 + asked);
        host.gauge(m::DNS_FAILURES, "", 500_000.0 + asked);
    });
    plot(&[C::DnsFailure], Root::Unit("systemd-resolved.service".into()), 180.0, hand)
}

fn deleted(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    small(host, "/var/lib", 8.0 * GIB, 1e6);
    let (name, speed, mut held) = (unit.clone(), 8.0 * GIB / 1_800.0, 0.0);
    let hand = Box::new(move |host: &mut Host, _: f64, dt: f64| {
        let at = host.with(&name, false);
        held = (held + speed * dt).min(5.0 * GIB);
        host.works[at].more_write = speed;
        let pid = host.works[at].pid.to_string();
        if let Some(mount) = host.mount("/var/lib") {
            mount.used = 0.1 * mount.total + held;
        }
        host.gauge(m::FS_DELETED_OPEN, "/var/lib", held);
        host.gauge(m::FS_DELETED_OPEN, "", held);
        host.gauge(m::TASK_DELETED_OPEN, pid, held);
    });
    let plot = plot(&[C::DeletedOpen], Root::Unit(unit.clone()), 300.0, hand);
    plot.good(&restart_or_stop(&unit)).with(&[C::DiskFill])
}

fn quota(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let (name, wanted) = (unit.clone(), noise.between(1.6, 3.0));
    let hand = Box::new(move |host: &mut Host, _: f64, _: f64| {
        let at = host.with(&name, false);
        (host.works[at].quota, host.works[at].load) = (Some(0.3), 0.3 * wanted);
    });
    plot(&[C::CpuThrottled], Root::Unit(unit.clone()), 420.0, hand).useless(&restart_or_stop(&unit))
}

fn stuck(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let name = unit.clone();
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        let at = host.with(&name, false);
        (host.works[at].frozen, host.works[at].blocked) = (true, true);
        let label = format!("{} rpc_wait_bit_killable", host.works[at].pid);
        if t >= 45.0 {
            host.gauge(m::TASK_STUCK, label, t * 1_000.0);
        }
    });
    plot(&[C::StuckProcess, C::UnitHung], Root::Unit(unit), 180.0, hand).with(&[C::UnitHung, C::StuckProcess])
}

fn overlap(_: &mut Noise, _: &mut Host) -> Plot {
    let hand = Box::new(|host: &mut Host, t: f64, _: f64| {
        let runs = 1.0 + (t / 120.0).floor();
        let at = host.with("cron.service", false);
        host.works[at].load = 0.1 * runs;
        host.gauge(m::JOB_RUNS, "/usr/local/bin/sync-orders", runs.min(9.0));
    });
    plot(&[C::TimerOverlap], Root::Entity("/usr/local/bin/sync-orders".into()), 420.0, hand)
        .with(&[C::CpuPressure])
}

fn damaged(_: &mut Noise, _: &mut Host) -> Plot {
    let hand = Box::new(|host: &mut Host, _: f64, _: f64| {
        (host.extra.damaged, host.extra.net_bytes) = (0.03, 100_000.0);
    });
    plot(&[C::NetLoss], Root::Entity("eth0".into()), 180.0, hand)
}

fn slow_fill(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    small(host, "/srv", 50.0 * GIB, 1e7);
    if let Some(mount) = host.mount("/srv") {
        mount.used = 41.0 * GIB;
    }
    let (name, speed) = (unit.clone(), 8.0 * GIB / (noise.between(2.0, 3.0) * 3_600.0));
    let hand = Box::new(move |host: &mut Host, _: f64, dt: f64| {
        let at = host.with(&name, false);
        host.works[at].more_write = speed;
        if let Some(mount) = host.mount("/srv") {
            mount.used += speed * dt;
        }
    });
    plot(&[C::DiskFill], Root::Unit(unit.clone()), 1_800.0, hand).good(&restart_or_stop(&unit))
}

fn some_steal(noise: &mut Noise, _: &mut Host) -> Plot {
    let share = noise.between(0.08, 0.12);
    let hand = Box::new(move |host: &mut Host, _: f64, _: f64| host.extra.steal = share);
    plot(&[C::CpuSteal], Root::Entity("host".into()), 420.0, hand).with(&[C::CpuPressure])
}

fn session_disk(noise: &mut Noise, _: &mut Host) -> Plot {
    let times = noise.between(1.3, 2.0);
    let hand = Box::new(move |host: &mut Host, _: f64, _: f64| {
        let at = host.with("dd", true);
        host.works[at].more_write = host.disk * times;
    });
    plot(&[C::IoPressure], Root::Process("dd".into()), 120.0, hand).good(&[Do::Kill("dd".into())])
}

fn warm(noise: &mut Noise, host: &mut Host) -> Plot {
    let (unit, most) = (pick(noise, host), 0.25 * host.memory);
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        let at = host.with(&unit, false);
        host.works[at].grown = most * (1.0 - (-t / 700.0).exp());
    });
    ordinary(3_600.0, hand)
}

fn saw(noise: &mut Noise, host: &mut Host) -> Plot {
    let (unit, every) = (pick(noise, host), noise.between(300.0, 600.0));
    let most = 0.12 * host.memory;
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        let at = host.with(&unit, false);
        host.works[at].grown = most * (t % every) / every;
    });
    ordinary(3_600.0, hand)
}

fn visitors(noise: &mut Noise, _: &mut Host) -> Plot {
    let times = noise.between(1.8, 2.6);
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        host.extra.demand = if t < 600.0 { 1.0 + (times - 1.0) * (t / 120.0).min(1.0) } else { 1.0 };
    });
    ordinary(1_200.0, hand)
}

fn busy_minute(noise: &mut Noise, host: &mut Host) -> Plot {
    let share = noise.between(0.5, 0.8) * host.cores;
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        if t % 600.0 < 60.0 {
            let at = host.with("poll-metrics.service", false);
            host.works[at].threads = share.round();
        }
    });
    ordinary(3_000.0, hand)
}

fn twice(noise: &mut Noise, host: &mut Host) -> Plot {
    let (unit, mut done) = (pick(noise, host), 0);
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        if done < 2 && t >= f64::from(done) * 40.0 {
            if let Some(at) = host.find(&unit) {
                host.begin(at, false);
            }
            done += 1;
        }
    });
    ordinary(900.0, hand)
}
