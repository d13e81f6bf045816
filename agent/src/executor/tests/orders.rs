mod queue;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use sysop_common::action::{Action, Event, ProcessRef, Refusal, Risk, RunState};
use sysop_common::bytes::Digest;
use sysop_common::ids::{HostId, OrderId};
use sysop_common::order::{MAX_LIFE_MS, Order, Origin, SignedOrder};
use sysop_common::time::DAY_MS;
use uuid::Uuid;

use super::super::answers::Taken;
use super::super::core::Core;
use super::super::probe::{Probe, Step};
use super::super::reset;
use super::bench::{Bench, Controller, packed, paths};

fn submit(core: &Core, signed: &SignedOrder) -> Taken {
    let taken = core.submit(&packed(signed));
    core.work(&|| {});
    taken
}

/// The last that was said or journaled about an order.
fn outcome(core: &Core, taken: &Taken, order: OrderId) -> Event {
    match taken {
        Taken::Said(event) => event.event.clone(),
        _ => core
            .reports(0)
            .into_iter()
            .rfind(|report| report.order == order)
            .map(|r| r.event)
            .expect("no event"),
    }
}

fn refusal(core: &Core, bench: &Bench, signed: &SignedOrder, order: &Order) -> Option<Refusal> {
    let taken = submit(core, signed);
    assert_eq!(bench.effects(&order.action.target()), 0, "{order:?}");
    match outcome(core, &taken, order.id) {
        Event::Refused { reason, .. } => Some(reason),
        other => panic!("{other:?}"),
    }
}

fn words(core: &Core, order: OrderId) -> Vec<&'static str> {
    let word = |event| match event {
        Event::Accepted => "accepted",
        Event::Started => "started",
        Event::Finished { state, .. } => state.word(),
        Event::Refused { .. } => "refused",
        Event::Cancelled => "cancelled",
        Event::Unknown { .. } => "unknown",
        Event::Checked { verified: true, .. } => "verified",
        Event::Checked { verified: false, .. } => "not_verified",
        Event::Duplicate => "duplicate",
    };
    core.reports(0)
        .into_iter()
        .filter(|report| report.order == order)
        .map(|report| word(report.event))
        .collect()
}

#[test]
fn an_allowed_order_runs_once_and_tells_its_whole_story() {
    let bench = Bench::new();
    let core = bench.core();
    let order = bench.order("u1.service");
    let signed = bench.sign(&order);
    assert!(matches!(submit(&core, &signed), Taken::Waits));
    assert_eq!(bench.effects("u1.service"), 1);
    // It was failed before and, in this host, still is after.
    assert_eq!(words(&core, order.id), ["accepted", "started", "succeeded", "not_verified"]);
    let finished = core.reports(0).into_iter().find(|r| matches!(r.event, Event::Finished { .. })).unwrap();
    let Event::Finished { output, output_bytes, exit, .. } = finished.event else { unreachable!() };
    let kept = core.output(order.id).unwrap();
    assert_eq!(
        (exit, output_bytes, output.0),
        (Some(0), kept.len() as u64, sysop_common::ids::sha256(&kept))
    );
    assert_eq!(finished.audit_head, Some(Digest([8; 32])));
    core.acknowledge(order.id, core.reports(0).last().unwrap().number);
    assert!(core.reports(0).is_empty() && core.output(order.id).is_none());
    let failing = bench.order("fails.service");
    submit(&core, &bench.sign(&failing));
    assert_eq!(words(&core, failing.id), ["accepted", "started", "failed"]);
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_text_of_an_order_makes_a_line_of_the_log() {
    let bench = Bench::new();
    let core = bench.core();
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || sink.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let reason = "x\nsshd[1]: Accepted".to_owned();
        submit(&core, &bench.sign(&Order { reason: reason.clone(), ..bench.order("u1.service") }));
        let process = ProcessRef { pid: 4_000_000, start_ticks: 1, comm: "a\nsshd[1]: Accepted".into() };
        submit(&core, &bench.sign(&bench.order_of(Action::KillProcess { process })));
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("sshd[1]") && !text.lines().any(|line| line.starts_with("sshd")), "{text}");
}

