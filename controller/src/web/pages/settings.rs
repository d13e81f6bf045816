//! Settings that people change while the controller runs: a page each, joined by a line of tabs.

pub mod automation;
pub mod enrolment;
pub mod maintenance;
pub mod place;
pub mod tokens;
pub mod user;
pub mod users;

use axum::response::Response;
use maud::{Markup, html};

use crate::web::admit::see_other;
use crate::web::error::Problem;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::widgets::state::State;
use crate::web::widgets::{icon_small, icons, list, note, page_head};

use super::words;

/// The pages: address, words, and whether they are for administrators alone.
const TABS: [(&str, &str, bool); 6] = [
    ("/settings/automation", "Automation", false),
    ("/settings/maintenance", "Maintenance", false),
    ("/settings/model", "Model", false),
    ("/settings/users", "Users", true),
    ("/settings/tokens", "API tokens", true),
    ("/settings/enrolment", "Enrolment", true),
];

/// One of the pages, below its tabs.
#[must_use]
pub fn page(ctx: &Ctx, title: &str, below: Markup, body: Markup) -> Page {
    let whole = html! {
        (page_head(title, below, html! {}))
        (tabs(ctx))
        (body)
    };
    Page::new(title, Fragment(whole)).below("Settings", "/settings")
}

/// The line that joins the pages, as far as they are for who looks.
#[must_use]
pub fn tabs(ctx: &Ctx) -> Markup {
    let may = ctx.user.as_ref().is_some_and(|user| user.may_manage);
    let tabs: Vec<_> = TABS
        .into_iter()
        .filter(|(.., admin)| may || !admin)
        .map(|(href, words, _)| (href.to_owned(), html! { (words) }, ctx.path.starts_with(href)))
        .collect();
    html! { nav class="below tabs" aria-label="Settings" { (list::segments("Settings", &tabs)) } }
}

/// What is shown this once, to be copied: a sentence, the text under an id, and the words of the button.
#[must_use]
pub fn shown_once(lead: Markup, id: &str, text: &str, copy: &str) -> Markup {
    note::callout(
        State::Ok,
        html! {
            div class="stack s" {
                p { (lead) }
                pre.term id=(id) tabindex="0" { (text) }
                div { button type="button" class="btn s" data-copy={ "#" (id) } { (icon_small(icons::COPY)) span { (copy) } } }
            }
        },
        None,
    )
}

/// Leads to the first of the pages.
///
/// # Errors
/// None; the type is that of the others.
pub async fn start() -> Result<Response, Problem> {
    Ok(see_other(TABS[0].0))
}

/// What is wrong with a form: the field and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Name of the field.
    pub field: String,
    /// What it must be.
    pub words: String,
}

impl Wrong {
    /// From a problem that the form can show: a value that may not be, or a state that does not allow it. Said at
    /// `field` where the problem names none of `fields`.
    ///
    /// # Errors
    /// Any other problem, as it is.
    pub fn of(problem: Problem, fields: &[&str]) -> Result<Self, Problem> {
        if !matches!(problem.status.as_u16(), 404 | 409 | 422) {
            return Err(problem);
        }
        let field = problem.field.as_deref().filter(|field| fields.contains(field));
        let field = field.or(fields.first().copied()).unwrap_or_default().to_owned();
        Ok(Self { field, words: format!("{}.", words::capital(problem.detail.trim_end_matches('.'))) })
    }

    /// The sentence, if it is about this field.
    #[must_use]
    pub fn at<'a>(wrong: Option<&'a Self>, field: &str) -> Option<&'a str> {
        wrong.filter(|wrong| wrong.field == field).map(|wrong| wrong.words.as_str())
    }
}
