//! The unit sensor against a stand-in for the bus that speaks the real protocol.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::sample::tests::host::Host;

/// What the stand-in answers: per service its ActiveState and SubState, per property its value.
#[derive(Debug, Default)]
struct World {
    services: BTreeMap<&'static str, (&'static str, &'static str)>,
    properties: BTreeMap<(&'static str, &'static str), Property>,
    /// How long the next lists take.
    slow: Duration,
    hang_up: bool,
    asked: Vec<String>,
    old: bool,
}

#[derive(Debug, Clone, Copy)]
enum Property {
    Text(&'static str),
    Number(u32),
    Long(u64),
}

fn serve(socket: &Path, world: Arc<Mutex<World>>) {
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let world = Arc::clone(&world);
            std::thread::spawn(move || talk(stream.unwrap(), &world));
        }
    });
}

/// One client; ends with the connection.
fn talk(mut stream: UnixStream, world: &Mutex<World>) -> Option<()> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        line.push(byte[0]);
    }
    let uid = rustix::process::geteuid().as_raw().to_string();
    assert_eq!(line, format!("\0AUTH EXTERNAL {}\r\n", sysop_common::ids::hex(uid.as_bytes())).as_bytes());
    stream.write_all(b"OK 0123456789abcdef\r\n").ok()?;
    stream.read_exact(&mut [0; 7]).ok()?;
    loop {
        let mut message = vec![0; wire::FIXED];
        stream.read_exact(&mut message).ok()?;
        let length = wire::message_length(message.first_chunk().unwrap()).unwrap();
        message.resize(length, 0);
        stream.read_exact(&mut message[wire::FIXED..]).ok()?;
        let serial = u32::from_le_bytes(message[8..12].try_into().unwrap());
        let text = String::from_utf8_lossy(&message).into_owned();
        if text.contains("ListUnits") {
            let pause = world.lock().unwrap().slow;
            std::thread::sleep(pause);
        }
        let mut world = world.lock().unwrap();
        if world.hang_up {
            world.hang_up = false;
            return None;
        }
        stream.write_all(&answer(&mut world, serial, &text)).ok()?;
    }
}

fn answer(world: &mut World, serial: u32, text: &str) -> Vec<u8> {
    let mut body = Vec::new();
    if text.contains("ListUnitsByPatterns") && world.old {
        return message(3, serial, &body);
    }
    if text.contains("ListUnits") {
        let mut units = Vec::new();
        for (name, (active, sub)) in &world.services {
            pad(&mut units, 8);
            let path = path(name);
            for field in [name, "About it", "loaded", active, sub, "", path.as_str()] {
                put_text(&mut units, field);
            }
            pad(&mut units, 4);
            units.extend(0_u32.to_le_bytes());
            put_text(&mut units, "");
            put_text(&mut units, "/");
        }
        body.extend(u32::try_from(units.len()).unwrap().to_le_bytes());
        pad(&mut body, 8);
        body.extend(units);
    } else if text.contains("org.freedesktop.DBus.Properties") {
        let found = world.properties.iter().find(|((name, property), _)| {
            text.contains(&path(name)) && text.contains(&format!("\0{property}\0"))
        });
        let Some(((name, property), value)) = found else { return message(3, serial, &body) };
        world.asked.push(format!("{name} {property}"));
        put_variant(&mut body, *value);
    } else {
        put_text(&mut body, ":1.7");
    }
    message(2, serial, &body)
}

fn path(name: &str) -> String {
    format!("/org/freedesktop/systemd1/unit/{}", name.replace('.', "_2e"))
}

fn message(kind: u8, answers: u32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![b'l', kind, 1, 1];
    out.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    out.extend(8_u32.to_le_bytes());
    out.extend([5, 1, b'u', 0]);
    out.extend(answers.to_le_bytes());
    out.extend(body);
    out
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    pad(out, 4);
    out.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    out.extend(text.bytes().chain([0]));
}

fn put_variant(out: &mut Vec<u8>, value: Property) {
    match value {
        Property::Text(text) => {
            out.extend([1, b's', 0]);
            put_text(out, text);
        }
        Property::Number(number) => {
            out.extend([1, b'u', 0]);
            pad(out, 4);
            out.extend(number.to_le_bytes());
        }
        Property::Long(number) => {
            out.extend([1, b't', 0]);
            pad(out, 8);
            out.extend(number.to_le_bytes());
        }
    }
}

