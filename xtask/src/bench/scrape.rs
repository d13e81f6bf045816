//! A scraper as Prometheus is one: a connection that stays, gzip asked for, everything read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A connection to an exporter.
#[derive(Debug)]
pub(crate) struct Scraper {
    reader: BufReader<TcpStream>,
    port: u16,
}

/// One answer.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    /// Bytes of request and answer, headers included.
    pub(crate) bytes: usize,
    pub(crate) body: Vec<u8>,
}

impl Scraper {
    /// Connects, trying for ten seconds.
    pub(crate) fn connect(port: u16) -> Result<Self> {
        for _ in 0..100 {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                return Ok(Self { reader: BufReader::new(stream), port });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("nothing listens on 127.0.0.1:{port}")
    }

    /// Asks for all metrics.
    pub(crate) fn scrape(&mut self, gzip: bool) -> Result<Scrape> {
        let encoding = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nUser-Agent: Prometheus/2.42.0\r\n\
             Accept: text/plain;version=0.0.4\r\n{encoding}X-Prometheus-Scrape-Timeout-Seconds: 1\r\n\r\n",
            self.port
        );
        self.reader.get_mut().write_all(request.as_bytes())?;
        let mut answer = Scrape { bytes: request.len(), ..Scrape::default() };
        let (mut length, mut chunked) = (None, false);
        loop {
            let line = self.line(&mut answer)?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse().context("content-length is no number")?);
            }
            chunked |= line.strip_prefix("transfer-encoding:").is_some_and(|value| value.contains("chunked"));
        }
        if !chunked {
            self.take(length.context("answer without a length")?, &mut answer)?;
            return Ok(answer);
        }
        loop {
            let line = self.line(&mut answer)?;
            let size = usize::from_str_radix(line.trim(), 16).context("bad chunk")?;
            self.take(size, &mut answer)?;
            self.line(&mut answer)?;
            if size == 0 {
                return Ok(answer);
            }
        }
    }

    fn line(&mut self, answer: &mut Scrape) -> Result<String> {
        let mut line = String::new();
        answer.bytes += self.reader.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the exporter closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }

    fn take(&mut self, length: usize, answer: &mut Scrape) -> Result<()> {
        let before = answer.body.len();
        answer.body.resize(before + length, 0);
        self.reader.read_exact(&mut answer.body[before..])?;
        answer.bytes += length;
        Ok(())
    }
}
