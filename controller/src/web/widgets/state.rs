//! Shapes of state: each has its own silhouette and a word, so colour is never the only sign.

use maud::{Markup, html};

use crate::web::assets;

/// A state that a shape stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum State {
    /// Healthy, verified: a disc with a tick.
    Ok,
    /// Warning: a triangle.
    Warn,
    /// Critical, failed: an octagon.
    Crit,
    /// Notice, forecast: a rounded square.
    Info,
    /// Waits for a person: a hexagon.
    Wait,
    /// No data, not yet: a dashed ring.
    #[default]
    Off,
    /// In maintenance: a square with a slash.
    Maint,
    /// Running: an arc.
    Run,
}

impl State {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "healthy",
            Self::Warn => "warning",
            Self::Crit => "critical",
            Self::Info => "notice",
            Self::Wait => "waits for approval",
            Self::Off => "no data",
            Self::Maint => "in maintenance",
            Self::Run => "running",
        }
    }

    /// Class of a container in this state; plain for those that need no colour.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Crit => "crit",
            Self::Info => "info",
            Self::Wait => "wait",
            Self::Off => "off",
            Self::Maint => "maint",
            Self::Run => "run",
        }
    }

    /// Class of text that speaks of this state; quiet for the healthy.
    #[must_use]
    pub const fn text_class(self) -> &'static str {
        match self {
            Self::Crit => "c-crit",
            Self::Warn => "c-warn",
            _ => "t2",
        }
    }

    const fn symbol(self) -> (&'static str, &'static str) {
        match self {
            Self::Ok => (assets::SHAPE_OK, "st st-ok"),
            Self::Warn => (assets::SHAPE_WARN, "st st-warn"),
            Self::Crit => (assets::SHAPE_CRIT, "st st-crit"),
            Self::Info => (assets::SHAPE_INFO, "st st-info"),
            Self::Wait => (assets::SHAPE_WAIT, "st st-wait"),
            Self::Off => (assets::SHAPE_OFF, "st st-off"),
            Self::Maint => (assets::SHAPE_MAINT, "st st-maint"),
            Self::Run => (assets::SHAPE_RUN, "st st-run spin"),
        }
    }
}

/// How large a shape is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Size {
    /// 12 px, inside chips.
    Small,
    /// 16 px, in rows.
    #[default]
    Row,
    /// 22 px, in titles.
    Large,
    /// 30 px, beside a page's title.
    Huge,
}

impl Size {
    const fn class(self) -> &'static str {
        match self {
            Self::Small => "s",
            Self::Row => "",
            Self::Large => "l",
            Self::Huge => "xl",
        }
    }
}

/// The shape, named by the state's own word.
#[must_use]
pub fn shape(state: State, size: Size) -> Markup {
    shape_named(state, size, state.word())
}

/// The shape under another name: `verified`, `refused`. Without a name it only repeats the words beside it.
#[must_use]
pub fn shape_named(state: State, size: Size, name: &str) -> Markup {
    let (href, class) = state.symbol();
    let label = (!name.is_empty()).then_some(name);
    html! {
        svg class={ (class) " " (size.class()) } role=[label.map(|_| "img")] aria-label=[label]
            aria-hidden=[label.is_none().then_some("true")] { use href=(href) {} }
    }
}

/// A short statement on soft ground in the state's colour.
#[must_use]
pub fn chip(state: State, text: &str) -> Markup {
    html! { span class={ "chip " (state.class()) } { (text) } }
}
