//! A host whose names are real and hostile, and whose numbers make trouble.

use super::*;

/// What one host sent: what the collector saw on it, and which of the processes and folders make trouble.
pub(super) struct Sender {
    pub(super) seen: Observation,
    /// Process that takes all processors, position of the folder that fills, the failed unit.
    pub(super) hog: u32,
    pub(super) full: String,
    pub(super) failed: Unit,
    pub(super) encoder: Encoder,
    pub(super) decoder: Decoder,
}

impl Sender {
    pub(super) fn new(seen: &Observation, pid: u32, at: usize, text: &str) -> Self {
        let full = seen.schema.columns.iter().filter(|column| column.metric == metric::FS_TOTAL);
        let full = full.map(|column| column.label.clone()).nth(at).expect("each folder is a mount");
        let legal = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let name: String = text.chars().take(60).map(legal).collect();
        let failed = Unit {
            name: format!("x{name}.service").into(),
            active: Active::Failed,
            sub: text.chars().take(60).collect::<String>().into(),
            result: text.chars().take(60).collect::<String>().into(),
            ..Unit::default()
        };
        assert!(seen.tick.processes.iter().any(|process| process.pid == pid), "the collector saw {text:?}");
        Self {
            seen: seen.clone(),
            hog: pid,
            full,
            failed,
            encoder: Encoder::default(),
            decoder: Decoder::default(),
        }
    }

    /// The sample of a look, once over the wire.
    pub(super) fn sample(&mut self, look: u64) -> Arc<Stored> {
        let at = START.plus(look as i64 * 10 * SECOND_MS);
        let trouble = look.saturating_sub(CALM) as i64;
        let mut columns: Vec<(Column, i64)> =
            self.seen.schema.columns.iter().cloned().zip(self.seen.tick.values.iter().copied()).collect();
        for (column, value) in &mut columns {
            // The folders are on this machine's own disk, however full that is.
            let full = column.label == self.full && trouble > 0;
            *value = match column.metric {
                metric::FS_TOTAL => 1 << 40,
                metric::FS_FREE | metric::FS_AVAILABLE if full => 1 << 20,
                metric::FS_FREE | metric::FS_AVAILABLE => 1 << 39,
                metric::FS_INODES_TOTAL => 1 << 20,
                metric::FS_INODES_FREE => 1 << 19,
                _ => *value,
            };
        }
        let scalars: [(MetricId, i64); 7] = [
            (metric::CPU_CORES, 2),
            (metric::CPU_USER, trouble * 19_800),
            (metric::CPU_IDLE, (look as i64 - trouble) * 19_800),
            (metric::PSI_CPU_SOME, trouble * 8_000_000),
            (metric::PROCS_RUNNING, if trouble > 0 { 9 } else { 1 }),
            (metric::MEMORY_TOTAL, 4 << 30),
            (metric::MEMORY_AVAILABLE, 3 << 30),
        ];
        columns.extend(scalars.map(|(id, value)| (Column::new(id, "").unwrap(), value)));
        let mut processes = self.seen.tick.processes.clone();
        for process in processes.iter_mut().filter(|process| process.pid == self.hog) {
            process.cpu_ms += trouble as u64 * 19_500;
            // Not the system's own, of whose processes none is ended.
            process.user = "ann".into();
        }
        let units = if trouble > 0 { vec![self.failed.clone()] } else { Vec::new() };
        let (columns, values): (Vec<Column>, Vec<i64>) = columns.into_iter().unzip();
        let tick = Tick { seq: Seq(look + 1), at, values, processes, units };
        let mut frame = Vec::new();
        self.encoder.encode(&tick, &mut frame);
        let tick = self.decoder.decode(&frame, columns.len()).unwrap().clone();
        Arc::new(Stored {
            tick: Arc::new(tick),
            schema: NamedSchema::new(Schema { columns }),
            epoch: Epoch(1),
            boot: Boot(1),
            at,
            received_at: at,
        })
    }
}
