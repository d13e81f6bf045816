//! Findings that another step made: the step of probes has its own look and its own hysteresis.

use sysop_common::finding::{Category, Finding};
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::correlate::Group;
use super::save::{Found, save};
use super::{Ctx, Outcome};
use crate::store::incidents::Incident;

/// Whether an incident was opened for a probe of an operator's: the looks at a host leave it alone.
#[must_use]
pub fn is_of_probe(incident: &Incident) -> bool {
    matches!(incident.category, Category::ProbeFailed | Category::CertificateExpiry)
}

/// Makes incidents of what probes found on a host, or of nobody's place, and closes those that are over.
/// Nothing is offered: what a probe sees from outside has no cause that an action could be bound to.
///
/// # Errors
/// When the store fails; the next report does the same again.
pub async fn report_probes(
    ctx: &Ctx,
    host: Option<HostId>,
    findings: Vec<Finding>,
    looked: UnixMs,
    observes: &(dyn Fn(&Finding) -> bool + Sync),
) -> Outcome {
    let alone = |finding| Group { findings: vec![finding], offers: Vec::new() };
    let groups = findings.into_iter().map(alone).collect();
    save(ctx, &Found { host, groups, looked, observes, about: &is_of_probe }).await
}
