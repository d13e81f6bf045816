//! Audit: every change and decision as a record in a chain that cannot be altered unseen.

pub mod fill;

use axum::extract;
use axum::response::Response;
use maud::{Markup, html};

use crate::audit::{self, VerifyError};
use crate::store::users::Role;
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::state::AppState;
use crate::web::widgets::list::{Paging, table};
use crate::web::widgets::query::Query;
use crate::web::widgets::state::{Size, State, shape_named};
use crate::web::widgets::{Icon, form, format, icon_small, icons, note, page_head};

const PATH: &str = "/audit";

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct AuditView {
    /// Records on this part of the list, newest first.
    pub rows: Vec<AuditRow>,
    /// Records in all.
    pub total: u64,
    /// What the last check of the chain found; `None` before the first.
    pub check: Option<ChainCheck>,
    /// Hash of the newest record, as hex.
    pub head: String,
    /// The address: `q`, `actor`, `action`, `after`.
    pub query: Query,
    /// Newer and older parts.
    pub paging: Paging,
    /// Whether the person may start a check.
    pub may_verify: bool,
}

/// A check of the whole chain.
#[derive(Debug, Clone)]
pub struct ChainCheck {
    /// When, ms UTC.
    pub at_ms: i64,
    /// Records checked.
    pub records: u64,
    /// How long it took, in ms.
    pub took_ms: i64,
    /// Number of the first record that does not fit.
    pub broken: Option<u64>,
}

/// Who acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Actor {
    /// A person.
    #[default]
    Person,
    /// Rules and policies of the controller.
    Rules,
    /// The controller itself.
    Controller,
    /// A host.
    Host,
    /// Nobody known: a failed sign-in.
    Unknown,
}

/// A record.
#[derive(Debug, Clone, Default)]
pub struct AuditRow {
    /// Its number.
    pub seq: u64,
    /// When, ms UTC.
    pub at_ms: i64,
    /// Kind of the actor.
    pub actor: Actor,
    /// The actor's name.
    pub who: String,
    /// The action's word: `approve`, `login`.
    pub action: String,
    /// What it was about.
    pub detail: String,
    /// Where to read more.
    pub href: Option<String>,
    /// Worth a look, or well.
    pub state: Option<State>,
    /// Hash of the record, as hex.
    pub hash: String,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &AuditView) -> Page {
    Page::new("Audit", Fragment(body(ctx, view)))
}

fn body(ctx: &Ctx, view: &AuditView) -> Markup {
    let verify = html! {
        @if view.may_verify {
            (form::post(ctx, "/audit/verify", "", html! {
                button class="btn pri" { (icon_small(icons::SHIELD_CHECK)) "Verify all " (format::count(view.total)) " now" }
            }))
        }
    };
    let below = html! { "Every change and decision, by people, rules and hosts. Records cannot be edited or removed without it being seen." };
    html! {
        (page_head("Audit", below, verify))
        (chain(ctx, view))
        (filters(view))
        section.card aria-label="Records" {
            @if view.rows.is_empty() {
                (note::empty(icons::LINK, "No record here", "Nothing matches these filters.", html! { a.btn href=(PATH) { "All records" } }))
            } @else {
                (table("Records, newest first", head(), html! { @for row in &view.rows { (row.draw(ctx.now_ms)) } }))
                (view.paging.draw())
            }
        }
    }
}

fn chain(ctx: &Ctx, view: &AuditView) -> Markup {
    let short: String = view.head.chars().take(16).collect();
    html! {
        section class="card below" aria-label="State of the chain" {
            div class="cb row-x top gap-l" {
                @match &view.check {
                    Some(ChainCheck { broken: Some(seq), .. }) => {
                        (shape_named(State::Crit, Size::Huge, "broken"))
                        div {
                            div class="b c-crit" { "The chain is broken at record " (format::count(*seq)) }
                            div class="small t2" { "It was changed after it was written. Compare with an exported copy, and with what hosts have journalled." }
                        }
                    },
                    Some(check) => {
                        (shape_named(State::Ok, Size::Huge, "verified"))
                        div {
                            div.b { "The chain is whole" }
                            div class="small t2" {
                                (format::count(check.records)) " records, checked " (format::full(ctx.now_ms, check.at_ms)) " in " (format::duration(check.took_ms)) ", first to last."
                            }
                        }
                    },
                    None => {
                        (shape_named(State::Off, Size::Huge, "not checked"))
                        div {
                            div.b { "Not checked in this view" }
                            div class="small t2" { "Each record holds the hash of the one before." }
                        }
                    },
                }
            }
            div class="cf row-x wrap gap-l" {
                @if !short.is_empty() { span { "head " code title=(view.head) { (short) "…" } } }
                span { "Verify it yourself, offline: " code { "sysop-controller --data-dir FOLDER audit verify" } }
            }
        }
    }
}

