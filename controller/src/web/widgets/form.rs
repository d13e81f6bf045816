//! Forms: every POST carries the session's hidden `csrf` value; errors are tied to their field.

use maud::{Markup, html};

use super::state::{Size, State, shape_named};
use crate::web::layout::Ctx;

/// A form that posts to `action`.
#[must_use]
pub fn post(ctx: &Ctx, action: &str, class: &str, body: Markup) -> Markup {
    html! {
        form method="post" action=(action) class=(class) data-once {
            input type="hidden" name="csrf" value=(ctx.csrf);
            (body)
        }
    }
}

/// A hidden value of a form.
#[must_use]
pub fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

/// A field with its label above and its hint or error below.
#[derive(Debug, Clone, Copy, Default)]
pub struct Field<'a> {
    /// Name in the form; also its id.
    pub name: &'a str,
    /// Label.
    pub label: &'a str,
    /// `text`, `password`, …
    pub kind: &'a str,
    /// Value to start with; never a password.
    pub value: &'a str,
    /// For password managers: `username`, `current-password`, `new-password`, `one-time-code`, `off`.
    pub autocomplete: &'a str,
    /// Line below the field.
    pub hint: Option<&'a str>,
    /// What is wrong with it and what to do; takes the place of the hint.
    pub error: Option<&'a str>,
    /// Shape that the browser insists on, with the words for it.
    pub pattern: Option<(&'a str, &'a str)>,
    /// Set in the fixed-width font.
    pub mono: bool,
    /// Takes the cursor when the page opens.
    pub focus: bool,
    /// Least number of characters.
    pub least: Option<u16>,
}

impl Field<'_> {
    /// The field.
    #[must_use]
    pub fn draw(&self) -> Markup {
        let below = format!("{}-below", self.name);
        let described = self.error.or(self.hint).map(|_| below.as_str());
        html! {
            div.field {
                label.lab for=(self.name) { (self.label) }
                input class=(if self.mono { "inp mono" } else { "inp" }) id=(self.name) name=(self.name)
                    type=(if self.kind.is_empty() { "text" } else { self.kind }) value=(self.value) required
                    autocomplete=(self.autocomplete) autocapitalize="none" spellcheck="false"
                    minlength=[self.least] maxlength="256"
                    pattern=[self.pattern.map(|(shape, _)| shape)] title=[self.pattern.map(|(_, words)| words)]
                    autofocus[self.focus] aria-invalid=[self.error.map(|_| "true")] aria-describedby=[described];
                @if let Some(error) = self.error {
                    p class="small c-crit row-x top" id=(below) {
                        (shape_named(State::Crit, Size::Small, "Error")) span { (error) }
                    }
                } @else if let Some(hint) = self.hint {
                    p class="small t3" id=(below) { (hint) }
                }
            }
        }
    }
}
