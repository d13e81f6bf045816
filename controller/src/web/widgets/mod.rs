//! Parts of pages: functions from values to markup. They know nothing of the store or of handlers.

pub mod bar;
pub mod dialog;
pub mod form;
pub mod format;
pub mod list;
pub mod note;
pub mod query;
pub mod risk;
pub mod state;
#[cfg(test)]
mod tests;

use maud::{Markup, html};

pub use super::assets::Icon;
pub(crate) use super::assets::icons;
pub use risk::Risk;
pub use state::State;

/// An icon in line with text; it says nothing to a screen reader, the words beside it do.
#[must_use]
pub fn icon(icon: Icon) -> Markup {
    html! { svg.i aria-hidden="true" { use href=(icon.0) {} } }
}

/// A smaller icon, for buttons and chips.
#[must_use]
pub fn icon_small(icon: Icon) -> Markup {
    html! { svg class="i s" aria-hidden="true" { use href=(icon.0) {} } }
}

/// A larger icon, for empty states and the tab bar.
#[must_use]
pub fn icon_large(icon: Icon) -> Markup {
    html! { svg class="i l" aria-hidden="true" { use href=(icon.0) {} } }
}

/// A label of a host, `role=web`, as a link to the hosts that carry it.
#[must_use]
pub fn label_tag(key: &str, value: &str) -> Markup {
    let href = query::Query::default().with("label", &format!("{key}={value}")).href("/hosts");
    html! { a.tag href=(href) title={ (key) "=" (value) } { (value) } }
}

/// A card with a title line.
#[must_use]
pub fn card(id: &str, title: &str, aside: Markup, body: Markup) -> Markup {
    html! {
        section.card aria-labelledby=(id) {
            div.ch { h2 id=(id) { (title) } (aside) }
            (body)
        }
    }
}

/// The head of a page: its one `h1`, a line below it, and actions at the right.
#[must_use]
pub fn page_head(title: &str, below: Markup, actions: Markup) -> Markup {
    html! {
        div.head {
            div.grow { h1 { (title) } p class="t3 small" { (below) } }
            div.acts { (actions) }
        }
    }
}
