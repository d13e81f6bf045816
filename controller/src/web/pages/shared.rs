//! Values that several pages show: a host by its name, a run or an incident as one line.

use maud::{Markup, html};
use sysop_common::action::{Risk, RunState};

use crate::web::widgets::{State, format, list};

/// A host as other things refer to it.
#[derive(Debug, Clone, Default)]
pub struct HostRef {
    /// Its id, for the address.
    pub id: String,
    /// Its name.
    pub name: String,
}

impl HostRef {
    /// Address of its page.
    #[must_use]
    pub fn href(&self) -> String {
        format!("/hosts/{}", self.id)
    }

    /// Its name as a link.
    #[must_use]
    pub fn link(&self) -> Markup {
        html! { a href=(self.href()) { (self.name) } }
    }
}

/// How an incident is called: `INC-1042`.
#[must_use]
pub fn incident_name(id: i64) -> String {
    format!("INC-{id}")
}

/// Address of an incident's page.
#[must_use]
pub fn incident_href(id: i64) -> String {
    format!("/incidents/{id}")
}

/// Shape and words for a run's state.
#[must_use]
pub const fn run_state(state: RunState) -> (State, &'static str) {
    match state {
        RunState::Proposed => (State::Info, "proposed"),
        RunState::AwaitingApproval => (State::Wait, "waits for approval"),
        RunState::Approved => (State::Run, "approved"),
        RunState::Claimed => (State::Run, "being sent"),
        RunState::Sent => (State::Run, "sent"),
        RunState::Accepted => (State::Run, "accepted by the host"),
        RunState::Started => (State::Run, "running"),
        RunState::Succeeded => (State::Run, "done, being checked"),
        RunState::Failed => (State::Crit, "failed"),
        RunState::TimedOut => (State::Crit, "timed out"),
        RunState::Refused => (State::Crit, "refused by the host, nothing ran"),
        RunState::Expired => (State::Off, "expired, nothing ran"),
        RunState::Cancelled => (State::Off, "cancelled, nothing ran"),
        RunState::Unknown => (State::Warn, "unknown: it may or may not have run"),
        RunState::Verified => (State::Ok, "verified"),
        RunState::NotVerified => (State::Warn, "not verified"),
        RunState::Undone => (State::Warn, "undone"),
        RunState::Rejected => (State::Off, "denied"),
    }
}

/// A run as one line.
#[derive(Debug, Clone)]
pub struct RunLine {
    /// Its id.
    pub id: String,
    /// Verb and object: `Restart nginx.service`.
    pub title: String,
    /// Where.
    pub host: HostRef,
    /// How far it is.
    pub state: RunState,
    /// Who decided: `by itself`, `admin`.
    pub by: String,
    /// Computed risk.
    pub risk: Risk,
    /// When it was asked for, ms UTC.
    pub at_ms: i64,
    /// From start to end in ms, once it ended.
    pub took_ms: Option<i64>,
    /// Exit status of the command, if there was one.
    pub exit: Option<i32>,
    /// One line on what came of it.
    pub detail: String,
}

impl RunLine {
    /// Address of its page.
    #[must_use]
    pub fn href(&self) -> String {
        format!("/runs/{}", self.id)
    }

    /// It as a row of a short list.
    #[must_use]
    pub fn line(&self, now: i64, with_host: bool) -> Markup {
        let (state, words) = run_state(self.state);
        list::line(
            state,
            words,
            html! { a href=(self.href()) { (self.title) } @if with_host { " on " (self.host.name) } },
            html! { (self.by) ", " (words) @if !self.detail.is_empty() { ", " (self.detail) } },
            format::when(now, self.at_ms),
        )
    }
}

/// An incident as one line.
#[derive(Debug, Clone)]
pub struct IncidentLine {
    /// Its number.
    pub id: i64,
    /// What is wrong, without the host's name.
    pub title: String,
    /// Where.
    pub host: HostRef,
    /// Critical, warning or notice; ok when it is closed.
    pub state: State,
    /// When it opened, ms UTC.
    pub opened_ms: i64,
    /// When it closed, if it did.
    pub closed_ms: Option<i64>,
    /// The cause in short, or why it closed.
    pub detail: String,
    /// Where the repair stands, if there is one.
    pub repair: Option<RunState>,
}

impl IncidentLine {
    /// It as a row of a short list.
    #[must_use]
    pub fn line(&self, now: i64) -> Markup {
        let length = self.closed_ms.unwrap_or(now) - self.opened_ms;
        list::line(
            self.state,
            if self.closed_ms.is_some() { "closed" } else { self.state.word() },
            html! { a href=(incident_href(self.id)) { (incident_name(self.id)) " " (self.title) } },
            html! {
                @if self.closed_ms.is_some() { "closed after " } @else { "open for " }
                (format::duration(length))
                @if !self.detail.is_empty() { ", " (self.detail) }
            },
            format::when(now, self.opened_ms),
        )
    }
}
