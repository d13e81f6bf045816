//! The switch for everything that runs by itself; it stands on every page.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use crate::decide;
use crate::web::admit::see_other;
use crate::web::auth::Principal;
use crate::web::error::Problem;
use crate::web::extract::Form;
use crate::web::state::AppState;
use crate::web::widgets::State as Shape;

/// The form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// `on` or `off`.
    automation: String,
    /// Page that it was pressed on.
    #[serde(default)]
    back: String,
}

/// Freezes automation, or lets it run again, and goes back to the page.
///
/// # Errors
/// When the role does not allow it.
pub async fn switch(
    State(state): State<AppState>,
    principal: Principal,
    Form(form): Form<Switch>,
) -> Result<Response, Problem> {
    let on = match form.automation.as_str() {
        "on" => true,
        "off" => false,
        _ => return Err(Problem::invalid("automation", "must be on or off")),
    };
    decide::set_automation(&state.decide(), on, &principal.person()).await?;
    let (shape, words) = if on {
        (Shape::Ok, "Automation runs again")
    } else {
        (Shape::Maint, "Automation is frozen on all hosts")
    };
    state.say(&principal, shape, words);
    Ok(see_other(if super::login::is_own(&form.back) { &form.back } else { "/" }))
}
