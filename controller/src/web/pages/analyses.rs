//! What a model was asked and what it said: every question, what became of it, what it cost.

use axum::extract::{self, Path};
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::opinion::Note;
use super::opinion::fill::{money, note};
use super::proposal::terminal;
use super::shared::{HostRef, incident_href, incident_name};
use super::source::{Source, named};
use crate::store::analyses::{self, Analysis, Filter, Verdict};
use crate::store::model_costs::{self, Sum};
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::state::AppState;
use crate::web::widgets::list::{Paging, segments, table};
use crate::web::widgets::query::Query;
use crate::web::widgets::state::{Size, State, shape_named};
use crate::web::widgets::{card, format, icons, note as notes, page_head};

const PATH: &str = "/analyses";
/// Questions on one part of the list.
const PART: u32 = 50;

/// A question as a row.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Its number.
    pub id: i64,
    /// About which incident.
    pub incident: Option<i64>,
    /// On which host.
    pub host: HostRef,
    /// When, ms UTC.
    pub at_ms: i64,
    /// Why it was asked.
    pub reason: String,
    /// Which model.
    pub model: String,
    /// What became of it.
    pub verdict: String,
    /// What it says, or why it says nothing.
    pub says: String,
    /// Tokens.
    pub tokens: u64,
    /// Money, with its currency.
    pub money: String,
}

/// The list.
#[derive(Debug, Clone, Default)]
pub struct AnalysesView {
    /// Questions on this part.
    pub rows: Vec<Row>,
    /// The address: `verdict`, `incident`, `after`.
    pub query: Query,
    /// Newer and older parts.
    pub paging: Paging,
}

/// One question.
#[derive(Debug, Clone, Default)]
pub struct AnalysisView {
    /// The row of it.
    pub row: Row,
    /// What counts of it.
    pub note: Note,
    /// What was said to the model: who, what.
    pub said: Vec<(String, String)>,
    /// What it said, as it came.
    pub answers: Vec<String>,
    /// Versions of prompt and form, and the key under which equal questions are found.
    pub versions: String,
}

/// Shape and words of what became of a question.
#[must_use]
pub fn verdict(word: &str) -> (State, &'static str) {
    match word {
        "accepted" => (State::Ok, "counts"),
        "repaired" => (State::Ok, "counts, after a second try"),
        "shared" => (State::Info, "an equal question was answered"),
        "flagged" => (State::Warn, "its words alone count"),
        "rejected" => (State::Warn, "thrown out"),
        "capped" => (State::Off, "not asked, the day's limit"),
        _ => (State::Off, "no answer"),
    }
}

/// The list's page.
#[must_use]
pub fn page(ctx: &Ctx, view: &AnalysesView) -> Page {
    let show = view.query.get("verdict").unwrap_or("");
    let choices: Vec<_> = [
        ("", "All"),
        ("accepted", "Count"),
        ("flagged", "Words alone"),
        ("rejected", "Thrown out"),
        ("failed", "No answer"),
    ]
    .iter()
    .map(|(value, words)| {
        let query = if value.is_empty() {
            view.query.without_key("verdict")
        } else {
            view.query.set("verdict", value)
        };
        (query.without_key("after").href(PATH), html! { (words) }, show == *value)
    })
    .collect();
    let head = html! { th { "When" } th { "About" } th { "What became of it" } th { "What it says" } th { "Model" } th.r { "Tokens" } th.r { "Cost" } };
    let rows = html! { @for row in &view.rows { (row.draw(ctx)) } };
    Page::new(
        "Analyses",
        Fragment(html! {
            (page_head("Analyses", html! { "What a model was asked about incidents. Healthy hosts are never asked about. " a href="/settings/model" { "The model's settings" } }, segments("Which", &choices)))
            section.card aria-label="Analyses" {
                @if view.rows.is_empty() {
                    (notes::empty(icons::SPARKLES, "No analysis here", "Each question to a model appears here with its prompt, its answer and its cost.", html! { a.btn href="/settings/model" { "Set up a model" } }))
                } @else {
                    (table("Analyses, newest first", head, rows))
                    (view.paging.draw())
                }
            }
        }),
    )
}

impl Row {
    fn draw(&self, ctx: &Ctx) -> Markup {
        let (state, words) = verdict(&self.verdict);
        let when = format::when(ctx.now_ms, self.at_ms);
        let may_read = ctx.user.as_ref().is_some_and(|user| user.may_operate);
        html! {
            tr {
                td { @if may_read { a href={ (PATH) "/" (self.id) } { (when) } } @else { (when) } }
                td data-k="About" {
                    @if let Some(id) = self.incident { a href=(incident_href(id)) { (incident_name(id)) } " on " (self.host.name) } @else { "–" }
                }
                td { span.row-x { (shape_named(state, Size::Row, words)) span { (words) } } }
                td.t2 { (self.says) }
                td class="t2 no-phone" { (self.model) }
                td.r data-k="Tokens" { (format::count(self.tokens)) }
                td.r data-k="Cost" { @if self.money.is_empty() { "–" } @else { (self.money) } }
            }
        }
    }
}

