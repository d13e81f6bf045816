//! The form of a probe, new or changed, with a try before it is kept.

use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use sysop_common::probe::{Outcome, ProbeId};

use super::sent::{KINDS, Sent};
use super::{PATH, fill, one, shown};
use crate::store::probes;
use crate::web::admit::see_other;
use crate::web::api::probes::try_once;
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Form;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::pages::settings::{Wrong, place};
use crate::web::pages::source::Source;
use crate::web::state::AppState;
use crate::web::widgets::form::{Choice, Field, Select};
use crate::web::widgets::query::Query;
use crate::web::widgets::state::State;
use crate::web::widgets::{card, form, list, note, page_head};

const FIELDS: [&str; 26] = [
    "name",
    "target",
    "port",
    "count",
    "method",
    "status_min",
    "status_max",
    "contains",
    "redirects",
    "ca",
    "server_name",
    "warn_days",
    "critical_days",
    "record",
    "resolver",
    "expect",
    "run_by",
    "host",
    "interval_s",
    "timeout_ms",
    "failures",
    "successes",
    "severity",
    "enabled",
    "kind",
    "run_on_host",
];

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct EditView {
    /// The probe that is changed; `None` for a new one.
    pub id: Option<ProbeId>,
    /// The form as it was sent, or as the probe is.
    pub sent: Sent,
    /// Who can run it.
    pub runners: Vec<Choice>,
    /// Whose card it can be on.
    pub cards: Vec<Choice>,
    /// What is wrong with it.
    pub wrong: Option<Wrong>,
    /// What came of a try.
    pub tried: Option<Outcome>,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &EditView) -> Page {
    let title = if view.id.is_some() { "Change the probe" } else { "Add a probe" };
    let action = view.id.map_or_else(|| PATH.to_owned(), |id| format!("{PATH}/{id}/edit"));
    let kinds: Vec<_> = KINDS
        .iter()
        .map(|(word, words)| (format!("{PATH}/new?kind={word}"), html! { (words) }, view.sent.kind == *word))
        .collect();
    let fields = html! {
        (form::hidden("kind", &view.sent.kind))
        (view.what())
        (view.how())
        div class="row-x wrap" {
            button class="btn pri" name="act" value="keep" { (if view.id.is_some() { "Keep the change" } else { "Add the probe" }) }
            button class="btn" name="act" value="try" { "Try it now, from the controller" }
        }
    };
    let body = html! {
        (page_head(title, html! { "The answer's text is never kept: only whether it came, how long it took, and why not." }, html! {}))
        @if view.id.is_none() { nav.below aria-label="Kind" { (list::segments("Kind", &kinds)) } }
        @if let Some(outcome) = &view.tried {
            (note::callout(shown(Some(outcome.state()), true).0, html! { p role="status" { (one::tried(outcome)) } }, None))
        }
        (card("probe", title, html! {}, html! { (form::post(ctx, &action, "cb stack", fields)) }))
    };
    Page::new(title, Fragment(body)).below("Probes", PATH)
}

impl EditView {
    fn field<'a>(&'a self, name: &'a str, label: &'a str, value: &'a str, hint: &'a str) -> Markup {
        let (wrong, hint) =
            (Wrong::at(self.wrong.as_ref(), name), Some(hint).filter(|hint| !hint.is_empty()));
        let optional = !matches!(name, "name" | "target");
        Field { name, label, value, hint, error: wrong, autocomplete: "off", optional, ..Field::default() }
            .draw()
    }

    fn select(&self, name: &str, label: &str, choices: &[(&str, &str)], chosen: &str) -> Markup {
        let choices: Vec<Choice> = choices.iter().map(|(value, words)| Choice::new(value, words)).collect();
        let error = Wrong::at(self.wrong.as_ref(), name);
        Select { name, label, choices: &choices, chosen, hint: None, error }.draw()
    }

    /// What is asked: fields of the kind alone.
    fn what(&self) -> Markup {
        let sent = &self.sent;
        let target = |label, hint| self.field("target", label, &sent.target, hint);
        html! {
            (self.field("name", "Name", &sent.name, "One of its own, for the list and for incidents."))
            @match sent.kind.as_str() {
                "http" => {
                    (target("Address of the page", "Such as https://www.example.org/health."))
                    (self.select("method", "Asked with", &[("GET", "GET"), ("HEAD", "HEAD")], &sent.method))
                    (self.field("status_min", "Least status that is well", &sent.status_min, "Empty: 200."))
                    (self.field("status_max", "Largest status that is well", &sent.status_max, "Empty: 399."))
                    (self.field("contains", "Text that must be there", &sent.contains, "4 to 200 bytes, in the first 256 KiB. Empty: any answer."))
                    (self.field("redirects", "Redirects to follow", &sent.redirects, "Up to 3, to the same host only. Empty: none."))
                    (self.ca())
                }
                "tls" => {
                    (target("Name or address", "www.example.org"))
                    (self.field("port", "Port", &sent.port, "Empty: 443."))
                    (self.field("server_name", "Name in the certificate", &sent.server_name, "Empty: the same."))
                    (self.field("warn_days", "Warning, days before its end", &sent.warn_days, "Empty: 21."))
                    (self.field("critical_days", "Critical, days before its end", &sent.critical_days, "Empty: 7."))
                    (self.ca())
                }
                "dns" => {
                    (target("Name", "www.example.org"))
                    (self.select("record", "Records", &[("A", "A"), ("AAAA", "AAAA"), ("CNAME", "CNAME"), ("MX", "MX"), ("TXT", "TXT")], &sent.record))
                    (self.field("resolver", "Who is asked", &sent.resolver, "An address, such as 192.0.2.53. Empty: the prober's own resolvers."))
                    (self.field("expect", "Values that must be in the answer", &sent.expect, "Between commas. Empty: any answer."))
                }
                "ping" => {
                    (target("Name or address", "gw.example.org"))
                    (self.field("count", "Packets", &sent.count, "1 to 5, one answer is enough. Empty: 3."))
                }
                _ => {
                    (target("Name or address", "db-1.example.org"))
                    (self.field("port", "Port", &sent.port, ""))
                }
            }
        }
    }

    fn ca(&self) -> Markup {
        let error = Wrong::at(self.wrong.as_ref(), "ca");
        html! {
            div.field {
                label.lab for="ca" { "Certificates to trust" }
                textarea class="inp mono" id="ca" name="ca" rows="3" maxlength="6144" spellcheck="false"
                    aria-invalid=[error.map(|_| "true")] aria-describedby="ca-below" { (self.sent.ca) }
                p class=(if error.is_some() { "small c-crit" } else { "small t3" }) id="ca-below" {
                    (error.unwrap_or("PEM, in place of the system's. Empty: those of the system."))
                }
            }
        }
    }

    /// From where, how often, when it is told of.
    fn how(&self) -> Markup {
        let sent = &self.sent;
        let error = |name| Wrong::at(self.wrong.as_ref(), name);
        html! {
            (Select { name: "run_by", label: "Asked from", choices: &self.runners, chosen: &sent.run_by,
                hint: Some("A host asks only what its owner's policy allows: itself, unless more stands there."),
                error: error("run_by").or(error("run_on_host")) }.draw())
            (Select { name: "host", label: "On the card of", choices: &self.cards, chosen: &sent.host,
                hint: Some("For a probe of the controller: whose trouble a failure is."), error: error("host") }.draw())
            (self.field("interval_s", "Every, s", &sent.interval_s, "10 to 3600. Empty: 60."))
            (self.field("timeout_ms", "Waits for an answer, ms", &sent.timeout_ms, "100 to 10000. Empty: 5000."))
            (self.field("failures", "Failures in a row before it is told of", &sent.failures, "1 to 20. Empty: 3."))
            (self.field("successes", "Answers in a row before that is over", &sent.successes, "1 to 20. Empty: 2."))
            (self.select("severity", "A failure is", &[("critical", "critical"), ("warning", "a warning"), ("info", "a notice")], &sent.severity))
            (self.select("enabled", "It is", &[("on", "on"), ("off", "off")], &sent.enabled))
        }
    }
}

