//! Installs the Debian packages that a suite needs, or says which they are.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::shell::{capture, find, succeeds};

/// Something a suite needs on the machine.
pub(crate) struct Need {
    /// A program on the search path, or a file if it begins with `/`.
    probe: &'static str,
    packages: &'static [&'static str],
}

/// The probe that asks for its version as well.
const NODE: &str = "node";

/// The oldest Node that the web assets and the browser stories work with.
const NODE_MAJOR: u32 = 20;

/// A C compiler for ring and SQLite, Node and npm for the web assets.
pub(crate) const BUILD: &[Need] = &[
    Need { probe: "cc", packages: &["build-essential"] },
    Need { probe: NODE, packages: &["nodejs", "npm"] },
];

/// What judges the units.
pub(crate) const UNITS: &[Need] = &[Need { probe: "systemd-analyze", packages: &["systemd"] }];

/// What boots hosts and cuts their links.
pub(crate) const HOSTS: &[Need] = &[
    Need { probe: "systemd-nspawn", packages: &["systemd-container"] },
    Need { probe: "debootstrap", packages: &["debootstrap"] },
    Need { probe: "ip", packages: &["iproute2"] },
    Need { probe: "nft", packages: &["nftables"] },
];

/// A browser and a font to draw with.
pub(crate) const BROWSER: &[Need] = &[
    Need { probe: "chromium", packages: &["chromium"] },
    Need { probe: "/usr/share/fonts/truetype", packages: &["fonts-dejavu-core"] },
];

impl Need {
    fn is_met(&self) -> bool {
        match self.probe {
            NODE => find("npm").is_some() && node_major().is_some_and(|major| major >= NODE_MAJOR),
            path if path.starts_with('/') => Path::new(path).exists(),
            program => find(program).is_some(),
        }
    }
}

/// Installs what is missing of `needs`; the reason why something still is, if so.
pub(crate) fn ensure(needs: &[Need]) -> Result<Option<String>> {
    let packages = missing(needs);
    if packages.is_empty() {
        return Ok(None);
    }
    let list = packages.join(" ");
    let Some(prefix) = privilege().filter(|_| find("apt-get").is_some()) else {
        return Ok(Some(format!("not installed: {list} (on Debian: `apt-get install {list}`)")));
    };
    println!("installing {list}");
    let apt = |arguments: &[&str]| {
        let mut words =
            prefix.iter().chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]).chain(arguments);
        let program = words.next().copied().unwrap_or_default();
        succeeds(Command::new(program).args(words))
    };
    let mut install = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    install.extend(&packages);
    // A machine's package list may be too old or absent; then the second try has a new one.
    if !apt(&install)? {
        apt(&["update", "--quiet"])?;
        apt(&install)?;
    }
    let still = missing(needs);
    Ok((!still.is_empty()).then(|| {
        format!("could not install {}: see apt-get's words above{}", still.join(" "), node_hint(&still))
    }))
}

fn missing(needs: &[Need]) -> Vec<&'static str> {
    needs.iter().filter(|need| !need.is_met()).flat_map(|need| need.packages).copied().collect()
}

fn node_hint(missing: &[&str]) -> String {
    if missing.contains(&"nodejs") { format!("; Node must be {NODE_MAJOR} or newer") } else { String::new() }
}

fn node_major() -> Option<u32> {
    let version = capture(Command::new("node").arg("--version")).ok()?.ok()?;
    version.trim().trim_start_matches('v').split('.').next()?.parse().ok()
}

/// Words before a command that make it run as root; `None` where nothing does.
pub(crate) fn privilege() -> Option<&'static [&'static str]> {
    if is_root() {
        return Some(&[]);
    }
    let free = capture(Command::new("sudo").args(["-n", "true"])).is_ok_and(|output| output.is_ok());
    free.then_some(&["sudo", "-n"])
}

fn is_root() -> bool {
    capture(Command::new("id").arg("-u")).is_ok_and(|output| output.is_ok_and(|id| id.trim() == "0"))
}
