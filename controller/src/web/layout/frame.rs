//! Sidebar, header, tab bar, and the document around them.

use maud::{DOCTYPE, Markup, html};

use super::{Ctx, NavCounts, Page, Theme, UserBadge};
use crate::web::assets;
use crate::web::widgets::{Icon, State, form, format, icon, icon_large, icon_small, icons, note, state};

/// Which number stands beside an entry of the navigation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Count {
    None,
    Hosts,
    Incidents,
    Approvals,
}

struct Entry {
    href: &'static str,
    words: &'static str,
    icon: Icon,
    count: Count,
    key: &'static str,
}

const NAV: [Entry; 10] = [
    Entry { href: "/", words: "Overview", icon: icons::LAYOUT_DASHBOARD, count: Count::None, key: "o" },
    Entry { href: "/hosts", words: "Hosts", icon: icons::SERVER_2, count: Count::Hosts, key: "h" },
    Entry { href: "/incidents", words: "Incidents", icon: icons::URGENT, count: Count::Incidents, key: "i" },
    Entry {
        href: "/approvals",
        words: "Approvals",
        icon: icons::CHECKLIST,
        count: Count::Approvals,
        key: "a",
    },
    Entry { href: "/rules", words: "Rules", icon: icons::RULER_2, count: Count::None, key: "l" },
    Entry { href: "/runs", words: "Runs", icon: icons::HISTORY, count: Count::None, key: "r" },
    Entry { href: "/probes", words: "Probes", icon: icons::HEARTBEAT, count: Count::None, key: "p" },
    Entry { href: "/analyses", words: "Analyses", icon: icons::SPARKLES, count: Count::None, key: "y" },
    Entry { href: "/audit", words: "Audit", icon: icons::LINK, count: Count::None, key: "u" },
    Entry { href: "/settings", words: "Settings", icon: icons::SETTINGS, count: Count::None, key: "s" },
];
const ADD: &str = "/hosts/new";
/// Entries that the phone's tab bar shows; the others are behind "More".
const TABS: usize = 4;
const PRODUCT: &str = "Smart System Operator";
/// htmx: no style sheet made by script, no history of its own (each view has an address), morphing keeps
/// open what a person opened.
const HTMX: &str = r#"{"includeIndicatorCSS":false,"history":false,"morphIgnore":["data-htmx-powered","open","data-ready"]}"#;

pub(super) fn full_title(title: &str) -> String {
    format!("{title} · {PRODUCT}")
}

pub(super) fn document(page: &Page, ctx: &Ctx) -> Markup {
    let theme = match ctx.theme {
        Theme::Dark => "dark",
        Theme::Light | Theme::System => "light",
    };
    html! {
        (DOCTYPE)
        html lang=(ctx.lang.tag()) data-theme=(theme) data-choice=(ctx.theme.word()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                meta name="htmx-config" content=(HTMX);
                meta name="theme-color" content="#2c50cf";
                title { (full_title(&page.title)) }
                link rel="icon" href=(assets::MARK_SVG);
                script src=(assets::THEME_JS) {}
                link rel="stylesheet" href=(assets::LOOK_CSS);
                link rel="preload" href=(assets::INTER_LATIN_WOFF2) as="font" type="font/woff2" crossorigin;
                script src=(assets::APP_JS) defer {}
                @if page.charts { script src=(assets::CHARTS_JS) defer {} }
            }
            body class=[page.decide_bar.then_some("has-stick")] {
                a.vh.skip href="#main" { "Skip to content" }
                @if page.bare { (page.body.0) } @else { (framed(page, ctx)) }
                (note::toasts(&ctx.flash))
            }
        }
    }
}

fn framed(page: &Page, ctx: &Ctx) -> Markup {
    html! {
        div.app {
            (sidebar(ctx))
            div {
                (header(page, ctx))
                main #main tabindex="-1" {
                    @if page.live.is_some() { (lost_notice()) }
                    (frozen_notice(ctx))
                    (region(page, ctx))
                }
            }
        }
        (tab_bar(ctx))
        (more_menu(ctx))
        (keys_help())
        @if let Some(url) = &page.live { div #live hx-sse:connect=(url) hx-swap="none" hidden {} }
    }
}

/// The part that a live page fetches again when something changed.
fn region(page: &Page, ctx: &Ctx) -> Markup {
    let address = if ctx.query.is_empty() { ctx.path.clone() } else { format!("{}?{}", ctx.path, ctx.query) };
    let live = page.live.is_some();
    html! {
        div #body hx-get=[live.then_some(address)] hx-trigger=[live.then_some("changed from:#live throttle:2s")]
            hx-swap=[live.then_some("innerMorph")] {
            (page.body.0)
        }
    }
}

