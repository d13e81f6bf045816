//! Beside the charts: services, and what the host's owner allows.

use maud::{Markup, html};

use super::HostView;
use crate::web::layout::Ctx;
use crate::web::pages::probes::{PATH, ProbeRow, shown};
use crate::web::widgets::state::{Size, State, chip, shape_named};
use crate::web::widgets::{card, form, format, icon_small, icons, list};

/// A systemd service.
#[derive(Debug, Clone)]
pub struct UnitRow {
    /// Full name.
    pub name: String,
    /// Its shape: failed is critical, restarting a warning, stopped off.
    pub state: State,
    /// `failed, exit 1`, `active, 1.2 GiB, 41 MB/s`.
    pub words: String,
    /// Since when, ms UTC.
    pub since_ms: Option<i64>,
    /// The action that helps, offered as a link: name and word, `restart_service`, `Restart`.
    pub action: Option<(&'static str, &'static str)>,
}

/// What the host's owner allows.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// One line per action of the catalogue.
    pub actions: Vec<GrantRow>,
    /// Units that nothing may touch.
    pub protected: Vec<String>,
    /// Whether an executor is there at all.
    pub executor: bool,
    /// Reached without an agent: the promise is the controller's own.
    pub agentless: bool,
}

/// An action and whether it is allowed.
#[derive(Debug, Clone)]
pub struct GrantRow {
    /// In words: `Restart services`.
    pub words: String,
    /// The action's name.
    pub action: &'static str,
    /// `by itself`, `after approval`; `None` when it is not allowed.
    pub how: Option<String>,
    /// What an admin can change about it: whether it runs by itself.
    pub change: Option<bool>,
    /// Which units, directories or processes: `nginx.service, php*-fpm.service`.
    pub limits: String,
}

/// Services, failed ones first.
pub(super) fn units(view: &HostView, now: i64) -> Markup {
    let failed = view.units.iter().filter(|unit| unit.state == State::Crit).count();
    let aside = html! {
        @if failed > 0 { (chip(State::Crit, &format!("{failed} failed"))) }
        span class="acts small t3" { (format::count(view.units_total)) " in all" }
    };
    let rows = html! {
        div.units tabindex="0" role="group" aria-label="Services, scrolls" {
            @for unit in &view.units { (unit.draw(view, now)) }
        }
        @if view.units.is_empty() { p class="cb small t3" { "Not observed: no systemd was found here." } }
    };
    card("units", "Units", aside, rows)
}

impl UnitRow {
    fn draw(&self, view: &HostView, now: i64) -> Markup {
        html! {
            div.li {
                (shape_named(self.state, Size::Row, ""))
                div.grow {
                    div class="mono small ell" title=(self.name) { (self.name) }
                    div class="small t3" { (self.words) }
                }
                span.when {
                    @if let Some((action, word)) = self.action.filter(|_| view.may_run) {
                        a class="btn s" href={ "/runs/new?host=" (view.id) "&action=" (action) "&unit=" (self.name) } { (word) }
                    } @else if let Some(ms) = self.since_ms { (format::ago(now, ms)) }
                }
                @if view.may_rule { (super::must_run("unit", &self.name, &view.id)) }
            }
        }
    }
}

/// Probes that it runs, and those of the controller that are on its card.
pub(super) fn probes(ctx: &Ctx, view: &HostView) -> Markup {
    let line = |row: &ProbeRow| {
        let (state, word) = shown(row.state, row.enabled);
        let at = html! { @if let Some(ms) = row.at_ms { (format::ago(ctx.now_ms, ms)) } };
        let title = html! { a href={ (PATH) "/" (row.id) } { (row.name) } };
        let says = if row.says.is_empty() { word } else { &row.says };
        list::line(state, word, title, html! { (says) " · from " (row.runner) }, at)
    };
    let body = html! {
        @for row in &view.probes { (line(row)) }
        @if view.probes.is_empty() { p class="cb small t3" { "None is about this host." } }
    };
    let may = ctx.user.as_ref().is_some_and(|user| user.may_operate);
    let add = html! { @if may { div.acts { a.small href={ "/probes/new?host=" (view.id) } { "Add" } } } };
    card("host-probes", "Probes", add, body)
}

/// What the host's owner allows.
pub(super) fn grants(ctx: &Ctx, view: &HostView) -> Markup {
    let (name, grants) = (&view.name, &view.grants);
    let body = html! {
        div class="cb stack s" {
            p class="small t2" {
                @if grants.agentless {
                    "No agent runs here, so the limits are this controller's own: weaker than a policy file on the host."
                } @else if !grants.executor {
                    "Watching only: no executor is installed on " (name) ". Nothing can be run there, whoever asks."
                } @else { "As this host's own policy file says. The controller cannot widen it." }
            }
            @for row in &grants.actions {
                div class="row-x small top" {
                    @if row.how.is_some() { span.c-ok { (icon_small(icons::CHECK)) } } @else { span.t3 { (icon_small(icons::X)) } }
                    span class=(if row.how.is_some() { "" } else { "t3" }) {
                        (row.words) @if !row.limits.is_empty() { br; span class="tiny t3 mono" { (row.limits) } }
                    }
                    span class="t3 pushed" { (row.how.as_deref().unwrap_or("not allowed")) }
                }
                @if let Some(automatic) = row.change { (row.switch(ctx, &view.id, automatic)) }
            }
            @if !grants.protected.is_empty() {
                p class="small t3" { "Protected: " @for unit in &grants.protected { code { (unit) } " " } }
            }
        }
    };
    card("grants", "What may be done here", html! {}, body)
}

impl GrantRow {
    /// The admin's half of running by itself; the other half is the owner's policy.
    fn switch(&self, ctx: &Ctx, host: &str, automatic: bool) -> Markup {
        let words = if automatic { "Let it run by itself" } else { "Ask first again" };
        form::post(
            ctx,
            &format!("/hosts/{host}/assignments"),
            "assign",
            html! {
                (form::hidden("action", self.action))
                (form::hidden("automatic", if automatic { "on" } else { "off" }))
                button class="btn s" { (words) }
            },
        )
    }
}
