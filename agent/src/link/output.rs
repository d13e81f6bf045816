//! Output of runs over QUIC: each order has a stream of its own, so that much output never delays samples.

use std::collections::BTreeMap;
use std::time::Duration;

use sysop_common::ids::OrderId;
use sysop_common::wire::{OutputChunk, Upward};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Streams at once; the controller allows as many.
const STREAMS: usize = 4;
/// Pieces that wait for one stream.
const PIECES: usize = 4;
/// A stream without output for this long is finished; more output opens another one.
const IDLE: Duration = Duration::from_secs(30);
/// How long the controller may take to receive the last bytes of a stream.
const LAST: Duration = Duration::from_secs(5);

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct Outputs {
    connection: quinn::Connection,
    streams: BTreeMap<OrderId, mpsc::Sender<OutputChunk>>,
    tasks: JoinSet<OrderId>,
}

impl Outputs {
    pub(super) fn new(connection: quinn::Connection) -> Self {
        Self { connection, streams: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// Hands a piece to its order's stream; gives it back while that stream has enough.
    pub(super) fn put(&mut self, chunk: OutputChunk) -> Result<(), OutputChunk> {
        self.streams.retain(|_, stream| !stream.is_closed());
        if !self.streams.contains_key(&chunk.order) {
            if self.streams.len() == STREAMS {
                return Err(chunk);
            }
            let (sender, receiver) = mpsc::channel(PIECES);
            self.tasks.spawn(carry(self.connection.clone(), chunk.order, receiver));
            self.streams.insert(chunk.order, sender);
        }
        match self.streams.get(&chunk.order).map(|stream| stream.try_send(chunk)) {
            Some(Err(mpsc::error::TrySendError::Full(chunk) | mpsc::error::TrySendError::Closed(chunk))) => {
                Err(chunk)
            }
            _ => Ok(()),
        }
    }

    /// An order ended: nothing more comes on its stream. True when the stream is still under way, and
    /// [`Outputs::done`] will name the order.
    pub(super) fn finish(&mut self, order: OrderId) -> bool {
        self.streams.remove(&order).is_some_and(|stream| !stream.is_closed())
    }

    /// The next order whose stream is through.
    pub(super) async fn done(&mut self) -> OrderId {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(order)) => return order,
                Some(Err(e)) => tracing::error!(error = %e, "a stream of output failed"),
                None => std::future::pending().await,
            }
        }
    }
}

async fn carry(
    connection: quinn::Connection,
    order: OrderId,
    mut pieces: mpsc::Receiver<OutputChunk>,
) -> OrderId {
    let Ok(mut stream) = connection.open_uni().await else { return order };
    while let Ok(Some(chunk)) = tokio::time::timeout(IDLE, pieces.recv()).await {
        let mut frame = Vec::new();
        if let Err(e) = Upward::Output(chunk).encode(&mut frame) {
            tracing::warn!(%order, error = %e, "a piece of output cannot be sent");
            continue;
        }
        // The connection is gone: its session ends by itself.
        if stream.write_all(&frame).await.is_err() {
            return order;
        }
    }
    if stream.finish().is_ok() {
        let _ = tokio::time::timeout(LAST, stream.stopped()).await;
    }
    order
}
