//! HTTP/1.1, as much as a probe needs: one request, the status, and whether a text is in the first part of
//! the answer. Every read is bounded; the body is looked through as it comes and never kept.

use std::net::IpAddr;

use sysop_common::probe::{Check, Method, Reason, Url};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Answer, Asked, Failure, Gate, connect_to, io_reason, resolve, tls};

/// Most bytes of an answer's head.
const MAX_HEAD: usize = 16 * 1024;
/// Most bytes of a body that are looked through, framing included.
const MAX_BODY: usize = 256 * 1024;
/// Bytes read at a time.
const READ: usize = 4 * 1024;

/// What a probe of HTTP asks.
struct Wanted<'a> {
    method: Method,
    status: std::ops::RangeInclusive<u16>,
    contains: Option<&'a str>,
    ca: Option<&'a str>,
}

/// What an answer came to.
enum Came {
    Well,
    Leads(String),
}

pub(super) async fn ask(check: &Check, gate: &dyn Gate) -> Asked {
    let Check::Http { url, method, status_min, status_max, contains, redirects, ca } = check else {
        return Err(Reason::LocalFault.into());
    };
    let wanted = Wanted {
        method: *method,
        status: *status_min..=*status_max,
        contains: contains.as_deref(),
        ca: ca.as_deref(),
    };
    let mut url = Url::parse(url).ok_or(Failure::from(Reason::NotTaken))?;
    let addresses = resolve::addresses(&url.host, Some(url.port), gate).await?;
    let named = url.host.parse::<IpAddr>().is_err();
    let mut days = None;
    for left in (0..=*redirects).rev() {
        // The same host, so the same addresses; another port is another question to the gate.
        let name = named.then_some(url.host.as_str());
        let here: Vec<IpAddr> = addresses
            .iter()
            .copied()
            .filter(|address| {
                let name = name.filter(|name| !name.eq_ignore_ascii_case("localhost"));
                name.is_none_or(|name| gate.allows_name(name, Some(url.port)))
                    && gate.allows_address(name, *address, Some(url.port))
            })
            .collect();
        if here.is_empty() {
            return Err(gate.refusal().into());
        }
        match once(&url, &here, &wanted, &mut days, *redirects > 0)
            .await
            .map_err(|failure| Failure { days, ..failure })?
        {
            Came::Well => return Ok(Answer { days, ..Answer::default() }),
            Came::Leads(_) if left == 0 => return Err(Reason::TooManyRedirects.into()),
            Came::Leads(location) => match url.join(&location) {
                Some(next) if next.host == url.host && (next.tls || !url.tls) => url = next,
                _ => return Err(Reason::ForeignRedirect.into()),
            },
        }
    }
    Err(Reason::TooManyRedirects.into())
}

async fn once(
    url: &Url,
    addresses: &[IpAddr],
    wanted: &Wanted<'_>,
    days: &mut Option<i64>,
    follow: bool,
) -> Result<Came, Failure> {
    let stream = connect_to(addresses, url.port).await?;
    if url.tls {
        let (mut stream, seen) = tls::connect(stream, &url.host, wanted.ca).await?;
        *days = seen;
        exchange(&mut stream, url, wanted, follow).await
    } else {
        let mut stream = stream;
        exchange(&mut stream, url, wanted, follow).await
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    url: &Url,
    wanted: &Wanted<'_>,
    follow: bool,
) -> Result<Came, Failure> {
    let method = match wanted.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
    };
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let usual = url.port == if url.tls { 443 } else { 80 };
    let port = if usual { String::new() } else { format!(":{}", url.port) };
    let request = format!(
        "{method} {} HTTP/1.1\r\nHost: {host}{port}\r\nUser-Agent: sysop-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        url.path
    );
    let io = |error: std::io::Error| Failure::from(io_reason(&error));
    stream.write_all(request.as_bytes()).await.map_err(io)?;
    stream.flush().await.map_err(io)?;
    let (head, rest) = head(stream).await?;
    if follow
        && (300..400).contains(&head.status)
        && head.status != 304
        && let Some(location) = head.location
    {
        return Ok(Came::Leads(location));
    }
    if !wanted.status.contains(&head.status) {
        return Err(Failure::counting(Reason::Status, head.status.into()));
    }
    match wanted.contains {
        None => Ok(Came::Well),
        Some(text) if find(stream, rest, text.as_bytes(), head.chunked).await? => Ok(Came::Well),
        Some(_) => Err(Failure::counting(Reason::TextMissing, head.status.into())),
    }
}

