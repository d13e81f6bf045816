//! The socket of the QUIC listener: what comes close together is taken together.
//!
//! A fleet sends small datagrams at all times. Waking for each of them costs more than reading it, so once
//! they follow one another closely the socket is no longer waited for but looked at every [`PAUSE`]. When
//! nothing came in a pause it is waited for again: a lone datagram is never held back.

use std::future::Future as _;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::time::{Instant, Sleep, sleep};

/// How long what comes may wait for company: little beside the commit that its ack waits for.
const PAUSE: Duration = Duration::from_millis(2);
/// Datagrams that come within this of one another come closely.
const CLOSELY: Duration = Duration::from_millis(3);
/// When the kernel has no room for what is sent, it is asked again after this.
const FULL: Duration = Duration::from_millis(1);

/// See the module.
#[derive(Debug)]
pub(super) struct BatchSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    receiving: Mutex<Receiving>,
    /// The kernel had no room for the last datagram.
    full: AtomicBool,
}

#[derive(Debug)]
struct Receiving {
    how: How,
    pause: Pin<Box<Sleep>>,
    /// When something last came.
    last: Option<Instant>,
}

#[derive(Debug)]
enum How {
    /// The kernel tells when something comes.
    Waiting(tokio::net::UdpSocket),
    /// It is looked at after the pause.
    Pausing,
    /// It is read until it is empty; whether something came since the last pause.
    Draining(bool),
}

impl BatchSocket {
    /// Takes `socket` over. To be called in the runtime that will use it.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let receiving = Receiving { how: wait_for(&socket)?, pause: Box::pin(sleep(PAUSE)), last: None };
        let receiving = Mutex::new(receiving);
        Ok(Self { socket, state, receiving, full: AtomicBool::new(false) })
    }

    fn receive(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        self.state.recv((&self.socket).into(), bufs, meta)
    }
}

fn wait_for(socket: &UdpSocket) -> io::Result<How> {
    tokio::net::UdpSocket::from_std(socket.try_clone()?).map(How::Waiting)
}

fn is_empty(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

impl AsyncUdpSocket for BatchSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room { socket: self, again: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.state.send((&self.socket).into(), transmit);
        if sent.as_ref().is_err_and(is_empty) {
            self.full.store(true, Ordering::Relaxed);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut receiving = self.receiving.lock().unwrap_or_else(PoisonError::into_inner);
        let Receiving { how, pause, last } = &mut *receiving;
        loop {
            match how {
                How::Waiting(socket) => {
                    ready!(socket.poll_recv_ready(cx))?;
                    match socket.try_io(Interest::READABLE, || self.receive(bufs, meta)) {
                        Err(error) if is_empty(&error) => {}
                        Ok(count) => {
                            let now = Instant::now();
                            if last.replace(now).is_some_and(|last| now - last < CLOSELY) {
                                *how = How::Draining(true);
                            }
                            return Poll::Ready(Ok(count));
                        }
                        failed => return Poll::Ready(failed),
                    }
                }
                How::Pausing => {
                    ready!(pause.as_mut().poll(cx));
                    *how = How::Draining(false);
                }
                How::Draining(came) => match self.receive(bufs, meta) {
                    Ok(count) => {
                        *came = true;
                        return Poll::Ready(Ok(count));
                    }
                    Err(error) if !is_empty(&error) => return Poll::Ready(Err(error)),
                    Err(_) if *came => {
                        pause.as_mut().reset(Instant::now() + PAUSE);
                        *how = How::Pausing;
                    }
                    Err(_) => *how = wait_for(&self.socket)?,
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Waits until there may be room for a datagram. There nearly always is: a timer is enough.
#[derive(Debug)]
struct Room {
    socket: Arc<BatchSocket>,
    again: Option<Pin<Box<Sleep>>>,
}

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.again.is_some() || self.socket.full.load(Ordering::Relaxed) {
            let again = self.again.get_or_insert_with(|| Box::pin(sleep(FULL)));
            ready!(again.as_mut().poll(cx));
            self.again = None;
            self.socket.full.store(false, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    async fn next(socket: &BatchSocket) -> usize {
        let mut space = [[0; 64]; 4];
        let mut meta = [RecvMeta::default(); 4];
        let mut bufs = space.each_mut().map(|one| IoSliceMut::new(one));
        let count = poll_fn(|cx| socket.poll_recv(cx, &mut bufs, &mut meta)).await.unwrap();
        meta.iter().take(count).map(|one| one.len.div_ceil(one.stride.max(1))).sum()
    }

    #[tokio::test]
    async fn everything_comes_whether_alone_or_closely_together_or_after_a_quiet_time() {
        let bound = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (to, from) = (bound.local_addr().unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let socket = BatchSocket::new(bound).unwrap();
        for round in 0..5 {
            let sent = 1 + 20 * (round % 2);
            for _ in 0..sent {
                from.send_to(b"datagram", to).unwrap();
            }
            let mut come = 0;
            let all = async {
                while come < sent {
                    come += next(&socket).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), all).await.expect("all of it comes");
            assert_eq!(come, sent);
            let nothing = tokio::time::timeout(PAUSE * 4, next(&socket)).await;
            assert!(nothing.is_err(), "nothing comes twice");
            let waits = matches!(socket.receiving.lock().unwrap().how, How::Waiting(_));
            assert!(waits || round % 2 == 1, "a lone datagram brings no pause");
        }
    }

    #[tokio::test]
    async fn who_finds_no_room_tries_again_soon() {
        let socket = Arc::new(BatchSocket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap());
        let mut room = socket.clone().create_io_poller();
        socket.full.store(true, Ordering::Relaxed);
        poll_fn(|cx| room.as_mut().poll_writable(cx)).await.unwrap();
        assert!(!socket.full.load(Ordering::Relaxed));
    }
}
