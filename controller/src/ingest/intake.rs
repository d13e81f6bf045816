//! One session's samples: decoded, numbered, queued.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sysop_common::bytes::Bytes;
use sysop_common::ids::{Epoch, HostId, SchemaId};
use sysop_common::sample::Schema;
use sysop_common::sample::codec::Decoder;
use sysop_common::time::UnixMs;
use sysop_common::wire::{Ack, Gap, Inventory, Now, Samples};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use super::Shared;
use super::ack::Acks;
use super::commit::Item;
use super::dedupe::{Decision, Said};
use super::host::HostCell;
use crate::link::ports::{BoxFuture, Intake, Refused};
use crate::store::hosts;
use crate::store::samples::{Boot, HostGap, Incoming, NamedSchema, Stored, tick_cost};

/// Schemas that one session may have in use.
const MAX_SCHEMAS: usize = 16;
/// Clocks that differ by less than this are taken as equal.
const SKEW_MS: i64 = 2_000;
/// What a gap and the start of a chain are charged: they are rows, and no way around the quota.
const ROW_COST: usize = 4096;
/// A tick is charged its frame, and at least this part of what it takes in memory.
const UNFOLDS: usize = 64;
/// Inventories of one host are stored at most this often.
const INVENTORY_EVERY: Duration = Duration::from_secs(1);

/// See [`Intake`].
pub(super) struct SessionIntake {
    pub(super) shared: Arc<Shared>,
    pub(super) host: HostId,
    pub(super) cell: Arc<HostCell>,
    /// Number of this session among the host's.
    pub(super) session: u64,
    pub(super) signal: Arc<Notify>,
    pub(super) said: Said,
    pub(super) boot: Boot,
    /// Controller's clock less the host's, ms.
    pub(super) skew: i64,
    pub(super) decoder: Decoder,
    pub(super) chain: Option<(Epoch, Boot, Arc<NamedSchema>)>,
    pub(super) schemas: VecDeque<Arc<NamedSchema>>,
    pub(super) acks: Acks,
    /// Frames that came and wait for room.
    pub(super) pending: VecDeque<Bytes>,
    /// When the last inventory was taken; the session's start before that.
    pub(super) inventory_at: Instant,
}

fn refused(what: impl std::fmt::Display) -> Refused {
    Refused(what.to_string())
}

/// Controller's clock less the host's; 0 when they agree well enough.
pub(super) fn skew(ours: UnixMs, theirs: UnixMs) -> i64 {
    let skew = ours.since(theirs);
    if skew.saturating_abs() <= SKEW_MS { 0 } else { skew }
}

impl SessionIntake {
    /// A host's time on the controller's clock. Never in the future.
    fn corrected(&self, at: UnixMs, received_at: UnixMs) -> UnixMs {
        at.plus(self.skew).min(received_at).max(UnixMs(0))
    }

    fn announced(&self, id: SchemaId) -> Result<Arc<NamedSchema>, Refused> {
        let found = self.schemas.iter().find(|schema| schema.id == id);
        found.cloned().ok_or_else(|| refused(format!("schema {id} was not announced in this session")))
    }

    fn frame(&mut self, frame: &Bytes) -> Result<(), Refused> {
        let Some((epoch, boot, schema)) = self.chain.clone() else {
            return Err(refused("samples came before their chain was announced"));
        };
        let tick = self
            .decoder
            .decode(&frame.0, schema.schema.columns.len())
            .map_err(|e| refused(format!("sample: {e}")))?;
        if tick.seq.0 == 0 {
            return Err(refused("samples are numbered from 1"));
        }
        let tick = self.decoder.last_shared().ok_or_else(|| refused("sample cannot be kept"))?;
        let received_at = self.shared.clock.now();
        let at = self.corrected(tick.at, received_at);
        let mut cost = tick_cost(&tick);
        self.cell.seen.store(received_at.0, Ordering::Relaxed);

        let mut state = self.cell.lock();
        if state.session != self.session {
            return Err(refused("a newer session of this agent took over"));
        }
        let gaps = match state.numbers.tick(self.said, epoch, boot, tick.seq.0, at) {
            Decision::Known => {
                drop(state);
                self.acks.touched(epoch, true);
                return Ok(());
            }
            Decision::New(gaps) => gaps,
        };
        state.numbers.cover(&gaps);
        state.spend(frame.0.len().max(cost / UNFOLDS) + gaps.len() * ROW_COST, received_at);
        cost += gaps.len() * ROW_COST;
        let seq = tick.seq.0;
        let stored = Stored { tick, schema, epoch, boot, at, received_at };
        let tick = Some(Incoming { host: self.host, stored: Arc::new(stored) });
        // Queued under the host's lock, so that its ticks stay in the order in which they were accepted.
        self.shared.queue.push(Item { host: self.cell.clone(), epoch, seq, tick, gaps, cost });
        drop(state);
        self.acks.touched(epoch, false);
        Ok(())
    }

