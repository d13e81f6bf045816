use maud::html;

use super::*;

fn signed_in() -> Ctx {
    let user = UserBadge {
        name: "admin".into(),
        role: "Admin".into(),
        may_operate: true,
        may_manage: false,
        may_add_hosts: true,
        may_freeze: true,
        may_unfreeze: true,
    };
    let counts = NavCounts { hosts: 3, incidents: 1, approvals: 0 };
    Ctx { user: Some(user), path: "/hosts/7".into(), csrf: "c5".into(), counts, ..Ctx::default() }
}

#[test]
fn a_part_is_the_inside_of_the_page_and_brings_title_and_numbers_along() {
    let page = Page::new("web-07", Fragment(html! { p { "inside" } }))
        .below("Hosts", "/hosts")
        .live("/events/host/7");
    let whole = page.document(&signed_in()).into_string();
    let part = page.part(&signed_in()).into_string();
    assert!(whole.contains("<p>inside</p>") && part.contains("<p>inside</p>"));
    assert!(part.starts_with("<title>web-07 · Smart System Operator</title>") && !part.contains("<html"));
    assert!(part.contains(r#"id="nav-incidents" class="cnt hot" hx-swap-oob="true">1<"#), "{part}");
    assert!(whole.contains(r#"hx-sse:connect="/events/host/7""#));
    assert!(whole.contains(r#"hx-get="/hosts/7" hx-trigger="changed from:#live throttle:2s""#));
}

#[test]
fn the_entry_that_holds_the_page_is_current_and_a_still_page_opens_no_stream() {
    let whole = Page::new("web-07", Fragment(html! {})).document(&signed_in()).into_string();
    assert_eq!(whole.matches(r#"aria-current="page""#).count(), 2, "sidebar and tab bar");
    assert!(!whole.contains("hx-sse") && !whole.contains("hx-get"));
    assert!(whole.contains(r#"name="csrf" value="c5""#));
}

#[test]
fn a_restored_page_is_whole_and_a_request_by_htmx_gets_a_part() {
    let headers = |pairs: &[(&'static str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| (axum::http::HeaderName::from_static(k), v.parse().unwrap()))
            .collect::<HeaderMap>()
    };
    assert!(is_partial(&headers(&[("hx-request", "true")])));
    assert!(!is_partial(&headers(&[("hx-request", "true"), ("hx-request-type", "full")])));
    assert!(!is_partial(&headers(&[])));
}

#[test]
fn whoever_may_freeze_automation_can_do_so_on_each_page_and_no_viewer_can() {
    let page = Page::new("Runs", Fragment(html! {}));
    let on = Ctx { automation: Some(true), ..signed_in() };
    assert!(page.document(&on).into_string().contains("Freeze all now"));
    let off = Ctx { automation: Some(false), ..signed_in() };
    let frozen = page.document(&off).into_string();
    assert!(frozen.contains("Let it run again") && frozen.contains("none runs"));
    let viewer = Ctx { user: Some(UserBadge { name: "vic".into(), ..UserBadge::default() }), ..on };
    assert!(!page.document(&viewer).into_string().contains("action=\"/automation\""));
}
