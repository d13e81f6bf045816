use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::super::protocol::{ToExecutor, encode};
use super::super::serve::serve;
use super::super::socket::Channel;
use super::bench::Bench;

const NOBODY: u32 = 65_534;
const SOCKET: &str = "SYSOP_TEST_SOCKET_TO_ATTACK";

/// What the local user does: this very program, started again as that user.
#[test]
fn the_local_user_of_the_attack_test() {
    let Some(socket) = std::env::var_os(SOCKET).map(PathBuf::from) else { return };
    assert_eq!(rustix::process::geteuid().as_raw(), NOBODY);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if let Ok(channel) = Channel::connect(&socket) {
            let _ = channel.send(&encode(&ToExecutor::Poke).unwrap()).await;
            let end = tokio::time::timeout(Duration::from_secs(5), channel.receive()).await;
            assert!(matches!(end, Ok(Ok(None) | Err(_))), "nobody was answered: {end:?}");
            std::process::exit(3);
        }
    });
    let dir = socket.parent().unwrap();
    assert!(fs::read_dir(dir.join("state")).is_err());
    assert!(fs::write(dir.join("policy.toml"), "").is_err());
    assert!(fs::remove_file(&socket).is_err());
    std::process::exit(2);
}

#[tokio::test]
async fn local_user_attack_suite() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: becoming another user needs root");
        return;
    }
    let bench = Bench::new();
    let served = tokio::spawn(serve(bench.options()));
    while !bench.socket().exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    // The user must be able to run this program wherever it was built.
    let program = bench.dir.join("attacker");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let attack = || {
        let mut command = Command::new(&program);
        command.args(["executor::tests::local::the_local_user_of_the_attack_test", "--exact"]);
        command.env(SOCKET, bench.socket()).uid(NOBODY).gid(NOBODY).current_dir("/");
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let output = attack().await.unwrap();
    assert_eq!(output.status.code(), Some(2), "by the socket's mode: {output:?}");
    // Even where somebody opened the socket to all, the user of the peer counts.
    fs::set_permissions(bench.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    let output = attack().await.unwrap();
    assert_eq!(output.status.code(), Some(3), "by the peer's user: {output:?}");
    served.abort();
}
