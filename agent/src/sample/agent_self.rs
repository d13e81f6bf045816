//! The agent about itself: memory, CPU, spool, and how its sensors did.

use std::path::Path;
use std::time::Duration;

use sysop_common::metric;

use super::read::{KeptFile, ReadError};
use super::sensor::{Cycle, Output, Sensor};

/// The agent's own sensor; stands last so that it can tell about the others.
#[derive(Debug)]
pub(super) struct AgentSelf {
    statm: KeptFile,
    page: u64,
    /// Per sensor, in the order of the registry: time and looks since the last report.
    spent: Vec<(Duration, u32)>,
    /// Per sensor, what was reported last, in µs.
    reported: Vec<u64>,
}

impl AgentSelf {
    pub(super) fn new(proc: &Path) -> Self {
        Self {
            statm: KeptFile::new(proc.join("self/statm")),
            page: rustix::param::page_size() as u64,
            spent: Vec::new(),
            reported: Vec::new(),
        }
    }

    /// A sensor's time is told once a minute, as the mean of its looks since: a number that differs in
    /// every look would travel in every frame.
    fn account(&mut self, cycle: &Cycle) {
        self.spent.resize(cycle.health.len(), (Duration::ZERO, 0));
        self.reported.resize(cycle.health.len(), 0);
        for (spent, health) in self.spent.iter_mut().zip(&cycle.health) {
            spent.0 += health.took;
            spent.1 += 1;
        }
        if !cycle.slow {
            return;
        }
        for (reported, spent) in self.reported.iter_mut().zip(&mut self.spent) {
            let mean = spent.0 / spent.1.max(1);
            *reported = u64::try_from(mean.as_micros()).unwrap_or(u64::MAX);
            *spent = (Duration::ZERO, 0);
        }
    }
}

impl Sensor for AgentSelf {
    fn name(&self) -> &'static str {
        "agent"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        self.account(cycle);
        let [_, resident] = self.statm.read_record()?.line().numbers(&["size", "resident"])?;
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu_ms = u64::try_from(cpu.tv_sec).unwrap_or(0) * 1000
            + u64::try_from(cpu.tv_nsec).unwrap_or(0) / 1_000_000;
        out.put(metric::AGENT_RSS, resident.checked_mul(self.page));
        out.put(metric::AGENT_CPU, Some(cpu_ms));
        out.put(metric::AGENT_SPOOL_BYTES, cycle.spool_bytes);
        for (health, took) in cycle.health.iter().zip(&self.reported) {
            out.put_labelled(metric::AGENT_SENSOR_TIME, health.sensor, Some(*took));
            out.put_labelled(metric::AGENT_SENSOR_FAILED, health.sensor, Some(u64::from(health.failed)));
        }
        Ok(())
    }
}
