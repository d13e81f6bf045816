//! Where a setting holds: on all hosts, on one, or on those with a label. As a choice in a form.

use std::collections::BTreeSet;

use crate::store::StoreError;
use crate::store::assignments::Selector;
use crate::web::error::Problem;
use crate::web::pages::source::Source;
use crate::web::widgets::form::Choice;

/// Name of the field.
pub const FIELD: &str = "on";
/// Most hosts that are offered.
const HOSTS: usize = 1_000;

/// What can be chosen; `all` leads with all hosts.
///
/// # Errors
/// When the store cannot be read.
pub async fn choices(source: Source<'_>, all: bool) -> Result<Vec<Choice>, StoreError> {
    let hosts = source.hosts().await?;
    let labels: BTreeSet<(&str, &str)> = hosts
        .iter()
        .flat_map(|host| &host.labels)
        .filter(|(_, label)| label.admin)
        .map(|(name, label)| (name.as_str(), label.value.as_str()))
        .collect();
    let mut choices = Vec::new();
    if all {
        choices.push(Choice::new("all", "All hosts"));
    }
    let of_label = |(name, value): (&str, &str)| {
        Choice::new(&format!("label:{name}={value}"), &format!("Hosts with {name}={value}"))
    };
    choices.extend(labels.into_iter().map(of_label));
    choices
        .extend(hosts.iter().take(HOSTS).map(|host| Choice::new(&format!("host:{}", host.id), &host.name)));
    Ok(choices)
}

/// A choice as the form sent it; `None` is all hosts.
///
/// # Errors
/// When it is none of those that are offered.
pub fn parse(text: &str, all: bool) -> Result<Option<Selector>, Problem> {
    let wrong = || Problem::invalid(FIELD, "must be one of those in the list");
    match text.split_once(':') {
        None if all && text == "all" => Ok(None),
        Some(("host", id)) => Ok(Some(Selector::Host(id.parse().map_err(|_| wrong())?))),
        Some(("label", label)) => {
            let (name, value) = label.split_once('=').ok_or_else(wrong)?;
            Ok(Some(Selector::Label { name: name.to_owned(), value: value.to_owned() }))
        }
        _ => Err(wrong()),
    }
}

/// A place in words.
#[must_use]
pub fn words(on: Option<&Selector>, name: impl Fn(sysop_common::ids::HostId) -> String) -> String {
    match on {
        None => "All hosts".to_owned(),
        Some(Selector::Host(host)) => name(*host),
        Some(Selector::Label { name, value }) => format!("Hosts with {name}={value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_all_a_host_or_a_label_and_nothing_else() {
        assert_eq!(parse("all", true).unwrap(), None);
        assert!(parse("all", false).is_err());
        let label = Selector::Label { name: "role".into(), value: "web=1".into() };
        assert_eq!(parse("label:role=web=1", false).unwrap(), Some(label));
        for bad in ["", "host:x", "label:role", "other:1"] {
            assert_eq!(parse(bad, true).unwrap_err().field.as_deref(), Some(FIELD), "{bad}");
        }
    }
}