async fn choices(source: Source<'_>, view: EditView) -> Result<EditView, Problem> {
    let mut runners = vec![Choice::new("controller", "The controller")];
    let places = place::choices(source, false).await?;
    let host = |choice: &Choice| choice.value.strip_prefix("host:").map(|id| Choice::new(id, &choice.words));
    let mut cards = vec![Choice::new("none", "No host: a place outside")];
    cards.extend(places.iter().filter_map(host));
    runners.extend(places);
    Ok(EditView { runners, cards, ..view })
}

/// Shows the form of a new probe.
///
/// # Errors
/// Only the store's.
pub async fn show_new(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
) -> Result<Response, Problem> {
    let query = Query::parse(&frame.ctx.query);
    let mut sent = Sent::new(query.get("kind").unwrap_or_default());
    sent.host = query.get("host").unwrap_or_default().to_owned();
    let view = choices(Source::of(&state), EditView { sent, ..EditView::default() }).await?;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// Shows the form of a probe.
///
/// # Errors
/// When there is no such probe.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = fill::known(&id).ok_or_else(|| Problem::not_found("probe"))?;
    let probe = probes::get(&mut *state.db.reader().await?, id).await?;
    let view = EditView { id: Some(id), sent: Sent::of(&probe.settings), ..EditView::default() };
    let view = choices(Source::of(&state), view).await?;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// Adds a probe, or tries it.
///
/// # Errors
/// Only what the form cannot show.
pub async fn add(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    submit(&state, &principal, &frame, None, sent).await
}

/// Changes a probe, or tries the change.
///
/// # Errors
/// Only what the form cannot show.
pub async fn change(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Path(id): Path<String>,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let id = fill::known(&id).ok_or_else(|| Problem::not_found("probe"))?;
    submit(&state, &principal, &frame, Some(id), sent).await
}

async fn submit(
    state: &AppState,
    principal: &Principal,
    frame: &Frame,
    id: Option<ProbeId>,
    sent: Sent,
) -> Result<Response, Problem> {
    let who = principal.actor();
    let trying = sent.act == "try";
    let done = async {
        let settings = sent.settings()?;
        if trying {
            return Ok::<_, Problem>((None, Some(try_once(state, &settings, &who).await?)));
        }
        let kept = match id {
            None => state.probes.add(&settings, &who).await?,
            Some(id) => state.probes.change(id, &settings, &who).await?,
        };
        Ok((Some(kept), None))
    };
    let (tried, wrong) = match done.await {
        Ok((Some(kept), _)) => {
            let what = if id.is_some() { "is changed" } else { "is added" };
            state.say(principal, State::Ok, format!("{} {what}", kept.settings.name));
            return Ok(see_other(&format!("{PATH}/{}", kept.id)));
        }
        Ok((None, tried)) => (tried, None),
        Err(problem) => (None, Some(Wrong::of(problem, &FIELDS)?)),
    };
    let status = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let view = choices(Source::of(state), EditView { id, sent, wrong, tried, ..EditView::default() }).await?;
    Ok(page(&frame.ctx, &view).status(status).answer(&frame.ctx, &frame.headers))
}
