//! Callouts, toasts, empty and error states.

use maud::{Markup, html};

use super::state::{Size, State, shape, shape_named};
use super::{Icon, icon_large};

/// A callout on soft ground: a shape, words, perhaps a button.
#[must_use]
pub fn callout(state: State, words: Markup, action: Option<Markup>) -> Markup {
    let ground = match state {
        State::Ok => "co ok",
        State::Warn => "co warn",
        State::Crit => "co crit",
        _ => "co",
    };
    html! {
        div class=(ground) {
            (shape(state, Size::Row))
            div class="small grow" { (words) }
            @if let Some(action) = action { (action) }
        }
    }
}

/// What an empty place says: what would be here, and the one thing that fills it.
#[must_use]
pub fn empty(sign: Icon, title: &str, words: &str, action: Markup) -> Markup {
    html! {
        div.empty {
            span.ico { (icon_large(sign)) }
            h2 { (title) }
            p.t2 { (words) }
            (action)
        }
    }
}

/// The same head for a page that has nothing else: its title is the page's.
#[must_use]
pub fn empty_head(sign: Icon, title: &str, words: &str) -> Markup {
    html! { span.ico { (icon_large(sign)) } h1 { (title) } p.t2 { (words) } }
}

/// A message about something that the person just did, shown once.
#[derive(Debug, Clone)]
pub struct Toast {
    /// Its shape; errors stay until closed.
    pub state: State,
    /// What happened.
    pub title: String,
    /// One more line.
    pub detail: String,
}

/// Toasts in their polite live region; at most four.
#[must_use]
pub fn toasts(list: &[Toast]) -> Markup {
    html! {
        div #toasts role="status" aria-live="polite" {
            @for toast in list.iter().take(4) {
                div.toast data-stay[matches!(toast.state, State::Crit | State::Warn)] {
                    (shape_named(toast.state, Size::Row, ""))
                    div.grow { b { (toast.title) } div class="small t3" { (toast.detail) } }
                    button.ib type="button" data-close aria-label="Close this message" {
                        (super::icon_small(super::icons::X))
                    }
                }
            }
        }
    }
}