fn filters(view: &AuditView) -> Markup {
    let value = |key| view.query.get(key).unwrap_or_default();
    html! {
        form class="row-x wrap filters" action=(PATH) role="search" aria-label="Records" {
            label { span.vh { "Search records" } input class="inp small" type="search" name="q" value=(value("q")) size="26" placeholder="incident:7, run:…, host:…"; }
            label { span.vh { "Who" } input class="inp small" name="actor" value=(value("actor")) size="14" placeholder="user:admin"; }
            label { span.vh { "What" } input class="inp small" name="action" value=(value("action")) size="14" placeholder="run.approve"; }
            button class="btn s" { "Filter" }
            @if !view.query.0.is_empty() { a class="btn s gho" href=(PATH) { "Clear" } }
        }
    }
}

fn head() -> Markup {
    html! { th.r { "No." } th { "Time, UTC" } th { "Who" } th { "What" } th { "Detail" } th { "Result" } th { "Hash" } }
}

impl Actor {
    const fn icon(self) -> Icon {
        match self {
            Self::Person => icons::USER,
            Self::Rules => icons::RULER_2,
            Self::Controller => icons::SERVER_COG,
            Self::Host => icons::SERVER_2,
            Self::Unknown => icons::USER_QUESTION,
        }
    }
}

impl AuditRow {
    fn draw(&self, now: i64) -> Markup {
        let short: String = self.hash.chars().take(8).collect();
        html! {
            tr data-row {
                td class="r t3 mono small no-phone" { (self.seq) }
                td class="num nowrap" data-k="Time" { (format::full(now, self.at_ms).trim_end_matches(" UTC")) }
                td data-k="Who" { span class="row-x nowrap" { span.t3 { (icon_small(self.actor.icon())) } (self.who) } }
                td data-k="What" { span.chip { (self.action) } }
                td.wr { @match &self.href { Some(href) => a href=(href) { (self.detail) }, None => (self.detail) } }
                td.no-phone { @match self.state { Some(state) => (shape_named(state, Size::Row, if state == State::Ok { "good" } else { "look at this" })), None => span.t3 { "–" } } }
                td class="mono small t3 nowrap no-phone" title=(self.hash) { span.c-ok { (icon_small(icons::LINK)) } " " (short) "…" }
            }
        }
    }
}

/// Shows the page.
///
/// # Errors
/// Only the store's.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
) -> Result<Response, Problem> {
    answer(&state, &principal, &frame, None).await
}

/// Checks all chains and shows the page with what was found.
///
/// # Errors
/// Only the store's.
pub async fn verify(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
) -> Result<Response, Problem> {
    // It reads every record: one at a time.
    static CHECKING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let Ok(_checking) = CHECKING.try_lock() else {
        return Err(Problem::conflict("somebody checks the chain at this moment")
            .remedy("wait for it, then try again"));
    };
    let (at, started) = (state.now(), std::time::Instant::now());
    let check = |records, broken| ChainCheck {
        at_ms: at.0,
        records,
        took_ms: started.elapsed().as_millis() as i64,
        broken,
    };
    let check = match audit::verify_open(&state.db).await {
        Ok(report) => check(report.chains.iter().map(|chain| chain.records).sum(), None),
        Err(VerifyError::Broken(broken)) => check(broken.seq.saturating_sub(1), Some(broken.seq)),
        Err(error) => return Err(Problem::internal(error)),
    };
    answer(&state, &principal, &frame, Some(check)).await
}

async fn answer(
    state: &AppState,
    principal: &Principal,
    frame: &Frame,
    check: Option<ChainCheck>,
) -> Result<Response, Problem> {
    let may_verify = principal.role >= Role::Operator;
    let mut view =
        fill::fill(&state.db, state.identity.controller(), Query::parse(&frame.ctx.query), may_verify)
            .await?;
    view.check = check;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}
