//! Confirmation in a native dialog: verb, scope, effect; leaving is named by its effect too.

use maud::{Markup, html};

/// A dialog that a button opens.
#[must_use]
pub fn dialog(id: &str, title: &str, body: Markup) -> Markup {
    let name = format!("{id}-title");
    html! {
        dialog.box id=(id) aria-labelledby=(name) {
            div.ch {
                h2 id=(name) { (title) }
                form.acts method="dialog" { button.ib aria-label="Close" { (super::icon_small(super::icons::X)) } }
            }
            div class="cb stack" { (body) }
        }
    }
}

/// A button that opens the dialog `id`.
#[must_use]
pub fn opener(id: &str, class: &str, body: Markup) -> Markup {
    html! { button type="button" class=(class) commandfor=(id) command="show-modal" { (body) } }
}

/// The button that leaves a dialog with nothing done, inside any form of it.
#[must_use]
pub fn leave(id: &str, words: &str) -> Markup {
    html! { button type="button" class="btn gho" commandfor=(id) command="close" { (words) } }
}
