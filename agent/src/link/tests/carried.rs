//! What goes beside samples: orders, events, readings, settings, outputs.

use super::*;

fn events(stub: &Stub) -> Vec<u64> {
    let number = |came: &Came| match came {
        Came::Other(_, Upward::OrderEvent(event)) => Some(event.number),
        _ => None,
    };
    stub.came().iter().filter_map(number).collect()
}

#[tokio::test]
async fn orders_pass_through_untouched_and_events_come_again_until_they_are_stored() {
    let stub = Stub::start(Face::default()).await;
    let mut rig = Rig::start(&stub);
    assert!(matches!(rig.asks.recv().await, Some(Ask::Opened)));
    let bytes = |n| Bytes(vec![n; 10]);
    let order =
        SignedOrder { order: bytes(1), signature: bytes(2), certificate: bytes(3), approvals: vec![] };
    stub.send(Downward::Order(Box::new(order.clone())));
    assert!(matches!(rig.asks.recv().await, Some(Ask::Order(got)) if *got == order));
    stub.send(Downward::Cancel(event(0).order));
    assert!(matches!(rig.asks.recv().await, Some(Ask::Cancel(_))));
    for number in [1, 2, 2] {
        rig.report.send(Report::Event(event(number))).await.unwrap();
    }
    stub.until("two events", |stub| (events(stub) == [1, 2]).then_some(())).await;
    stub.send(Downward::EventAck { order: event(0).order, number: 1 });
    assert!(matches!(rig.asks.recv().await, Some(Ask::EventStored(_, 1))));
    stub.cut();
    stub.until("the rest again", |stub| (events(stub) == [1, 2, 2]).then_some(())).await;
    rig.end().await;
}

#[tokio::test]
async fn many_requests_at_once_wait_for_their_turn_and_none_is_lost() {
    let stub = Stub::start(Face::default()).await;
    let mut rig = Rig::start(&stub);
    assert!(matches!(rig.asks.recv().await, Some(Ask::Opened)));
    for number in 0..60 {
        stub.send(Downward::EventAck { order: event(0).order, number });
    }
    rig.add(1);
    stub.until_sample(1).await;
    for want in 0..60 {
        let ask = tokio::time::timeout(Duration::from_secs(5), rig.asks.recv()).await.unwrap();
        assert!(matches!(ask, Some(Ask::EventStored(_, number)) if number == want), "{want}");
    }
    rig.end().await;
}

#[tokio::test]
async fn readings_and_settings_are_asked_for_and_bounded() {
    let stub = Stub::start(Face::default()).await;
    let mut rig = Rig::start(&stub);
    assert!(matches!(rig.asks.recv().await, Some(Ask::Opened)));
    stub.send(Downward::Query(QueryRequest { id: 9, query: Query::GetCpuUsage }));
    assert!(matches!(rig.asks.recv().await, Some(Ask::Query(QueryRequest { id: 9, .. }))));
    rig.report.send(Report::Answer(Answer { id: 9, result: Err("no".into()) })).await.unwrap();
    stub.until("the answer", |stub| {
        stub.came()
            .iter()
            .any(|came| matches!(came, Came::Other(_, Upward::Answer(a)) if a.id == 9))
            .then_some(())
    })
    .await;
    rig.interval.borrow_and_update();
    for (asked, got) in [(5_000, 5_000), (10, 1_000), (u32::MAX, 60_000)] {
        stub.send(Downward::Configure(Configure { interval_ms: asked, reconnect_window_ms: 1 }));
        rig.interval.changed().await.unwrap();
        assert_eq!(*rig.interval.borrow_and_update(), Duration::from_millis(got));
    }
    rig.end().await;
}

#[tokio::test]
async fn output_has_a_stream_of_its_own_over_quic_and_waits_behind_samples_over_tcp() {
    let stub = Stub::start(Face::default()).await;
    for (transport, word) in [(config::Transport::Quic, "uni"), (config::Transport::Tcp, "tcp")] {
        stub.came().clear();
        let link = config::Link { transport, ..quick() };
        let ours = tls(&stub.inner.ca, &stub.inner.ca);
        let mut rig = Rig::with(&stub, link, ours, Arc::new(tempfile::tempdir().unwrap()));
        assert!(matches!(rig.asks.recv().await, Some(Ask::Opened)));
        for offset in 0..40 {
            let chunk = OutputChunk { order: event(0).order, offset, bytes: Bytes(vec![7; 16 << 10]) };
            rig.report.send(Report::Output(chunk)).await.unwrap();
            rig.add(1);
        }
        let finished = Event::Finished {
            state: sysop_common::action::RunState::Succeeded,
            exit: None,
            duration_ms: 0,
            detail: String::new(),
            output: sysop_common::bytes::Digest([0; 32]),
            output_bytes: 0,
        };
        rig.report.send(Report::Event(OrderEvent { event: finished, ..event(3) })).await.unwrap();
        rig.report.send(Report::Event(event(4))).await.unwrap();
        let offsets = |stub: &Stub| -> Vec<u64> {
            let offset = |came: &Came| match came {
                Came::Other(how, Upward::Output(chunk)) if *how == word => Some(chunk.offset),
                _ => None,
            };
            stub.came().iter().filter_map(offset).collect()
        };
        if word == "uni" {
            stub.until("the end", |stub| (events(stub).len() == 2).then_some(())).await;
            assert_eq!(events(&stub), [3, 4]);
            assert_eq!(offsets(&stub).len(), 40, "an end that is said has its output");
        }
        stub.until("all output", |stub| (offsets(stub) == (0..40).collect::<Vec<_>>()).then_some(())).await;
        stub.until_sample(40).await;
        rig.end().await;
    }
}
