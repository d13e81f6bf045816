//! Rules of operators: the list, and the pages around one.

pub mod coverage;
pub mod edit;
mod form;
pub mod why;

use axum::extract::State as Shared;
use axum::response::Response;
use maud::{Markup, html};

use super::settings::place;
use super::source::{Source, named};
use super::words;
use crate::rules::explain;
use crate::store::assignments::Selector;
use crate::store::rules::{self, Rule};
use crate::web::context::Frame;
use crate::web::error::Problem;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::state::AppState;
use crate::web::widgets::state::{Size, State, chip, shape_named};
use crate::web::widgets::{card, form as widgets, icon_small, icons, list, page_head};

/// Address of the list.
pub(super) const PATH: &str = "/rules";

/// What the page shows.
#[derive(Debug, Clone, Default)]
pub struct RulesView {
    /// The rules, by id.
    pub rows: Vec<RuleRow>,
}

/// A rule.
#[derive(Debug, Clone)]
pub struct RuleRow {
    /// The rule.
    pub rule: Rule,
    /// Where it holds, in words.
    pub place: String,
}

/// The page.
#[must_use]
pub fn page(ctx: &Ctx, view: &RulesView) -> Page {
    let may = ctx.user.as_ref().is_some_and(|user| user.may_operate);
    let own = view.rows.iter().filter(|row| row.rule.builtin.is_empty()).count();
    let below = html! { (own) " of yours, " (view.rows.len() - own) " that came with the product. At most " (crate::rules::MAX_RULES) "." };
    let actions = html! {
        a.btn href="/rules/coverage" { (icon_small(icons::TABLE)) span { "Coverage" } }
        @if may { a class="btn pri" href="/rules/new" { (icon_small(icons::PLUS)) span { "New rule" } } }
    };
    let head = html! { th { "Rule" } th { "Fires when" } th { "For" } th { "Where" } th { "State" } @if may { th { span.vh { "Change it" } } } };
    let rows = html! { @for row in &view.rows { (row.draw(ctx, may)) } };
    let body = html! {
        (page_head("Rules", below, actions))
        (card("rules", "All rules", html! {}, list::table("Rules, by number", head, rows)))
    };
    Page::new("Rules", Fragment(body))
}

impl RuleRow {
    fn draw(&self, ctx: &Ctx, may: bool) -> Markup {
        let (rule, written) = (&self.rule, &self.rule.definition);
        let must_run = !matches!(written.check, crate::store::rules::Check::Expression { .. });
        html! {
            tr data-row {
                td.wr {
                    div class="row-x" {
                        (shape_named(words::severity(written.severity), Size::Row, written.severity.word()))
                        @if may { a.b href={ (PATH) "/" (rule.id) } { (written.name) } } @else { b { (written.name) } }
                    }
                    @if !rule.builtin.is_empty() { div class="small t3" { "came with the product" } }
                }
                td.wr data-k="Fires when" {
                    @if must_run { "not so: " } code { (explain::subject(&written.check)) }
                }
                td data-k="For" { (explain::span(written.for_ms)) }
                td.wr data-k="Where" { (self.place) }
                td data-k="State" { @if written.enabled { (chip(State::Ok, "on")) } @else { (chip(State::Off, "off")) } }
                @if may {
                    td { div class="row-x nowrap" {
                        (widgets::post(ctx, &format!("{PATH}/{}/switch", rule.id), "", html! {
                            (widgets::hidden("enabled", if written.enabled { "off" } else { "on" }))
                            button class="btn s" aria-label={ (if written.enabled { "Switch off " } else { "Switch on " }) (written.name) } {
                                @if written.enabled { "Switch off" } @else { "Switch on" }
                            }
                        }))
                        a class="btn s" href={ (PATH) "/new?copy=" (rule.id) } aria-label={ "Copy " (written.name) } { "Copy" }
                    } }
                }
            }
        }
    }
}

/// Where a rule holds, in words.
async fn places(source: Source<'_>, all: &[Rule]) -> Result<Vec<String>, Problem> {
    let hosts = all.iter().filter_map(|rule| match rule.definition.scope {
        Some(Selector::Host(host)) => Some(host),
        _ => None,
    });
    let names = source.names(hosts).await?;
    let words = |rule: &Rule| place::words(rule.definition.scope.as_ref(), |host| named(&names, host).name);
    Ok(all.iter().map(words).collect())
}

/// Shows the list.
///
/// # Errors
/// Only the store's.
pub async fn show(Shared(state): Shared<AppState>, frame: Frame) -> Result<Response, Problem> {
    let all = rules::list(&mut *state.db.reader().await?).await?;
    let places = places(Source::of(&state), &all).await?;
    let rows = all.into_iter().zip(places).map(|(rule, place)| RuleRow { rule, place }).collect();
    Ok(page(&frame.ctx, &RulesView { rows }).answer(&frame.ctx, &frame.headers))
}
