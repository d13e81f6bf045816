//! What the frame of a page needs, from the request and the store.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};

use super::auth::Principal;
use super::error::Problem;
use super::layout::{Ctx, NavCounts, Theme, UserBadge};
use super::session;
use super::state::AppState;
use crate::store::users::Role;

/// What a page handler gets: the frame's values and the request's headers, for [`super::layout::Page::answer`].
pub struct Frame {
    /// Values of the frame.
    pub ctx: Ctx,
    /// Headers of the request.
    pub headers: HeaderMap,
}

impl FromRequestParts<AppState> for Frame {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let principal = parts.extensions.get::<Principal>();
        let ctx = build(state, principal, &parts.uri, &parts.headers).await;
        Ok(Self { ctx, headers: parts.headers.clone() })
    }
}

/// The frame's values. Numbers that cannot be had are left out: a page about an error must still come.
pub(super) async fn build(
    state: &AppState,
    principal: Option<&Principal>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Ctx {
    let user = principal.map(|principal| UserBadge {
        name: principal.name.clone(),
        role: principal.role.title().to_owned(),
        may_add_hosts: principal.role == Role::Admin,
    });
    Ctx {
        csrf: principal.map(|principal| principal.csrf().to_owned()).unwrap_or_default(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        theme: session::plain(headers, Theme::COOKIE).map(Theme::from_cookie).unwrap_or_default(),
        counts: NavCounts::default(),
        now_ms: state.now().0,
        user,
        ..Ctx::default()
    }
}
