//! The first messages of a session, and what a host says of itself.

use serde::{Deserialize, Serialize};

use crate::grant::Grants;
use crate::ids::{ControllerId, Epoch, Seq};
use crate::time::UnixMs;

/// Version of the protocol that this build speaks.
pub const VERSION: u16 = 1;

/// The agent's first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest version that it speaks.
    pub version_min: u16,
    /// Newest version that it speaks.
    pub version_max: u16,
    /// Version of the agent, for people.
    pub agent_version: String,
    /// Optional parts of the protocol that it speaks.
    pub features: Vec<String>,
    /// Its epoch.
    pub epoch: Epoch,
    /// The epoch before this one, if its state survived.
    pub previous: Option<PreviousEpoch>,
    /// The kernel's boot id.
    pub boot_id: String,
    /// The number that its next sample will have.
    pub next_seq: Seq,
    /// Its wall clock when this was sent.
    pub clock: UnixMs,
}

/// What an agent knows of its life before the last start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// The last number that was written to the spool.
    pub last_seq: Seq,
    /// Time of that sample.
    pub last_at: UnixMs,
}

/// The controller's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that both speak.
    pub version: u16,
    /// The features that both speak.
    pub features: Vec<String>,
    /// Who answers.
    pub controller: ControllerId,
    /// For each epoch named in the hello, the last number that is stored.
    pub stored: Vec<(Epoch, Seq)>,
    /// Interval between samples, in ms. The agent bounds it by its own settings.
    pub interval_ms: u32,
    /// Window over which reconnects are spread, in ms.
    pub reconnect_window_ms: u32,
    /// The controller's clock when this was sent.
    pub clock: UnixMs,
}

/// The version that both sides speak, if there is one: the newest.
#[must_use]
pub fn negotiate(ours: (u16, u16), theirs: (u16, u16)) -> Option<u16> {
    let version = ours.1.min(theirs.1);
    (version >= ours.0 && version >= theirs.0).then_some(version)
}

/// What a host is. Sent at the start of a session and when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Inventory {
    /// Host name.
    pub hostname: String,
    /// `PRETTY_NAME` of os-release.
    pub os: String,
    /// `ID` of os-release.
    pub os_id: String,
    /// Kernel release.
    pub kernel: String,
    /// `x86_64`, `aarch64`, …
    pub arch: String,
    /// CPU model.
    pub cpu_model: String,
    /// Logical cores.
    pub cores: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// `kvm`, `lxc`, `none`, …
    pub virtualization: String,
    /// Kernel's boot id.
    pub boot_id: String,
    /// First 16 hexadecimal digits of a keyed hash of the machine id.
    pub machine: String,
    /// Addresses, without loopback and link-local ones.
    pub addresses: Vec<String>,
    /// File systems.
    pub filesystems: Vec<Filesystem>,
    /// Labels that the agent announces, `host.…`: for display and selection only.
    pub labels: Vec<(String, String)>,
    /// Version of the agent.
    pub agent_version: String,
    /// Catalogue entries that the agent knows: name and version.
    pub catalogue: Vec<(String, u16)>,
    /// What the owner allows.
    pub grants: Grants,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Filesystem {
    /// Where it is mounted.
    pub mount: String,
    /// What is mounted.
    pub device: String,
    /// Its type.
    pub fstype: String,
}
