//! Adding a host: choose what may be done there, run one line on it, watch it appear.

pub mod fill;

use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use sysop_common::action::Risk;

use super::shared::HostRef;
use super::source::Source;
use crate::web::admit::{Fields, see_other};
use crate::web::api::enrolment::{self, NewEnrolment};
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::layout::{Ctx, Fragment, Page, html_response, is_partial};
use crate::web::peer::Client;
use crate::web::state::AppState;
use crate::web::widgets::risk::risk;
use crate::web::widgets::state::{Size, State, shape_named};
use crate::web::widgets::{bar, card, form, format, icon_small, icons, page_head};

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct AddHostView {
    /// What may be allowed on the host, in the order of the page.
    pub powers: Vec<Power>,
    /// Labels, `role=web site=fra-1`, as typed.
    pub labels: String,
    /// What is wrong with the labels.
    pub labels_error: Option<String>,
    /// The line and its token, once it was made. It is shown once.
    pub line: Option<EnrolLine>,
}

/// A class of actions that the host's owner can allow.
#[derive(Debug, Clone)]
pub struct Power {
    /// Value of `--allow`.
    pub class: String,
    /// In words: `Restart, start and stop units`.
    pub words: String,
    /// What it means, and what it never does.
    pub detail: String,
    /// Highest risk in the class.
    pub risk: Risk,
    /// Ticked.
    pub chosen: bool,
}

/// The line to run on the host.
#[derive(Debug, Clone)]
pub struct EnrolLine {
    /// Id of the token; not the token.
    pub token_id: String,
    /// The whole line, token inside.
    pub command: String,
    /// When the token ends, ms UTC.
    pub expires_ms: i64,
    /// `ops.example.net:8443`, where the host must be able to reach us.
    pub controller: String,
    /// Where the waiting stands.
    pub wait: WaitView,
}

/// Whether the host has come.
#[derive(Debug, Clone, Default)]
pub struct WaitView {
    /// When the token was used, ms UTC.
    pub enrolled_ms: Option<i64>,
    /// When its certificate ends, ms UTC.
    pub certificate_until_ms: Option<i64>,
    /// When the first sample came, ms UTC.
    pub first_sample_ms: Option<i64>,
    /// The host, once it is known.
    pub host: Option<Arrived>,
    /// The token ended unused.
    pub expired: bool,
}

/// A host that just came.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Which.
    pub host: HostRef,
    /// `Debian 12.9`, `4 CPUs`, `8 GiB`, `58 units`.
    pub facts: Vec<String>,
    /// CPU, memory and fullest disk, 0 to 1, once measured.
    pub measures: Option<(f64, f64, f64)>,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &AddHostView) -> Page {
    Page::new("Add host", Fragment(body(ctx, view))).below("Hosts", "/hosts")
}

fn body(ctx: &Ctx, view: &AddHostView) -> Markup {
    let below =
        html! { "One line, no questions asked on the host, about 10 s. Only watching is preselected." };
    html! {
        (page_head("Add a host", below, html! {}))
        @match &view.line {
            None => (choose(ctx, view)),
            Some(line) => div.grid { div class="c6 stack" { (line.card(ctx)) (chosen(view)) } div class="c6 stack" { (wait(ctx, &line.token_id, &line.wait)) } },
        }
    }
}

fn choose(ctx: &Ctx, view: &AddHostView) -> Markup {
    form::post(
        ctx,
        "/hosts/new",
        "grid",
        html! {
            div class="c7 stack" { (powers(view)) }
            div class="c5 stack" { (labels(view)) (make()) }
        },
    )
}

fn powers(view: &AddHostView) -> Markup {
    let rows = html! {
        label class="pw on" {
            input.ck type="checkbox" checked disabled;
            span.b { "Watch" } span.chip { "always" }
            span.d { "Metrics, processes, units. Cannot change anything." }
        }
        @for power in &view.powers {
            label.pw {
                input.ck type="checkbox" name="allow" value=(power.class) checked[power.chosen];
                span.b { (power.words) } (risk(power.risk))
                span.d { (power.detail) }
            }
        }
        div.cf { "The choice is written to a file that belongs to root on the host. The controller cannot widen it later. Unticked is refused by the host even if this controller is stolen." }
    };
    card("powers", "1. What may it do there?", html! {}, rows)
}

