//! Counts TCP sockets by state over netlink (`sock_diag(7)`): the kernel sends only those asked for,
//! while `/proc/net/tcp` writes a line for each connection of a busy server.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// Longest time for one count.
const TIME: Duration = Duration::from_millis(100);
/// Message types of `linux/netlink.h` and `linux/sock_diag.h`.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const FLAGS: u16 = 0x1 | 0x300;
const IPPROTO_TCP: u8 = 6;
/// States of `net/tcp_states.h`. Half-open connections of listeners are told as `NEW_SYN_RECV`'s
/// ordinary name by the kernel.
pub(super) const ESTABLISHED: u8 = 1;
pub(super) const SYN_RECV: u8 = 3;
const CLOSE_WAIT: u8 = 8;
pub(super) const LISTEN: u8 = 10;
/// Size of `struct nlmsghdr` and of the request, `struct inet_diag_req_v2` behind it.
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;

/// Most ports that are told one by one: each is a column of every sample.
pub(super) const MAX_PORTS: usize = 64;

/// Sockets of both address families in the states that no counter tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct States {
    pub(super) listen: u64,
    /// Ports that are listened on, in order, at most [`MAX_PORTS`].
    pub(super) ports: BTreeSet<u16>,
    /// There are more ports than that.
    pub(super) more: bool,
    pub(super) syn_received: u64,
    pub(super) close_wait: u64,
}

/// The local port, in `struct inet_diag_sockid` behind family, state, timer and retransmits.
pub(super) fn local_port(message: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*message.get(4..)?.first_chunk()?))
}

/// Counts now.
///
/// # Errors
/// When the kernel or the agent's sandbox does not allow it, or it takes too long.
pub(super) fn count() -> io::Result<States> {
    let mut states = States::default();
    each(1 << SYN_RECV | 1 << CLOSE_WAIT | 1 << LISTEN, TIME, |message| match message.get(1) {
        Some(&LISTEN) => {
            states.listen += 1;
            let Some(port) = local_port(message) else { return };
            if states.ports.insert(port) && states.ports.len() > MAX_PORTS {
                // The lower ones stay: the higher are more often given out by chance.
                states.ports.pop_last();
                states.more = true;
            }
        }
        Some(&SYN_RECV) => states.syn_received += 1,
        Some(&CLOSE_WAIT) => states.close_wait += 1,
        _ => {}
    })?;
    Ok(states)
}

/// Hands each socket in one of `states` (bits by number), of both address families, to `visit`: the bytes of
/// its `struct inet_diag_msg`, which begins with family and state.
///
/// # Errors
/// As [`count`].
pub(super) fn each(states: u32, time: Duration, mut visit: impl FnMut(&[u8])) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(time))?;
    let deadline = Instant::now() + time;
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        send(&socket, &request(family, states), SendFlags::empty())?;
        receive(&socket, deadline, &mut visit)?;
    }
    Ok(())
}

fn request(family: AddressFamily, states: u32) -> [u8; REQUEST] {
    let mut out = [0; REQUEST];
    out[0..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    out[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    out[6..8].copy_from_slice(&FLAGS.to_ne_bytes());
    out[HEADER] = u8::try_from(family.as_raw()).unwrap_or_default();
    out[HEADER + 1] = IPPROTO_TCP;
    out[HEADER + 4..HEADER + 8].copy_from_slice(&states.to_ne_bytes());
    out
}

fn receive(socket: &OwnedFd, deadline: Instant, visit: &mut impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    while Instant::now() < deadline {
        let (length, _) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
        if take(buffer.get(..length).unwrap_or_default(), visit)? {
            return Ok(());
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Visits the sockets in one datagram; true when it holds the end of the list.
fn take(mut bytes: &[u8], visit: &mut impl FnMut(&[u8])) -> io::Result<bool> {
    while let Some(header) = bytes.first_chunk::<HEADER>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let payload = bytes.get(HEADER..length).ok_or(io::ErrorKind::InvalidData)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = payload.first_chunk::<4>().map_or(0, |code| i32::from_ne_bytes(*code));
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            SOCK_DIAG_BY_FAMILY => visit(payload),
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_socket_is_counted() {
        let before = count().unwrap();
        let listeners: Vec<_> = (0..5).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        // Other tests open and close sockets meanwhile.
        assert!(count().unwrap().listen + 3 > before.listen);
        let states = count().unwrap();
        assert!(states.listen >= 5 && states.ports.len() <= MAX_PORTS);
        let told = |port| states.more || states.ports.contains(&port);
        assert!(listeners.iter().all(|listener| told(listener.local_addr().unwrap().port())));
    }

    #[test]
    fn torn_answers_are_errors() {
        let mut seen = 0;
        let mut visit = |message: &[u8]| seen += u64::from(message.get(1) == Some(&CLOSE_WAIT));
        let mut message = vec![0; 20];
        message[0..4].copy_from_slice(&40_u32.to_ne_bytes());
        message[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        assert!(take(&message, &mut visit).is_err());
        message[0..4].copy_from_slice(&8_u32.to_ne_bytes());
        assert!(take(&message, &mut visit).is_err());
        message[0..4].copy_from_slice(&20_u32.to_ne_bytes());
        message[17] = CLOSE_WAIT;
        assert!(!take(&message, &mut visit).unwrap());
        assert!(!take(&[1, 2, 3], &mut visit).unwrap());
        assert_eq!(seen, 1);
    }
}
