//! Streams that carry the output of one run each, so that a large output delays no samples.

use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, RecvStream};
use sysop_common::ids::HostId;
use sysop_common::wire::Upward;
use sysop_common::wire::frame::{FrameBuf, kind};

use super::carrier::Reader;
use super::ports::ResultSink;

/// Streams of outputs that one session may have open.
pub(super) const MAX_STREAMS: usize = 4;
/// Most bytes of one stream.
const MAX_BYTES: usize = 16 << 20;
/// A stream that brings nothing for this long is given up.
const IDLE: Duration = Duration::from_secs(60);

/// The next stream; for ever when the transport has none or is closed.
pub(super) async fn accept(quic: Option<&Connection>) -> RecvStream {
    if let Some(quic) = quic
        && let Ok(stream) = quic.accept_uni().await
    {
        return stream;
    }
    std::future::pending().await
}

/// Reads a stream to its end. Whatever is not output ends it; the host sends again what was not settled.
pub(super) async fn read(stream: RecvStream, host: HostId, results: Arc<dyn ResultSink>) {
    let (mut reader, mut buf, mut total) = (Reader::Quic(stream), FrameBuf::default(), 0usize);
    loop {
        loop {
            match buf.next_frame() {
                Ok(Some(frame)) if frame.kind == kind::OUTPUT => match Upward::decode(frame) {
                    Ok(Upward::Output(chunk)) => {
                        if let Err(error) = results.output(host, chunk).await {
                            return tracing::warn!(%host, %error, "output of a run cannot be stored");
                        }
                    }
                    _ => return tracing::warn!(%host, "output of a run does not decode"),
                },
                Ok(None) => break,
                _ => return tracing::warn!(%host, "a stream for output carries something else"),
            }
        }
        match tokio::time::timeout(IDLE, reader.read(&mut buf)).await {
            Ok(Ok(len)) if len > 0 => total += len,
            _ => return,
        }
        if total > MAX_BYTES {
            return tracing::warn!(%host, "output of a run is larger than 16 MiB; the rest is dropped");
        }
    }
}
