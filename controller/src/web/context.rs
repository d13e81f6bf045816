//! What the frame of a page needs, from the request and the store.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use sysop_common::action::RunState;

use super::auth::Principal;
use super::error::Problem;
use super::layout::{Ctx, NavCounts, Theme, UserBadge, is_partial};
use super::session;
use super::state::AppState;
use crate::store::runs::{self, RunFilter};
use crate::store::users::Role;
use crate::store::{StoreError, hosts, incidents, settings};

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
        let mut ctx = build(state, principal, &parts.uri, &parts.headers).await;
        // Told by the whole page that follows, not by a part that refreshes itself.
        if let Some(principal) =
            principal.filter(|_| parts.method == Method::GET && !is_partial(&parts.headers))
        {
            ctx.flash = state.flash.take(principal, state.now());
        }
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
    let counts =
        if principal.is_some() { counts(state).await.unwrap_or_default() } else { NavCounts::default() };
    let user = principal.map(|principal| UserBadge {
        name: principal.name.clone(),
        role: principal.role.title().to_owned(),
        may_add_hosts: principal.role == Role::Admin,
        may_manage: principal.role == Role::Admin,
        may_operate: principal.role >= Role::Operator,
        may_freeze: principal.role >= Role::Operator,
        may_unfreeze: principal.role == Role::Admin,
    });
    Ctx {
        csrf: principal.map(|principal| principal.csrf().to_owned()).unwrap_or_default(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        theme: session::plain(headers, Theme::COOKIE).map(Theme::from_cookie).unwrap_or_default(),
        counts,
        automation: if principal.is_some() { automation(state).await.ok() } else { None },
        now_ms: state.now().0,
        user,
        ..Ctx::default()
    }
}

/// Numbers beside the navigation's entries.
async fn counts(state: &AppState) -> Result<NavCounts, StoreError> {
    let open = incidents::open_counts(&state.db).await?;
    let filter = RunFilter { state: Some(RunState::AwaitingApproval), limit: 100, ..RunFilter::default() };
    Ok(NavCounts {
        hosts: hosts::count(&state.db).await?,
        incidents: open.iter().map(|(_, _, number)| u64::from(*number)).sum(),
        approvals: runs::list(&state.db, filter).await?.len() as u64,
    })
}

async fn automation(state: &AppState) -> Result<bool, StoreError> {
    settings::automation(&mut *state.db.reader().await?).await
}
