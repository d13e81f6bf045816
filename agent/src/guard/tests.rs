use std::path::Path;

use proptest::prelude::*;
use sysop_common::action::{Action, ProcessRef, Refusal, Risk};
use sysop_common::bytes::Digest;
use sysop_common::ids::{HostId, OrderId};
use sysop_common::order::{ORDER_VERSION, Order, Origin};
use sysop_common::time::{HOUR_MS, UnixMs};

use super::check::{MAX_LEASE_JUMP, PastStart, admit, check};
use super::facts::{ProcessFacts, ServiceFacts, TempFacts};
use super::*;

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const POLICY: &str = r#"
[queries]
allow = ["get_cpu_usage"]

[limits]
actions_per_hour = 3
protected = ["postgresql*.service"]

[[allow]]
action = "restart_service"
units = ["nginx.service", "php*-fpm.service"]
automatic = true

[[allow]]
action = "stop_service"
units = ["*"]

[[allow]]
action = "kill_process"
processes = ["java", "ruby*"]

[[allow]]
action = "cleanup_temp_files"
roots = ["/tmp"]
max_bytes = 1000
"#;

fn policy(text: &str) -> Policy {
    Policy::parse(Path::new("/etc/sysop/policy.toml"), text).unwrap()
}

fn unit(name: &str) -> ServiceFacts {
    ServiceFacts {
        id: name.into(),
        names: vec![name.into()],
        load: "loaded".into(),
        active: "failed".into(),
        sub: "failed".into(),
        can_start: true,
        can_stop: true,
        ..ServiceFacts::default()
    }
}

fn restart(name: &str) -> Action {
    Action::RestartService { unit: name.parse().unwrap() }
}

fn stop(name: &str) -> Action {
    Action::StopService { unit: name.parse().unwrap() }
}

fn order(action: Action, origin: Origin) -> Order {
    Order {
        version: ORDER_VERSION,
        id: OrderId(uuid::Uuid::now_v7()),
        host: HostId(uuid::Uuid::nil()),
        entry: action.entry().digest(),
        action,
        not_before: NOW,
        expires: NOW.plus(60_000),
        lease: 5,
        audit_head: Digest([7; 32]),
        origin,
        risk: Risk::Low,
        reason: "test".into(),
    }
}

fn decide(order: Order, facts: Facts, history: &History) -> Result<(), Refused> {
    let admitted = admit(order, Digest([1; 32]), history, NOW).map_err(|verdict| match verdict {
        Verdict::Refused(refused) => refused,
        Verdict::Duplicate => Refused::new(Refusal::Replayed, "duplicate"),
    })?;
    check(admitted, &policy(POLICY), facts, history).map(drop).map_err(|(_, refused)| refused)
}

fn reason(action: Action, facts: Facts) -> Option<Refusal> {
    decide(order(action, Origin::Person), facts, &History::default()).err().map(|refused| refused.reason)
}

#[test]
fn a_policy_that_is_wrong_names_line_key_and_remedy() {
    for (text, want) in [
        (
            "[[allow]]\naction = \"reboot\"\n",
            "line 2: action: \"reboot\" is no action; write one of cleanup_temp_files",
        ),
        ("[queries]\n\nalow = []\n", "line 3: alow: unknown field `alow`, expected `allow`"),
        (
            "\n[[allow]]\naction = \"restart_service\"\n",
            "line 2: units: is missing; restart_service needs it",
        ),
        ("[[allow]]\naction = \"restart_service\"\nunits = []\n", "line 3: units: is empty"),
        ("[[allow]]\naction = \"restart_service\"\nunits = [\"nginx\"]\n", "write \"nginx.service\""),
        ("[[allow]]\naction = \"restart_service\"\nunits = [\"a b.service\"]\n", "is no unit's name"),
        (
            "[[allow]]\naction = \"kill_process\"\nprocesses = [\"x\"]\nunits = [\"a.service\"]\n",
            "line 4: units: has no meaning",
        ),
        ("[[allow]]\naction = \"cleanup_temp_files\"\nroots = [\"/home\"]\n", "must be /tmp or /var/tmp"),
        ("[limits]\nactions_per_hour = 0\n", "line 2: actions_per_hour: must be from 1 to 60"),
        ("[limits]\nactions_per_hour = \"x\"\n", "line 2: actions_per_hour: invalid type"),
        ("[queries]\nallow = [\"get_secrets\"]\n", "line 2: queries.allow: \"get_secrets\" is no reading"),
        ("[probes]\nallow = [\"http://x\"]\n", "line 2: probes.allow: \"http://x\" must be an address"),
        ("[[allow]\n", "line 1"),
    ] {
        let error = Policy::parse(Path::new("policy.toml"), text).unwrap_err().to_string();
        assert!(error.contains(want), "{text:?}: {error}");
    }
}