/// A sensor, the host that it looks at, and the world behind the bus.
struct Stage {
    host: Host,
    world: Arc<Mutex<World>>,
    units: Units,
    cycle: Cycle,
}

impl Stage {
    fn new(cgroup: &str) -> Self {
        let host = Host::new();
        let world = Arc::new(Mutex::new(World::default()));
        std::fs::create_dir_all(host.path("run/systemd/system")).unwrap();
        serve(&host.path("run/dbus/system_bus_socket"), Arc::clone(&world));
        let units = Units::new(&host.path("run"), &host.path(cgroup));
        let stage = Self { host, world, units, cycle: Cycle::default() };
        stage.set("nginx.service", "active", "running");
        for (property, value) in [
            ("Result", Property::Text("success")),
            ("NRestarts", Property::Number(2)),
            ("MainPID", Property::Number(431)),
            ("ControlGroup", Property::Text("/system.slice/nginx.service")),
            ("StateChangeTimestamp", Property::Long(1_764_000_000_123_456)),
            ("LoadState", Property::Text("loaded")),
            ("SubState", Property::Text("dead")),
        ] {
            stage.property("nginx.service", property, value);
        }
        stage
    }

    fn set(&self, name: &'static str, active: &'static str, sub: &'static str) {
        self.world.lock().unwrap().services.insert(name, (active, sub));
    }

    fn property(&self, name: &'static str, property: &'static str, value: Property) {
        self.world.lock().unwrap().properties.insert((name, property), value);
    }

    fn look(&mut self) -> Result<Vec<Unit>, ReadError> {
        let mut out = Output::default();
        self.cycle.number += 1;
        self.units.read(&mut self.cycle, &mut out)?;
        Ok(out.units)
    }
}

#[test]
fn services_come_with_state_and_usage_in_both_layouts() {
    for cgroup in ["cgroup-v2", "cgroup-v1"] {
        let mut stage = Stage::new(cgroup);
        stage.set("cron.service", "inactive", "dead");
        stage.set("dev-sda.device", "active", "plugged");
        let units = stage.look().unwrap();
        let expected = Unit {
            name: "nginx.service".into(),
            active: Active::Active,
            sub: "running".into(),
            result: "success".into(),
            restarts: 2,
            main_pid: 431,
            since_ms: 1_764_000_000_123,
            memory_bytes: Some(12_582_912),
            anon_bytes: Some(4_194_304),
            cpu_us: Some(2_500_000),
            tasks: Some(5),
            io_read_bytes: Some(4196),
            io_write_bytes: Some(8392),
            oom_kills: Some(1),
        };
        assert_eq!(units, [expected], "{cgroup}");
    }
}

#[test]
fn usage_repeats_between_turns_but_oom_kills_show_at_once() {
    let mut stage = Stage::new("cgroup-v2");
    stage.look().unwrap();
    let group = "cgroup-v2/system.slice/nginx.service";
    stage.host.write(&format!("{group}/memory.current"), "1\n");
    stage.host.replace(&format!("{group}/memory.events"), "oom_kill 1", "oom_kill 2");
    let turns: Vec<_> = (0..TURNS).map(|_| stage.look().unwrap()[0].memory_bytes == Some(1)).collect();
    assert!(turns.last().unwrap() & turns.is_sorted(), "{turns:?}");
    stage.host.replace(&format!("{group}/memory.events"), "oom_kill 2", "oom_kill 3");
    stage.cycle.oom = true;
    assert_eq!(stage.look().unwrap()[0].oom_kills, Some(3));
}

#[test]
fn failure_and_return_show_in_the_next_look() {
    let mut stage = Stage::new("cgroup-v2");
    stage.look().unwrap();
    stage.set("nginx.service", "failed", "failed");
    stage.property("nginx.service", "Result", Property::Text("exit-code"));
    stage.property("nginx.service", "MainPID", Property::Number(0));
    stage.property("nginx.service", "ControlGroup", Property::Text(""));
    let failed = stage.look().unwrap().remove(0);
    assert_eq!((failed.active, failed.result.as_str(), failed.main_pid), (Active::Failed, "exit-code", 0));
    assert_eq!((failed.memory_bytes, failed.cpu_us), (None, None));
    stage.set("nginx.service", "active", "running");
    assert_eq!(stage.look().unwrap()[0].active, Active::Active);
}

