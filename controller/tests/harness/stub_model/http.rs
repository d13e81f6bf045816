//! HTTP/1.1 by hand: heads, bodies, and every way to end a connection badly.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Seen, Shared, quirks, scenario, transcript_json};

/// What is written.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    /// Before the head.
    pub(super) pause: Duration,
    pub(super) body: Body,
}

/// What is written after the head.
pub(super) enum Body {
    /// All of it, with its length.
    Whole(Vec<u8>),
    /// Piece by piece, chunked, with pauses.
    Pieces { pieces: Vec<Vec<u8>>, pause: Duration },
    /// The same piece again and again, at most so many times, chunked.
    Endless { piece: Vec<u8>, pause: Duration, most: usize },
    /// A part, and the announced rest never comes.
    Cut { part: Vec<u8>, announced: usize, how: Cut },
    /// Bytes that are no chunks, announced as chunks.
    BadChunks(Vec<u8>),
    /// Not even a head.
    NoHead,
}

/// How a connection ends in the middle.
pub(super) enum Cut {
    /// In order.
    Close,
    /// By a reset.
    Reset,
}

impl Reply {
    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::raw(status, "application/json", value.to_string().into_bytes())
    }

    pub(super) fn raw(status: u16, kind: &str, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), kind.to_owned())],
            pause: Duration::ZERO,
            body: Body::Whole(body),
        }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            shared.state().open += 1;
            let _ = connection(stream, &shared).await;
            shared.state().open -= 1;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Some(seen) = request(&mut stream, &mut buffer).await? {
        let reply = respond(shared, seen);
        tokio::time::sleep(reply.pause).await;
        if !write(&mut stream, reply, shared).await? {
            break;
        }
    }
    Ok(())
}

fn respond(shared: &Shared, mut seen: Seen) -> Reply {
    match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/control/transcript") => return Reply::json(200, &transcript_json(shared)),
        ("POST", "/control/reset") => {
            *shared.state() = super::State::default();
            return Reply::json(200, &serde_json::json!({}));
        }
        _ => {}
    }
    let violations = quirks::violations(shared.emulate, &seen);
    shared.state().violations.extend(violations);
    let name = scenario::name_of(shared, &seen);
    seen.scenario = name.clone();
    let count = {
        let mut state = shared.state();
        state.transcript.push(seen.clone());
        let calls = state.calls.entry(name.clone()).or_default();
        *calls += usize::from(seen.method == "POST");
        *calls
    };
    if let Some(reply) = quirks::turned_away(shared.emulate, &seen) {
        return reply;
    }
    if seen.method == "GET" {
        return Reply::json(200, &quirks::models(shared.emulate));
    }
    scenario::play(shared, &seen, &name, count)
}

/// One request; none when the client went away.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Seen>> {
    let head = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        let mut piece = vec![0; 8_192];
        match stream.read(&mut piece).await? {
            0 => return Ok(None),
            n => buffer.extend_from_slice(&piece[..n]),
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let whole = head + 4 + length;
    while buffer.len() < whole {
        let mut piece = vec![0; 65_536];
        match stream.read(&mut piece).await? {
            0 => return Ok(None),
            n => buffer.extend_from_slice(&piece[..n]),
        }
    }
    let body: Vec<u8> = buffer.drain(..whole).skip(head + 4).collect();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Some(Seen {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        bytes: body.len(),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        scenario: String::new(),
    }))
}

/// Writes a reply; false when the connection is of no more use.
async fn write(stream: &mut TcpStream, reply: Reply, shared: &Shared) -> std::io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let chunked = "transfer-encoding: chunked\r\n\r\n";
    match reply.body {
        Body::NoHead => Ok(false),
        Body::Whole(body) => {
            head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
            shared.state().sent += body.len() as u64;
            Ok(true)
        }
        Body::Cut { part, announced, how } => {
            head.push_str(&format!("content-length: {announced}\r\n\r\n"));
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&part).await?;
            stream.flush().await?;
            if matches!(how, Cut::Reset) {
                stream.set_zero_linger()?;
            }
            Ok(false)
        }
        Body::BadChunks(bytes) => {
            stream.write_all(format!("{head}{chunked}").as_bytes()).await?;
            stream.write_all(&bytes).await?;
            Ok(false)
        }
        Body::Pieces { pieces, pause } => {
            stream.write_all(format!("{head}{chunked}").as_bytes()).await?;
            for piece in pieces {
                chunk(stream, &piece, shared).await?;
                tokio::time::sleep(pause).await;
            }
            stream.write_all(b"0\r\n\r\n").await?;
            Ok(true)
        }
        Body::Endless { piece, pause, most } => {
            stream.write_all(format!("{head}{chunked}").as_bytes()).await?;
            for _ in 0..most {
                chunk(stream, &piece, shared).await?;
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
            stream.write_all(b"0\r\n\r\n").await?;
            Ok(true)
        }
    }
}

async fn chunk(stream: &mut TcpStream, piece: &[u8], shared: &Shared) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
    stream.write_all(piece).await?;
    stream.write_all(b"\r\n").await?;
    shared.state().sent += piece.len() as u64;
    Ok(())
}
