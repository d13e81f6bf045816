//! What went wrong, what is not lost, what to do next.

use axum::http::StatusCode;
use maud::{Markup, html};

use crate::web::error::Problem;
use crate::web::layout::{Ctx, Fragment, Page};
use crate::web::widgets::{Icon, icons, note};

/// Nothing is at this address, or nothing that this person may see.
#[must_use]
pub fn not_found(ctx: &Ctx) -> Page {
    let words = "It may have been removed, or the address has a slip in it.";
    let way = html! { a class="btn pri" href="/" { "To the overview" } a.btn href="/hosts" { "All hosts" } };
    page(ctx, StatusCode::NOT_FOUND, icons::FILTER_OFF, "Nothing is here", words, way)
}

/// The person's role does not allow it: `needs` names the role that does.
#[must_use]
pub fn forbidden(ctx: &Ctx, needs: &str) -> Page {
    let role = ctx.user.as_ref().map_or("no", |user| user.role.as_str());
    let words = format!(
        "Your role is {role}; this needs {needs}. Nothing was changed. An administrator can change your role."
    );
    page(
        ctx,
        StatusCode::FORBIDDEN,
        icons::LOCK,
        "Not allowed",
        &words,
        html! { a class="btn pri" href="/" { "To the overview" } },
    )
}

/// A form was too old, or did not come from us.
#[must_use]
pub fn stale_form(ctx: &Ctx) -> Page {
    let words = "The form was opened in another session, so it was not taken. Nothing was changed. Open it again and send it once more.";
    page(
        ctx,
        StatusCode::FORBIDDEN,
        icons::KEY,
        "This form is out of date",
        words,
        html! { a class="btn pri" href=(ctx.path) { "Open it again" } },
    )
}

/// Something failed here; `id` is what the log calls it.
#[must_use]
pub fn internal(ctx: &Ctx, id: &str) -> Page {
    let words = "The controller could not do it. Collection goes on, and what hosts send is not lost. The log has the reason under the id below.";
    let way = html! {
        p class="small t3" { "Error id " code #error-id { (id) } }
        div class="row-x wrap" {
            a class="btn pri" href=(ctx.path) { "Try again" }
            button type="button" class="btn" data-copy="#error-id" { span { "Copy error id" } }
        }
    };
    page(ctx, StatusCode::INTERNAL_SERVER_ERROR, icons::PLUG_CONNECTED_X, "That did not work", words, way)
}

/// Too many requests; `seconds` until the next try makes sense.
#[must_use]
pub fn slow_down(ctx: &Ctx, seconds: u64) -> Page {
    let words = format!("Too many tries from this address. The next one counts in {seconds} s.");
    page(
        ctx,
        StatusCode::TOO_MANY_REQUESTS,
        icons::CLOCK,
        "A pause",
        &words,
        html! { a class="btn pri" href=(ctx.path) { "Try again" } },
    )
}

/// The page for `problem`; `id` is what the log calls the request.
#[must_use]
pub fn of_problem(ctx: &Ctx, problem: &Problem, id: &str) -> Page {
    match problem.status {
        StatusCode::NOT_FOUND => not_found(ctx),
        StatusCode::FORBIDDEN if problem.kind == "foreign" => stale_form(ctx),
        StatusCode::FORBIDDEN if problem.field.as_deref() == Some("role") => {
            forbidden(ctx, problem.remedy.as_deref().unwrap_or("another role"))
        }
        StatusCode::TOO_MANY_REQUESTS => slow_down(ctx, u64::from(problem.retry_after.unwrap_or(1))),
        StatusCode::INTERNAL_SERVER_ERROR => internal(ctx, id),
        status => {
            let mut words = sentence(&problem.detail);
            if let Some(remedy) = &problem.remedy {
                words.push(' ');
                words.push_str(&sentence(remedy));
            }
            let way = html! { a class="btn pri" href="/" { "To the overview" } };
            page(ctx, status, icons::PLUG_CONNECTED_X, "That was not taken", &words, way)
        }
    }
}

/// A capital at the start, a stop at the end.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

fn page(ctx: &Ctx, status: StatusCode, sign: Icon, title: &str, words: &str, way: Markup) -> Page {
    let body = html! {
        section class="card alone" {
            div.empty {
                (note::empty_head(sign, title, words))
                div class="stack s center" { (way) }
            }
        }
    };
    let body = if ctx.user.is_some() {
        body
    } else {
        html! { main.bare #main tabindex="-1" { (body) } }
    };
    let page = Page::new(title, Fragment(body)).status(status);
    if ctx.user.is_some() { page } else { page.bare() }
}
