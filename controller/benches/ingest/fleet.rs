//! Synthetic hosts: 120 metrics, ten processes, twenty units, moving as real ones do.

use sysop_common::ids::{Epoch, Seq};
use sysop_common::metric::{self, Kind};
use sysop_common::sample::codec::Encoder;
use sysop_common::sample::{Active, Column, Process, Schema, Tick, Unit};
use sysop_common::time::UnixMs;

/// The columns of a host with 16 cores, two file systems, two disks and two interfaces.
pub fn schema() -> Schema {
    let mut columns = Vec::new();
    for metric in metric::ALL {
        let labels: Vec<String> = match metric.label {
            metric::Label::None => vec![String::new()],
            metric::Label::Core => (0..16).map(|n| n.to_string()).collect(),
            metric::Label::Mount => vec!["/".into(), "/var".into()],
            metric::Label::Device => vec!["sda".into()],
            metric::Label::Interface => vec!["eth0".into(), "lo".into()],
            // There only while something is wrong.
            _ => continue,
        };
        columns.extend(labels.into_iter().filter_map(|label| Column::new(metric.id, label)));
    }
    columns.truncate(120);
    Schema { columns }
}

/// A small generator of numbers that look random.
#[derive(Clone)]
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below.max(1)
    }
}

/// One host.
pub struct Host {
    pub epoch: Epoch,
    noise: Noise,
    tick: Tick,
    kinds: Vec<Kind>,
    encoder: Encoder,
}

impl Host {
    pub fn new(n: u64, schema: &Schema) -> Self {
        let mut noise = Noise(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let epoch = Epoch(noise.next(u64::MAX));
        let process = |pid: u32| Process {
            pid,
            start_ticks: u64::from(pid) * 7,
            comm: format!("worker-{pid}").into(),
            user: "www-data".into(),
            unit: "nginx.service".into(),
            args: "nginx: worker process".into(),
            threads: 4,
            state: b'S',
            ..Process::default()
        };
        let unit = |n: u32| Unit {
            name: format!("service-{n:02}.service").into(),
            active: Active::Active,
            sub: "running".into(),
            result: "success".into(),
            memory_bytes: Some(50 << 20),
            cpu_us: Some(1_000),
            tasks: Some(5),
            ..Unit::default()
        };
        let values = schema.columns.iter().map(|_| noise.next(1 << 40) as i64).collect();
        let tick = Tick {
            seq: Seq(0),
            at: UnixMs(0),
            values,
            processes: (1..=10).map(process).collect(),
            units: (0..20).map(unit).collect(),
        };
        let kinds = schema.columns.iter().map(|column| column.kind).collect();
        Self { epoch, noise, tick, kinds, encoder: Encoder::default() }
    }

    /// The next frames will start a chain.
    pub fn reset(&mut self) {
        self.encoder.reset();
    }

    pub fn seq(&self) -> Seq {
        self.tick.seq
    }

    /// The next tick as a frame.
    pub fn frame(&mut self, at: UnixMs) -> Vec<u8> {
        let noise = &mut self.noise;
        self.tick.seq = self.tick.seq.next();
        self.tick.at = at;
        for (value, kind) in self.tick.values.iter_mut().zip(&self.kinds) {
            // Half of a host's values stand still from one sample to the next.
            match kind {
                _ if noise.next(2) == 0 => {}
                Kind::Counter => *value += noise.next(50_000) as i64,
                Kind::Gauge => *value += noise.next(16_384) as i64 - 8_192,
            }
        }
        for process in &mut self.tick.processes {
            process.cpu_ms += noise.next(900) * noise.next(2);
        }
        for unit in &mut self.tick.units {
            unit.cpu_us = unit.cpu_us.map(|us| us + noise.next(9_000) * noise.next(2));
        }
        let mut frame = Vec::new();
        self.encoder.encode(&self.tick, &mut frame);
        frame
    }
}
