//! Services: failed, looping, hung, leaking handles, threads and children.

use sysop_common::finding::Category as C;
use sysop_common::metric as m;

use super::super::host::{Host, MIB};
use super::super::noise::Noise;
use super::{Case, Do, Plot, Root, fault, pick, plot, restart_or_stop};

pub(super) fn cases() -> Vec<Case> {
    vec![
        fault("F19", "a service exits with an error and stays down", exits),
        fault("F20", "a service crashes every two seconds", crash_loop),
        fault("F21", "a service with a bad configuration never comes up", bad_config),
        fault("F22", "the main process of a service is stopped", stopped),
        fault("F24", "a database is killed and what needs it fails", database),
        fault("F26", "a service leaks open files", files),
        fault("F27", "a fork bomb within a service's limit", bomb),
        fault("F28", "a service leaves 500 zombies", zombies),
        fault("F29", "a service leaks threads", threads),
    ]
}

fn exits(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let result = ["exit-code", "signal", "core-dump", "timeout"][noise.below(4)];
    let (name, mut once) = (unit.clone(), false);
    let hand = Box::new(move |host: &mut Host, _: f64, _: f64| {
        if let Some(at) = host.find(&name).filter(|_| !once) {
            host.end(at, Some(result));
            once = true;
        }
    });
    let good = [Do::Start(unit.clone()), Do::Restart(unit.clone())];
    plot(&[C::UnitFailed], Root::Unit(unit), 75.0, hand).good(&good)
}

fn crash_loop(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let (name, every) = (unit.clone(), noise.between(1.6, 3.0));
    let hand = Box::new(move |host: &mut Host, t: f64, dt: f64| {
        let Some(at) = host.find(&name) else { return };
        for _ in 0..((t / every) as u32 - ((t - dt).max(0.0) / every) as u32) {
            host.begin(at, false);
        }
        host.works[at].sub = if t % every < 0.4 * every { "auto-restart" } else { "running" };
        host.works[at].load = 0.2;
    });
    plot(&[C::UnitFlapping], Root::Unit(unit.clone()), 60.0, hand).good(&[Do::Stop(unit)])
}

fn bad_config(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let (name, tries) = (unit.clone(), 4 + noise.below(3) as u32);
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        let Some(at) = host.find(&name) else { return };
        let due = ((t / 4.0) as u32).min(tries);
        while host.works[at].restarts < due {
            host.begin(at, false);
        }
        if due == tries && host.works[at].runs() {
            host.end(at, Some("exit-code"));
        }
    });
    let again = [Do::Start(unit.clone()), Do::Restart(unit.clone())];
    let plot = plot(&[C::UnitFlapping, C::UnitFailed], Root::Unit(unit.clone()), 60.0, hand);
    plot.good(&[Do::Stop(unit)]).useless(&again).with(&[C::UnitFailed, C::UnitFlapping])
}

fn stopped(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let name = unit.clone();
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        let at = host.with(&name, false);
        host.works[at].frozen = true;
        let pid = host.works[at].pid.to_string();
        if t >= 45.0 {
            host.gauge(m::TASK_STOPPED, pid, t * 1_000.0);
        }
    });
    plot(&[C::UnitHung], Root::Unit(unit.clone()), 120.0, hand).good(&[Do::Restart(unit)])
}

fn database(noise: &mut Noise, host: &mut Host) -> Plot {
    let web = pick(noise, host);
    let db = ["postgresql.service", "mariadb.service", "redis-server.service"][noise.below(3)].to_owned();
    host.with(&db, false);
    let at = host.with(&db, false);
    (host.works[at].memory, host.works[at].cpu) = (80.0 * MIB, 0.05);
    let (name, follows, after) = (db.clone(), web.clone(), noise.between(5.0, 40.0));
    let (mut killed, mut followed) = (false, false);
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        if let Some(at) = host.find(&name).filter(|_| !killed) {
            host.end(at, Some("signal"));
            killed = true;
        }
        if let Some(at) = host.find(&follows).filter(|_| !followed && t >= after) {
            host.end(at, Some("exit-code"));
            followed = true;
        }
    });
    let good = [Do::Start(db.clone()), Do::Restart(db.clone())];
    let later = [Do::Start(web.clone()), Do::Restart(web)];
    plot(&[C::UnitFailed], Root::Unit(db), 120.0, hand).good(&good).useless(&later)
}

fn files(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let per_second = 980.0 / noise.between(700.0, 2_400.0);
    let name = unit.clone();
    let hand = Box::new(move |host: &mut Host, _: f64, dt: f64| {
        let at = host.with(&name, false);
        host.works[at].more_fds = (host.works[at].more_fds + per_second * dt).min(984.0);
    });
    let goal = 0.86 * 1_024.0 / per_second;
    let plot = plot(&[C::FdExhaustion], Root::Unit(unit.clone()), goal, hand);
    Plot { lasts: goal + 300.0, ..plot.good(&[Do::Restart(unit.clone()), Do::Stop(unit)]) }
}

fn bomb(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let at = host.with(&unit, false);
    host.works[at].task_limit = Some(200.0);
    let (name, rate) = (unit.clone(), noise.between(60.0, 400.0));
    let hand = Box::new(move |host: &mut Host, _: f64, dt: f64| {
        let at = host.with(&name, false);
        host.works[at].more_tasks += rate * dt;
        host.works[at].threads = (host.cores * 0.8).round();
        host.extra.forks_per_s = rate;
    });
    let good = [Do::Stop(unit.clone()), Do::Kill(unit.trim_end_matches(".service").into())];
    let plot = plot(&[C::PidExhaustion], Root::Unit(unit.clone()), 30.0, hand).good(&good);
    plot.useless(&[Do::Restart(unit)]).with(&[C::CpuPressure])
}

fn zombies(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let (name, over) = (unit.clone(), noise.between(30.0, 120.0));
    let hand = Box::new(move |host: &mut Host, t: f64, _: f64| {
        let at = host.with(&name, false);
        let count = 500.0 * (t / over).min(1.0);
        let pid = host.works[at].pid.to_string();
        host.zombies = count as i64;
        if count >= 10.0 {
            host.gauge(m::TASK_ZOMBIES, pid, count);
        }
    });
    let good = [Do::Restart(unit.clone()), Do::Stop(unit.clone())];
    plot(&[C::Zombies], Root::Unit(unit), 180.0, hand).good(&good)
}

fn threads(noise: &mut Noise, host: &mut Host) -> Plot {
    let unit = pick(noise, host);
    let at = host.with(&unit, false);
    host.works[at].task_limit = Some(500.0);
    let per_second = 490.0 / noise.between(500.0, 2_000.0);
    let name = unit.clone();
    let hand = Box::new(move |host: &mut Host, _: f64, dt: f64| {
        let at = host.with(&name, false);
        host.works[at].more_tasks = (host.works[at].more_tasks + per_second * dt).min(494.0);
    });
    let goal = 0.88 * 500.0 / per_second;
    let plot = plot(&[C::PidExhaustion], Root::Unit(unit.clone()), goal, hand).good(&restart_or_stop(&unit));
    Plot { lasts: goal + 240.0, ..plot }
}
