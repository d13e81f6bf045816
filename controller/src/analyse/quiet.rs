//! The look at who sends nothing any more: all hosts at once.

use std::collections::BTreeMap;

use sysop_common::finding::{Category, Finding};
use sysop_common::ids::HostId;
use sysop_common::time::UnixMs;

use super::correlate::Group;
use super::rules::silence::{self, Beat, fleet_fingerprint, host_fingerprint};
use super::save::{Found, save};
use super::{Ctx, Outcome};
use crate::store::incidents::Incident;

/// Looks at all `beats`; `open` are the open incidents.
pub(super) async fn look(ctx: &Ctx, beats: &[Beat], open: &[Incident], started: UnixMs) -> Outcome {
    let now = ctx.clock.now();
    let fleet_open =
        open.iter().any(|incident| incident.host.is_none() && is_of(incident, Category::FleetSilence));
    let found = silence::look(beats, started, now, fleet_open, ctx.language.text());
    let mut silent: BTreeMap<HostId, Finding> = found.hosts.into_iter().collect();
    for beat in beats {
        let finding = silent.remove(&beat.host);
        if finding.is_none() && !beat.open {
            continue;
        }
        // A beat of an open incident is over only by what came after it was last seen to hold.
        let found = Found {
            host: Some(beat.host),
            groups: finding.into_iter().map(alone).collect(),
            looked: beat.last,
            observes: &|_| true,
            about: &|incident| is_of(incident, Category::Silence),
        };
        save(ctx, &found).await?;
    }
    if found.fleet.is_some() || fleet_open {
        let found = Found {
            host: None,
            groups: found.fleet.into_iter().map(alone).collect(),
            looked: now,
            observes: &|_| true,
            about: &|incident| is_of(incident, Category::FleetSilence),
        };
        save(ctx, &found).await?;
    }
    Ok(())
}

fn alone(finding: Finding) -> Group {
    Group { findings: vec![finding], offers: Vec::new() }
}

/// Whether an incident was opened for this kind of silence.
pub(super) fn is_of(incident: &Incident, category: Category) -> bool {
    let opened = match category {
        Category::FleetSilence => fleet_fingerprint(),
        _ => host_fingerprint(),
    };
    incident.fingerprint == opened
}
