//! Maintenance windows: times in which nothing runs by itself, on a host, on hosts with a label, or on all.

use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;
use sysop_common::time::{HOUR_MS, MINUTE_MS, UnixMs};

use super::{Wrong, place};
use crate::decide;
use crate::store::assignments::Selector;
use crate::store::maintenance::{self, Window};
use crate::web::admit::see_other;
use crate::web::auth::Principal;
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Form;
use crate::web::layout::{Ctx, Page};
use crate::web::pages::source::{Source, named};
use crate::web::state::AppState;
use crate::web::widgets::form::{Choice, Field, Select};
use crate::web::widgets::state::{State, chip};
use crate::web::widgets::{card, form, format, icons, list, note};

const PATH: &str = "/settings/maintenance";
const FIELDS: [&str; 5] = ["until", place::FIELD, "from", "duration", "reason"];

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct MaintenanceView {
    /// Windows that hold or are to come, soonest first.
    pub rows: Vec<WindowRow>,
    /// Where one can be set.
    pub places: Vec<Choice>,
    /// The form as it was sent.
    pub sent: Sent,
    /// What is wrong with it.
    pub wrong: Option<Wrong>,
}

/// A window.
#[derive(Debug, Clone, Default)]
pub struct WindowRow {
    /// Its id.
    pub id: String,
    /// Where.
    pub place: String,
    /// From when, ms UTC.
    pub from_ms: i64,
    /// Until when, ms UTC.
    pub until_ms: i64,
    /// Why.
    pub reason: String,
    /// Who set it.
    pub by: String,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &MaintenanceView) -> Page {
    let below = html! { "In a window nothing runs by itself. Repairs are proposed, and what a person approves still runs." };
    let may = ctx.user.as_ref().is_some_and(|user| user.may_freeze);
    let body = html! {
        div.grid {
            div class=(if may { "c8 stack" } else { "c12 stack" }) { (windows(ctx, view, may)) }
            @if may { div class="c4 stack" { (add(ctx, view)) } }
        }
    };
    super::page(ctx, "Maintenance", below, body)
}

fn windows(ctx: &Ctx, view: &MaintenanceView, may: bool) -> Markup {
    let head = html! { th { "Where" } th { "State" } th { "From" } th { "Until" } th { "Why" } th { "Set by" } @if may { th { span.vh { "End it" } } } };
    let rows = html! { @for row in &view.rows { (row.draw(ctx, may)) } };
    let body = html! {
        @if view.rows.is_empty() {
            (note::empty(icons::CLOCK, "No window", "None holds now, and none is to come.", html! {}))
        } @else { (list::table("Maintenance windows, soonest first", head, rows)) }
    };
    card("windows", "Windows", html! {}, body)
}

impl WindowRow {
    fn draw(&self, ctx: &Ctx, may: bool) -> Markup {
        let holds = self.from_ms <= ctx.now_ms;
        html! {
            tr data-row {
                td.b { (self.place) }
                td data-k="State" { @if holds { (chip(State::Maint, "holds now")) } @else { (chip(State::Off, "to come")) } }
                td class="num" data-k="From" { (format::full(ctx.now_ms, self.from_ms)) }
                td class="num" data-k="Until" { (format::full(ctx.now_ms, self.until_ms)) }
                td.wr { @if self.reason.is_empty() { span.t3 { "–" } } @else { (self.reason) } }
                td data-k="Set by" { (self.by) }
                @if may {
                    td { (form::post(ctx, &format!("{PATH}/{}/end", self.id), "", html! {
                        button class="btn s" { @if holds { "End it now" } @else { "Call it off" } }
                    })) }
                }
            }
        }
    }
}

fn add(ctx: &Ctx, view: &MaintenanceView) -> Markup {
    let wrong = view.wrong.as_ref();
    let sent = &view.sent;
    let time = |name: &'static str, label, value, hint| {
        Field {
            name,
            label,
            kind: "datetime-local",
            value,
            autocomplete: "off",
            optional: true,
            hint: Some(hint),
            error: Wrong::at(wrong, name),
            ..Field::default()
        }
        .draw()
    };
    let lengths = ["30", "60", "120", "240", "480", "1440"].map(|minutes| {
        let ms = minutes.parse::<i64>().unwrap_or(60) * MINUTE_MS;
        Choice::new(minutes, &format::duration(ms))
    });
    let chosen = if sent.duration.is_empty() { "60" } else { &sent.duration };
    let fields = html! {
        (Select { name: place::FIELD, label: "Where", choices: &view.places, chosen: &sent.on,
            error: Wrong::at(wrong, place::FIELD), hint: None }.draw())
        (time("from", "From, UTC", &sent.from, "Empty: from now on."))
        (Select { name: "duration", label: "For", choices: &lengths, chosen,
            error: Wrong::at(wrong, "duration"), hint: None }.draw())
        (time("until", "Or until, UTC", &sent.until, "Takes the place of the length; at most 31 days."))
        (Field { name: "reason", label: "Why", value: &sent.reason, autocomplete: "off", optional: true,
            hint: Some("For the others: what is being done."), error: Wrong::at(wrong, "reason"), ..Field::default() }.draw())
        button class="btn pri" { "Set the window" }
    };
    card("window", "Set a window", html! {}, html! { (form::post(ctx, PATH, "cb stack", fields)) })
}

