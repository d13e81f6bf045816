//! Every route once, with what it needs beside it.
//!
//! The order of the layers is the way of a request: compression, [`super::envelope`] (id, log,
//! headers, problems), caught panics, [`super::admit`] (who asks, may they), then the handler.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use super::error::Problem;
use super::limits::BODY_BYTES;
use super::state::AppState;
use super::{admit, api, assets, envelope, events, idempotency, pages};
use crate::store::users::Role;

/// Who a route lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Everyone, on any connection, under any name: probes.
    Probe,
    /// Everyone.
    Public,
    /// Everyone, until the first account exists; then nobody, for ever.
    Setup,
    /// Whoever is signed in, also with a password that must be changed.
    Session,
    /// Viewers and above.
    Viewer,
    /// Operators and above.
    Operator,
    /// Administrators.
    Admin,
}

impl Need {
    /// The least role, where one is needed.
    #[must_use]
    pub const fn role(self) -> Option<Role> {
        match self {
            Self::Probe | Self::Public | Self::Setup | Self::Session => None,
            Self::Viewer => Some(Role::Viewer),
            Self::Operator => Some(Role::Operator),
            Self::Admin => Some(Role::Admin),
        }
    }
}

/// A route.
#[derive(Debug, Clone)]
pub struct Route {
    /// Method.
    pub method: Method,
    /// Path with `{parameters}`.
    pub path: &'static str,
    /// Who it lets in.
    pub need: Need,
}

macro_rules! routes {
    ($($method:ident $path:literal $need:ident $handler:expr;)*) => {
        /// All routes.
        pub const ROUTES: &[Route] =
            &[$(Route { method: Method::$method, path: $path, need: Need::$need }),*];

        fn mount() -> Router<AppState> {
            Router::new()$(.route($path, on(MethodFilter::$method, $handler)))*
        }
    };
}

