//! Test hosts: real Debian hosts with their own systemd, network and file system, booted in seconds.
//!
//! A [`Lab`] is a mount, process and network namespace of its own with a bridge in it; this machine sees
//! the bridge as `10.207.N.0/24` and has its address `10.207.N.1`. A [`Host`] is a systemd-nspawn
//! container on that bridge, an overlay over one cached Debian root ([`root`]).
//!
//! Everything that a lab makes lives in its namespaces, whose first process waits on a pipe that this
//! process holds: however this process ends (a panic, Ctrl-C, SIGKILL), the kernel ends the hosts, their
//! mounts and their links with it. Only empty control groups can remain; the next lab removes them.

mod cgroup;
mod host;
mod install;
mod lab;
mod limit;
mod process;
mod root;
mod traffic;

pub use host::Host;
pub use install::program;
pub use lab::Lab;
pub use process::{Output, wait_for};
pub use traffic::Traffic;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Programs that a lab starts, and the Debian packages that hold them.
const PROGRAMS: &[(&str, &str)] = &[
    ("systemd-nspawn", "systemd-container"),
    ("debootstrap", "debootstrap"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
];

/// Why hosts cannot be booted here, if so: what is missing and how to get it.
pub fn missing() -> Option<String> {
    if std::fs::metadata("/proc/self").map_or(true, |me| me.uid() != 0) {
        return Some("test hosts need root: run `sudo cargo xtask test`".to_owned());
    }
    if !Path::new("/proc/filesystems").exists() || !overlay_available() {
        return Some("test hosts need the kernel's overlay file system: `modprobe overlay`".to_owned());
    }
    let (program, package) = PROGRAMS.iter().find(|(program, _)| process::find(program).is_none())?;
    Some(format!("test hosts need {program}: `apt-get install {package}`"))
}

fn overlay_available() -> bool {
    let listed = || std::fs::read_to_string("/proc/filesystems").is_ok_and(|known| known.contains("overlay"));
    listed() || (process::run("modprobe", &["overlay"]).is_ok() && listed())
}