#[test]
fn order_replay_across_time_host_epoch_transport_refused() {
    let bench = Bench::new();
    let core = bench.core();
    let ran = bench.order("u1.service");
    let signed = bench.sign(&ran);
    submit(&core, &signed);
    // The same bytes again: at once, after expiry, after a restart, after the clock went back.
    let again = |core: &Core| {
        let taken = submit(core, &signed);
        assert_eq!(outcome(core, &taken, ran.id), Event::Duplicate);
        assert_eq!(bench.effects("u1.service"), 1);
    };
    again(&core);
    bench.clock.pass(61_000);
    again(&core);
    drop(core);
    let core = bench.core();
    again(&core);
    bench.clock.wall(-DAY_MS);
    again(&core);
    bench.clock.wall(DAY_MS);
    // Another order under the same id.
    let other = Order { action: bench.order("u2.service").action, ..ran.clone() };
    let other = Order { expires: other.expires.plus(120_000), ..other };
    assert_eq!(refusal(&core, &bench, &bench.sign(&other), &other), Some(Refusal::Replayed));
}

#[test]
fn each_wrong_order_is_refused_for_its_own_reason_and_starts_nothing() {
    let bench = Bench::new();
    let core = bench.core();
    let first = bench.order("u0.service");
    submit(&core, &bench.sign(&first));
    let check = |want: Refusal, change: &dyn Fn(&mut Order)| {
        let mut order = bench.order("u1.service");
        change(&mut order);
        assert_eq!(refusal(&core, &bench, &bench.sign(&order), &order), Some(want));
        // And it stays so: no refused order is taken later.
        let taken = submit(&core, &bench.sign(&order));
        let later = outcome(&core, &taken, order.id);
        assert!(
            matches!(later, Event::Duplicate)
                || matches!(later, Event::Refused { reason, .. } if reason == want)
        );
        assert_eq!(bench.effects("u1.service"), 0);
    };
    check(Refusal::WrongHost, &|o| o.host = HostId(Uuid::from_u128(43)));
    check(Refusal::Expired, &|o| {
        (o.not_before, o.expires) = (o.not_before.plus(-9_000), o.not_before.plus(-1))
    });
    check(Refusal::NotYet, &|o| o.not_before = o.not_before.plus(30_000));
    check(Refusal::LifetimeTooLong, &|o| o.expires = o.not_before.plus(MAX_LIFE_MS + 1));
    check(Refusal::OldLease, &|o| o.lease = 4);
    check(Refusal::LeaseJump, &|o| o.lease = 5 + 10_001);
    check(Refusal::UnknownAction, &|o| o.entry = Digest([0; 32]));
    check(Refusal::NeedsApproval, &|o| o.risk = Risk::High);
    check(Refusal::NotAllowed, &|o| {
        *o = bench.order_of(Action::StartService { unit: "u1.service".parse().unwrap() });
    });
    check(Refusal::ParameterNotAllowed, &|o| *o = bench.order("nginx.service"));
    check(Refusal::Protected, &|o| {
        *o = bench.order_of(Action::StopService { unit: "ssh.service".parse().unwrap() })
    });
    check(Refusal::Protected, &|o| *o = bench.order("own.service"));
    check(Refusal::PreCheckFailed, &|o| *o = bench.order("up.service"));

    let order = bench.order("u1.service");
    let good = bench.sign(&order);
    let with = |signed: SignedOrder| refusal(&core, &bench, &signed, &order);
    let mut unsigned = good.clone();
    unsigned.signature.0.clear();
    assert_eq!(with(unsigned), Some(Refusal::Unsigned));
    assert_eq!(with(Controller::new().key.sign(&order).unwrap()), Some(Refusal::UntrustedKey));
    assert_eq!(with(bench.controller.agent_key().sign(&order).unwrap()), Some(Refusal::UntrustedKey));
    let mut altered = good.clone();
    let at = altered.order.0.windows(2).position(|pair| pair == b"u1").unwrap();
    altered.order.0[at + 1] = b'2';
    assert_eq!(with(altered), Some(Refusal::BadSignature));
    assert!(matches!(core.submit(b"junk"), Taken::Silent));
    assert!(matches!(core.submit(&vec![0x80; 20_000]), Taken::Silent));
    // None of those spoiled the id: the real order still runs, once.
    submit(&core, &good);
    assert_eq!(bench.effects("u1.service"), 1);
    check_cool_down(&bench, &core);
}

fn check_cool_down(bench: &Bench, core: &Core) {
    let soon = bench.order("u0.service");
    let taken = submit(core, &bench.sign(&soon));
    assert!(matches!(outcome(core, &taken, soon.id), Event::Refused { reason: Refusal::RateLimited, .. }));
    bench.clock.pass(31_000);
    submit(core, &bench.sign(&bench.order("u0.service")));
    assert_eq!(bench.effects("u0.service"), 2);
}

