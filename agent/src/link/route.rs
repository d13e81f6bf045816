//! Which transport to try, and when: a pure decision from what happened.
//!
//! QUIC first. TLS over TCP is tried in the same round when no session came of QUIC in time, and at
//! once when a QUIC session stopped carrying. While on TCP, QUIC is probed, first soon and then ever
//! more seldom up to the configured time. A certificate error ends the round: the other transport is
//! not asked whether it is less particular.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use crate::config;

/// The first probe of QUIC on a TCP session comes this soon: the controller may just have started.
const FIRST_PROBE: Duration = Duration::from_secs(30);
/// A session that lived this long did its work.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// How a connection is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// QUIC over UDP.
    Quic,
    /// TLS over TCP.
    Tcp,
}

impl Transport {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Dial(Transport),
    Wait(Duration),
}

/// Why an attempt or a session ended, as far as the route cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A certificate was not accepted, by either side, or the controller said no.
    Refused,
    /// The session carried nothing any more.
    Stalled,
    /// Anything else.
    Other,
}

/// The route.
#[derive(Debug)]
pub(super) struct Route {
    choice: config::Transport,
    backoff: Backoff,
    /// Transports still to try in this round.
    round: VecDeque<Transport>,
    /// The next step is a wait.
    wait: bool,
    /// QUIC failed where TCP may yet succeed.
    quic_failed: bool,
    /// Until when TCP is tried first.
    tcp_until: Option<Instant>,
    retry: Duration,
    probe: Duration,
    opened: Option<Instant>,
}

impl Route {
    pub(super) fn new(link: &config::Link) -> Self {
        Self {
            choice: link.transport,
            backoff: Backoff::new(link.max_backoff.0),
            round: VecDeque::new(),
            wait: false,
            quic_failed: false,
            tcp_until: None,
            retry: link.quic_retry.0,
            probe: link.quic_retry.0.min(FIRST_PROBE),
            opened: None,
        }
    }

    pub(super) fn set_window(&mut self, window: Duration) {
        self.backoff.set_window(window);
    }

    /// What to do now; `random` is drawn evenly from 0 to 1.
    pub(super) fn next(&mut self, now: Instant, random: f64) -> Step {
        if std::mem::take(&mut self.wait) {
            return Step::Wait(self.backoff.next(random));
        }
        if self.round.is_empty() {
            self.quic_failed = false;
            self.round = self.new_round(now);
        }
        Step::Dial(self.round.pop_front().unwrap_or(Transport::Quic))
    }

    fn new_round(&self, now: Instant) -> VecDeque<Transport> {
        let tcp_first = self.tcp_until.is_some_and(|until| now < until);
        match self.choice {
            config::Transport::Quic => [Transport::Quic].into(),
            config::Transport::Tcp => [Transport::Tcp].into(),
            config::Transport::Auto if tcp_first => [Transport::Tcp, Transport::Quic].into(),
            config::Transport::Auto => [Transport::Quic, Transport::Tcp].into(),
        }
    }

    /// An attempt led to no session.
    pub(super) fn failed(&mut self, transport: Transport, end: End) {
        if end == End::Refused {
            self.round.clear();
        } else if transport == Transport::Quic {
            self.quic_failed = true;
        }
        self.wait = self.round.is_empty();
    }

    /// An attempt led to a session.
    pub(super) fn opened(&mut self, transport: Transport, now: Instant) {
        self.opened = Some(now);
        self.round.clear();
        match transport {
            Transport::Quic => {
                self.tcp_until = None;
                self.probe = self.retry.min(FIRST_PROBE);
            }
            Transport::Tcp if self.quic_failed => self.tcp_until = Some(now + self.retry),
            Transport::Tcp => {}
        }
    }

    /// A session ended.
    pub(super) fn lost(&mut self, transport: Transport, end: End, now: Instant) {
        if self.opened.take().is_some_and(|since| now.duration_since(since) >= GOOD_SESSION) {
            self.backoff.succeeded();
        }
        self.wait = true;
        let may_fall_back = self.choice == config::Transport::Auto && transport == Transport::Quic;
        if end == End::Stalled && may_fall_back {
            self.quic_failed = true;
            self.round = [Transport::Tcp].into();
            self.wait = false;
        }
    }

