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
    /// Greatest number of characters; 256 where nothing is said.
    pub most: Option<u16>,
    /// May stay empty.
    pub optional: bool,
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
                    type=(if self.kind.is_empty() { "text" } else { self.kind }) value=(self.value) required[!self.optional]
                    autocomplete=(self.autocomplete) autocapitalize="none" spellcheck="false"
                    minlength=[self.least] maxlength=(self.most.unwrap_or(256))
                    pattern=[self.pattern.map(|(shape, _)| shape)] title=[self.pattern.map(|(_, words)| words)]
                    autofocus[self.focus] aria-invalid=[self.error.map(|_| "true")] aria-describedby=[described];
                (under(&below, self.error, self.hint))
            }
        }
    }
}

/// The line below a field: what is wrong with it, else its hint.
fn under(id: &str, error: Option<&str>, hint: Option<&str>) -> Markup {
    html! {
        @if let Some(error) = error {
            p class="small c-crit row-x top" id=(id) {
                (shape_named(State::Crit, Size::Small, "Error")) span { (error) }
            }
        } @else if let Some(hint) = hint {
            p class="small t3" id=(id) { (hint) }
        }
    }
}

/// Something that can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What the form sends.
    pub value: String,
    /// What the person reads.
    pub words: String,
}

impl Choice {
    /// Something that can be chosen.
    #[must_use]
    pub fn new(value: &str, words: &str) -> Self {
        Self { value: value.to_owned(), words: words.to_owned() }
    }
}

/// A choice of one, with its label above and its hint or error below.
#[derive(Debug, Clone, Copy)]
pub struct Select<'a> {
    /// Name in the form; also its id.
    pub name: &'a str,
    /// Label.
    pub label: &'a str,
    /// What can be chosen.
    pub choices: &'a [Choice],
    /// Value of what is chosen now; the first one otherwise.
    pub chosen: &'a str,
    /// Line below.
    pub hint: Option<&'a str>,
    /// What is wrong with it and what to do; takes the place of the hint.
    pub error: Option<&'a str>,
}

impl Select<'_> {
    /// The choice.
    #[must_use]
    pub fn draw(&self) -> Markup {
        let below = format!("{}-below", self.name);
        let described = self.error.or(self.hint).map(|_| below.as_str());
        html! {
            div.field {
                label.lab for=(self.name) { (self.label) }
                select class="inp wide" id=(self.name) name=(self.name) required
                    aria-invalid=[self.error.map(|_| "true")] aria-describedby=[described] {
                    @for choice in self.choices {
                        option value=(choice.value) selected[choice.value == self.chosen] { (choice.words) }
                    }
                }
                (under(&below, self.error, self.hint))
            }
        }
    }
}