fn lost_notice() -> Markup {
    html! {
        div #lost hidden {
            (note::callout(
                State::Warn,
                html! { b { "Live updates paused, connection lost." } " Values below are from " time data-lost {} ". Reconnecting." },
                None,
            ))
        }
    }
}

fn is_current(entry: &str, path: &str) -> bool {
    if entry == "/" || path == ADD {
        entry == path
    } else {
        path == entry || path.starts_with(&format!("{entry}/"))
    }
}

fn number(count: Count, counts: NavCounts) -> Option<(&'static str, &'static str, u64)> {
    match count {
        Count::None => None,
        Count::Hosts => Some(("hosts", "cnt", counts.hosts)),
        Count::Incidents => {
            Some(("incidents", if counts.incidents > 0 { "cnt hot" } else { "cnt" }, counts.incidents))
        }
        Count::Approvals => {
            Some(("approvals", if counts.approvals > 0 { "cnt ask" } else { "cnt" }, counts.approvals))
        }
    }
}

fn sidebar(ctx: &Ctx) -> Markup {
    html! {
        nav.side aria-label="Main" {
            a.brand href="/" aria-label={ (PRODUCT) ", overview" } {
                img src=(assets::MARK_SVG) alt="" width="30" height="30";
                span { "Smart System" br; "Operator" }
            }
            @for (at, entry) in NAV.iter().enumerate() {
                @if at == TABS { div.nav-sep {} }
                a.nav-a href=(entry.href) title=(entry.words) data-key=(entry.key)
                    aria-current=[is_current(entry.href, &ctx.path).then_some("page")] {
                    (icon(entry.icon)) span { (entry.words) }
                    (side_count(entry.count, ctx.counts, false))
                }
            }
            (foot(ctx))
        }
    }
}

/// Below the navigation: whether anything runs by itself, and the switch for it.
fn foot(ctx: &Ctx) -> Markup {
    let (Some(on), Some(user)) = (ctx.automation, &ctx.user) else { return html! {} };
    let words = if on {
        "What hosts and assignments allow runs by itself. High risk always waits."
    } else {
        "Frozen: repairs are proposed, none runs by itself."
    };
    html! {
        div.side-foot {
            div class="row-x sp" {
                span class="small b" { "Automation" }
                @if on { (state::chip(State::Ok, "On")) } @else { (state::chip(State::Warn, "Frozen")) }
            }
            div class="tiny t3" { (words) }
            (switch(ctx, user, on, "btn s full", "mini"))
        }
    }
}

/// Freezing is one press: it can only make things quieter. The way back names what it does.
fn switch(ctx: &Ctx, user: &UserBadge, on: bool, class: &str, place: &str) -> Markup {
    let back = if ctx.query.is_empty() { ctx.path.clone() } else { format!("{}?{}", ctx.path, ctx.query) };
    let fields = |value: &str| html! { (form::hidden("automation", value)) (form::hidden("back", &back)) };
    html! {
        @if on && user.may_freeze {
            (form::post(ctx, "/automation", place, html! { (fields("off")) button class=(class) title="Freeze all now" { (icon_small(icons::PLAYER_PAUSE)) span { "Freeze all now" } } }))
        } @else if !on && user.may_unfreeze {
            (form::post(ctx, "/automation", place, html! { (fields("on")) button class=(class) title="Let it run again" { (icon_small(icons::PLAYER_PLAY)) span { "Let it run again" } } }))
        }
    }
}

/// On top of every page while automation is frozen.
fn frozen_notice(ctx: &Ctx) -> Markup {
    html! {
        @if ctx.automation == Some(false) {
            div.below { (note::callout(State::Maint, html! { b { "Automation is frozen on all hosts." } " Repairs are proposed, none runs by itself. What a person approves still runs." }, None)) }
        }
    }
}

fn side_count(count: Count, counts: NavCounts, again: bool) -> Markup {
    html! {
        @if let Some((name, class, value)) = number(count, counts) {
            span id={ "nav-" (name) } class=(class) hx-swap-oob=[again.then_some("true")] {
                @if value > 0 { (format::count(value)) }
            }
        }
    }
}

fn tab_count(count: Count, counts: NavCounts, again: bool) -> Markup {
    html! {
        @if let Some((name, _, value)) = number(count, counts).filter(|_| count != Count::Hosts) {
            span id={ "tab-" (name) } class=(if value > 0 { "bd" } else { "" }) hx-swap-oob=[again.then_some("true")] {
                @if value > 0 { (value.min(99)) }
            }
        }
    }
}

/// The navigation's numbers, to be swapped in beside a fragment.
pub(super) fn counts_again(counts: NavCounts) -> Markup {
    html! {
        @for count in [Count::Hosts, Count::Incidents, Count::Approvals] {
            (side_count(count, counts, true))
            (tab_count(count, counts, true))
        }
    }
}

