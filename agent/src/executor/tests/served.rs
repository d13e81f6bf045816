use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use sysop_common::action::{Event, OrderEvent};
use sysop_common::bytes::Bytes;
use tokio::sync::mpsc;

use super::super::protocol::{FromExecutor, MAX_MESSAGE, ToExecutor, decode, encode};
use super::super::serve::{Options, serve};
use super::super::socket::Channel;
use super::super::{Client, Report};
use super::bench::{Bench, packed};

async fn next(reports: &mut mpsc::Receiver<Report>) -> Report {
    tokio::time::timeout(Duration::from_secs(10), reports.recv()).await.unwrap().unwrap()
}

async fn next_event(reports: &mut mpsc::Receiver<Report>) -> OrderEvent {
    loop {
        if let Report::Event(event) = next(reports).await {
            return event;
        }
    }
}

fn client(bench: &Bench) -> (Client, mpsc::Receiver<Report>) {
    let (sender, reports) = mpsc::channel(16);
    (Client::start(bench.socket(), sender), reports)
}

#[tokio::test]
async fn a_collector_hands_an_order_over_and_hears_its_story_until_it_acknowledges() {
    let bench = Bench::new();
    let served = tokio::spawn(serve(bench.options()));
    while !bench.socket().exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (collector, mut reports) = client(&bench);
    let order = bench.order("u1.service");
    collector.submit(&bench.sign(&order)).await.unwrap();
    let mut heard = Vec::new();
    let mut output = None;
    while heard.len() < 4 {
        match next(&mut reports).await {
            Report::Event(event) => {
                if !heard.contains(&event) {
                    heard.push(event);
                }
            }
            Report::Output(chunk) => {
                assert!(
                    !heard.iter().any(|e| matches!(e.event, Event::Finished { .. })),
                    "output comes first"
                );
                output = Some(chunk);
            }
        }
    }
    assert_eq!(output.unwrap().bytes.0, b"did u1.service\nbefore: failed (failed)\nafter: failed (failed)\n");
    assert!(matches!(heard[3].event, Event::Checked { .. }));
    // Another session of the same collector: nothing was acknowledged, so all of it comes again.
    drop((collector, reports));
    let (collector, mut reports) = client(&bench);
    collector.poke().await.unwrap();
    let mut again = Vec::new();
    while again.len() < 4 {
        again.push(next_event(&mut reports).await);
    }
    assert_eq!(again, heard);
    collector.acknowledge(order.id, heard[3].number).await.unwrap();
    let other = bench.order("u2.service");
    collector.submit(&bench.sign(&other)).await.unwrap();
    loop {
        let event = next_event(&mut reports).await;
        if event.order == other.id && matches!(event.event, Event::Checked { .. }) {
            break;
        }
    }
    drop((collector, reports));
    let (collector, mut reports) = client(&bench);
    collector.poke().await.unwrap();
    assert_eq!(next_event(&mut reports).await.order, other.id, "what was acknowledged does not come again");
    collector.submit(&bench.sign(&order)).await.unwrap();
    while next_event(&mut reports).await.event != Event::Duplicate {}
    assert_eq!(bench.effects("u1.service"), 1);
    served.abort();
}

#[tokio::test]
async fn the_executor_goes_when_idle_and_says_so() {
    let bench = Bench::new();
    let options = Options { idle: Some(Duration::from_millis(300)), ..bench.options() };
    let served = tokio::spawn(serve(options));
    while !bench.socket().exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let peer = Channel::connect(&bench.socket()).unwrap();
    let slow = bench.order("slow.service");
    let submit = ToExecutor::Submit(Bytes(packed(&bench.sign(&slow))));
    peer.send(&encode(&submit).unwrap()).await.unwrap();
    let mut last = None;
    while let Some(packet) =
        tokio::time::timeout(Duration::from_secs(10), peer.receive()).await.unwrap().unwrap()
    {
        last = Some(decode::<FromExecutor>(&packet).unwrap());
        if let Some(FromExecutor::Event(event)) = &last {
            assert_ne!(event.event, Event::Duplicate);
        }
    }
    assert_eq!(last, Some(FromExecutor::Idle), "it stayed while something ran, and then said that it goes");
    served.await.unwrap().unwrap();
    assert_eq!(bench.effects("slow.service"), 1);
}

#[tokio::test]
async fn a_hostile_collector_costs_a_connection_and_nothing_else() {
    let bench = Bench::new();
    let served = tokio::spawn(serve(bench.options()));
    while !bench.socket().exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for bad in [vec![0xff; 10], vec![1; MAX_MESSAGE], vec![1; MAX_MESSAGE + 1], vec![0x81; 40_000]] {
        let peer = Channel::connect(&bench.socket()).unwrap();
        peer.send(&bad).await.unwrap();
        let end = tokio::time::timeout(Duration::from_secs(10), peer.receive()).await.unwrap();
        assert!(matches!(end, Ok(None) | Err(_)), "{end:?}");
    }
    // There is something to tell, to whoever asks.
    let (collector, mut reports) = client(&bench);
    for unit in ["u7.service", "u8.service", "u9.service"] {
        collector.submit(&bench.sign(&bench.order(unit))).await.unwrap();
        while !matches!(next_event(&mut reports).await.event, Event::Checked { .. }) {}
    }
    drop((collector, reports));
    // Many who connect and never read, and one who floods: the next one is still served.
    let mut silent = Vec::new();
    for n in 0..20 {
        let peer = Channel::connect(&bench.socket()).unwrap();
        let poke = encode(&ToExecutor::Poke).unwrap();
        // The first one asks until nothing more fits between it and its writer.
        for _ in 0..if n == 0 { 2_000 } else { 50 } {
            if tokio::time::timeout(Duration::from_millis(200), peer.send(&poke)).await.is_err() {
                break;
            }
        }
        silent.push(peer);
    }
    let (collector, mut reports) = client(&bench);
    let order = bench.order("u1.service");
    collector.submit(&bench.sign(&order)).await.unwrap();
    // The stories of the orders before it may be told once more meanwhile.
    loop {
        let event = next_event(&mut reports).await;
        if event.order == order.id && matches!(event.event, Event::Checked { .. }) {
            break;
        }
    }
    assert_eq!(bench.effects("u1.service"), 1);
    // Those that were put out are let go of, although they have read nothing: reading here would let a
    // blocked writer end by itself.
    let gone = async {
        loop {
            let mut asked = [PollFd::new(&silent[0], PollFlags::empty())];
            poll(&mut asked, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap();
            if asked[0].revents().contains(PollFlags::HUP) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("its socket is still held");
    served.abort();
}
