//! Ping without a privilege: an ICMP socket of datagrams, which the kernel gives to the groups of
//! `net.ipv4.ping_group_range`.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use sysop_common::probe::Reason;
use tokio::net::UdpSocket;

use super::{Answer, Asked, Failure, Gate, io_reason, resolve};

/// What a packet carries, so that an answer to somebody else's is not ours.
const BODY: &[u8; 8] = b"sysopprb";
/// Time between two packets at most.
const APART: Duration = Duration::from_secs(1);

pub(super) async fn ask(address: &str, count: u8, timeout: Duration, gate: &dyn Gate) -> Asked {
    let addresses = resolve::addresses(address, None, gate).await?;
    let Some(target) = addresses.first().copied() else { return Err(Reason::NameUnknown.into()) };
    let socket = open(target)?;
    let io = |error: std::io::Error| Failure::from(io_reason(&error));
    socket.connect(SocketAddr::new(target, 0)).await.map_err(io)?;
    // Each packet has its share of the time, less a little so that the last one's silence is told as such.
    let patience = (timeout.mul_f32(0.9) / u32::from(count)).min(APART);
    let (mut lost, mut fastest, mut why) = (0, None::<Duration>, Reason::TimedOut);
    for number in 0..count {
        let sent = Instant::now();
        let last = number + 1 == count;
        match echo(&socket, target, number.into(), patience).await {
            Ok(()) => fastest = Some(fastest.map_or(sent.elapsed(), |best| best.min(sent.elapsed()))),
            Err(reason) => {
                lost += 1;
                why = reason;
                if reason == Reason::Unreachable && fastest.is_none() && last {
                    break;
                }
            }
        }
    }
    let took = fastest.ok_or(Failure::from(why))?;
    Ok(Answer { number: lost, micros: u64::try_from(took.as_micros()).ok(), days: None })
}

fn open(target: IpAddr) -> Result<UdpSocket, Failure> {
    let (family, protocol) = match target {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Whatever the kernel's word for no: it does not give such a socket to this process.
    let socket: OwnedFd = socket_with(family, SocketType::DGRAM, flags, Some(protocol))
        .map_err(|_| Failure::from(Reason::PingNotPermitted))?;
    UdpSocket::from_std(socket.into()).map_err(|_| Reason::LocalFault.into())
}

async fn echo(socket: &UdpSocket, target: IpAddr, number: u16, patience: Duration) -> Result<(), Reason> {
    let (request, reply) = if target.is_ipv4() { (8, 0) } else { (128, 129) };
    let mut packet = [0u8; 16];
    // The kernel sets the identifier and the checksum.
    packet[0] = request;
    packet[6..8].copy_from_slice(&number.to_be_bytes());
    packet[8..].copy_from_slice(BODY);
    socket.send(&packet).await.map_err(|error| io_reason(&error))?;
    let answer = async {
        let mut bytes = [0u8; 64];
        loop {
            let length = socket.recv(&mut bytes).await.map_err(|error| io_reason(&error))?;
            let got = bytes.get(..length).unwrap_or_default();
            if got.len() >= 16 && got[0] == reply && got[6..8] == packet[6..8] && got[8..16] == *BODY {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(patience, answer).await.unwrap_or(Err(Reason::TimedOut))
}
