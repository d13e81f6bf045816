//! Cuts and losses on a host's link, by packet filter rules of our own inside its network.

use std::process::Command;

use anyhow::{Result, bail};

use super::host::Host;
use super::process::{self, finish};

/// A table that the product never names, so that its own rules stay apart.
const TABLE: &str = "inet sysop_test";

/// Which packets of a host are meant, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Everything but the loopback.
    All,
    /// UDP from or to this port.
    Udp(u16),
    /// TCP from or to this port.
    Tcp(u16),
}

impl Traffic {
    fn matches(self) -> Vec<String> {
        match self {
            Self::All => vec!["meta iifname != lo meta oifname != lo".to_owned()],
            Self::Udp(port) => vec![format!("udp dport {port}"), format!("udp sport {port}")],
            Self::Tcp(port) => vec![format!("tcp dport {port}"), format!("tcp sport {port}")],
        }
    }
}

impl Host {
    /// Drops these packets silently until [`Host::heal`].
    pub fn cut(&self, traffic: Traffic) -> Result<()> {
        self.filter(traffic, "drop")
    }

    /// Drops `percent` of these packets at random until [`Host::heal`].
    pub fn lose(&self, traffic: Traffic, percent: u8) -> Result<()> {
        self.filter(traffic, &format!("numgen random mod 100 < {percent} drop"))
    }

    /// Undoes all cuts and losses of this host.
    pub fn heal(&self) -> Result<()> {
        self.nft(&format!("add table {TABLE}\ndelete table {TABLE}\n"))
    }

    fn filter(&self, traffic: Traffic, verdict: &str) -> Result<()> {
        let mut script = format!("add table {TABLE}\n");
        for hook in ["input", "output"] {
            script += &format!(
                "add chain {TABLE} {hook} {{ type filter hook {hook} priority -300; policy accept; }}\n"
            );
            for packets in traffic.matches() {
                script += &format!("add rule {TABLE} {hook} {packets} {verdict}\n");
            }
        }
        self.nft(&script)
    }

    /// This machine's own `nft`, in the host's network alone.
    fn nft(&self, script: &str) -> Result<()> {
        let mut command: Command = process::command("nsenter")?;
        command.arg(format!("--target={}", self.leader()?)).args(["--net", "nft", "-f", "-"]);
        let output = finish(&mut command, Some(script.as_bytes()))?;
        if !output.success() {
            bail!("nft on {}: {}", self.name(), output.stderr.trim());
        }
        Ok(())
    }
}