/// What counts of an answer's head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    location: Option<String>,
    chunked: bool,
}

/// Reads a head, and what came of the body with it.
async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(Head, Vec<u8>), Failure> {
    let mut bytes = Vec::new();
    let mut piece = [0; READ];
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = parse(&bytes[..end]).ok_or(Failure::from(Reason::Malformed))?;
            // "100 Continue" and the like come before the answer.
            if (100..200).contains(&head.status) {
                bytes.drain(..end + 4);
                continue;
            }
            return Ok((head, bytes.split_off(end + 4)));
        }
        if bytes.len() > MAX_HEAD {
            return Err(Reason::Malformed.into());
        }
        match stream.read(&mut piece).await {
            Ok(0) if bytes.is_empty() => return Err(Reason::Closed.into()),
            Ok(0) => return Err(Reason::Malformed.into()),
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) => return Err(io_reason(&error).into()),
        }
        // What is no HTTP shows early.
        if !b"HTTP/1.".starts_with(&bytes[..bytes.len().min(7)]) {
            return Err(Reason::Malformed.into());
        }
    }
}

fn parse(head: &[u8]) -> Option<Head> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.splitn(3, ' ');
    first.next().filter(|version| version.starts_with("HTTP/1."))?;
    let status =
        first.next().filter(|status| status.len() == 3)?.parse().ok().filter(|status| *status >= 100)?;
    let (mut location, mut chunked) = (None, false);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "location" => location = Some(value.trim().to_owned()),
            "transfer-encoding" => chunked |= value.to_ascii_lowercase().contains("chunked"),
            _ => {}
        }
    }
    Some(Head { status, location, chunked })
}

/// Whether `text` is in the first part of a body that begins with `rest`.
async fn find<S: AsyncRead + Unpin>(
    stream: &mut S,
    rest: Vec<u8>,
    text: &[u8],
    chunked: bool,
) -> Result<bool, Failure> {
    let mut search = Search { text, tail: Vec::new() };
    let mut chunks = chunked.then(Chunks::default);
    let (mut piece, mut read) = (rest, 0);
    let mut buffer = [0; READ];
    loop {
        read += piece.len();
        let body = match &mut chunks {
            Some(chunks) => chunks.feed(&piece).ok_or(Failure::from(Reason::Malformed))?,
            None => std::mem::take(&mut piece),
        };
        if search.feed(&body) {
            return Ok(true);
        }
        if read >= MAX_BODY || chunks.as_ref().is_some_and(|chunks| chunks.ended) {
            return Ok(false);
        }
        match stream.read(&mut buffer).await {
            Ok(0) => return Ok(false),
            Ok(count) => piece = buffer[..count].to_vec(),
            // Peers close TLS without a goodbye; what came counts.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(io_reason(&error).into()),
        }
    }
}

/// Looks for a text in pieces, keeping no more than may be its beginning.
struct Search<'a> {
    text: &'a [u8],
    tail: Vec<u8>,
}

impl Search<'_> {
    fn feed(&mut self, piece: &[u8]) -> bool {
        self.tail.extend_from_slice(piece);
        if self.tail.windows(self.text.len()).any(|here| here == self.text) {
            return true;
        }
        let keep = self.tail.len().min(self.text.len() - 1);
        self.tail.drain(..self.tail.len() - keep);
        false
    }
}

/// Takes the framing off a chunked body.
#[derive(Debug, Default)]
struct Chunks {
    /// A line of a size that is not whole yet.
    line: Vec<u8>,
    /// Bytes left of this chunk, with the line end after it.
    left: usize,
    ended: bool,
}

impl Chunks {
    /// The body's bytes in `piece`; `None` when it is no such framing.
    fn feed(&mut self, mut piece: &[u8]) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        while !piece.is_empty() && !self.ended {
            if self.left > 2 {
                let (now, rest) = piece.split_at(piece.len().min(self.left - 2));
                body.extend_from_slice(now);
                self.left -= now.len();
                piece = rest;
                continue;
            }
            let (byte, rest) = piece.split_first()?;
            piece = rest;
            if self.left > 0 {
                self.left -= 1;
            } else if *byte == b'\n' {
                let text = std::str::from_utf8(&self.line).ok()?;
                let size = text.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16).ok()?;
                self.line.clear();
                self.ended = size == 0;
                self.left = size.checked_add(2)?;
            } else {
                self.line.push(*byte);
                if self.line.len() > 256 {
                    return None;
                }
            }
        }
        Some(body)
    }
}
