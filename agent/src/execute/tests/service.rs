use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use sysop_common::bytes::Digest;

use super::super::runner::{Invocation, Output, Ran, RunError, Runner, SystemRunner};
use super::super::{service, show};
use crate::guard::Facts;
use crate::guard::facts::ServiceFacts;

/// `systemctl show` of a running nginx, as systemd 252 prints it.
const NGINX: &str = "\
Type=forking
MainPID=36
Result=success
NRestarts=0
Id=nginx.service
Names=nginx.service web.service
RequiredBy=
RequisiteOf=
BoundBy=
ConsistsOf=
Conflicts=shutdown.target
ConflictedBy=
Requires=
BindsTo=
Wants=
Upholds=
SuccessAction=none
FailureAction=none
StartLimitAction=none
JobTimeoutAction=none
PropagatesStopTo=
LoadState=loaded
ActiveState=active
SubState=running
CanStart=yes
CanStop=yes
RefuseManualStart=no
RefuseManualStop=no
InvocationID=ade116ef851848868503ba9d343cd1cb
";

/// Answers `systemctl show` from texts, one after the other where a unit has several.
#[derive(Default)]
struct Recorded {
    units: BTreeMap<&'static str, Mutex<Vec<String>>>,
    asked: Mutex<Vec<Vec<String>>>,
}

impl Recorded {
    fn with(mut self, unit: &'static str, texts: &[String]) -> Self {
        self.units.insert(unit, Mutex::new(texts.to_vec()));
        self
    }
}

impl Runner for Recorded {
    fn run(&self, invocation: &Invocation) -> Result<Ran, RunError> {
        assert_eq!(invocation.program, "systemctl");
        self.asked.lock().unwrap().push(invocation.arguments.clone());
        let at = invocation.arguments.iter().position(|a| a == "--").unwrap();
        let blocks: Vec<String> = invocation.arguments[at + 1..]
            .iter()
            .map(|unit| {
                let Some(texts) = self.units.get(unit.as_str()) else {
                    return format!("Id={unit}\nNames={unit}\nLoadState=not-found\nActiveState=inactive\n");
                };
                let mut texts = texts.lock().unwrap();
                if texts.len() > 1 { texts.remove(0) } else { texts[0].clone() }
            })
            .collect();
        let kept = blocks.join("\n").into_bytes();
        let output = Output { total: kept.len() as u64, kept, digest: Digest([0; 32]) };
        Ok(Ran { exit: Some(0), timed_out: false, output })
    }
}

fn changed(from: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(from.to_owned(), |text, (name, value)| {
        let line = |line: &str| {
            if line.starts_with(&format!("{name}=")) {
                format!("{name}={value}\n")
            } else {
                format!("{line}\n")
            }
        };
        text.lines().map(line).collect()
    })
}

/// A unit, in this state, with these other properties.
fn other(id: &str, active: &str, more: &[(&str, &str)]) -> String {
    let more: String = more.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    format!("Id={id}\nNames={id}\nActiveState={active}\n{more}")
}

