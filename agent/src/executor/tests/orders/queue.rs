//! Orders that wait, are withdrawn or are overtaken.

use super::*;

#[test]
fn an_order_is_answered_also_when_the_journal_is_full() {
    let bench = Bench::new();
    let core = bench.core();
    let answered = |order: &Order| match submit(&core, &bench.sign(order)) {
        Taken::Said(event) => Some(event),
        _ => core.unsaid().into_iter().find(|event| event.order == order.id),
    };
    // Nobody acknowledges, so each refusal stays.
    let said = (0..1_100).find_map(|_| answered(&bench.order("nginx.service")));
    let Some(event) = said else { panic!("no answer") };
    let Event::Refused { reason, .. } = event.event else { panic!("{event:?}") };
    assert_eq!((reason, event.number), (Refusal::NoJournal, 0));
    // What is allowed still has room.
    let allowed = bench.order("u1.service");
    submit(&core, &bench.sign(&allowed));
    assert_eq!(bench.effects("u1.service"), 1);
}

#[test]
fn orders_wait_their_turn_are_withdrawn_while_they_wait_and_refused_beyond_the_queue() {
    let bench = Bench::new();
    let core = bench.core();
    let orders: Vec<_> = (0..6).map(|n| bench.order(&format!("u{n}.service"))).collect();
    let taken: Vec<_> = orders.iter().map(|order| core.submit(&packed(&bench.sign(order)))).collect();
    assert!(taken[..4].iter().all(|taken| matches!(taken, Taken::Waits)));
    for order in &orders[4..] {
        assert!(matches!(words(&core, order.id)[..], ["refused"]));
    }
    assert!(matches!(core.submit(&packed(&bench.sign(&orders[0]))), Taken::Said(_)), "it waits already");
    core.cancel(orders[1].id);
    // What is withdrawn before it comes is not taken when it comes.
    let early = bench.order("u9.service");
    core.cancel(early.id);
    core.submit(&packed(&bench.sign(&early)));
    core.work(&|| {});
    assert_eq!(words(&core, orders[1].id), ["cancelled"]);
    assert_eq!(words(&core, early.id), ["cancelled"]);
    assert_eq!(
        (bench.effects("u0.service"), bench.effects("u1.service"), bench.effects("u9.service")),
        (1, 0, 0)
    );
    core.cancel(orders[0].id);
    assert_eq!(words(&core, orders[0].id)[2], RunState::Succeeded.word());
}

#[test]
fn an_order_that_waited_too_long_or_was_overtaken_does_not_start() {
    let bench = Bench::new();
    let core = bench.core();
    let late = bench.order("u1.service");
    core.submit(&packed(&bench.sign(&late)));
    bench.clock.pass(61_000);
    core.work(&|| {});
    assert_eq!(words(&core, late.id), ["refused"]);
    let (old, new) = (bench.order("u2.service"), Order { lease: 9, ..bench.order("u3.service") });
    let probe = Arc::new(Interrupt::default());
    drop(core);
    let core = Arc::new(bench.core_with(Arc::clone(&probe) as Arc<dyn Probe>));
    core.submit(&packed(&bench.sign(&new)));
    core.submit(&packed(&bench.sign(&old)));
    core.work(&|| {});
    assert_eq!((bench.effects("u3.service"), bench.effects("u2.service")), (1, 0), "the newer lease has won");
    assert_eq!(words(&core, old.id), ["refused"]);
    let steps = probe.0.lock().unwrap().clone();
    assert_eq!(steps[steps.len() - 2..], [Step::Checked, Step::Looked]);
}

/// Notes the steps.
#[derive(Default)]
struct Interrupt(Mutex<Vec<Step>>);

impl Probe for Interrupt {
    fn reached(&self, step: Step) {
        self.0.lock().unwrap().push(step);
    }
}
