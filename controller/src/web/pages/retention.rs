//! Deleting by age waits when the clock jumped: the notice, and the button that ends the waiting.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use crate::web::admit::see_other;
use crate::web::api::retention::confirm_clock;
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::layout::Ctx;
use crate::web::state::AppState;
use crate::web::widgets::{State as Shape, form, format, note};

/// The notice, with the button for those who may press it.
#[must_use]
pub fn held_notice(ctx: &Ctx, since_ms: i64) -> Markup {
    let words = html! {
        b { "Old data is kept until somebody looks at the clock." }
        " It jumped by more than a day, " (format::ago(ctx.now_ms, since_ms)) ". It is now "
        time datetime=(format::machine(ctx.now_ms)) { (format::sentence(ctx.now_ms)) } ", UTC " (format::clock(ctx.now_ms)) "."
    };
    let may = ctx.user.as_ref().is_some_and(|user| user.may_manage);
    let button = may.then(|| {
        form::post(ctx, "/retention/confirm", "", html! { button class="btn s" { "The clock is right" } })
    });
    note::callout(Shape::Warn, words, button)
}

/// Says that the clock is right, and goes back to the overview.
///
/// # Errors
/// Only the store's.
pub async fn confirm(State(state): State<AppState>, principal: Principal) -> Result<Response, Problem> {
    confirm_clock(&state, &principal).await?;
    state.say(&principal, Shape::Ok, "The clock is confirmed: old data is deleted within the hour");
    Ok(see_other("/"))
}
