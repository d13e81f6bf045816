//! Asks hosts over their sessions, for the dashboard, which does not know the link.

use std::time::Duration;

use sysop_common::ids::HostId;
use sysop_common::query::Query;

use crate::link::{QueryError, Registry};
use crate::web::readings::{Answering, ReadingError, Readings};

/// A host answers from what it has seen already, so this is long.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Over the link.
pub(super) struct OverLink(pub(super) Registry);

impl Readings for OverLink {
    fn ask(&self, host: HostId, query: Query) -> Answering<'_> {
        Box::pin(async move {
            let answer = self.0.query(host, query, TIMEOUT).await.map_err(|error| match error {
                QueryError::NotConnected(_) => ReadingError::NotConnected,
                _ => ReadingError::TimedOut,
            })?;
            answer.result.map_err(ReadingError::Refused)
        })
    }
}