    fn room(&self) -> bool {
        self.cell.queued.load(Ordering::Relaxed) < self.shared.options.max_queued_per_host
            && self.shared.queue.has_room(&self.signal)
            && self.cell.lock().may_store(self.shared.clock.now())
    }
}

impl Intake for SessionIntake {
    fn schema(&mut self, schema: Schema) -> Result<(), Refused> {
        schema.validate().map_err(refused)?;
        let named = self.shared.store.intern(schema);
        self.schemas.retain(|known| known.id != named.id);
        if self.schemas.len() >= MAX_SCHEMAS {
            self.schemas.pop_front();
        }
        self.schemas.push_back(named);
        Ok(())
    }

    fn samples(&mut self, samples: Samples) -> Result<(), Refused> {
        // What waits belongs to the chain before.
        self.pump()?;
        if !self.pending.is_empty() {
            return Err(refused("samples came although there was no room for them"));
        }
        if let Some(chain) = samples.chain {
            let schema = self.announced(chain.schema)?;
            let boot = if chain.epoch == self.said.epoch {
                Some(self.boot)
            } else {
                self.cell.lock().numbers.boot(chain.epoch)
            };
            self.cell.lock().spend(ROW_COST + schema.cost(), self.shared.clock.now());
            self.decoder.reset();
            self.chain = Some((chain.epoch, boot.unwrap_or(Boot::unknown(chain.epoch)), schema));
        }
        self.pending.extend(samples.frames);
        self.pump()
    }

    fn pump(&mut self) -> Result<(), Refused> {
        while !self.pending.is_empty() && self.room() {
            if let Some(frame) = self.pending.pop_front() {
                self.frame(&frame)?;
            }
        }
        Ok(())
    }

    fn gap(&mut self, gap: Gap) -> Result<(), Refused> {
        let numbered = gap.seqs.is_none_or(|(first, last)| first.0 >= 1 && first <= last);
        if gap.from > gap.to || !numbered {
            return Err(refused("a gap ends before it begins"));
        }
        let now = self.shared.clock.now();
        let host_gap = HostGap {
            host: self.host,
            epoch: gap.epoch,
            seqs: gap.seqs,
            from: self.corrected(gap.from, now),
            to: self.corrected(gap.to, now),
            reason: gap.reason,
        };
        let mut state = self.cell.lock();
        if state.session != self.session {
            return Err(refused("a newer session of this agent took over"));
        }
        let boot = if gap.epoch == self.said.epoch { self.boot } else { Boot::unknown(gap.epoch) };
        let gaps = match state.numbers.gap_came(self.said, boot, host_gap) {
            Decision::Known => {
                drop(state);
                self.acks.touched(gap.epoch, true);
                return Ok(());
            }
            Decision::New(gaps) => gaps,
        };
        state.numbers.cover(&gaps);
        let cost = gaps.len() * ROW_COST;
        state.spend(cost, now);
        let seq = gap.seqs.map_or(0, |(_, last)| last.0);
        self.shared.queue.push(Item {
            host: self.cell.clone(),
            epoch: gap.epoch,
            seq,
            tick: None,
            gaps,
            cost,
        });
        drop(state);
        self.acks.touched(gap.epoch, false);
        Ok(())
    }

    fn now(&mut self, now: Now) -> Result<(), Refused> {
        let schema = self.announced(now.schema)?;
        let mut decoder = Decoder::default();
        decoder
            .decode(&now.frame.0, schema.schema.columns.len())
            .map_err(|e| refused(format!("newest sample: {e}")))?;
        let tick = decoder.last_shared().ok_or_else(|| refused("newest sample cannot be kept"))?;
        let received_at = self.shared.clock.now();
        let at = self.corrected(tick.at, received_at);
        self.cell.seen.store(received_at.0, Ordering::Relaxed);
        let stored = Stored { tick, schema, epoch: self.said.epoch, boot: self.boot, at, received_at };
        self.shared.store.show(&Incoming { host: self.host, stored: Arc::new(stored) });
        self.shared.wakes.samples.wake();
        Ok(())
    }

    fn inventory<'a>(&'a mut self, inventory: &'a Inventory) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(async move {
            let wait = self.inventory_at.elapsed();
            if wait < INVENTORY_EVERY {
                tokio::time::sleep(INVENTORY_EVERY - wait).await;
            }
            self.inventory_at = Instant::now();
            let changed = hosts::set_inventory(&self.shared.db, self.host, inventory).await;
            match changed {
                Ok(true) => self.shared.wakes.hosts.wake(),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(host = %self.host, %error, "an inventory cannot be stored; it comes again with the next session");
                }
            }
            Ok(())
        })
    }

    fn signal(&self) -> Arc<Notify> {
        self.signal.clone()
    }

    fn has_room(&self) -> bool {
        self.pending.is_empty() && self.room()
    }

    fn acks(&mut self) -> Vec<Ack> {
        self.acks.due(&self.cell.lock().numbers)
    }

    fn resent(&self) -> bool {
        self.acks.resent()
    }
}