routes! {
    // probes and what the pages are made of
    GET    "/api/health"                  Probe    api::health::health;
    GET    "/api/ready"                   Public   api::health::ready;
    GET    "/api/openapi.json"            Public   api::openapi::document;
    GET    "/assets/{name}"               Public   assets::serve;
    // the door
    GET    "/setup"                       Setup    pages::setup::show;
    POST   "/setup"                       Setup    pages::setup::submit;
    GET    "/login"                       Public   pages::login::show;
    POST   "/login"                       Public   pages::login::submit;
    POST   "/logout"                      Session  pages::login::leave;
    GET    "/password"                    Session  pages::password::show;
    POST   "/password"                    Session  pages::password::submit;
    // live streams
    GET    "/events"                           Viewer   events::fleet;
    GET    "/events/overview"                  Viewer   events::fleet;
    GET    "/events/hosts"                     Viewer   events::fleet;
    GET    "/events/hosts/{id}"                Viewer   events::host;
    GET    "/events/incidents"                 Viewer   events::incidents;
    GET    "/events/incidents/{id}"            Viewer   events::incident;
    GET    "/events/runs"                      Viewer   events::runs;
    GET    "/events/runs/{id}"                 Viewer   events::run;
    GET    "/events/approvals"                 Viewer   events::runs;
    // pages
    GET    "/"                            Viewer   pages::overview::show;
    GET    "/hosts"                       Viewer   pages::hosts::show;
    GET    "/hosts/new"                   Admin    pages::add_host::show;
    POST   "/hosts/new"                   Admin    pages::add_host::make_line;
    GET    "/hosts/new/{token}/wait"      Admin    pages::add_host::show_wait;
    GET    "/hosts/{id}"                  Viewer   pages::host::show;
    GET    "/hosts/{id}/processes"        Viewer   pages::host::show_processes;
    GET    "/hosts/{id}/series"           Viewer   pages::host::show_series;
    POST   "/hosts/{id}/assignments"      Admin    pages::host::assign;
    GET    "/incidents"                   Viewer   pages::incidents::show;
    GET    "/incidents/{id}"              Viewer   pages::incident::show;
    POST   "/incidents/{id}/ack"          Operator pages::incident::ack;
    POST   "/incidents/{id}/feedback"     Operator pages::incident::say;
    GET    "/incidents/{id}/prompt"       Operator pages::model::act::preview;
    GET    "/incidents/{id}/recording"    Operator pages::model::act::recording;
    GET    "/analyses"                    Viewer   pages::analyses::show;
    GET    "/analyses/{id}"               Operator pages::analyses::show_one;
    GET    "/settings/model"              Viewer   pages::model::show;
    POST   "/settings/model"              Admin    pages::model::act::change;
    POST   "/settings/model/test"         Admin    pages::model::act::test;
    POST   "/settings/model/notes"        Admin    pages::model::act::write_note;
    POST   "/settings/model/trust/{id}"   Admin    pages::model::act::lift;
    GET    "/probes"                      Viewer   pages::probes::show;
    POST   "/probes"                      Operator pages::probes::edit::add;
    GET    "/probes/new"                  Operator pages::probes::edit::show_new;
    GET    "/probes/{id}"                 Viewer   pages::probes::one::show;
    GET    "/probes/{id}/edit"            Operator pages::probes::edit::show;
    POST   "/probes/{id}/edit"            Operator pages::probes::edit::change;
    POST   "/probes/{id}/try"             Operator pages::probes::one::try_now;
    POST   "/probes/{id}/remove"          Operator pages::probes::one::remove;
    GET    "/approvals"                   Viewer   pages::approvals::show;
    GET    "/approvals/{id}"              Viewer   pages::approvals::show_one;
    POST   "/approvals/{id}"              Operator pages::approvals::decide;
    GET    "/runs"                        Viewer   pages::runs::show;
    POST   "/runs"                        Operator pages::run_new::start;
    GET    "/runs/new"                    Operator pages::run_new::show;
    GET    "/runs/{id}"                   Viewer   pages::run::show;
    POST   "/runs/{id}/cancel"            Operator pages::run::withdraw;
    POST   "/runs/{id}/settle"            Operator pages::run::settle;
    GET    "/rules"                       Viewer   pages::rules::show;
    GET    "/rules/new"                   Operator pages::rules::edit::show_new;
    POST   "/rules/new"                   Operator pages::rules::edit::create;
    GET    "/rules/coverage"              Viewer   pages::rules::coverage::show;
    GET    "/rules/{id}"                  Operator pages::rules::edit::show;
    POST   "/rules/{id}"                  Operator pages::rules::edit::change;
    POST   "/rules/{id}/switch"           Operator pages::rules::edit::switch;
    GET    "/rules/{id}/delete"           Operator pages::rules::edit::confirm;
    POST   "/rules/{id}/delete"           Operator pages::rules::edit::delete;
    GET    "/rules/{id}/hosts/{host}"     Viewer   pages::rules::why::show;
    POST   "/automation"                  Operator pages::automation::switch;
    GET    "/settings"                         Viewer   pages::settings::start;
    GET    "/settings/automation"              Viewer   pages::settings::automation::show;
    POST   "/settings/automation"              Admin    pages::settings::automation::assign;
    POST   "/settings/automation/{id}/remove"  Admin    pages::settings::automation::remove;
    POST   "/settings/automation/busy-hours"   Admin    pages::settings::automation::set_hours;
    GET    "/settings/maintenance"             Viewer   pages::settings::maintenance::show;
    POST   "/settings/maintenance"             Operator pages::settings::maintenance::set;
    POST   "/settings/maintenance/{id}/end"    Operator pages::settings::maintenance::end;
    GET    "/settings/users"                   Admin    pages::settings::users::show;
    POST   "/settings/users"                   Admin    pages::settings::users::add_one;
    GET    "/settings/users/{id}"              Admin    pages::settings::user::show;
    POST   "/settings/users/{id}/role"         Admin    pages::settings::user::set_role;
    POST   "/settings/users/{id}/disabled"     Admin    pages::settings::user::set_disabled;
    POST   "/settings/users/{id}/password"     Admin    pages::settings::user::set_password;
    GET    "/settings/tokens"                  Admin    pages::settings::tokens::show;
    POST   "/settings/tokens"                  Admin    pages::settings::tokens::add_one;
    POST   "/settings/tokens/{id}/revoke"      Admin    pages::settings::tokens::revoke;
    GET    "/settings/enrolment"               Admin    pages::settings::enrolment::show;
    POST   "/settings/enrolment"               Admin    pages::settings::enrolment::add_one;
    POST   "/settings/enrolment/{id}/withdraw" Admin    pages::settings::enrolment::revoke;
    GET    "/audit"                       Viewer   pages::audit::show;
    POST   "/retention/confirm"           Admin    pages::retention::confirm;
    POST   "/audit/verify"                Operator pages::audit::verify;
    // API
    GET    "/api/v1/hosts"                     Viewer   api::hosts::list;
    GET    "/api/v1/hosts/{id}"                Viewer   api::hosts::get;
    PATCH  "/api/v1/hosts/{id}"                Admin    api::hosts::change;
    DELETE "/api/v1/hosts/{id}"                Admin    api::hosts::remove;
    POST   "/api/v1/hosts/{id}/revoke"         Admin    api::hosts::revoke;
    GET    "/api/v1/hosts/{id}/series"         Viewer   api::series::series;
    GET    "/api/v1/hosts/{id}/processes"      Viewer   api::rows::processes;
    GET    "/api/v1/hosts/{id}/units"          Viewer   api::rows::units;
    POST   "/api/v1/hosts/{id}/queries"        Operator api::queries::ask;
    GET    "/api/v1/metrics"                   Viewer   api::series::metrics;
    GET    "/api/v1/incidents"                 Viewer   api::incidents::list;
    GET    "/api/v1/incidents/{id}"            Viewer   api::incidents::get;
    POST   "/api/v1/incidents/{id}/ack"        Operator api::incidents::ack;
    GET    "/api/v1/incidents/{id}/feedback"   Viewer   api::analyses::words;
    POST   "/api/v1/incidents/{id}/feedback"   Operator api::analyses::say;
    GET    "/api/v1/incidents/{id}/prompt"     Operator api::model::preview;
    GET    "/api/v1/incidents/{id}/recording"  Operator api::model::recording;
    GET    "/api/v1/analyses"                  Viewer   api::analyses::list;
    GET    "/api/v1/analyses/{id}"             Operator api::analyses::get;
    GET    "/api/v1/model"                     Viewer   api::model::get;
    PATCH  "/api/v1/model"                     Admin    api::model::change;
    POST   "/api/v1/model/test"                Admin    api::model::test;
    GET    "/api/v1/model/notes"               Viewer   api::model::notes;
    PUT    "/api/v1/model/notes"               Admin    api::model::write_note;
    GET    "/api/v1/trust"                     Viewer   api::model::trusted;
    POST   "/api/v1/trust/{id}/lift"           Admin    api::model::lift;
    GET    "/api/v1/runs"                      Viewer   api::runs::list;
    POST   "/api/v1/runs"                      Operator api::runs::start;
    GET    "/api/v1/runs/{id}"                 Viewer   api::runs::get;
    GET    "/api/v1/runs/{id}/output"          Viewer   api::runs::output;
    POST   "/api/v1/runs/{id}/cancel"          Operator api::runs::cancel;
    POST   "/api/v1/runs/{id}/settle"          Operator api::runs::settle;
    POST   "/api/v1/approvals/{run}"           Operator api::approvals::decide;
    GET    "/api/v1/assignments"               Viewer   api::assignments::list;
    POST   "/api/v1/assignments"               Admin    api::assignments::set;
    DELETE "/api/v1/assignments/{id}"          Admin    api::assignments::remove;
    GET    "/api/v1/automation"                Viewer   api::assignments::automation;
    PUT    "/api/v1/automation"                Operator api::assignments::set_automation;
    GET    "/api/v1/busy-hours"                Viewer   api::assignments::busy_hours;
    PUT    "/api/v1/busy-hours"                Admin    api::assignments::set_busy_hours;
    GET    "/api/v1/probes"                    Viewer   api::probes::list;
    POST   "/api/v1/probes"                    Operator api::probes::add;
    GET    "/api/v1/probes/{id}"               Viewer   api::probes::get;
    PUT    "/api/v1/probes/{id}"               Operator api::probes::change;
    DELETE "/api/v1/probes/{id}"               Operator api::probes::remove;
    POST   "/api/v1/probes/{id}/try"           Operator api::probes::try_now;
    GET    "/api/v1/maintenance"               Viewer   api::maintenance::list;
    POST   "/api/v1/maintenance"               Operator api::maintenance::set;
    DELETE "/api/v1/maintenance/{id}"          Operator api::maintenance::end;
    GET    "/api/v1/rules"                     Viewer   api::rules::list;
    POST   "/api/v1/rules"                     Operator api::rules::create;
    POST   "/api/v1/rules/preview"             Operator api::rules::preview;
    GET    "/api/v1/rules/coverage"            Viewer   api::rules::coverage;
    GET    "/api/v1/rules/{id}"                Viewer   api::rules::get;
    PUT    "/api/v1/rules/{id}"                Operator api::rules::change;
    DELETE "/api/v1/rules/{id}"                Operator api::rules::remove;
    GET    "/api/v1/rules/{id}/hosts/{host}"   Viewer   api::rules::why;
    GET    "/api/v1/enrollment-tokens"         Admin    api::enrolment::list;
    POST   "/api/v1/enrollment-tokens"         Admin    api::enrolment::create;
    DELETE "/api/v1/enrollment-tokens/{id}"    Admin    api::enrolment::revoke;
    GET    "/api/v1/audit"                     Viewer   api::audit::list;
    GET    "/api/v1/retention"                 Viewer   api::retention::get;
    POST   "/api/v1/retention/confirm"         Admin    api::retention::confirm;
    GET    "/api/v1/tokens"               Admin    api::tokens::list;
    POST   "/api/v1/tokens"               Admin    api::tokens::create;
    DELETE "/api/v1/tokens/{id}"          Admin    api::tokens::revoke;
    GET    "/api/v1/users"                Admin    api::users::list;
    POST   "/api/v1/users"                Admin    api::users::create;
    PATCH  "/api/v1/users/{id}"           Admin    api::users::change;
    POST   "/api/v1/users/{id}/password"  Admin    api::users::set_password;
}

/// What the route of this method and path needs; a HEAD needs what its GET needs.
pub(super) fn need(method: &Method, path: &str) -> Option<Need> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().find(|route| route.method == *method && route.path == path).map(|route| route.need)
}

/// The whole application.
pub fn router(state: AppState) -> Router {
    layered(mount(), state)
}

/// Puts the layers around routes.
pub(super) fn layered(routes: Router<AppState>, state: AppState) -> Router {
    routes
        .fallback(async || Problem::not_found("page"))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(from_fn_with_state(state.clone(), idempotency::once))
        .layer(from_fn_with_state(state.clone(), admit::admit))
        .layer(CatchPanicLayer::custom(envelope::caught))
        .layer(from_fn_with_state(state.clone(), envelope::envelope))
        .layer(CompressionLayer::new())
        .with_state(state)
}