#[test]
fn automatic_orders_need_the_owner_s_automatic() {
    let bench = Bench::new();
    let core = bench.core();
    let stop = |origin| Order {
        origin,
        ..bench.order_of(Action::StopService { unit: "up1.service".parse().unwrap() })
    };
    let automatic = stop(Origin::Automatic);
    assert_eq!(refusal(&core, &bench, &bench.sign(&automatic), &automatic), Some(Refusal::NotAllowed));
    submit(&core, &bench.sign(&stop(Origin::Person)));
    assert_eq!(bench.effects("up1.service"), 1);
}

#[test]
fn local_rate_ceiling_after_restart_and_clock_jump() {
    let bench = Bench::new();
    let limited = |core: &Core, unit: &str| {
        let order = bench.order(unit);
        let taken = submit(core, &bench.sign(&order));
        matches!(outcome(core, &taken, order.id), Event::Refused { reason: Refusal::RateLimited, .. })
    };
    let text = super::bench::POLICY.replace("60", "2");
    fs::write(bench.dir.join("policy.toml"), text).unwrap();
    let core = bench.core();
    assert!(!limited(&core, "u1.service") && !limited(&core, "u2.service") && limited(&core, "u3.service"));
    drop(core);
    let core = bench.core();
    bench.clock.wall(2 * DAY_MS);
    assert!(limited(&core, "u4.service"));
    bench.clock.pass(3_600_000);
    assert!(!limited(&core, "u5.service"));
}

#[test]
fn a_policy_that_is_broken_missing_or_writable_by_others_allows_nothing() {
    let bench = Bench::new();
    let core = bench.core();
    let path = bench.dir.join("policy.toml");
    let refused = || {
        let order = bench.order("u1.service");
        let taken = submit(&core, &bench.sign(&order));
        let Event::Refused { reason: Refusal::NotAllowed, detail } = outcome(&core, &taken, order.id) else {
            panic!("taken")
        };
        detail
    };
    fs::write(&path, "[[allow]]\naction = 3\n").unwrap();
    assert!(refused().contains("line 2"));
    fs::write(&path, super::bench::POLICY).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(refused().contains("chmod go-w"));
    fs::remove_file(&path).unwrap();
    assert!(
        refused()
            .contains("[[allow]]\naction = \"restart_service\"\nunits = [\"u1.service\"]\nautomatic = true")
    );
    assert_eq!(bench.effects("u1.service"), 0);
}

#[test]
fn an_identity_without_a_journal_refuses_everything_until_root_resets_it() {
    let bench = Bench::new();
    let order = bench.order("u1.service");
    let before = bench.sign(&order);
    let core = bench.core();
    submit(&core, &before);
    drop(core);
    fs::remove_dir_all(bench.dir.join("state/journal")).unwrap();
    let core = bench.core();
    let new = bench.order("u2.service");
    assert_eq!(refusal(&core, &bench, &bench.sign(&new), &new), Some(Refusal::NoJournal));
    reset(&paths(&bench.dir)).unwrap();
    // The running executor finds it by itself, after a moment.
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let taken = submit(&core, &before);
    assert!(matches!(outcome(&core, &taken, order.id), Event::Refused { reason: Refusal::NoJournal, .. }));
    assert_eq!(bench.effects("u1.service"), 1, "it may have run, and it had");
    let mut after = bench.order("u3.service");
    after.not_before = after.not_before.plus(1_000);
    submit(&core, &bench.sign(&after));
    assert_eq!(bench.effects("u3.service"), 1);
    assert!(reset(&paths(&bench.dir)).is_err(), "not under a running executor");
}

#[test]
fn an_order_altered_anywhere_never_runs_as_something_else() {
    let bench = Bench::new();
    let core = bench.core();
    let order = bench.order("u1.service");
    let good = packed(&bench.sign(&order));
    for at in 0..good.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut altered = good.clone();
            altered[at] ^= bit;
            core.submit(&altered);
        }
        let mut cut = good.clone();
        cut.truncate(at);
        core.submit(&cut);
    }
    core.work(&|| {});
    // A longer way to write the same lengths is the same order; nothing else came through.
    let before = bench.effects("u1.service");
    core.submit(&good);
    core.work(&|| {});
    assert_eq!(bench.effects("u1.service"), 1, "{before} before");
    let all = fs::read_to_string(bench.dir.join("effects")).unwrap();
    assert_eq!(all, "u1.service\n");
    assert!(core.reports(0).iter().all(|report| report.order == order.id));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic_the_executor(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        use super::super::protocol::{FromExecutor, ToExecutor, decode};
        let _ = decode::<ToExecutor>(&bytes);
        let _ = decode::<FromExecutor>(&bytes);
    }
}
