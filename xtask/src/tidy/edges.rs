//! Each module uses only the modules its row allows.

use super::rules::{CRATES, Crate};
use super::source::Source;
use super::{Finding, code_paths};

pub(super) fn check(source: &Source, findings: &mut Vec<Finding>) {
    if source.is_test() {
        return;
    }
    let Some(rules) =
        source.crate_folder().and_then(|folder| CRATES.iter().find(|rules| rules.folder == folder))
    else {
        return;
    };
    let from = source.top_module();
    if rules.wiring.contains(&from.as_str()) {
        return;
    }
    if !known(rules, &from) {
        findings.push(Finding {
            path: source.path.clone(),
            line: 1,
            rule: "edges",
            text: format!(
                "module `{from}` has no row in xtask/src/tidy/rules.rs: add one that names what it may use"
            ),
        });
        return;
    }
    let mut seen = Vec::new();
    for path in code_paths(source) {
        if path.segments[0] != "crate" {
            continue;
        }
        let to = path.segments[1].clone();
        if !allowed(rules, &from, &to) && !seen.contains(&to) {
            findings.push(Finding {
                path: source.path.clone(),
                line: path.line,
                rule: "edges",
                text: remedy(rules, &from, &to),
            });
            seen.push(to);
        }
    }
}

fn known(rules: &Crate, module: &str) -> bool {
    rules.ground.contains(&module) || rules.edges.iter().any(|edge| edge.module == module)
}

fn allowed(rules: &Crate, from: &str, to: &str) -> bool {
    from == to
        || rules.ground.contains(&to)
        || rules.edges.iter().any(|edge| edge.module == from && edge.may_use.contains(&to))
}

fn remedy(rules: &Crate, from: &str, to: &str) -> String {
    if !known(rules, to) {
        return format!(
            "`{from}` uses `crate::{to}`, which belongs to the wiring: pass the value in, or name the module that defines it"
        );
    }
    let may_use = rules.edges.iter().find(|edge| edge.module == from).map_or(&[][..], |edge| edge.may_use);
    let may_use = if may_use.is_empty() {
        "common only".to_owned()
    } else {
        format!("common and {}", may_use.join(", "))
    };
    format!(
        "`{from}` may not use `{to}` (it may use {may_use}): let the wiring pass the value, or move the type to common"
    )
}

#[cfg(test)]
mod tests {
    use super::super::findings_of;

    #[test]
    fn a_module_may_use_its_neighbours_only() {
        assert_eq!(
            findings_of("agent/src/link/session.rs", "//! Doc.\nuse crate::spool::Drain;\nuse super::state;"),
            Vec::<String>::new()
        );
        let found = findings_of(
            "agent/src/spool/drain.rs",
            "//! Doc.\nuse crate::link::Session;\nfn f() { crate::link::g() }",
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("agent/src/spool/drain.rs:2: edges: `spool` may not use `link`"),
            "{found:?}"
        );
    }

    #[test]
    fn a_module_without_a_row_and_an_import_from_the_wiring_are_refused() {
        assert!(findings_of("agent/src/misc.rs", "//! Doc.")[0].contains("has no row"));
        assert!(
            findings_of("agent/src/guard/check.rs", "//! Doc.\nuse crate::Agent;")[0]
                .contains("belongs to the wiring")
        );
    }

    #[test]
    fn tests_and_wiring_are_free() {
        assert!(findings_of("agent/src/spool/tests.rs", "use crate::link::Session;").is_empty());
        assert!(findings_of("controller/src/lib.rs", "//! Doc.\nuse crate::web::serve;").is_empty());
        assert!(
            findings_of(
                "agent/src/spool/append.rs",
                "//! Doc.\n#[cfg(test)]\nmod tests { use crate::link::Session; }"
            )
            .is_empty()
        );
    }
}