fn labels(view: &AddHostView) -> Markup {
    let body = html! {
        div class="cb field" {
            label.lab for="labels" { "Labels " span.t3 { "may stay empty" } }
            input class="inp mono" #labels name="labels" value=(view.labels) placeholder="role=web site=fra-1" maxlength="256"
                autocomplete="off" autocapitalize="none" spellcheck="false"
                aria-invalid=[view.labels_error.is_some().then_some("true")] aria-describedby="labels-below";
            @match &view.labels_error {
                Some(error) => p class="small c-crit" #labels-below { (shape_named(State::Crit, Size::Small, "Error")) " " (error) },
                None => p class="small t3" #labels-below { "They group hosts, and select them for rights and automation." },
            }
        }
    };
    card("labels-card", "2. Labels", html! {}, body)
}

fn make() -> Markup {
    let body = html! {
        div class="cb stack s" {
            p class="small t2" { "Makes a token for one host, good for 15 minutes, and the line that uses it." }
            button class="btn pri big full" { "Show the line" }
        }
    };
    card("make", "3. Run one line on the host", html! {}, body)
}

fn chosen(view: &AddHostView) -> Markup {
    let words: Vec<_> = view.powers.iter().filter(|p| p.chosen).map(|p| p.words.as_str()).collect();
    let body = html! {
        div class="cb stack s small" {
            p.t2 { @if words.is_empty() { "Watch only. Nothing can be changed there." } @else { "Watch; " (words.join("; ")) "." } }
            @if !view.labels.is_empty() { p.t2 { "Labels: " code { (view.labels) } } }
            p.t3 { "To remove it again: " code { "sudo sysop-agent unenroll" } " on the host." }
        }
    };
    card(
        "chosen",
        "What it may do there",
        html! { div.acts { a.small href="/hosts/new" { "Change" } } },
        body,
    )
}

impl EnrolLine {
    fn card(&self, ctx: &Ctx) -> Markup {
        let left = (self.expires_ms - ctx.now_ms).max(0) / 1000;
        let body = html! {
            div class="cb stack" {
                pre.term #line tabindex="0" { (self.command) }
                div class="row-x wrap" {
                    button type="button" class="btn pri" data-copy="#line" { (icon_small(icons::COPY)) span { "Copy the line" } }
                    span class="small t2" { "Good for one host, " b.num data-left=(self.expires_ms) { (format!("{}:{:02}", left / 60, left % 60)) } " left" }
                }
                p class="small t3" { "The token is shown only now. The host must reach " code { (self.controller) } ", UDP or TCP." }
                @if is_loopback(&self.controller) {
                    p class="small row-x top" { (shape_named(State::Warn, Size::Small, "Note")) span { "Agents are taken only from this machine. For others, start the controller with " code { "--agents-listen 0.0.0.0:8443 --agents-address NAME:8443" } "." } }
                }
            }
        };
        card("enrol", "Run this on the host", html! {}, body)
    }
}

/// Whether only this machine reaches the address.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let ip: Option<std::net::IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || ip.is_some_and(|ip| ip.is_loopback())
}

