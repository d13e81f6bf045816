//! The agents: real mTLS QUIC sessions, few threads, honest clocks.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use sysop_agent::link::Transport;
use sysop_agent::link::dial::{self, Target};
use sysop_common::bytes::Bytes;
use sysop_common::ids::Seq;
use sysop_common::sample::Schema;
use sysop_common::tls;
use sysop_common::wire::frame::FrameBuf;
use sysop_common::wire::{Chain, Downward, Hello, Samples, Upward};
use sysop_controller::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use super::fleet::{self, Host};
use super::{Plan, proc};

/// An agent gives an attempt up after this long.
const PATIENCE: Duration = Duration::from_secs(5);

/// The server's process.
struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Server {
    fn start(dir: &Path, plan: &Plan) -> (Self, SocketAddr) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--serve")
            .arg(dir)
            .args(["--agents", &plan.agents.to_string()])
            .args(["--threads", &plan.threads.to_string()])
            .args(["--linger-ms", &plan.linger_ms.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut server = Self { child, input, output };
        let ready = server.hear();
        (server, ready["address"].as_str().unwrap().parse().unwrap())
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("the server ended")
    }

    fn ask(&mut self, what: &str) -> Value {
        writeln!(self.input.as_mut().unwrap(), "{what}").unwrap();
        self.hear()
    }

    fn stop(mut self) {
        drop(self.input.take());
        self.child.wait().unwrap();
    }
}

/// What all agents count together.
#[derive(Default)]
struct Counts {
    ready: AtomicUsize,
    frames: AtomicU64,
    payload: AtomicU64,
    acked: AtomicU64,
    failed: AtomicUsize,
    wire_bytes: AtomicU64,
    packets: AtomicU64,
    latencies: Mutex<Vec<u32>>,
    back: Mutex<Vec<Duration>>,
}

impl Counts {
    /// Frames, bytes and packets on the wire, bytes of frames.
    fn so_far(&self) -> [u64; 4] {
        [&self.frames, &self.wire_bytes, &self.packets, &self.payload]
            .map(|count| count.load(Ordering::Relaxed))
    }
}

struct Agent {
    target: Target,
    host: Host,
}

/// What the load does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Run,
    /// Drop the connection; come back in the window.
    Storm(Instant),
    Stop,
}

pub fn run(plan: &Plan) {
    proc::raise_descriptors();
    let dir = tempfile::tempdir().unwrap();
    let (mut server, address) = Server::start(dir.path(), plan);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let result = runtime.block_on(measure(plan, &mut server, address, dir.path()));
    server.stop();
    println!("{result}");
}

fn agents(dir: &Path, address: SocketAddr, schema: &Schema) -> Vec<Agent> {
    let bytes = std::fs::read(dir.join("fleet.cbor")).unwrap();
    let (ca, hosts): (Bytes, Vec<(Bytes, Bytes)>) = serde_cbor::from_slice(&bytes).unwrap();
    let agent = |(n, (key, certificate)): (usize, (Bytes, Bytes))| {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.0));
        let tls =
            tls::agent(CertificateDer::from(ca.0.clone()), vec![CertificateDer::from(certificate.0)], key);
        let target =
            Target { address: (address.ip().to_string(), address.port()), tls: Arc::new(tls.unwrap()) };
        Agent { target, host: Host::new(n as u64 + 1, schema) }
    };
    hosts.into_iter().enumerate().map(agent).collect()
}

