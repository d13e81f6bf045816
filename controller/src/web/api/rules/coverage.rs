//! What is covered: hosts by rules.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use sysop_common::ids::HostId;
use utoipa::{IntoParams, ToSchema};

use crate::rules::board::{self, Board, Covers};
use crate::store::hosts::{self, HostFilter};
use crate::store::rules;
use crate::web::api::{Limit, List};
use crate::web::error::Problem;
use crate::web::extract::Params;
use crate::web::state::AppState;

/// Hosts that one request looks at for the table, at most.
const LOOKED_AT: usize = 200;

/// A cell of the table.
#[derive(Debug, Serialize, ToSchema)]
pub struct CellBody {
    /// The rule.
    rule: i64,
    /// `fires`, `pending`, `unknown`, `muted`, `fine`, `off` or `out_of_scope`.
    state: &'static str,
    /// Why, in words.
    why: String,
    /// Since when it is pending or fires.
    since: Option<i64>,
}

/// A row of the table.
#[derive(Debug, Serialize, ToSchema)]
pub struct CoverageRow {
    /// The host.
    #[schema(value_type = String, format = "uuid")]
    host: HostId,
    /// Its name.
    name: String,
    /// A cell per rule, by the rule's id.
    cells: Vec<CellBody>,
}

/// A word for a state of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateWord {
    /// It fires.
    Fires,
    /// It holds, not yet for long enough.
    Pending,
    /// It cannot be known.
    Unknown,
    /// It would fire, and something keeps it.
    Muted,
    /// All is well.
    Fine,
    /// It is switched off.
    Off,
    /// It is not about this host.
    OutOfScope,
}

impl From<StateWord> for board::State {
    fn from(word: StateWord) -> Self {
        match word {
            StateWord::Fires => Self::Fires,
            StateWord::Pending => Self::Pending,
            StateWord::Unknown => Self::Unknown,
            StateWord::Muted => Self::Muted,
            StateWord::Fine => Self::Fine,
            StateWord::Off => Self::Off,
            StateWord::OutOfScope => Self::OutOfScope,
        }
    }
}

/// Which part of the table.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CoverageQuery {
    /// How many hosts: 1 to 200, else 50.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    pub limit: Limit,
    /// `next` of the part before.
    #[param(value_type = Option<String>, format = "uuid")]
    pub after: Option<HostId>,
    /// Hosts with a cell in this state.
    #[param(inline)]
    pub state: Option<StateWord>,
    /// This rule alone.
    pub rule: Option<i64>,
}

/// A row: a host and its cells.
pub(in crate::web) type Row = (hosts::Host, Vec<board::Cell>);

/// Rows of the table from a host on; and where the next part begins. At most [`LOOKED_AT`] hosts are looked
/// at, so a filter may give an empty part that is not the last one.
pub(in crate::web) async fn rows(
    state: &AppState,
    board: &Board,
    wanted: Option<board::State>,
    after: Option<HostId>,
    limit: usize,
) -> Result<(Vec<Row>, Option<HostId>), Problem> {
    let (mut found, mut last, mut looked) = (Vec::new(), after, 0);
    loop {
        let filter = HostFilter { after: last, limit: 50, ..HostFilter::default() };
        let hosts = hosts::list(&state.db, &filter).await?;
        let end = hosts.len() < 50;
        for host in hosts {
            if found.len() >= limit || looked >= LOOKED_AT {
                return Ok((found, last));
            }
            (last, looked) = (Some(host.id), looked + 1);
            let cells = board.cells(&board.host(&state.db, &state.samples, host.id).await?);
            if wanted.is_none_or(|wanted| cells.iter().any(|cell| cell.state == wanted)) {
                found.push((host, cells));
            }
        }
        if end {
            return Ok((found, None));
        }
    }
}

/// The rules of a board, all or the one that is asked for.
pub(in crate::web) async fn board(state: &AppState, rule: Option<i64>) -> Result<Board, Problem> {
    let mut all = rules::list(&mut *state.db.reader().await?).await?;
    if let Some(id) = rule {
        all.retain(|rule| rule.id == id);
        if all.is_empty() {
            return Err(Problem::not_found("rule").about("rule"));
        }
    }
    Ok(Board::of(all, &state.db, state.now()).await?)
}

/// What is covered: hosts by rules, a state and a reason in each cell.
#[utoipa::path(get, path = "/api/v1/rules/coverage", tag = "rules", params(CoverageQuery),
    responses((status = 200, body = List<CoverageRow>), (status = 404, description = "No such rule")))]
pub async fn coverage(
    State(state): State<AppState>,
    Params(query): Params<CoverageQuery>,
) -> Result<axum::Json<List<CoverageRow>>, Problem> {
    let board = board(&state, query.rule).await?;
    let limit = query.limit.0 as usize;
    let (rows, next) = rows(&state, &board, query.state.map(Into::into), query.after, limit).await?;
    let row = |(host, cells): Row| CoverageRow {
        host: host.id,
        name: host.name,
        cells: board
            .rules()
            .iter()
            .zip(cells)
            .map(|(rule, cell)| CellBody {
                rule: rule.rule.id,
                state: cell.state.word(),
                why: cell.why,
                since: cell.since.map(|at| at.0),
            })
            .collect(),
    };
    let items = rows.into_iter().map(row).collect();
    Ok(axum::Json(List { items, next: next.map(|host| host.to_string()) }))
}
