//! `/proc/loadavg`: load averages and the number of threads.

use std::path::Path;

use sysop_common::metric;

use super::read::{KeptFile, ReadError, decimal, number};
use super::sensor::{Cycle, Output, Sensor};

/// The load sensor.
#[derive(Debug)]
pub(super) struct Load {
    loadavg: KeptFile,
}

impl Load {
    pub(super) fn new(proc: &Path) -> Self {
        Self { loadavg: KeptFile::new(proc.join("loadavg")) }
    }
}

impl Sensor for Load {
    fn name(&self) -> &'static str {
        "load"
    }

    fn read(&mut self, cycle: &mut Cycle, out: &mut Output) -> Result<(), ReadError> {
        let text = self.loadavg.read_record()?;
        let mut line = text.line();
        let loads = [(metric::LOAD_1, "load 1"), (metric::LOAD_5, "load 5"), (metric::LOAD_15, "load 15")];
        for (metric, item) in loads {
            let word = line.word().ok_or_else(|| text.missing(item))?;
            let value = decimal(word, 2).ok_or_else(|| line.bad(item, word))?;
            out.put(metric, Some(value));
        }
        // `running/all`, of scheduling entities, which are threads.
        let tasks = line.word().ok_or_else(|| text.missing("threads"))?;
        let all = tasks.rsplit(|b| *b == b'/').next().and_then(number);
        out.put(metric::THREADS_TOTAL, Some(all.ok_or_else(|| line.bad("threads", tasks))?));
        cycle.last_pid = line.word().and_then(number);
        Ok(())
    }
}
