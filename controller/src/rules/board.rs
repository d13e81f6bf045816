//! Where all rules stand on a host, gathered from the store: the same samples and the same steps as the
//! analyser's, so pages and the API say what it would say.

use std::sync::Arc;

use sysop_common::ids::HostId;
use sysop_common::time::{MINUTE_MS, UnixMs};

use super::explain::{self, Mute};
use super::standing::{Compiled, Reason, Standing, Verdict, look};
use super::state::States;
use crate::store::maintenance::{self, Window};
use crate::store::rules::Rule;
use crate::store::samples::{RECENT_MS, SampleStore, Stored};
use crate::store::{Db, StoreError, rule_states, rules};

/// A newest sample that is older than this says nothing of now, in ms: twice the longest interval.
pub const STALE_MS: i64 = 2 * MINUTE_MS;

/// All rules and what mutes them.
#[derive(Debug, Clone)]
pub struct Board {
    rules: Arc<Vec<Compiled>>,
    windows: Vec<Window>,
    now: UnixMs,
}

/// Where one rule stands on a host.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Id of the rule.
    pub rule: i64,
    /// Where it stands.
    pub standing: Standing,
    /// What keeps it from paging.
    pub mute: Mute,
}

/// One look at one host.
#[derive(Debug, Clone, Default)]
pub struct OfHost {
    /// Its ticks in memory, oldest first.
    pub ticks: Vec<Arc<Stored>>,
    /// Its rules, in the order of the board.
    pub placed: Vec<Placed>,
}

/// What stands in a cell of the table of what is covered. Probes fill the same cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It fires.
    Fires,
    /// It holds, not yet for long enough.
    Pending,
    /// It cannot be known.
    Unknown,
    /// It would fire, and something keeps it.
    Muted,
    /// All is well.
    Fine,
    /// It is switched off.
    Off,
    /// It is not about this host.
    OutOfScope,
}

impl State {
    /// All, what needs a person first.
    pub const ALL: [Self; 7] =
        [Self::Fires, Self::Pending, Self::Unknown, Self::Muted, Self::Fine, Self::Off, Self::OutOfScope];

    /// The word for it, as in the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fires => "fires",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
            Self::Muted => "muted",
            Self::Fine => "fine",
            Self::Off => "off",
            Self::OutOfScope => "out_of_scope",
        }
    }
}

/// A cell: never grey without a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What.
    pub state: State,
    /// Why, in words.
    pub why: String,
    /// Since when it is pending or fires.
    pub since: Option<UnixMs>,
}

/// A column of the table: a rule, or a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its key in addresses: `rule:12`.
    pub key: String,
    /// Its name.
    pub name: String,
}

/// What can be columns of the table: rules are; probes can be beside them.
pub trait Covers {
    /// The columns, in order.
    fn columns(&self) -> Vec<Column>;

    /// One cell per column for one host.
    fn cells(&self, host: &OfHost) -> Vec<Cell>;
}

impl Board {
    /// Reads all rules and the maintenance windows.
    ///
    /// # Errors
    /// Only the store's.
    pub async fn read(db: &Db, now: UnixMs) -> Result<Self, StoreError> {
        let rules = rules::list(&mut *db.reader().await?).await?;
        Self::of(rules, db, now).await
    }

    /// The same for these rules.
    ///
    /// # Errors
    /// Only the store's.
    pub async fn of(rules: Vec<Rule>, db: &Db, now: UnixMs) -> Result<Self, StoreError> {
        let rules = rules.into_iter().map(Compiled::new).collect();
        let held = |window: &Window| window.starts_at <= now && now < window.ends_at;
        let windows = maintenance::list(db, now).await?.into_iter().filter(held).collect();
        Ok(Self { rules: Arc::new(rules), windows, now })
    }

    /// The rules, by id.
    #[must_use]
    pub fn rules(&self) -> &[Compiled] {
        &self.rules
    }