fn seen(runner: &Recorded) -> ServiceFacts {
    match service::look("web.service", runner) {
        Facts::Service(facts) => facts,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_systemd_prints_becomes_facts() {
    let runner = Recorded::default().with("web.service", &[NGINX.to_owned()]);
    let facts = seen(&runner);
    assert_eq!(
        (facts.id.as_str(), facts.main_pid, facts.can_start, facts.can_stop),
        ("nginx.service", 36, true, true)
    );
    assert_eq!(facts.names, ["nginx.service", "web.service"]);
    assert_eq!((facts.state().as_str(), facts.is_down()), ("active (running)", false));
    assert!(facts.dragged.is_empty() && facts.displaced.is_empty());
    let first = runner.asked.lock().unwrap()[0].clone();
    assert_eq!(first[..3], ["--no-ask-password", "--no-pager", "show"]);
    assert_eq!(first[first.len() - 2..], ["--", "web.service"]);
    let odd = changed(NGINX, &[("RefuseManualStop", "yes"), ("MainPID", "x")]);
    let facts = seen(&Recorded::default().with("web.service", &[odd]));
    assert!(!facts.can_stop && facts.main_pid == 0);
}

#[test]
fn what_would_stop_along_is_followed_through_units_that_do_not_run_too() {
    let text = changed(NGINX, &[("RequiredBy", "a.service off.service"), ("ConsistsOf", "c.service")]);
    let required = |id, active, by| other(id, active, &[("RequiredBy", by)]);
    let runner = Recorded::default()
        .with("web.service", &[text])
        .with("a.service", &[required("a.service", "active", "b.service nginx.service")])
        .with("b.service", &[required("b.service", "activating", "a.service")])
        .with("c.service", &[required("c.service", "inactive", "behind.service")])
        .with("off.service", &[required("off.service", "failed", "")])
        .with("behind.service", &[other("behind.service", "active", &[])]);
    let facts = seen(&runner);
    assert_eq!(facts.dragged, ["a.service", "b.service", "behind.service"]);
    assert!(facts.displaced.is_empty());
    let many: Vec<String> = (0..200).map(|n| format!("u{n}.service")).collect();
    let wide = changed(NGINX, &[("RequiredBy", &many.join(" "))]);
    assert!(seen(&Recorded::default().with("web.service", &[wide])).too_wide);
}

#[test]
fn what_a_start_would_stop_is_found_whichever_side_declares_the_conflict() {
    let with = |changes: &[(&str, &str)]| {
        Recorded::default()
            .with("web.service", &[changed(NGINX, changes)])
            .with("old.service", &[other("old.service", "active", &[("RequiredBy", "on-old.service")])])
            .with("on-old.service", &[other("on-old.service", "active", &[])])
            .with("firewalld.service", &[other("firewalld.service", "active", &[])])
            .with("base.service", &[other("base.service", "active", &[("ConflictedBy", "old.service")])])
            .with("helper.service", &[other("helper.service", "inactive", &[("Wants", "tables.service")])])
            .with(
                "tables.service",
                &[other("tables.service", "failed", &[("ConflictedBy", "firewalld.service")])],
            )
    };
    let displaced = |changes: &[(&str, &str)]| seen(&with(changes)).displaced;
    assert_eq!(displaced(&[("Conflicts", "old.service shutdown.target")]), ["old.service", "on-old.service"]);
    assert_eq!(displaced(&[("ConflictedBy", "firewalld.service")]), ["firewalld.service"]);
    assert_eq!(displaced(&[("Requires", "helper.service base.service")]), ["firewalld.service"]);
}

#[test]
fn a_unit_whose_end_reboots_the_host_is_seen_as_such() {
    let text = changed(NGINX, &[("SuccessAction", "reboot")]);
    let facts = seen(&Recorded::default().with("web.service", &[text]));
    assert_eq!(facts.host_actions, ["SuccessAction=reboot"]);
}

#[test]
fn a_service_is_up_when_it_stays_the_same_and_not_merely_when_it_runs() {
    let window = Duration::from_millis(30);
    let up = |texts: &[String]| {
        service::is_up("web.service", window, &Recorded::default().with("web.service", texts))
    };
    let nginx = || NGINX.to_owned();
    assert!(up(&[nginx()]).0);
    let starting = changed(NGINX, &[("ActiveState", "activating"), ("SubState", "start")]);
    assert!(up(&[starting.clone(), nginx()]).0, "it may take its time");
    assert!(!up(&[starting]).0, "but it must arrive");
    let again = changed(NGINX, &[("MainPID", "99"), ("NRestarts", "1")]);
    let (verified, detail) = up(&[nginx(), again]);
    assert!(!verified && detail.contains("started again"), "{detail}");
    let failed = changed(NGINX, &[("ActiveState", "failed"), ("Result", "exit-code"), ("MainPID", "0")]);
    assert!(!up(&[nginx(), failed.clone()]).0);
    let oneshot = changed(NGINX, &[("Type", "oneshot"), ("ActiveState", "inactive"), ("MainPID", "0")]);
    assert!(up(&[oneshot]).0);
    let down = |texts: &[String]| {
        service::is_down("web.service", window, &Recorded::default().with("web.service", texts)).0
    };
    assert!(down(std::slice::from_ref(&failed)));
    assert!(!down(&[failed, nginx()]), "something started it again");
    assert!(!down(&[nginx()]));
}

#[test]
fn torn_and_foreign_output_is_an_error_or_nothing_never_a_fact() {
    assert!(show::parse("").is_empty());
    assert_eq!(show::parse("no sign\n\n\nA=1\n").len(), 3);
    struct Says(i32, &'static str);
    impl Runner for Says {
        fn run(&self, _: &Invocation) -> Result<Ran, RunError> {
            let kept = self.1.as_bytes().to_vec();
            let output = Output { total: kept.len() as u64, kept, digest: Digest([0; 32]) };
            Ok(Ran { exit: Some(self.0), timed_out: false, output })
        }
    }
    for runner in
        [Says(1, "System has not been booted with systemd\n"), Says(0, ""), Says(0, "Id=a\n\nId=b\n")]
    {
        assert!(matches!(service::look("web.service", &runner), Facts::Unseen(_)));
    }
}

#[test]
fn the_real_systemd_tells_of_its_own_bus() {
    if !std::path::Path::new("/run/systemd/system").exists() {
        eprintln!("skipped: systemd is not running here");
        return;
    }
    let Facts::Service(facts) = service::look("dbus.service", &SystemRunner) else {
        panic!("dbus.service unseen")
    };
    assert_eq!((facts.load.as_str(), facts.active.as_str()), ("loaded", "active"));
    assert!(facts.names.contains(&"dbus.service".to_owned()) && !facts.invocation.is_empty());
    assert!(matches!(service::look("no@.service", &SystemRunner), Facts::Unseen(_)));
    let Facts::Service(none) = service::look("no-such.service", &SystemRunner) else { panic!("unseen") };
    assert_eq!(none.load, "not-found");
}