#[test]
fn a_probe_goes_where_its_pattern_says_and_a_name_to_public_addresses_only() {
    let open = policy("[probes]\nallow = [\"*.example.org\", \"10.0.0.0/8:5432\"]\n");
    let may = |name, address: &str, port| open.allows_probe(name, address.parse().unwrap(), Some(port));
    assert!(may(Some("a.example.org"), "198.51.100.7", 443) || may(Some("a.example.org"), "8.8.8.8", 443));
    for inner in ["127.0.0.1", "10.1.2.3", "192.168.1.1", "::1", "fd00::1", "fe80::1", "::ffff:127.0.0.1"] {
        assert!(!may(Some("a.example.org"), inner, 443), "{inner}");
    }
    assert!(may(Some("db.example.org"), "10.1.2.3", 5432), "a range of its own");
    assert!(!may(None, "127.0.0.1", 80) && !policy("").allows_probe(None, [127, 0, 0, 1].into(), Some(80)));
}

#[test]
fn a_policy_is_told_in_words() {
    assert_eq!(
        policy(POLICY).describe(),
        "readings: get_cpu_usage\n\
         probes: none\n\
         actions: at most 3 within an hour\n  \
           restart_service: nginx.service, php*-fpm.service; also without a person\n  \
           stop_service: *; by a person's word\n  \
           kill_process: processes java, ruby* of any user but root; by a person's word\n  \
           cleanup_temp_files: /tmp, at most 1000 bytes at a time; by a person's word\n\
         protected besides what is protected everywhere: postgresql*.service\n"
    );
}