#[test]
fn restart_between_two_looks_shows_within_its_turn() {
    let mut stage = Stage::new("cgroup-v2");
    stage.look().unwrap();
    assert_eq!(stage.world.lock().unwrap().asked.len(), 5);
    stage.world.lock().unwrap().asked.clear();
    for _ in 0..TURNS {
        stage.look().unwrap();
    }
    // Nothing happened, and nothing more than that was asked.
    assert_eq!(stage.world.lock().unwrap().asked, ["nginx.service StateChangeTimestamp"]);
    stage.property("nginx.service", "StateChangeTimestamp", Property::Long(1_764_000_100_000_000));
    stage.property("nginx.service", "NRestarts", Property::Number(3));
    let restarts: Vec<_> = (0..TURNS).map(|_| stage.look().unwrap()[0].restarts).collect();
    assert_eq!(restarts.last(), Some(&3), "{restarts:?}");
}

#[test]
fn stopped_service_stays_listed_while_systemd_knows_it() {
    let mut stage = Stage::new("cgroup-v2");
    stage.look().unwrap();
    stage.world.lock().unwrap().services.clear();
    let stopped = stage.look().unwrap().remove(0);
    assert_eq!((stopped.active, stopped.sub.as_str()), (Active::Inactive, "dead"));
    assert_eq!((stopped.memory_bytes, stopped.main_pid), (None, 0));
    assert_eq!(stage.look().unwrap().len(), 1);
    // One that was made for a moment is forgotten.
    stage.set("run-1.service", "active", "running");
    assert_eq!(stage.look().unwrap().len(), 2);
    stage.world.lock().unwrap().services.clear();
    stage.property("run-1.service", "LoadState", Property::Text("not-found"));
    assert_eq!(stage.look().unwrap().len(), 1);
}

#[test]
fn busy_systemd_repeats_the_last_states_and_its_late_answer_counts() {
    let mut stage = Stage::new("cgroup-v2");
    stage.look().unwrap();
    stage.set("nginx.service", "deactivating", "stop-sigterm");
    stage.world.lock().unwrap().slow = Duration::from_millis(300);
    let during = stage.look().unwrap();
    assert_eq!(during[0].active, Active::Active);
    let after = stage.look().unwrap();
    assert_eq!(after[0].active, Active::Deactivating);
    stage.world.lock().unwrap().slow = Duration::from_secs(60);
    for _ in 0..LATE {
        assert_eq!(stage.look().unwrap().len(), 1);
    }
    assert!(matches!(stage.look(), Err(ReadError::Bus(BusError::Timeout))));
}

#[test]
fn restarted_bus_is_reached_again_in_the_same_look() {
    let mut stage = Stage::new("cgroup-v2");
    stage.look().unwrap();
    stage.world.lock().unwrap().hang_up = true;
    assert_eq!(stage.look().unwrap().len(), 1);
}

#[test]
fn old_systemd_is_asked_for_its_whole_list() {
    let mut stage = Stage::new("cgroup-v2");
    stage.world.lock().unwrap().old = true;
    stage.set("cron.service", "inactive", "dead");
    assert_eq!(stage.look().unwrap().len(), 1);
    assert_eq!(stage.look().unwrap().len(), 1);
}

#[test]
fn bus_that_speaks_nonsense_fails_the_sensor() {
    let host = Host::new();
    std::fs::create_dir_all(host.path("run/systemd/system")).unwrap();
    std::fs::create_dir_all(host.path("run/dbus")).unwrap();
    let listener = UnixListener::bind(host.path("run/dbus/system_bus_socket")).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"REJECTED EXTERNAL\r\n");
            let _ = stream.read(&mut [0; 64]);
        }
    });
    let mut units = Units::new(&host.path("run"), &host.path("cgroup-v2"));
    let error = units.read(&mut Cycle::default(), &mut Output::default()).unwrap_err();
    assert_eq!(error.to_string(), "system bus: authentication refused: \"REJECTED EXTERNAL\"");
}