async fn fill(source: Source<'_>) -> Result<MaintenanceView, Problem> {
    let found = maintenance::list(source.db, source.now).await?;
    let hosts = found.iter().filter_map(|window| match window.on {
        Some(Selector::Host(host)) => Some(host),
        _ => None,
    });
    let names = source.names(hosts).await?;
    let row = |window: &Window| WindowRow {
        id: window.id.clone(),
        place: place::words(window.on.as_ref(), |host| named(&names, host).name),
        from_ms: window.starts_at.0,
        until_ms: window.ends_at.0,
        reason: window.reason.clone(),
        by: window.created_by.clone(),
    };
    Ok(MaintenanceView {
        rows: found.iter().map(row).collect(),
        places: place::choices(source, true).await?,
        ..MaintenanceView::default()
    })
}

/// Shows the page.
///
/// # Errors
/// Only the store's.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
) -> Result<Response, Problem> {
    let view = fill(Source::of(&state)).await?;
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// A window as the form sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    on: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    until: String,
    #[serde(default)]
    duration: String,
    #[serde(default)]
    reason: String,
}

impl Sent {
    /// Where, and from when until when.
    fn read(&self, now: UnixMs) -> Result<(Option<Selector>, (UnixMs, UnixMs)), Problem> {
        let on = place::parse(&self.on, true)?;
        let from = time(&self.from, "from")?.unwrap_or(now);
        let until = match time(&self.until, "until")? {
            Some(until) => until,
            None => {
                let minutes = self.duration.parse::<i64>().ok().filter(|m| (1..=31 * 24 * 60).contains(m));
                let must = || Problem::invalid("duration", "must be a number of minutes, up to 31 days");
                from.plus(minutes.ok_or_else(must)? * MINUTE_MS)
            }
        };
        Ok((on, (from, until)))
    }
}

/// A time as browsers write it, `2026-11-24T18:30`, in UTC.
fn time(text: &str, field: &'static str) -> Result<Option<UnixMs>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let read = text.parse::<DateTime>().ok().and_then(|at| at.to_zoned(TimeZone::UTC).ok());
    let read = read.ok_or_else(|| Problem::invalid(field, "must be a time such as 2026-11-24T18:30"))?;
    Ok(Some(UnixMs(read.timestamp().as_millisecond())))
}

/// Sets a window.
///
/// # Errors
/// Only what the form cannot show.
pub async fn set(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    frame: Frame,
    Form(sent): Form<Sent>,
) -> Result<Response, Problem> {
    let done = async {
        let (on, span) = sent.read(state.now())?;
        let window =
            decide::set_maintenance(&state.decide(), on, span, &sent.reason, &principal.person()).await?;
        Ok::<_, Problem>(window)
    };
    match done.await {
        Ok(window) => {
            let length = window.ends_at.since(window.starts_at).max(0);
            let length = if length >= HOUR_MS { length - length % MINUTE_MS } else { length };
            state.say(&principal, State::Ok, format!("A window of {} is set", format::duration(length)));
            Ok(see_other(PATH))
        }
        Err(problem) => {
            let wrong = Some(Wrong::of(problem, &FIELDS)?);
            let view = MaintenanceView { sent, wrong, ..fill(Source::of(&state)).await? };
            Ok(page(&frame.ctx, &view)
                .status(StatusCode::UNPROCESSABLE_ENTITY)
                .answer(&frame.ctx, &frame.headers))
        }
    }
}

/// Ends a window now, or calls it off.
///
/// # Errors
/// When there is none that has not ended.
pub async fn end(
    extract::State(state): extract::State<AppState>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    decide::end_maintenance(&state.decide(), &id, &principal.person()).await?;
    state.say(&principal, State::Ok, "The window is over".to_owned());
    Ok(see_other(PATH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_browsers_write_it_and_in_utc() {
        assert_eq!(time("", "from").unwrap(), None);
        assert_eq!(time("1970-01-01T00:01", "from").unwrap(), Some(UnixMs(MINUTE_MS)));
        for bad in ["now", "2026-13-01T00:00", "2026-02-30T00:00"] {
            assert_eq!(time(bad, "from").unwrap_err().field.as_deref(), Some("from"), "{bad}");
        }
    }
}