async fn until(what: &str, seconds: u64, mut met: impl FnMut() -> bool) {
    let start = Instant::now();
    while !met() {
        assert!(start.elapsed() < Duration::from_secs(seconds), "waited {seconds} s for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn measure(plan: &Plan, server: &mut Server, address: SocketAddr, dir: &Path) -> Value {
    let schema = Arc::new(fleet::schema());
    let counts = Arc::new(Counts::default());
    let (phase, phases) = watch::channel(Phase::Run);
    let empty = server.ask("mark");
    for (n, agent) in agents(dir, address, &schema).into_iter().enumerate() {
        let (schema, counts, phases) = (schema.clone(), counts.clone(), phases.clone());
        let (interval, window) = (plan.interval, plan.window);
        let spread = window.mul_f64(n as f64 / plan.agents as f64);
        tokio::spawn(Box::pin(life(agent, schema, counts, phases, interval, spread)));
    }
    until("all agents", plan.window.as_secs() + 60, || counts.ready.load(Ordering::Relaxed) == plan.agents)
        .await;
    let connected = server.ask("mark");
    // Past the first, full frames.
    tokio::time::sleep(plan.interval * 2).await;
    counts.latencies.lock().unwrap().clear();
    let sync = std::thread::spawn({
        let (dir, seconds) = (dir.to_owned(), plan.seconds);
        move || fdatasyncs(&dir, seconds)
    });
    let (before, start) = (server.ask("mark"), Instant::now());
    let so_far = || counts.so_far();
    let earlier = so_far();
    tokio::time::sleep(Duration::from_secs(plan.seconds)).await;
    let after = server.ask("mark");
    let elapsed = start.elapsed().as_secs_f64();
    let [frames, wire, packets, payload] = {
        let now = so_far();
        std::array::from_fn(|at| now[at] - earlier[at])
    };
    let mut latencies = std::mem::take(&mut *counts.latencies.lock().unwrap());
    let mut syncs = sync.join().unwrap();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();

    // All gone, all back.
    counts.ready.store(0, Ordering::Relaxed);
    let (storm_before, storm_frames) = (server.ask("mark"), counts.frames.load(Ordering::Relaxed));
    let storm = Instant::now();
    phase.send_replace(Phase::Storm(storm));
    let patience = plan.window.as_secs() + 120;
    until("all agents back", patience, || counts.back.lock().unwrap().len() == plan.agents).await;
    let (storm_after, storm_frames) =
        (server.ask("mark"), counts.frames.load(Ordering::Relaxed) - storm_frames);
    let mut back = std::mem::take(&mut *counts.back.lock().unwrap());
    phase.send_replace(Phase::Stop);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let compacted = server.ask("compact");

    let delta = |a: &Value, b: &Value, key: &str| b[key].as_f64().unwrap() - a[key].as_f64().unwrap();
    let agents = plan.agents as f64;
    let frames_f = frames as f64;
    let frame_cpu = delta(&before, &after, "cpu_us") / frames_f;
    // Who is back goes on sampling: the first sample belongs to coming back, the others do not.
    let later_frames = (storm_frames as f64 / agents - 1.0).max(0.0);
    let storm_cpu = delta(&storm_before, &storm_after, "cpu_us") / agents;
    json!({
        "agents": plan.agents,
        "interval_ms": plan.interval.as_millis() as u64,
        "threads": plan.threads,
        "linger_ms": plan.linger_ms,
        "columns": schema.columns.len(),
        "load": load.split(' ').next().unwrap_or_default(),
        "frames_per_s": frames_f / elapsed,
        "cpu_us_per_frame": frame_cpu,
        "commits_per_s": delta(&before, &after, "commits") / elapsed,
        "ack_p50_ms": percentile(&mut latencies, 0.50) / 1_000.0,
        "ack_p99_ms": percentile(&mut latencies, 0.99) / 1_000.0,
        "sync_p50_ms": percentile(&mut syncs, 0.50) / 1_000.0,
        "sync_p99_ms": percentile(&mut syncs, 0.99) / 1_000.0,
        "rss_per_agent": delta(&empty, &after, "rss") / agents,
        "rss_per_agent_connected": delta(&empty, &connected, "rss") / agents,
        "rss": after["rss"],
        "payload_per_frame": payload as f64 / frames_f,
        "wire_per_frame": wire as f64 / frames_f,
        "packets_per_frame": packets as f64 / frames_f,
        "handshake_cpu_us": (storm_cpu - later_frames * frame_cpu).max(0.0),
        "storm_cpu_us": storm_cpu,
        "storm_later_frames": later_frames,
        "reconnect_s": back.iter().max().map_or(0.0, Duration::as_secs_f64),
        "reconnect_p50_s": percentile(&mut back, 0.5_f64),
        "window_s": plan.window.as_secs(),
        "failed": counts.failed.load(Ordering::Relaxed),
        "part_bytes_per_tick": compacted["bytes"].as_f64().unwrap() / compacted["ticks"].as_f64().unwrap().max(1.0),
        "compaction_us_per_tick":
            compacted["compaction_cpu_us"].as_f64().unwrap() / compacted["ticks"].as_f64().unwrap().max(1.0),
    })
}

trait Number: Copy + Ord {
    fn number(self) -> f64;
}

impl Number for u32 {
    fn number(self) -> f64 {
        f64::from(self)
    }
}

impl Number for Duration {
    fn number(self) -> f64 {
        self.as_secs_f64()
    }
}

fn percentile<T: Number>(values: &mut [T], part: f64) -> f64 {
    values.sort_unstable();
    let at = ((values.len() as f64 * part) as usize).min(values.len().saturating_sub(1));
    values.get(at).map_or(0.0, |value| value.number())
}

/// The disk's own share: µs of an append of 4 KiB with fdatasync, while the load runs.
fn fdatasyncs(dir: &Path, seconds: u64) -> Vec<u32> {
    let mut file = std::fs::File::create(dir.join("sync")).unwrap();
    let (end, mut took) = (Instant::now() + Duration::from_secs(seconds), Vec::new());
    while Instant::now() < end {
        file.write_all(&[7; 4096]).unwrap();
        let start = Instant::now();
        file.sync_data().unwrap();
        took.push(start.elapsed().as_micros() as u32);
        std::thread::sleep(Duration::from_millis(50));
    }
    took
}

/// One agent: connects in its turn, sends a sample per interval, comes back after a storm.
async fn life(
    mut agent: Agent,
    schema: Arc<Schema>,
    counts: Arc<Counts>,
    mut phases: watch::Receiver<Phase>,
    interval: Duration,
    spread: Duration,
) {
    tokio::time::sleep(spread).await;
    let mut storm = None;
    loop {
        match session(&mut agent, &schema, &counts, &mut phases, interval, storm).await {
            Ok(()) => {
                let phase = *phases.borrow_and_update();
                if let Phase::Storm(since) = phase {
                    storm = Some(since);
                    tokio::time::sleep(spread).await;
                }
            }
            Err(error) => {
                if counts.failed.fetch_add(1, Ordering::Relaxed) < 3 {
                    eprintln!("agent: {error}");
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        if *phases.borrow() == Phase::Stop {
            return;
        }
    }
}

async fn session(
    agent: &mut Agent,
    schema: &Schema,
    counts: &Counts,
    phases: &mut watch::Receiver<Phase>,
    interval: Duration,
    storm: Option<Instant>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let clock = Clock::system();
    // As the agent does it: sockets, transport and TLS are its own.
    let mut connection = dial::dial(Transport::Quic, &agent.target, PATIENCE).await?;
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        agent_version: "0.1.0".into(),
        features: Vec::new(),
        epoch: agent.host.epoch,
        previous: None,
        boot_id: "bench".into(),
        next_seq: agent.host.seq().next(),
        clock: clock.now(),
    };
    let mut out = Vec::new();
    Upward::Hello(hello).encode(&mut out)?;
    Upward::Schema(schema.clone()).encode(&mut out)?;
    agent.host.reset();
    let mut chain = Some(Chain { epoch: agent.host.epoch, schema: schema.id() });
    let mut sent: VecDeque<(Seq, Instant)> = VecDeque::new();
    let mut buf = FrameBuf::default();
    let mut wire = (0, 0);
    let mut chunk = [0; 4_096];
    // The first sample at once, the others in step with everybody's own second.
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ready = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let frame = agent.host.frame(clock.now());
                counts.payload.fetch_add(frame.len() as u64, Ordering::Relaxed);
                Upward::Samples(Samples { chain: chain.take(), frames: vec![Bytes(frame)] }).encode(&mut out)?;
                sent.push_back((agent.host.seq(), Instant::now()));
                connection.writer.write_all(&out).await?;
                out.clear();
                counts.frames.fetch_add(1, Ordering::Relaxed);
                let (bytes, packets) = connection.datagrams();
                // With the headers of IP and UDP.
                let all = bytes + 28 * packets;
                counts.wire_bytes.fetch_add(all - wire.0, Ordering::Relaxed);
                counts.packets.fetch_add(packets - wire.1, Ordering::Relaxed);
                wire = (all, packets);
            }
            read = connection.reader.read(&mut chunk) => {
                let read = read?;
                if read == 0 {
                    return Err("the server ended the session".into());
                }
                buf.extend(&chunk[..read]);
                while let Some(frame) = buf.next_frame()? {
                    match Downward::decode(frame)? {
                        Downward::Ack(ack) => {
                            let now = Instant::now();
                            while let Some((_, at)) = sent.pop_front_if(|(seq, _)| *seq <= ack.seq) {
                                counts.acked.fetch_add(1, Ordering::Relaxed);
                                counts.latencies.lock().unwrap().push(now.duration_since(at).as_micros() as u32);
                            }
                            if !std::mem::replace(&mut ready, true) {
                                counts.ready.fetch_add(1, Ordering::Relaxed);
                                if let Some(since) = storm {
                                    counts.back.lock().unwrap().push(since.elapsed());
                                }
                            }
                        }
                        Downward::Close(why) => return Err(why.into()),
                        _ => {}
                    }
                }
            }
            _ = phases.changed() => {
                connection.close().await;
                return Ok(());
            }
        }
    }
}