    /// Where they stand on a host.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn host(&self, db: &Db, samples: &SampleStore, host: HostId) -> Result<OfHost, StoreError> {
        let packed = rule_states::of(&mut *db.reader().await?, host).await?;
        let ticks = ticks(samples, host, self.now);
        let (board, until) = (self.clone(), self.held(host));
        // Many rules on many ticks are work: not on a thread that answers others.
        let looked = tokio::task::spawn_blocking(move || {
            let mut states = packed.map(|packed| States::unpack(&packed)).unwrap_or_default();
            let place = |rule: &Compiled| board.place(rule, host, until, &ticks, &mut states);
            let placed = board.rules.iter().map(place).collect();
            OfHost { ticks, placed }
        });
        looked.await.map_err(|error| StoreError::corrupt("look at rules", error))
    }

    fn held(&self, host: HostId) -> Option<UnixMs> {
        self.windows.iter().filter(|window| window.covers(host)).map(|window| window.ends_at).max()
    }

    fn place(
        &self,
        compiled: &Compiled,
        host: HostId,
        until: Option<UnixMs>,
        ticks: &[Arc<Stored>],
        states: &mut States,
    ) -> Placed {
        let rule = &compiled.rule;
        let mute = match until {
            _ if !rule.definition.enabled => Mute::Disabled,
            _ if !rule.covers(host) => Mute::OutOfScope,
            Some(until) => Mute::Maintenance(until),
            None => Mute::None,
        };
        let judged = matches!(mute, Mute::None | Mute::Maintenance(_));
        let standing = if judged {
            let mut state = states.rules.remove(&rule.id);
            explain::aged(look(compiled, ticks, &mut state), self.now, STALE_MS)
        } else {
            Standing { at: None, cells: Vec::new() }
        };
        Placed { rule: rule.id, standing, mute }
    }
}

/// Ticks of a host in memory, as the analyser reads them.
#[must_use]
pub fn ticks(samples: &SampleStore, host: HostId, now: UnixMs) -> Vec<Arc<Stored>> {
    let newest = samples.latest(host).map(|latest| latest.now);
    let since = newest.as_ref().map_or(now, |stored| stored.at).plus(-RECENT_MS);
    let mut ticks = samples.recent(host, since);
    ticks.extend(newest);
    ticks.sort_by_key(|stored| (stored.at, stored.tick.seq));
    ticks.dedup_by_key(|stored| (stored.epoch, stored.tick.seq));
    ticks
}

impl Covers for Board {
    fn columns(&self) -> Vec<Column> {
        let column = |compiled: &Compiled| Column {
            key: format!("rule:{}", compiled.rule.id),
            name: compiled.rule.definition.name.clone(),
        };
        self.rules.iter().map(column).collect()
    }

    fn cells(&self, host: &OfHost) -> Vec<Cell> {
        host.placed.iter().map(|placed| cell(placed, self.now)).collect()
    }
}

/// What stands for a rule on a host.
#[must_use]
pub fn cell(placed: &Placed, now: UnixMs) -> Cell {
    let plain = |state, why: String| Cell { state, why, since: None };
    match &placed.mute {
        Mute::Disabled => return plain(State::Off, "the rule is switched off".to_owned()),
        Mute::OutOfScope => return plain(State::OutOfScope, "the rule is about other hosts".to_owned()),
        Mute::None | Mute::Maintenance(_) => {}
    }
    let verdict = placed.standing.verdict();
    let stale = placed.standing.cells.iter().find_map(|cell| match &cell.truth {
        super::standing::Truth::Unknown(reason @ Reason::Stale(_)) => Some(reason.clone()),
        _ => None,
    });
    let (state, why, since) = match (stale, verdict) {
        (Some(reason), _) | (None, Verdict::Unknown(reason)) => (State::Unknown, reason.to_string(), None),
        (None, Verdict::Fine) => (State::Fine, "all is well".to_owned(), None),
        (None, Verdict::Pending { since }) => {
            (State::Pending, format!("holds since {}", explain::span(now.since(since))), Some(since))
        }
        (None, Verdict::Fires { since }) => {
            (State::Fires, format!("fires since {}", explain::span(now.since(since))), Some(since))
        }
    };
    match &placed.mute {
        Mute::Maintenance(until) if matches!(state, State::Fires | State::Pending) => {
            let left = explain::span(until.since(now));
            Cell { state: State::Muted, why: format!("{why}; maintenance for {left} more"), since }
        }
        _ => Cell { state, why, since },
    }
}
