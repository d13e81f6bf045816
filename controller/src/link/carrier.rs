//! One pair of byte streams, whatever carries it.

use std::io;
use std::time::Duration;

use quinn::{RecvStream, SendStream};
use sysop_common::wire::frame::FrameBuf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Most bytes read at once.
const READ: usize = 16 * 1024;
/// How long the last words have to reach a peer: a stop must not wait for one that hangs.
const FAREWELL: Duration = Duration::from_millis(300);
/// A peer that does not take what is sent within this is gone. Below five seconds, so that a revoked
/// session that does not read ends in time.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(4);

/// Bytes from the peer.
pub(super) enum Reader {
    Quic(RecvStream),
    Tcp(ReadHalf<TlsStream<TcpStream>>, Box<[u8]>),
}

/// Bytes to the peer.
pub(super) enum Writer {
    Quic(SendStream),
    Tcp(WriteHalf<TlsStream<TcpStream>>),
}

impl Reader {
    pub(super) fn tcp(half: ReadHalf<TlsStream<TcpStream>>) -> Self {
        Self::Tcp(half, vec![0; READ / 4].into())
    }

    /// Reads what is there into `buf`; 0 bytes at the end. May be dropped while it waits: nothing is lost.
    pub(super) async fn read(&mut self, buf: &mut FrameBuf) -> io::Result<usize> {
        match self {
            // No buffer of its own: an idle connection keeps none.
            Self::Quic(stream) => match stream.read_chunk(READ, true).await.map_err(io::Error::other)? {
                Some(chunk) => {
                    buf.extend(&chunk.bytes);
                    Ok(chunk.bytes.len())
                }
                None => Ok(0),
            },
            Self::Tcp(half, space) => {
                let len = half.read(space).await?;
                buf.extend(&space[..len]);
                Ok(len)
            }
        }
    }
}

impl Reader {
    /// After the goodbye over TCP: takes what the peer still sends, for a moment. Bytes that nobody read
    /// would make the kernel reset the connection, and the peer lose the goodbye.
    pub(super) async fn drain(&mut self) {
        if let Self::Tcp(half, space) = self {
            let ended = async {
                let mut left = 256 * 1024usize;
                while let Ok(len) = half.read(space).await {
                    left = left.saturating_sub(len);
                    if len == 0 || left == 0 {
                        break;
                    }
                }
            };
            let _ = tokio::time::timeout(FAREWELL, ended).await;
        }
    }
}

impl Writer {
    /// Writes all of `bytes`.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = async {
            match self {
                Self::Quic(stream) => stream.write_all(bytes).await.map_err(io::Error::other),
                Self::Tcp(half) => {
                    half.write_all(bytes).await?;
                    half.flush().await
                }
            }
        };
        tokio::time::timeout(WRITE_TIMEOUT, written)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }

    /// Ends the stream, after what was written.
    pub(super) async fn finish(&mut self) {
        match self {
            Self::Quic(stream) => {
                if stream.finish().is_ok() {
                    // Until the peer has it, or is gone.
                    let _ = tokio::time::timeout(FAREWELL, stream.stopped()).await;
                }
            }
            Self::Tcp(half) => {
                let _ = tokio::time::timeout(FAREWELL, half.shutdown()).await;
            }
        }
    }
}
