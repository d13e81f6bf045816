//! Sequenced packets over a Unix socket: connect, listen, take over from systemd, who is the peer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect,
    listen, recv, send, socket_with, sockopt,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::protocol::MAX_MESSAGE;

/// Connections that wait to be taken.
const BACKLOG: i32 = 16;
const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Channel(AsyncFd<OwnedFd>);

impl Channel {
    /// Connects to the socket at `path`.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Self::new(socket)
    }

    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self(watch(socket)?))
    }

    /// User of the process that connected.
    pub(super) fn peer_uid(&self) -> io::Result<u32> {
        Ok(sockopt::socket_peercred(&self.0)?.uid.as_raw())
    }

    /// Sends one packet.
    pub(super) async fn send(&self, packet: &[u8]) -> io::Result<()> {
        let flags = SendFlags::NOSIGNAL;
        self.0.async_io(Interest::WRITABLE, |socket| Ok(send(socket, packet, flags)?)).await?;
        Ok(())
    }

    /// The next packet; `None` when the other end is gone. A packet that is too large is an error.
    /// Nothing is lost when this is dropped while it waits.
    pub(super) async fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; MAX_MESSAGE];
        let (_, len) = self
            .0
            .async_io(Interest::READABLE, |socket| Ok(recv(socket, &mut buffer[..], RecvFlags::TRUNC)?))
            .await?;
        if len > MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "packet over the cap"));
        }
        buffer.truncate(len);
        buffer.shrink_to_fit();
        Ok((len > 0).then_some(buffer))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener(AsyncFd<OwnedFd>);

impl Listener {
    /// Makes the socket at `path`, for root and `group`. A socket that nobody listens on is replaced
    /// at once: a collector never finds none where there was one.
    pub(super) fn bind(path: &Path, group: Option<u32>) -> io::Result<Self> {
        if let Ok(meta) = std::fs::symlink_metadata(path) {
            if !meta.file_type().is_socket() {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "exists and is not a socket"));
            }
            if Channel::connect(path).is_ok() {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another executor listens"));
            }
        }
        let new = path.with_extension("new");
        match std::fs::remove_file(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        bind(&socket, &SocketAddrUnix::new(&new)?)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o660))?;
        if let Some(group) = group {
            std::os::unix::fs::chown(&new, None, Some(group))?;
        }
        listen(&socket, BACKLOG)?;
        std::fs::rename(&new, path)?;
        Ok(Self(watch(socket)?))
    }

    /// Takes over the socket that systemd listens on, if this process was started for one.
    pub(super) fn inherited() -> io::Result<Option<Self>> {
        let variable = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
        if variable("LISTEN_PID") != Some(std::process::id()) {
            return Ok(None);
        }
        match variable("LISTEN_FDS") {
            None | Some(0) => return Ok(None),
            Some(1) => {}
            Some(_) => {
                return Err(io::Error::other("systemd passes more than one socket; give the unit one"));
            }
        }
        // SAFETY: systemd passes descriptor 3 to this process alone, and nothing else here takes it:
        // this function is called once, at start.
        #[allow(unsafe_code)]
        let socket = unsafe { OwnedFd::from_raw_fd(3) };
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        let fits =
            sockopt::socket_type(&socket)? == SocketType::SEQPACKET && sockopt::socket_acceptconn(&socket)?;
        if !fits {
            return Err(io::Error::other(
                "descriptor 3 is no listening packet socket; use ListenSequentialPacket=",
            ));
        }
        let flags = rustix::fs::fcntl_getfl(&socket)?;
        rustix::fs::fcntl_setfl(&socket, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Some(Self(watch(socket)?)))
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Channel> {
        let socket = self.0.async_io(Interest::READABLE, |socket| Ok(accept_with(socket, FLAGS)?)).await?;
        Channel::new(socket)
    }
}

fn watch(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor stays open, and the same, until the AsyncFd that owns it is dropped.
    #[allow(unsafe_code)]
    let watched = unsafe { AsyncFd::register(socket) };
    Ok(watched?)
}