    /// How long after the start of a TCP session, or after the last probe, QUIC is probed.
    pub(super) fn next_probe(&mut self) -> Option<Duration> {
        let probe = self.probe;
        self.probe = (probe * 2).min(self.retry);
        (self.choice == config::Transport::Auto).then_some(probe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Transport::{Quic, Tcp};

    fn route() -> Route {
        Route::new(&config::Link::default())
    }

    fn dials(route: &mut Route, now: Instant, count: usize, end: End) -> Vec<Step> {
        let step = |_| {
            let step = route.next(now, 1.0);
            if let Step::Dial(transport) = step {
                route.failed(transport, end);
            }
            step
        };
        (0..count).map(step).collect()
    }

    const fn wait(s: u64) -> Step {
        Step::Wait(Duration::from_secs(s))
    }

    #[test]
    fn quic_comes_first_and_tcp_in_the_same_round() {
        let now = Instant::now();
        let want = [Step::Dial(Quic), Step::Dial(Tcp), wait(1), Step::Dial(Quic), Step::Dial(Tcp), wait(2)];
        assert_eq!(dials(&mut route(), now, 6, End::Other), want);
    }

    #[test]
    fn a_certificate_error_ends_the_attempt_and_never_tries_the_other_transport() {
        let now = Instant::now();
        let want = [Step::Dial(Quic), wait(1), Step::Dial(Quic), wait(2)];
        assert_eq!(dials(&mut route(), now, 4, End::Refused), want);
        let mut route = route();
        route.opened(Quic, now);
        route.lost(Quic, End::Refused, now);
        assert_eq!(route.next(now, 1.0), wait(1));
    }

    #[test]
    fn a_stalled_quic_session_falls_back_at_once_and_tcp_stays_first_for_a_while() {
        let (mut route, now) = (route(), Instant::now());
        route.opened(Quic, now);
        route.lost(Quic, End::Stalled, now);
        assert_eq!(route.next(now, 1.0), Step::Dial(Tcp));
        route.opened(Tcp, now);
        route.lost(Tcp, End::Other, now);
        assert_eq!(dials(&mut route, now, 3, End::Other), [wait(1), Step::Dial(Tcp), Step::Dial(Quic)]);
        let later = now + Duration::from_secs(601);
        route.wait = false;
        assert_eq!(route.next(later, 1.0), Step::Dial(Quic));
    }

    #[test]
    fn probes_of_quic_become_seldom_and_start_again_after_a_return() {
        let (mut route, now) = (route(), Instant::now());
        let mut probes: Vec<u64> = Vec::new();
        probes.extend((0..7).filter_map(|_| route.next_probe()).map(|probe| probe.as_secs()));
        assert_eq!(probes, [30, 60, 120, 240, 480, 600, 600]);
        route.opened(Quic, now);
        assert_eq!(route.next_probe(), Some(FIRST_PROBE));
    }

    #[test]
    fn a_session_that_did_its_work_resets_the_wait_and_a_short_one_does_not() {
        let (mut route, now) = (route(), Instant::now());
        dials(&mut route, now, 9, End::Other);
        route.opened(Quic, now);
        route.lost(Quic, End::Other, now + Duration::from_secs(1));
        assert_eq!(route.next(now, 1.0), wait(8));
        route.opened(Quic, now);
        route.lost(Quic, End::Other, now + GOOD_SESSION);
        assert_eq!(route.next(now, 1.0), wait(1));
    }

    #[test]
    fn one_transport_alone_is_never_left() {
        let now = Instant::now();
        for (choice, transport) in [(config::Transport::Quic, Quic), (config::Transport::Tcp, Tcp)] {
            let mut route = Route::new(&config::Link { transport: choice, ..config::Link::default() });
            assert_eq!(
                dials(&mut route, now, 3, End::Other),
                [Step::Dial(transport), wait(1), Step::Dial(transport)]
            );
            route.opened(transport, now);
            route.lost(transport, End::Stalled, now);
            assert!(matches!(route.next(now, 1.0), Step::Wait(_)));
            assert_eq!(route.next_probe(), None);
        }
    }
}