fn header(page: &Page, ctx: &Ctx) -> Markup {
    html! {
        header.tbar {
            nav.crumbs aria-label="Breadcrumb" {
                @for (words, href) in &page.crumbs {
                    @if let Some(href) = href { a.opt href=(href) { (words) } span.opt { "/" } } @else { b.ell { (words) } }
                }
            }
            form.seek role="search" aria-label="Hosts" action="/hosts" {
                (icon_small(icons::SEARCH))
                input type="search" name="q" aria-label="Find a host" placeholder="Find a host" autocomplete="off" data-seek;
                kbd aria-hidden="true" { "/" }
            }
            @if page.live.is_some() {
                span.live #live-badge data-link="wait" role="status" { i {} span { "Connecting" } }
            }
            span class="live hide-p" title=(format::sentence(ctx.now_ms)) {
                (icon_small(icons::CLOCK)) "UTC " time data-clock { (clock_minutes(ctx.now_ms)) }
            }
            button type="button" class="ib hide-p" data-theme-toggle aria-label="Switch light and dark" {
                (icon(icons::CONTRAST_2))
            }
            @if let Some(user) = &ctx.user { (account(ctx, user)) }
        }
    }
}

fn clock_minutes(now: i64) -> String {
    format::clock(now).chars().take(5).collect()
}

fn account(ctx: &Ctx, user: &UserBadge) -> Markup {
    html! {
        button type="button" class="ib hide-p" popovertarget="account" aria-label={ (initials(&user.name)) ", account of " (user.name) } {
            span.ava { (initials(&user.name)) }
        }
        div #account.menu popover {
            div.menu-h { b { (user.name) } div class="small t3" { (user.role) } }
            div.menu-g {
                div class="small t3" #theme-words { "Colours" }
                div.seg role="group" aria-labelledby="theme-words" {
                    @for (value, words) in [("system", "As the device"), ("light", "Light"), ("dark", "Dark")] {
                        button type="button" data-theme-choice=(value)
                            aria-pressed=(if value == ctx.theme.word() { "true" } else { "false" }) { (words) }
                    }
                }
            }
            button type="button" class="menu-a" commandfor="keys" command="show-modal" { "Keys" kbd { "?" } }
            (sign_out(ctx))
        }
    }
}

fn sign_out(ctx: &Ctx) -> Markup {
    form::post(ctx, "/logout", "menu-f", html! { button.menu-a { (icon_small(icons::LOGOUT)) "Sign out" } })
}

fn initials(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).take(2).collect::<String>().to_uppercase()
}

fn may_add(ctx: &Ctx) -> bool {
    ctx.user.as_ref().is_some_and(|user| user.may_add_hosts)
}

fn tab_bar(ctx: &Ctx) -> Markup {
    let further = NAV[TABS..].iter().any(|entry| is_current(entry.href, &ctx.path)) || ctx.path == ADD;
    html! {
        nav.tabbar aria-label="Main, phone" {
            @for entry in &NAV[..TABS] {
                a href=(entry.href) aria-current=[is_current(entry.href, &ctx.path).then_some("page")] {
                    (icon_large(entry.icon)) (entry.words) (tab_count(entry.count, ctx.counts, false))
                }
            }
            button type="button" popovertarget="more" aria-current=[further.then_some("true")] {
                (icon_large(icons::MENU_2)) "More"
            }
        }
    }
}

fn more_menu(ctx: &Ctx) -> Markup {
    html! {
        div #more class="menu up" popover {
            @if let Some(user) = &ctx.user {
                div.menu-h { b { (user.name) } div class="small t3" { (user.role) } }
            }
            @for entry in &NAV[TABS..] {
                a.menu-a href=(entry.href) { (icon_small(entry.icon)) (entry.words) }
            }
            @if may_add(ctx) { a.menu-a href=(ADD) { (icon_small(icons::PLUS)) "Add host" } }
            button type="button" class="menu-a" data-theme-toggle { (icon_small(icons::CONTRAST_2)) "Switch light and dark" }
            @if let (Some(on), Some(user)) = (ctx.automation, &ctx.user) { (switch(ctx, user, on, "menu-a", "menu-f")) }
            @if ctx.user.is_some() { (sign_out(ctx)) }
        }
    }
}

fn keys_help() -> Markup {
    let keys = [
        ("/", "find a host"),
        ("g then o h i a r u s", "overview, hosts, incidents, approvals, runs, audit, settings"),
        ("j k", "next, previous row"),
        ("t", "light or dark"),
        ("?", "this list"),
        ("Esc", "close"),
    ];
    crate::web::widgets::dialog::dialog(
        "keys",
        "Keys",
        html! {
            dl class="dl left" { @for (key, words) in keys { dt { kbd { (key) } } dd { (words) } } }
            p class="small t3" { "No single key approves or runs anything." }
        },
    )
}
