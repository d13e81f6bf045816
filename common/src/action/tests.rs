use super::*;

fn all() -> Vec<Action> {
    let unit: UnitName = "nginx.service".parse().unwrap();
    vec![
        Action::RestartService { unit: unit.clone() },
        Action::StartService { unit: unit.clone() },
        Action::StopService { unit },
        Action::KillProcess { process: ProcessRef { pid: 42, start_ticks: 7, comm: "burn".into() } },
        Action::CleanupTempFiles { root: "/tmp".parse().unwrap(), min_age_s: 86_400, max_bytes: 1 << 30 },
    ]
}

#[test]
fn every_action_has_an_entry_and_survives_both_encodings() {
    for action in all() {
        assert_eq!(action.entry().name, action.name());
        action.validate().unwrap();
        let json = serde_json::to_string(&action).unwrap();
        assert_eq!(serde_json::from_str::<Action>(&json).unwrap(), action, "{json}");
        let cbor = serde_cbor::ser::to_vec_packed(&action).unwrap();
        assert_eq!(serde_cbor::from_slice::<Action>(&cbor).unwrap(), action);
    }
    assert_eq!(all().len(), CATALOGUE.len());
    assert!(CATALOGUE.windows(2).all(|pair| pair[0].name < pair[1].name));
}

#[test]
fn unit_names_have_a_grammar_that_no_option_or_path_passes() {
    for good in ["nginx.service", "php8.2-fpm.service", "getty@tty1.service", "a:b_c.service"] {
        assert!(good.parse::<UnitName>().is_ok(), "{good}");
    }
    let long = format!("{}.service", "a".repeat(250));
    for bad in [
        "",
        ".service",
        "nginx",
        "nginx.socket",
        "-H.service",
        "--no-block.service",
        "a b.service",
        "a\n.service",
        "../x.service",
        "a/b.service",
        "$(id).service",
        "nginx.service;reboot",
        "ngïnx.service",
        "nginx*.service",
        "a\\x2d.service",
        "@.service",
        &long,
    ] {
        assert!(bad.parse::<UnitName>().is_err(), "{bad:?}");
        let json = serde_json::json!({"action": "restart_service", "params": {"unit": bad}});
        assert!(serde_json::from_value::<Action>(json).is_err(), "{bad:?}");
    }
}

#[test]
fn parameters_out_of_range_are_named() {
    let kill = Action::KillProcess { process: ProcessRef { pid: 1, start_ticks: 0, comm: "systemd".into() } };
    assert_eq!(kill.validate().unwrap_err().field, "pid");
    let young = Action::CleanupTempFiles { root: "/tmp".parse().unwrap(), min_age_s: 1, max_bytes: 1 };
    assert_eq!(young.validate().unwrap_err().field, "min_age_s");
    assert!("/".parse::<TempRoot>().is_err() && "/tmp/../etc".parse::<TempRoot>().is_err());
}

#[test]
fn unknown_parameters_and_actions_are_refused() {
    let extra =
        serde_json::json!({"action": "restart_service", "params": {"unit": "a.service", "force": true}});
    assert!(serde_json::from_value::<Action>(extra).is_err());
    let unknown = serde_json::json!({"action": "run_shell", "params": {"command": "id"}});
    assert!(serde_json::from_value::<Action>(unknown).is_err());
}
