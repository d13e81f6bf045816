use clap::{CommandFactory as _, Parser as _};

use super::*;
use crate::config::with_setting;

fn cli(arguments: &[&str]) -> Result<Cli, String> {
    Cli::try_parse_from([&["sysop-agent"], arguments].concat()).map_err(|e| e.to_string())
}

#[test]
fn the_commands_fit_together() {
    Cli::command().debug_assert();
}

#[test]
fn enrolment_needs_a_token_from_standard_input_or_a_file_and_never_on_the_line() {
    let common = ["enroll", "--controller", "a:1", "--ca-fingerprint", "sha256:00"];
    assert!(cli(&common).unwrap_err().contains("--token-stdin"));
    assert!(cli(&[&common[..], &["--token", "x"]].concat()).is_err());
    assert!(
        cli(&[&common[..], &["--token-stdin", "--allow", "services", "--allow", "kill_process=java"]]
            .concat())
        .is_ok()
    );
    let error = cli(&[&common[..], &["--token-stdin", "--allow", "everything"]].concat()).unwrap_err();
    assert!(error.contains("cannot be allowed"), "{error}");
}

#[test]
fn paths_are_taken_below_the_root_and_settings_from_flags() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    let found = cli(&["--root", root, "--set", "sample.interval=5s", "status"]).unwrap();
    let config = found.settings().unwrap();
    assert_eq!(config.paths.state, directory.path().join("var/lib/sysop-agent"));
    assert_eq!(config.sample.interval.to_string(), "5s");
    assert_eq!(found.config_file(), directory.path().join("etc/sysop/agent.toml"));
    assert!(cli(&["--set", "x", "status"]).unwrap().settings().is_err());
}

#[test]
fn the_executor_takes_no_settings_that_others_may_write() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    let execute = cli(&["--root", root, "execute"]).unwrap();
    assert!(execute.guarded_settings().is_ok(), "none is the default");
    let file = execute.config_file();
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(execute.guarded_settings().is_ok());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o664)).unwrap();
    let error = execute.guarded_settings().unwrap_err().to_string();
    assert!(error.contains("chmod go-w"), "{error}");
}

#[test]
fn a_setting_is_written_where_the_file_documents_it() {
    let text = with_setting(crate::config::SAMPLE, "controller", "ops.example.org:8443");
    let text = with_setting(&text, "host.name", "web \"1\"");
    let config: Config = toml::from_str(&text).unwrap();
    assert_eq!(
        (config.controller.as_str(), config.host.name.as_str()),
        ("ops.example.org:8443", "web \"1\"")
    );
    assert_eq!(text.lines().count(), crate::config::SAMPLE.lines().count());
    let again = with_setting(&text, "controller", "other:1");
    assert_eq!(toml::from_str::<Config>(&again).unwrap().controller, "other:1");
    // A file of somebody who began anew.
    let bare = with_setting("[sample]\ninterval = \"5s\"\n", "controller", "a:1");
    let bare = with_setting(&bare, "host.name", "b");
    let config: Config = toml::from_str(&bare).unwrap();
    assert_eq!((config.controller.as_str(), config.host.name.as_str()), ("a:1", "b"));
}