/// One question's page.
#[must_use]
pub fn page_one(ctx: &Ctx, view: &AnalysisView) -> Page {
    let (state, words) = verdict(&view.row.verdict);
    let title = format!("Analysis {}", view.row.id);
    let body = html! {
        header class="stack s ihead" {
            div class="row-x wrap" {
                (shape_named(state, Size::Large, words))
                span.chip { (words) }
                @if let Some(id) = view.row.incident {
                    span.chip { a href=(incident_href(id)) { (incident_name(id)) } " on " (view.row.host.link()) }
                }
                span class="chip out" { "asked because: " (view.row.reason) }
            }
            h1 { (title) }
            p class="small t3" { (view.versions) }
        }
        div class="grid inc" {
            div class="c8 stack" {
                (card("said", "What was sent", html! { span class="t3 small" { "after the part that is the same in every request" } }, html! {
                    div class="cb stack s" {
                        @if view.said.is_empty() { p class="small t3" { "Nothing was sent, or it is older than texts are kept." } }
                        @for (who, text) in &view.said { p class="tiny t3" { (who) } (terminal(text)) }
                    }
                }))
                (card("answers", "What came back", html! { span class="t3 small" { "as it came; nothing in it is trusted" } }, html! {
                    div class="cb stack s" {
                        @if view.answers.is_empty() { p class="small t3" { "Nothing, or it is older than texts are kept." } }
                        @for text in &view.answers { (terminal(text)) }
                    }
                }))
            }
            div class="c4 stack sticky" { (view.note.panel(ctx)) }
        }
    };
    Page::new(title, Fragment(body)).below("Analyses", PATH)
}

fn row(analysis: &Analysis, sum: &Sum, host: HostRef, currency: &str) -> Row {
    let opinion: Value =
        analysis.opinion.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let says = opinion["views"][0]["title"].as_str().filter(|title| !title.is_empty()).map(str::to_owned);
    Row {
        id: analysis.id,
        incident: analysis.incident,
        host,
        at_ms: analysis.at.0,
        reason: analysis.reason.clone(),
        model: analysis.model.clone(),
        verdict: analysis.verdict.word().to_owned(),
        says: says.or_else(|| analysis.error.clone()).unwrap_or_default(),
        tokens: sum.tokens(),
        money: money(sum.money(), currency),
    }
}

/// Shows the list.
///
/// # Errors
/// When the store cannot be read.
pub async fn show(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
) -> Result<Response, Problem> {
    let query = Query::parse(&frame.ctx.query);
    let filter = Filter {
        incident: query.get("incident").and_then(|id| id.parse().ok()),
        host: None,
        verdict: query.get("verdict").and_then(Verdict::from_word),
        before: query.get("after").and_then(|id| id.parse().ok()),
        limit: PART + 1,
    };
    let mut found = analyses::list(&state.db, filter).await?;
    let more = found.len() > PART as usize;
    found.truncate(PART as usize);
    let names = Source::of(&state).names(found.iter().filter_map(|one| one.host)).await?;
    let currency = state.models.state().currency;
    let mut rows = Vec::with_capacity(found.len());
    for one in &found {
        let sum = model_costs::of_analysis(&state.db, one.id).await?;
        let host = one.host.map(|host| named(&names, host)).unwrap_or_default();
        rows.push(row(one, &sum, host, &currency));
    }
    let older = found.last().filter(|_| more).map(|last| query.set("after", &last.id.to_string()).href(PATH));
    let newer = query.get("after").map(|_| query.without_key("after").href(PATH));
    let paging = Paging { shown: format::counted(rows.len() as u64, "analysis", "analyses"), newer, older };
    let view = AnalysesView { rows, query, paging };
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}

/// Shows one question.
///
/// # Errors
/// When there is none with this number.
pub async fn show_one(
    extract::State(state): extract::State<AppState>,
    frame: Frame,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: i64 = id.parse().map_err(|_| Problem::not_found("analysis"))?;
    let one = analyses::find(&state.db, id).await?.ok_or_else(|| Problem::not_found("analysis"))?;
    let sum = model_costs::of_analysis(&state.db, id).await?;
    let names = Source::of(&state).names(one.host).await?;
    let host = one.host.map(|host| named(&names, host)).unwrap_or_default();
    let currency = state.models.state().currency;
    let said: Vec<Value> = serde_json::from_str(&one.prompt).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let key: String = one.key.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let view = AnalysisView {
        note: note(&one, (0, 0), &sum, &currency),
        said: said.iter().map(|message| (text(&message["role"]), text(&message["text"]))).collect(),
        answers: serde_json::from_str(&one.answer).unwrap_or_default(),
        versions: format!(
            "{}, prompt {}, form {}, language {}, key {key}",
            one.model, one.prompt_version, one.schema_version, one.language
        ),
        row: row(&one, &sum, host, &currency),
    };
    Ok(page_one(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}
