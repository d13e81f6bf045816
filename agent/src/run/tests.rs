//! The wiring: what can be said of it without a controller.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::*;

fn is_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test]
async fn an_agent_that_is_not_enrolled_says_what_to_do_and_its_future_may_move_between_threads() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config::in_directory("127.0.0.1:1", directory.path());
    let error = is_send(run(config.clone(), std::future::pending())).await.unwrap_err();
    assert!(error.to_string().contains("sysop-agent enroll"), "{error}");
    let enrolment = crate::Enrolment {
        config,
        token: String::new(),
        ca: sysop_common::bytes::Digest([0; 32]),
        name: String::new(),
        allow: Vec::new(),
        owner: None,
    };
    let error = is_send(crate::enrol(enrolment)).await.unwrap_err();
    assert!(error.to_string().contains("standard input"), "{error}");
}

#[test]
fn the_service_manager_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let notifier = Notifier::new(path.to_str(), Some(Duration::from_secs(30)));
    assert_eq!(notifier.watchdog(), Some(Duration::from_secs(15)));
    notifier.ready();
    notifier.alive();
    notifier.stopping();
    let mut buf = [0; 64];
    for want in ["READY=1", "WATCHDOG=1", "STOPPING=1"] {
        let len = socket.recv(&mut buf).unwrap();
        assert_eq!(&buf[..len], want.as_bytes());
    }
    Notifier::none().ready();
    assert_eq!(Notifier::new(None, Some(Duration::from_secs(1))).watchdog(), None);
}
