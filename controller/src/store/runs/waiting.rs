//! Runs by what they wait for.

use sysop_common::action::RunState;
use sysop_common::ids::HostId;

use super::{BY_ANALYSER, Row, Run, all};
use crate::store::{Conn, StoreError, parse};

/// All runs in one state, oldest first, at most 500 at a time.
///
/// # Errors
/// Only the store's.
pub async fn in_state(conn: &mut Conn, state: RunState) -> Result<Vec<Run>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM runs WHERE state = ? ORDER BY created_at, id LIMIT 500")
            .bind(state.word())
            .fetch_all(conn)
            .await?;
    all(rows)
}

/// Hosts that have runs in one state.
///
/// # Errors
/// Only the store's.
pub async fn hosts_in_state(conn: &mut Conn, state: RunState) -> Result<Vec<HostId>, StoreError> {
    let rows: Vec<(String,)> = sqlx::query_as("SELECT DISTINCT host FROM runs WHERE state = ? ORDER BY host")
        .bind(state.word())
        .fetch_all(conn)
        .await?;
    rows.iter().map(|(host,)| parse("host id", host)).collect()
}

/// Runs of one host in one state, oldest first, at most 50.
///
/// # Errors
/// Only the store's.
pub async fn in_state_of(conn: &mut Conn, state: RunState, host: HostId) -> Result<Vec<Run>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM runs WHERE state = ? AND host = ? ORDER BY created_at, id LIMIT 50")
            .bind(state.word())
            .bind(host.to_string())
            .fetch_all(conn)
            .await?;
    all(rows)
}

/// Proposals of the analyser that still wait though their incident is over, oldest first, at most 500.
///
/// # Errors
/// Only the store's.
pub async fn outlived(conn: &mut Conn) -> Result<Vec<Run>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT runs.* FROM runs LEFT JOIN incidents ON incidents.id = runs.incident
         WHERE runs.state = ? AND runs.created_by = ? AND runs.incident IS NOT NULL
           AND (incidents.id IS NULL OR incidents.closed_at IS NOT NULL)
         ORDER BY runs.created_at, runs.id LIMIT 500",
    )
    .bind(RunState::AwaitingApproval.word())
    .bind(BY_ANALYSER)
    .fetch_all(conn)
    .await?;
    all(rows)
}
