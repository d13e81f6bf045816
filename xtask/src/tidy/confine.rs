//! A dependency with power stays in the one place that is reviewed for it.

use super::paths::without_tests;
use super::rules::{CONFINED, PURE, SQL_ONLY_IN};
use super::source::Source;
use super::{Finding, code_paths, lexer};

pub(super) fn check(source: &Source, findings: &mut Vec<Finding>) {
    if source.is_test() {
        return;
    }
    for path in code_paths(source) {
        let written = path.segments.join("::");
        for rule in CONFINED.iter().filter(|rule| !source.is_in(rule.only_in)) {
            if let Some(what) = rule.what.iter().find(|what| begins(&written, what)) {
                let text = format!("`{what}` may be used only in {}: {}", rule.only_in.join(", "), rule.why);
                findings.push(Finding { path: source.path.clone(), line: path.line, rule: "confined", text });
            }
        }
        for rule in PURE.iter().filter(|rule| source.is_in(rule.places)) {
            if let Some(what) =
                rule.may_not_use.iter().find(|what| begins(&written, what) || ends(&written, what))
            {
                let text =
                    format!("`{what}` in a pure file: gather the value before the call and pass it in");
                findings.push(Finding { path: source.path.clone(), line: path.line, rule: "pure", text });
            }
        }
    }
    sql(source, findings);
}

fn begins(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn ends(path: &str, suffix: &str) -> bool {
    path.strip_suffix(suffix).is_some_and(|rest| rest.ends_with("::"))
}

fn sql(source: &Source, findings: &mut Vec<Finding>) {
    if source.is_in(SQL_ONLY_IN) || source.is_in(&["xtask"]) {
        return;
    }
    for token in without_tests(&lexer::lex(&source.text)) {
        let lexer::Kind::Str(text) = token.kind else { continue };
        if is_statement(text) {
            let text = "SQL text belongs in controller/src/store: add a function to the table's file there"
                .to_owned();
            findings.push(Finding { path: source.path.clone(), line: token.line, rule: "confined", text });
        }
    }
}

/// Two words in capitals that no sentence begins with.
fn is_statement(text: &str) -> bool {
    let text = text.trim_start();
    ["INSERT INTO ", "DELETE FROM ", "CREATE TABLE ", "ALTER TABLE ", "DROP TABLE "]
        .iter()
        .any(|start| text.starts_with(start))
        || (text.starts_with("SELECT ") && text.contains(" FROM "))
        || (text.starts_with("UPDATE ") && text.contains(" SET "))
}

#[cfg(test)]
mod tests {
    use super::super::findings_of;

    #[test]
    fn a_confined_dependency_is_refused_elsewhere_and_allowed_at_home() {
        assert!(findings_of("controller/src/store/hosts.rs", "//! Doc.\nuse sqlx::Row;").is_empty());
        let found = findings_of("controller/src/web/pages.rs", "//! Doc.\n\nuse sqlx::Row;");
        assert!(
            found[0].starts_with(
                "controller/src/web/pages.rs:3: confined: `sqlx` may be used only in controller/src/store"
            ),
            "{found:?}"
        );
        assert_eq!(
            findings_of("agent/src/link/dial.rs", "//! Doc.\nfn f() { std::process::Command::new(\"x\"); }")
                .len(),
            1
        );
        assert_eq!(
            findings_of("agent/src/link/dial.rs", "//! Doc.\nuse std::process::{Command, ExitCode};").len(),
            1
        );
        assert!(
            findings_of("agent/src/execute/runner.rs", "//! Doc.\nuse std::process::Command;").is_empty()
        );
    }

    #[test]
    fn pure_files_name_no_clock_no_file_and_no_store() {
        assert_eq!(
            findings_of(
                "common/src/x.rs",
                "//! Doc.\nuse std::time::SystemTime; fn f() { SystemTime::now(); }"
            )
            .len(),
            1
        );
        assert_eq!(
            findings_of("controller/src/decide/risk.rs", "//! Doc.\nuse crate::store::hosts;").len(),
            1
        );
        assert!(
            findings_of("controller/src/decide/load.rs", "//! Doc.\nuse crate::store::hosts;").is_empty()
        );
    }

    #[test]
    fn sql_text_is_found_by_its_form_and_sentences_are_not() {
        assert_eq!(
            findings_of("controller/src/web/x.rs", "//! Doc.\nconst Q: &str = \"SELECT a FROM b\";").len(),
            1
        );
        assert!(
            findings_of("controller/src/web/x.rs", "//! Doc.\nconst Q: &str = \"UPDATE the agent first\";")
                .is_empty()
        );
        assert!(
            findings_of("controller/src/store/x.rs", "//! Doc.\nconst Q: &str = \"SELECT a FROM b\";")
                .is_empty()
        );
    }
}