#[test]
fn the_first_policy_is_valid_and_allows_no_more_than_was_named() {
    let monitor = policy(&template(&[]));
    assert!(monitor.allows_query("get_cpu_usage") && monitor.grants(false).allow.is_empty());
    let classes: Vec<AllowClass> =
        ["services=nginx.service,php*-fpm.service", "kill_process", "cleanup_temp_files=/var/tmp"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
    let grants = policy(&template(&classes)).grants(true);
    let names: Vec<_> = grants.allow.iter().map(|allowed| allowed.action.as_str()).collect();
    assert_eq!(names, ["restart_service", "start_service", "kill_process", "cleanup_temp_files"]);
    assert!(grants.allow.iter().all(|allowed| !allowed.automatic));
    assert_eq!(grants.allow[0].units, ["nginx.service", "php*-fpm.service"]);
    assert!("reboot".parse::<AllowClass>().is_err() && "services=a\"b".parse::<AllowClass>().is_err());
    let wrong = |class: &str| class.parse::<AllowClass>().unwrap_err().to_string();
    assert!(wrong("restart_service=nginx").contains("write \"nginx.service\""));
    assert!(wrong("cleanup_temp_files=/home").contains("must be /tmp or /var/tmp"));
}

#[test]
fn a_refusal_carries_lines_that_allow_exactly_what_was_asked() {
    let none = Policy::none(Path::new("/etc/sysop/policy.toml"));
    let process = ProcessFacts {
        comm: "java".into(),
        uids: [33; 4],
        user: Some("app".into()),
        pidfd: true,
        ..ProcessFacts::default()
    };
    for (action, facts) in [
        (restart("nginx.service"), Facts::Service(unit("nginx.service"))),
        (
            Action::KillProcess { process: ProcessRef { pid: 9, start_ticks: 0, comm: "java".into() } },
            Facts::Process(process),
        ),
        (
            Action::CleanupTempFiles { root: "/tmp".parse().unwrap(), min_age_s: 600, max_bytes: 77 },
            Facts::Temp(TempFacts::default()),
        ),
    ] {
        let refused = none.allows(&action, &facts, Origin::Automatic).unwrap_err();
        assert_eq!(refused.reason, Refusal::NotAllowed);
        let lines = refused.detail.split_once('\n').unwrap().1;
        let after = policy(lines);
        assert_eq!(after.allows(&action, &facts, Origin::Automatic), Ok(()), "{lines}");
        assert_eq!(after.grants(true).allow.len(), 1);
    }
}

#[test]
fn policy_decides_by_action_target_and_origin() {
    let nginx = || Facts::Service(unit("nginx.service"));
    assert_eq!(reason(restart("nginx.service"), nginx()), None);
    assert_eq!(
        reason(Action::StartService { unit: "nginx.service".parse().unwrap() }, nginx()),
        Some(Refusal::NotAllowed)
    );
    assert_eq!(
        reason(restart("redis.service"), Facts::Service(unit("redis.service"))),
        Some(Refusal::ParameterNotAllowed)
    );
    let mut running = unit("redis.service");
    (running.active, running.sub) = ("active".into(), "running".into());
    assert_eq!(reason(stop("redis.service"), Facts::Service(running.clone())), None);
    let automatic =
        decide(order(stop("redis.service"), Origin::Automatic), Facts::Service(running), &History::default());
    assert_eq!(automatic.unwrap_err().reason, Refusal::NotAllowed);
    let clean = |root: &str, max_bytes| Action::CleanupTempFiles {
        root: root.parse().unwrap(),
        min_age_s: 600,
        max_bytes,
    };
    let temp = || Facts::Temp(TempFacts { root_owned: true });
    assert_eq!(reason(clean("/tmp", 1_000), temp()), None);
    assert_eq!(reason(clean("/tmp", 1_001), temp()), Some(Refusal::ParameterNotAllowed));
    assert_eq!(reason(clean("/var/tmp", 1), temp()), Some(Refusal::ParameterNotAllowed));
}

#[test]
fn no_policy_reaches_a_protected_unit_by_id_name_alias_or_dependency() {
    let refused = |action, facts| reason(action, Facts::Service(facts)) == Some(Refusal::Protected);
    assert!(refused(stop("ssh.service"), unit("ssh.service")));
    let mut alias = unit("web.service");
    alias.names.push("sshd.service".into());
    assert!(refused(stop("web.service"), alias));
    let mut behind = unit("dbus-broker.service");
    behind.names.push("web.service".into());
    assert!(refused(stop("web.service"), behind));
    let mut dragging = unit("web.service");
    (dragging.active, dragging.dragged) =
        ("active".into(), vec!["x.service".into(), "NetworkManager.service".into()]);
    assert!(refused(stop("web.service"), dragging.clone()));
    dragging.dragged = vec!["postgresql@15-main.service".into()];
    assert!(refused(stop("web.service"), dragging.clone()));
    dragging.dragged.clear();
    assert!(!refused(stop("web.service"), dragging.clone()));
    let mut displacing = unit("nginx.service");
    displacing.displaced = vec!["ssh.service".into()];
    assert!(refused(restart("nginx.service"), displacing));
    let mut rebooting = unit("nginx.service");
    rebooting.host_actions = vec!["SuccessAction=reboot".into()];
    assert!(refused(restart("nginx.service"), rebooting));
    // Even where nothing could be seen, the name that was asked for counts.
    assert_eq!(reason(stop("ssh.service"), Facts::Unseen("no systemd".into())), Some(Refusal::Protected));
}

#[test]
fn processes_are_ended_only_when_they_are_the_same_and_somebody_else_s() {
    let action = |comm: &str| Action::KillProcess {
        process: ProcessRef { pid: 99, start_ticks: 7, comm: comm.into() },
    };
    let seen = |comm: &str| ProcessFacts {
        start_ticks: 7,
        comm: comm.into(),
        uids: [33; 4],
        pidfd: true,
        ..ProcessFacts::default()
    };
    assert_eq!(reason(action("java"), Facts::Process(seen("java"))), None);
    assert_eq!(reason(action("bash"), Facts::Process(seen("bash"))), Some(Refusal::ParameterNotAllowed));
    assert_eq!(reason(action("sshd"), Facts::Process(seen("sshd"))), Some(Refusal::Protected));
    let change = |change: &dyn Fn(&mut ProcessFacts)| {
        let mut facts = seen("java");
        change(&mut facts);
        reason(action("java"), Facts::Process(facts))
    };
    assert_eq!(change(&|f| f.start_ticks = 8), Some(Refusal::PreCheckFailed));
    assert_eq!(change(&|f| f.comm = "perl".into()), Some(Refusal::PreCheckFailed));
    assert_eq!(change(&|f| f.uids = [33, 33, 0, 33]), Some(Refusal::ParameterNotAllowed));
    assert_eq!(change(&|f| f.units = vec!["ssh.service".into()]), Some(Refusal::Protected));
    assert_eq!(change(&|f| f.units = vec!["postgresql@15.service".into()]), Some(Refusal::Protected));
    let within = |f: &mut ProcessFacts| f.units = vec!["user@1000.service".into(), "x.service".into()];
    assert_eq!(change(&within), Some(Refusal::Protected));
    assert_eq!(change(&|f| f.ours = true), Some(Refusal::Protected));
    assert_eq!(change(&|f| f.kernel = true), Some(Refusal::Protected));
    assert_eq!(change(&|f| f.pidfd = false), Some(Refusal::PreCheckFailed));
    assert_eq!(reason(action("java"), Facts::Unseen("gone".into())), Some(Refusal::PreCheckFailed));
}

#[test]
fn lease_journal_risk_and_rate_each_refuse_for_their_own_reason() {
    let nginx = || Facts::Service(unit("nginx.service"));
    let with = |change: &dyn Fn(&mut Order, &mut History)| {
        let (mut order, mut history) =
            (order(restart("nginx.service"), Origin::Automatic), History::default());
        change(&mut order, &mut history);
        decide(order, nginx(), &history).err().map(|refused| refused.reason)
    };
    assert_eq!(with(&|_, _| {}), None);
    assert_eq!(with(&|_, h| h.lease = Some(5)), None);
    assert_eq!(with(&|_, h| h.lease = Some(6)), Some(Refusal::OldLease));
    assert_eq!(with(&|o, h| (o.lease, h.lease) = (MAX_LEASE_JUMP + 2, Some(1))), Some(Refusal::LeaseJump));
    assert_eq!(with(&|_, h| h.known = Some(Digest([2; 32]))), Some(Refusal::Replayed));
    assert_eq!(with(&|_, h| h.reset_at = Some(NOW)), Some(Refusal::NoJournal));
    assert_eq!(with(&|_, h| h.reset_at = Some(NOW.plus(-1))), None);
    assert_eq!(with(&|o, _| o.risk = Risk::High), Some(Refusal::NeedsApproval));
    assert_eq!(with(&|o, _| o.not_before = NOW.plus(1)), Some(Refusal::NotYet));
    assert_eq!(with(&|o, _| o.expires = NOW.plus(-1)), Some(Refusal::Expired));
    let starts = |ago_ms, unit, count| vec![PastStart { ago_ms, action: restart(unit) }; count];
    assert_eq!(with(&|_, h| h.starts = starts(1, "other.service", 3)), Some(Refusal::RateLimited));
    assert_eq!(with(&|_, h| h.starts = starts(HOUR_MS.unsigned_abs(), "other.service", 3)), None);
    assert_eq!(with(&|_, h| h.starts = starts(29_999, "nginx.service", 1)), Some(Refusal::RateLimited));
    assert_eq!(with(&|_, h| h.starts = starts(30_000, "nginx.service", 1)), None);
    let known = History { known: Some(Digest([1; 32])), ..History::default() };
    assert!(matches!(
        admit(order(restart("nginx.service"), Origin::Person), Digest([1; 32]), &known, NOW),
        Err(Verdict::Duplicate)
    ));
}

#[test]
fn a_unit_cools_down_whatever_name_it_is_called_by() {
    let started =
        |unit| History { starts: vec![PastStart { ago_ms: 1, action: restart(unit) }], ..History::default() };
    let again = |past| {
        let mut facts = unit("nginx.service");
        facts.names.push("web.service".into());
        let order = order(restart("nginx.service"), Origin::Person);
        decide(order, Facts::Service(facts), &started(past)).err().map(|refused| refused.reason)
    };
    assert_eq!(again("web.service"), Some(Refusal::RateLimited));
    assert_eq!(again("php8-fpm.service"), None);
}

#[test]
fn a_service_must_be_in_a_state_that_the_action_mends() {
    let with = |action: fn(&str) -> Action, origin, active: &str, sub: &str| {
        let mut facts = unit("nginx.service");
        (facts.active, facts.sub) = (active.into(), sub.into());
        let order = order(action("nginx.service"), origin);
        decide(order, Facts::Service(facts), &History::default()).err().map(|refused| refused.reason)
    };
    assert_eq!(with(restart, Origin::Automatic, "failed", "failed"), None);
    assert_eq!(with(restart, Origin::Automatic, "activating", "auto-restart"), None);
    assert_eq!(with(restart, Origin::Automatic, "active", "running"), Some(Refusal::PreCheckFailed));
    assert_eq!(with(restart, Origin::Person, "active", "running"), None);
    assert_eq!(with(stop, Origin::Person, "active", "running"), None);
    assert_eq!(with(stop, Origin::Person, "inactive", "dead"), Some(Refusal::PreCheckFailed));
    let mut masked = unit("nginx.service");
    masked.load = "masked".into();
    assert_eq!(reason(restart("nginx.service"), Facts::Service(masked)), Some(Refusal::PreCheckFailed));
    let mut odd = unit("nginx.service");
    odd.can_stop = false;
    assert_eq!(reason(restart("nginx.service"), Facts::Service(odd)), Some(Refusal::PreCheckFailed));
}

proptest! {
    #[test]
    fn no_policy_text_panics_the_reader(text in "\\PC{0,200}") {
        let _ = Policy::parse(Path::new("p"), &text);
    }

    #[test]
    fn what_one_rule_names_is_all_that_it_allows(rule in "[a-z]{1,6}", asked in "[a-z]{1,6}") {
        let policy = policy(&format!("[[allow]]\naction = \"restart_service\"\nunits = [\"{rule}.service\"]\n"));
        let name = format!("{asked}.service");
        let allowed = policy.allows(&restart(&name), &Facts::Service(unit(&name)), Origin::Person).is_ok();
        prop_assert_eq!(allowed, rule == asked && protected::unit(&name).is_none());
    }

    #[test]
    fn protected_units_stay_out_of_reach_under_any_pattern(
        pattern in prop::sample::select(vec!["*", "*.service", "s*.service", "?sh.service", "ssh.service"]),
        name in prop::sample::select(vec!["ssh.service", "systemd-logind.service", "sysop-agent.service", "dbus.service"]),
    ) {
        let text = format!("[[allow]]\naction = \"stop_service\"\nunits = [\"{pattern}\"]\nautomatic = true\n");
        let refused = policy(&text).allows(&stop(name), &Facts::Service(unit(name)), Origin::Automatic).unwrap_err();
        prop_assert_eq!(refused.reason, Refusal::Protected);
    }
}
