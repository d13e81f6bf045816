//! What the host is: facts that change with a reboot or a reconfiguration.

use std::net::IpAddr;
use std::path::Path;

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, Networks, RefreshKind, System};
use sysop_common::ids::{hex, sha256};
use sysop_common::wire::{Filesystem, Inventory};

use super::Roots;
use super::filesystem::{MAX_MOUNTS, mountinfo, mounts};
use super::network::is_shown;
use super::read::{KeptFile, read_once, read_word};
use super::sensor::clean;

/// Most addresses named.
const MAX_ADDRESSES: usize = 32;

/// Gathers the facts. What cannot be found out is empty; labels, catalogue and grants are the caller's.
pub(super) fn gather(roots: &Roots) -> Inventory {
    let refresh = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(refresh).ok();
    let cpus = system.as_ref().map(System::cpus).unwrap_or_default();
    let release = read_once(&roots.etc.join("os-release")).unwrap_or_default();
    Inventory {
        hostname: text(System::host_name().ok()),
        os: clean(release_field(&release, "PRETTY_NAME").as_bytes()),
        os_id: clean(release_field(&release, "ID").as_bytes()),
        kernel: text(System::kernel_version().ok()),
        arch: text(Some(System::cpu_arch())),
        cpu_model: text(cpus.first().map(|cpu| cpu.brand().to_owned())),
        cores: u32::try_from(cpus.len()).unwrap_or(u32::MAX),
        memory_bytes: system.as_ref().map_or(0, System::total_memory),
        virtualization: virtualization(roots).into(),
        boot_id: text(read_word(&roots.proc.join("sys/kernel/random/boot_id"))),
        machine: machine(&roots.etc),
        addresses: addresses(),
        filesystems: filesystems(roots),
        agent_version: env!("CARGO_PKG_VERSION").into(),
        ..Inventory::default()
    }
}

fn text(value: Option<String>) -> String {
    clean(value.unwrap_or_default().trim().as_bytes())
}

/// A field of `os-release`, without quotes. Escapes do not occur in the names that distributions give.
fn release_field(release: &str, name: &str) -> String {
    let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
}

/// systemd asks that a machine id stays on its machine, so only a keyed hash of it leaves.
fn machine(etc: &Path) -> String {
    let Some(id) = read_word(&etc.join("machine-id")) else { return String::new() };
    let mut digest = hex(&sha256(format!("sysop-machine\0{id}").as_bytes()));
    digest.truncate(16);
    digest
}

fn addresses() -> Vec<String> {
    let Ok(networks) = Networks::new_with_refreshed_list() else { return Vec::new() };
    let mut out: Vec<IpAddr> = networks
        .iter()
        .filter(|(name, _)| name.to_str().is_some_and(is_shown))
        .flat_map(|(_, data)| data.ip_networks().iter().map(|network| network.addr))
        .filter(|address| match address {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
        })
        .collect();
    out.sort_unstable();
    out.dedup();
    out.truncate(MAX_ADDRESSES);
    out.iter().map(ToString::to_string).collect()
}

fn filesystems(roots: &Roots) -> Vec<Filesystem> {
    let mut file = KeptFile::new(mountinfo(&roots.proc));
    let mounts = file.read().and_then(|text| mounts::parse(text, MAX_MOUNTS)).unwrap_or_default();
    mounts::without_files(mounts, &roots.root)
        .into_iter()
        .map(|mount| Filesystem { mount: mount.label, device: mount.device, fstype: mount.fstype })
        .collect()
}

/// What the firmware calls itself, by beginning of its vendor's or product's name.
const FIRMWARE: [(&str, &str); 13] = [
    ("KVM", "kvm"),
    ("QEMU", "kvm"),
    ("Amazon EC2", "amazon"),
    ("Google", "google"),
    ("VMware", "vmware"),
    ("VirtualBox", "oracle"),
    ("innotek", "oracle"),
    ("Xen", "xen"),
    ("HVM domU", "xen"),
    ("Virtual Machine", "microsoft"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("OpenStack", "kvm"),
];

/// The innermost layer: a container before the virtual machine that it runs in.
fn virtualization(roots: &Roots) -> &'static str {
    if let Some(container) = read_word(&roots.run.join("systemd/container")) {
        return match container.as_str() {
            "docker" => "docker",
            "podman" => "podman",
            "lxc" | "lxc-libvirt" => "lxc",
            "systemd-nspawn" => "systemd-nspawn",
            _ => "container",
        };
    }
    if roots.root.join(".dockerenv").exists() {
        return "docker";
    }
    let dmi = roots.sys.join("class/dmi/id");
    let names: Vec<String> = ["product_name", "sys_vendor", "bios_vendor"]
        .iter()
        .filter_map(|file| read_word(&dmi.join(file)))
        .collect();
    for (name, kind) in FIRMWARE {
        if names.iter().any(|found| found.starts_with(name)) {
            return kind;
        }
    }
    let cpuinfo = read_once(&roots.proc.join("cpuinfo")).unwrap_or_default();
    let mut flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
    let hypervisor = flags.next().is_some_and(|line| line.split(' ').any(|flag| flag == "hypervisor"));
    if hypervisor { "vm" } else { "none" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_this_host_agree_with_the_kernel() {
        let facts = gather(&Roots::default());
        let kernel = read_word(Path::new("/proc/sys/kernel/osrelease")).unwrap();
        assert_eq!(facts.kernel, kernel);
        assert_eq!(facts.hostname, read_word(Path::new("/proc/sys/kernel/hostname")).unwrap());
        assert_eq!(facts.boot_id.len(), 36);
        assert_eq!(facts.arch, std::env::consts::ARCH);
        assert_eq!(facts.cores as usize, std::thread::available_parallelism().unwrap().get());
        let meminfo = read_once(Path::new("/proc/meminfo")).unwrap();
        let kib: u64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert_eq!(facts.memory_bytes, kib * 1024);
        assert!(facts.filesystems.iter().any(|filesystem| filesystem.mount == "/"));
    }

    #[test]
    fn machine_id_stays_on_the_machine() {
        let etc = tempfile::tempdir().unwrap();
        assert_eq!(machine(etc.path()), "");
        std::fs::write(etc.path().join("machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
        let first = machine(etc.path());
        assert_eq!(first.len(), 16);
        assert!(!"0123456789abcdef0123456789abcdef".contains(&first));
    }

    #[test]
    fn release_names_are_unquoted() {
        let release = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=x\nVERSION_ID='12'\nID=debian\n";
        assert_eq!(release_field(release, "PRETTY_NAME"), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(release_field(release, "ID"), "debian");
        assert_eq!(release_field(release, "NONE"), "");
    }
}
