//! Merging the stretches of a host's hour into one part.

use std::sync::Arc;

use sysop_common::ids::{Epoch, HostId, SchemaId};
use sysop_common::time::{MINUTE_MS, UnixMs};

use super::memory::MAX_UNFOLDED;
use super::part::{MAX_TICKS, Part};
use super::parts::{NewPart, PartRow, TIER_HOUR, hour_of};
use super::types::{NamedSchema, Stored};
use super::{SampleStore, parts};
use crate::store::StoreError;

/// An hour is merged when it has been over for this long: what was under way is compacted by then.
const SETTLE_MS: i64 = 25 * MINUTE_MS;
/// Hours looked up at once.
const PAGE: i64 = 256;

impl SampleStore {
    /// Merges the stretches of hours that are over. What comes late makes another stretch, merged into
    /// the hour when this runs again. Returns how many hours of hosts were merged.
    ///
    /// # Errors
    /// When the database refuses; what was merged is merged.
    pub async fn merge(&self, now: UnixMs) -> Result<usize, StoreError> {
        let _only = self.inner.compaction.lock().await;
        let mut merged = 0;
        loop {
            let due = {
                let mut db = self.inner.db.read().acquire().await?;
                parts::mergeable(&mut db, hour_of(now.plus(-SETTLE_MS)), PAGE).await?
            };
            if due.is_empty() {
                return Ok(merged);
            }
            for (host, epoch, schema, hour) in due {
                self.merge_hour(host, epoch, schema, hour).await?;
                merged += 1;
            }
        }
    }

    async fn merge_hour(
        &self,
        host: HostId,
        epoch: Epoch,
        schema: SchemaId,
        hour: i64,
    ) -> Result<(), StoreError> {
        let rows = {
            let mut db = self.inner.db.read().acquire().await?;
            parts::of_hour(&mut db, host, epoch, schema, hour).await?
        };
        let named = self.schema(schema).await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let merged = match rows.len() {
            1 => None,
            _ => tokio::task::spawn_blocking(move || join(host, &named, &rows))
                .await
                .map_err(|e| StoreError::corrupt("merge", e))?,
        };
        let bytes = merged.as_ref().map_or(0, |part| part.body.len());
        let mut tx = self.inner.db.write().begin().await?;
        match merged {
            Some(part) => {
                for id in ids {
                    parts::delete(&mut tx, id).await?;
                }
                parts::insert(&mut tx, &part).await?;
            }
            // Alone in its hour; or not to be joined, then each stays as it is.
            None => {
                for id in ids {
                    parts::promote(&mut tx, id).await?;
                }
            }
        }
        tx.commit().await?;
        self.inner.log.grew(2 * bytes);
        Ok(())
    }
}

/// All ticks of some parts as one part; `None` when one of them cannot be read, or they are too much.
fn join(host: HostId, schema: &Arc<NamedSchema>, rows: &[PartRow]) -> Option<NewPart> {
    let (mut ticks, mut bytes) = (Vec::<Arc<Stored>>::new(), 0);
    for row in rows {
        let read = Part::open(&row.body).and_then(|part| part.ticks());
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%host, part = row.id, %error, "a part cannot be read and is left as it is");
                return None;
            }
        };
        let read_len = read.len();
        ticks.extend(read.into_iter().map(|(tick, at, received_at)| {
            Arc::new(Stored {
                tick: Arc::new(tick),
                schema: schema.clone(),
                epoch: row.epoch,
                boot: row.boot,
                at,
                received_at,
            })
        }));
        bytes += ticks[ticks.len() - read_len..].iter().map(|stored| stored.cost()).sum::<usize>();
        if bytes > 2 * MAX_UNFOLDED || ticks.len() > MAX_TICKS {
            return None;
        }
    }
    ticks.sort_by_key(|stored| stored.tick.seq);
    ticks.dedup_by_key(|stored| stored.tick.seq);
    NewPart::of(host, TIER_HOUR, &ticks)
}