/// The waiting card; also the fragment that asks for itself until the host is there.
#[must_use]
pub fn wait(ctx: &Ctx, token_id: &str, view: &WaitView) -> Markup {
    let address = format!("/hosts/new/{token_id}/wait");
    let done = view.expired || view.first_sample_ms.is_some();
    html! {
        section.card #wait aria-live="polite" aria-labelledby="wait-title" hx-get=[(!done).then_some(&address)]
            hx-trigger=[(!done).then_some("every 1s")] hx-swap=[(!done).then_some("outerHTML")] {
            div.ch {
                @match (&view.host, view.expired) {
                    (Some(arrived), _) if done => { (shape_named(State::Ok, Size::Large, "done")) h2 #wait-title { (arrived.host.name) " is here" } },
                    (_, true) => { (shape_named(State::Off, Size::Large, "ended")) h2 #wait-title { "The token ended unused" } },
                    _ => { (shape_named(State::Run, Size::Row, "waiting")) h2 #wait-title { "Waiting for the host" } span class="acts small t3" { "no need to reload" } },
                }
            }
            div class="cb stack" {
                @if let Some(arrived) = &view.host { (arrived.draw()) }
                div class="stack s" {
                    (step(ctx, "Token used and void", view.enrolled_ms, "–"))
                    (step(ctx, "Certificate made on the host, signed here", view.certificate_until_ms.and(view.enrolled_ms), "–"))
                    (step(ctx, "First sample", view.first_sample_ms, "usually 10 s after the line"))
                }
                (after(view, done))
            }
        }
    }
}

fn step(ctx: &Ctx, words: &str, at: Option<i64>, until_then: &str) -> Markup {
    html! {
        div.row-x {
            @match at {
                Some(at) => { (shape_named(State::Ok, Size::Row, "done")) span.grow { (words) } span class="small t3" { (format::when(ctx.now_ms, at)) } },
                None => { (shape_named(State::Off, Size::Row, "not yet")) span class="grow t2" { (words) } span class="small t3" { (until_then) } },
            }
        }
    }
}

fn after(view: &WaitView, done: bool) -> Markup {
    html! {
        @match &view.host {
            Some(arrived) if done => div class="row-x wrap" { a class="btn pri" href=(arrived.host.href()) { "Open " (arrived.host.name) } a.btn href="/hosts/new" { "Add another" } },
            _ if view.expired => a class="btn pri" href="/hosts/new" { "Make a new one" },
            _ => details class="small t2" {
                summary { "Nothing happens?" }
                p class="small t3" { code { "sysop-agent status" } " on the host says what is missing. It needs to reach the controller on 8443, UDP or TCP." }
            },
        }
    }
}

impl Arrived {
    fn draw(&self) -> Markup {
        let row = |words: &str, value: f64| html! { div.m { span { (words) } (bar::wide(value, bar::level(value))) b { (format::percent(value)) } } };
        html! {
            a class="card hcard" href=(self.host.href()) {
                div.row-x { (shape_named(State::Ok, Size::Row, "healthy")) b { (self.host.name) } }
                div class="small t3" { (self.facts.join(" · ")) }
                @if let Some((cpu, memory, disk)) = self.measures { (row("CPU", cpu)) (row("Mem", memory)) (row("Disk", disk)) }
            }
        }
    }
}

/// Shows the choices.
///
/// # Errors
/// None; the type is that of the others.
pub async fn show(frame: Frame) -> Result<Response, Problem> {
    let view = AddHostView { powers: fill::powers(&[]), ..AddHostView::default() };
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// Makes a token and shows the line that uses it, this once.
///
/// # Errors
/// When no token can be made.
pub async fn make_line(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    client: Client,
    frame: Frame,
    fields: Fields,
) -> Result<Response, Problem> {
    let text =
        |name: &str| fields.0.iter().find(|(key, _)| key == name).map(|(_, v)| v.clone()).unwrap_or_default();
    let allow: Vec<String> =
        fields.0.iter().filter(|(key, _)| key == "allow").map(|(_, v)| v.clone()).collect();
    let mut view =
        AddHostView { powers: fill::powers(&allow), labels: text("labels"), ..AddHostView::default() };
    let made = match fill::labels(&view.labels) {
        Ok(labels) => {
            enrolment::make(
                &state,
                &principal,
                &client,
                NewEnrolment { labels, allow, ..NewEnrolment::default() },
            )
            .await
        }
        Err(why) => Err(Problem::invalid("labels", why)),
    };
    match made {
        Ok(made) => {
            view.line = Some(EnrolLine {
                token_id: made.id,
                command: made.command,
                expires_ms: made.expires_at,
                controller: made.controller,
                wait: WaitView::default(),
            });
        }
        Err(problem) if problem.field.as_deref().is_some_and(|field| field.starts_with("labels")) => {
            view.labels_error = Some(problem.detail);
        }
        Err(problem) => return Err(problem),
    }
    let status = if view.line.is_some() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok(page(&frame.ctx, &view).status(status).answer(&frame.ctx, &frame.headers))
}

/// Shows where the waiting stands, for a page that asks again by itself.
///
/// # Errors
/// When there is no such token.
pub async fn show_wait(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
    Path(token): Path<String>,
) -> Result<Response, Problem> {
    if !is_partial(&frame.headers) {
        return Ok(see_other("/hosts/new"));
    }
    let view = fill::wait(Source::of(&state), &token).await?.ok_or_else(|| Problem::not_found("token"))?;
    Ok(html_response(StatusCode::OK, wait(&frame.ctx, &token, &view)))
}
