//! What is covered: hosts by rules. No cell is grey without a reason.

use axum::extract::State as Shared;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use sysop_common::ids::HostId;

use super::PATH;
use crate::rules::board::{Cell, Column, Covers, State as Stands};
use crate::web::api::rules::coverage::StateWord;
use crate::web::api::rules::{Row, board, rows};
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::extract::Params;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::pages::shared::HostRef;
use crate::web::state::AppState;
use crate::web::widgets::query::Query;
use crate::web::widgets::state::{Size, State, shape_named};
use crate::web::widgets::{card, format, icons, list, note, page_head};

/// Hosts of one part of the table.
const ROWS: usize = 25;
const HERE: &str = "/rules/coverage";

/// Which part.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    after: Option<HostId>,
    state: Option<StateWord>,
    rule: Option<i64>,
}

/// What the page shows.
pub struct CoverageView {
    /// A column per rule.
    pub columns: Vec<Column>,
    /// Hosts with their cells.
    pub rows: Vec<Row>,
    /// Where the next part begins.
    pub next: Option<HostId>,
}

/// Shape and word of a state.
#[must_use]
pub(super) const fn shape_of(state: Stands) -> (State, &'static str) {
    match state {
        Stands::Fires => (State::Crit, "fires"),
        Stands::Pending => (State::Warn, "pending"),
        Stands::Unknown => (State::Off, "unknown"),
        Stands::Muted => (State::Maint, "muted"),
        Stands::Fine => (State::Ok, "fine"),
        Stands::Off => (State::Off, "off"),
        Stands::OutOfScope => (State::Off, "not here"),
    }
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &CoverageView) -> Page {
    let query = Query::parse(&ctx.query);
    let mut choices =
        vec![(query.without_key("state").href(HERE), html! { "All" }, query.get("state").is_none())];
    choices.extend(Stands::ALL.map(|state| {
        let href = query.set("state", state.word()).href(HERE);
        (href, html! { (shape_of(state).1) }, query.get("state") == Some(state.word()))
    }));
    let below = html! { "Each rule on each host: how it stands now, and why. A cell leads to the samples behind it." };
    let head = html! { th { "Host" } @for column in &view.columns { th class="wr" { (column.name) } } };
    let body = html! { @for (host, cells) in &view.rows {
        tr data-row {
            td.b { (HostRef { id: host.id.to_string(), name: host.name.clone() }.link()) }
            @for (column, cell) in view.columns.iter().zip(cells) { (draw(host.id, column, cell)) }
        }
    } };
    let paging = list::Paging {
        shown: format::counted(view.rows.len() as u64, "host", "hosts"),
        newer: query.get("after").map(|_| query.without_key("after").href(HERE)),
        older: view.next.map(|after| query.set("after", &after.to_string()).href(HERE)),
    };
    let whole = html! {
        (page_head("Coverage", below, html! { a.btn href=(PATH) { "Rules" } }))
        div.below { (list::segments("State", &choices)) }
        (card("coverage", "Hosts and rules", html! {}, html! {
            @if view.rows.is_empty() {
                (note::empty(icons::TABLE, "No host here", "No host of this part has a cell in that state.", html! {}))
            } @else { (list::table("Hosts by rules", head, body)) }
            (paging.draw())
        }))
    };
    Page::new("Coverage", Fragment(whole)).below("Rules", PATH)
}

fn draw(host: HostId, column: &Column, cell: &Cell) -> Markup {
    let (shape, word) = shape_of(cell.state);
    let rule = column.key.strip_prefix("rule:");
    let inner = html! { (shape_named(shape, Size::Small, "")) " " (word) };
    html! {
        td data-k=(column.name) title=(cell.why) {
            @match rule {
                Some(rule) => { a href={ (PATH) "/" (rule) "/hosts/" (host) } { (inner) } },
                None => { (inner) },
            }
            @if !matches!(cell.state, Stands::Fine) { div class="tiny t3" { (cell.why) } }
        }
    }
}

/// Shows the table.
///
/// # Errors
/// When there is no such rule, or the store cannot be read.
pub async fn show(
    Shared(state): Shared<AppState>,
    Params(wanted): Params<Wanted>,
    frame: Frame,
) -> Result<Response, Problem> {
    let board = board(&state, wanted.rule).await?;
    let (rows, next) = rows(&state, &board, wanted.state.map(Into::into), wanted.after, ROWS).await?;
    let view = CoverageView { columns: board.columns(), rows, next };
    Ok(page(&frame.ctx, &view).answer(&frame.ctx, &frame.headers))
}
