//! Enrolment: one bounded request, one answer, few at a time, few per source.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sysop_common::time::{MINUTE_MS, UnixMs};
use sysop_common::wire::frame::FrameBuf;
use sysop_common::wire::limits::MAX_ENROL;
use sysop_common::wire::{EnrolAnswer, EnrolRequest, WireError};

use super::Context;
use super::coming::source;
use super::session::Streams;

/// The request must come within this.
const DEADLINE: Duration = Duration::from_secs(10);
/// Requests per source and minute.
const PER_SOURCE: u32 = 30;
/// Requests in all per minute.
const IN_ALL: u32 = 1_000;
/// Sources remembered.
const MAX_SOURCES: usize = 8_192;

/// Counts requests per source within the current minute.
#[derive(Debug, Default)]
pub(super) struct Rate(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    minute: i64,
    all: u32,
    sources: HashMap<IpAddr, u32>,
}

impl Rate {
    /// Whether one more request from `address` is within bounds; counts it if so.
    pub(super) fn allows(&self, address: IpAddr, now: UnixMs) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.0.div_euclid(MINUTE_MS);
        if counts.minute != minute {
            *counts = Counts { minute, ..Counts::default() };
        }
        let source = source(address);
        let full = counts.sources.len() >= MAX_SOURCES && !counts.sources.contains_key(&source);
        if counts.all >= IN_ALL || full || counts.sources.get(&source).is_some_and(|n| *n >= PER_SOURCE) {
            return false;
        }
        counts.all += 1;
        *counts.sources.entry(source).or_default() += 1;
        true
    }
}

/// Serves one enrolment.
pub(super) async fn run(context: &Context, from: SocketAddr, mut streams: Streams) {
    let answer = if context.enrolments.allows(from.ip(), context.clock.now()) {
        match tokio::time::timeout(DEADLINE, request(&mut streams)).await {
            Ok(Ok(request)) => context.ports.enroller.enrol(request, from).await,
            Ok(Err(why)) => EnrolAnswer::Refused(why),
            Err(_) => EnrolAnswer::Refused("no request came in time".into()),
        }
    } else {
        EnrolAnswer::Refused("too many requests from this address; try again in a minute".into())
    };
    let mut out = Vec::new();
    if answer.encode(&mut out).is_ok() && streams.writer.write(&out).await.is_ok() {
        streams.writer.finish().await;
    }
    if let Some(quic) = &streams.quic {
        quic.close(0u32.into(), b"done");
    }
}

async fn request(streams: &mut Streams) -> Result<EnrolRequest, String> {
    let (mut buf, mut total) = (FrameBuf::default(), 0);
    loop {
        let text = |error: WireError| error.to_string();
        if let Some(frame) = buf.next_frame().map_err(text)? {
            return EnrolRequest::decode(frame).map_err(text);
        }
        // Whatever kind the frame says it is: no more than a request may have.
        if total > MAX_ENROL + 8 {
            return Err("the request is too large".into());
        }
        match streams.reader.read(&mut buf).await {
            Ok(len) if len > 0 => total += len,
            _ => return Err("the request did not come whole".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_share_and_no_more() {
        let rate = Rate::default();
        let at = |n: i64| UnixMs(n * MINUTE_MS);
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        assert!((0..PER_SOURCE).all(|_| rate.allows(one, at(1))));
        assert!(!rate.allows(one, at(1)));
        assert!(!rate.allows("::ffff:192.0.2.1".parse().unwrap(), at(1)), "the same by another spelling");
        assert!(rate.allows("192.0.2.2".parse().unwrap(), at(1)));
        assert!(rate.allows(one, at(2)));
        let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!((0..PER_SOURCE).all(|n| rate.allows(v6(&format!("2001:db8::{n:x}")), at(3))));
        assert!(!rate.allows(v6("2001:db8::ffff"), at(3)));
        assert!(rate.allows(v6("2001:db8:0:1::1"), at(3)));
    }
}
