//! Every page, drawn from plausible values and checked for what all of them must keep.
//!
//! With `SYSOP_GALLERY=DIR` the pages are also written there as HTML files, to be looked at.

mod fleet;
mod host;
mod incident;
mod rest;
mod runs;

use crate::web::layout::{Ctx, NavCounts, Page, UserBadge};

/// 23 November 2026, 03:14:02 UTC.
const NOW: i64 = 1_795_403_642_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn ctx(path: &str) -> Ctx {
    Ctx {
        user: Some(UserBadge {
            name: "admin".into(),
            role: "Admin".into(),
            may_operate: true,
            may_manage: true,
            may_add_hosts: true,
            may_freeze: true,
            may_unfreeze: true,
        }),
        csrf: "9f2c07d455e1".into(),
        path: path.into(),
        counts: NavCounts { hosts: 52, incidents: 3, approvals: 2 },
        automation: Some(true),
        now_ms: NOW,
        ..Ctx::default()
    }
}

/// A plausible line: `base` with a slow wave and a little noise, the same in every run.
fn wave(points: usize, base: f32, width: f32, seed: u32) -> Vec<Option<f32>> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    (0..points)
        .map(|at| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 16) as f32 / 65_536.0 - 0.5;
            Some((base + width * ((at as f32 / 7.0).sin() * 0.4 + noise * 0.5)).clamp(0.0, 1.0))
        })
        .collect()
}

/// All pages by name, each with what it was drawn for.
fn pages() -> Vec<(&'static str, Ctx, Page)> {
    let mut all = fleet::pages();
    all.extend(host::pages());
    all.extend(incident::pages());
    all.extend(runs::pages());
    all.extend(rest::pages());
    all
}

#[test]
fn every_page_is_whole_and_keeps_to_the_strict_content_policy() {
    let out = std::env::var_os("SYSOP_GALLERY").map(std::path::PathBuf::from);
    for (name, ctx, page) in pages() {
        let html = page.document(&ctx).into_string();
        assert_eq!(html.matches("<h1").count(), 1, "{name}: one title");
        assert_eq!(html.matches("<main").count(), 1, "{name}: one main part");
        for forbidden in [
            "style=\"",
            "<style",
            " onclick=",
            " onsubmit=",
            " onload=",
            "javascript:",
            "hx-on",
            "http://",
            "//cdn",
        ] {
            assert!(!html.contains(forbidden), "{name} has {forbidden}");
        }
        for script in html.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"/assets/"), "{name}: a script that is not ours");
        }
        if let Some(out) = &out {
            std::fs::write(out.join(format!("{name}.html")), html).unwrap();
            std::fs::write(out.join(format!("{name}.part")), page.part(&ctx).into_string()).unwrap();
        }
    }
}

#[test]
fn every_form_that_changes_something_carries_the_session_s_token() {
    for (name, ctx, page) in pages() {
        let html = page.document(&ctx).into_string();
        for form in html.split("<form").skip(1).filter(|form| form.starts_with(" method=\"post\"")) {
            let form = form.split("</form>").next().unwrap();
            let token = format!("name=\"csrf\" value=\"{}\"", ctx.csrf);
            assert_eq!(form.matches(&token).count(), 1, "{name}: {form}");
        }
    }
}

#[test]
fn no_id_is_used_twice_on_a_page_and_each_reference_finds_its_target() {
    for (name, ctx, page) in pages() {
        let html = page.document(&ctx).into_string();
        let values = |attribute: &str| {
            let start = format!(" {attribute}=\"");
            html.split(&start)
                .skip(1)
                .map(|rest| rest.split('"').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let mut ids = values("id");
        ids.sort();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all, "{name}: an id twice");
        for attribute in ["for", "aria-labelledby", "aria-describedby", "commandfor", "popovertarget", "list"]
        {
            for target in values(attribute) {
                assert!(ids.contains(&target), "{name}: {attribute}={target} leads nowhere");
            }
        }
    }
}

#[test]
fn text_of_a_host_cannot_become_markup() {
    let row = super::hosts::HostRow {
        name: "<script>alert(1)</script>".into(),
        problem: "\"><img src=x onerror=alert(1)>".into(),
        ..Default::default()
    };
    let view = super::hosts::HostsView { rows: vec![row], matching: 1, total: 1, ..Default::default() };
    let html = super::hosts::page(&ctx("/hosts"), &view).document(&ctx("/hosts")).into_string();
    assert!(!html.contains("<script>alert") && !html.contains("<img src=x"));
    assert!(html.contains("&lt;script&gt;alert(1)"));
}
