//! What no policy can allow: without these a host is lost to the people who would mend it.

use sysop_common::grant::matches_pattern;

/// Units that no action may touch, nor drag along. Patterns over unit ids and all their names.
const UNITS: &[&str] = &[
    // The init system and its parts: reboot, halt, sleep, log-in, network, name resolution, clock, devices.
    "systemd-*",
    "init.scope",
    "initrd-*",
    "*.mount",
    "*.swap",
    "*.device",
    "*.slice",
    // Consoles and rescue.
    "rescue.*",
    "emergency.*",
    "debug-shell.service",
    "getty@*",
    "serial-getty@*",
    "console-getty.service",
    "container-getty@*",
    "autovt@*",
    // Log-in and message bus.
    "ssh.*",
    "ssh@*",
    "sshd.*",
    "sshd@*",
    "sshd-*",
    "ssh-*",
    "dropbear*",
    "dbus.*",
    "dbus-broker.*",
    "dbus-org.*",
    "polkit.service",
    "user@*",
    "user-runtime-dir@*",
    "session-*",
    // The way to the host.
    "network.service",
    "networking.service",
    "network-manager.service",
    "NetworkManager*",
    "ifup@*",
    "ifupdown*",
    "netplan*",
    "wicked*",
    "connman*",
    "iwd.service",
    "wpa_supplicant*",
    "dhcpcd*",
    "dhclient*",
    "cloud-init*",
    "cloud-config.service",
    "cloud-final.service",
    "wg-quick@*",
    "tailscaled.service",
    "zerotier-one.service",
    "nebula*",
    "openvpn*",
    "strongswan*",
    "ipsec.*",
    "frr.service",
    "bird.service",
    "bird6.service",
    "keepalived.service",
    "nftables.service",
    "iptables.service",
    "ip6tables.service",
    "ebtables.service",
    "ipset.service",
    "netfilter-persistent.service",
    "firewalld.service",
    "shorewall*",
    "ufw.service",
    // What disks hang on.
    "lvm2-*",
    "dm-event.*",
    "multipathd.*",
    "mdmonitor.service",
    "iscsi.service",
    "iscsi-*",
    "iscsid.*",
    "open-iscsi.service",
    "zfs-*",
    "blk-availability.service",
    "drbd*",
    "stratis*",
    "cryptdisks*",
    // What reboots the host, when it runs or when it ends.
    "kexec*",
    "fwupd-offline-update.service",
    "packagekit-offline-update.service",
    "system-update*",
    "watchdog.service",
    "wd_keepalive.service",
    "sbd.service",
    "corosync*",
    "pacemaker*",
    // The record of what happened.
    "auditd.service",
    // This program.
    "sysop-agent*",
    "sysop-executor*",
    // Targets that hold a host up.
    "basic.target",
    "sysinit.target",
    "local-fs*.target",
    "remote-fs*.target",
    "network*.target",
    "multi-user.target",
    "graphical.target",
    "default.target",
    "getty.target",
    "sockets.target",
    "timers.target",
    "paths.target",
    "slices.target",
    "swap.target",
    "cryptsetup*.target",
    "shutdown.target",
    "reboot.target",
    "poweroff.target",
    "halt.target",
    "kexec.target",
    "final.target",
    "umount.target",
    "exit.target",
    "suspend*.target",
    "sleep.target",
    "hibernate*.target",
    "hybrid-sleep.target",
    "ctrl-alt-del.target",
    "runlevel*.target",
];

/// Short names of processes that are never ended, wherever they run.
const PROCESSES: &[&str] = &[
    "init",
    "systemd*",
    "(sd-pam)",
    "sshd*",
    "dropbear",
    "dbus-daemon",
    "dbus-broker*",
    "polkitd",
    "NetworkManager",
    "wpa_supplicant",
    "dhclient",
    "dhcpcd",
    "agetty",
    "login",
    "auditd",
    "multipathd",
    "dmeventd",
    "iscsid",
    "sysop-agent*",
    "sysop-executor*",
];

/// The pattern that protects `unit`, if one does.
#[must_use]
pub fn unit(unit: &str) -> Option<&'static str> {
    UNITS.iter().find(|pattern| matches_pattern(pattern, unit)).copied()
}

/// The pattern that protects processes with this short name, if one does.
#[must_use]
pub fn process(comm: &str) -> Option<&'static str> {
    PROCESSES.iter().find(|pattern| matches_pattern(pattern, comm)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_a_host_up_is_protected_and_what_it_serves_is_not() {
        for name in [
            "ssh.service",
            "sshd.service",
            "ssh@7-10.0.0.1:22-10.0.0.2:999.service",
            "systemd-journald.service",
            "systemd-reboot.service",
            "systemd-logind.service",
            "dbus.service",
            "dbus-org.freedesktop.login1.service",
            "NetworkManager.service",
            "NetworkManager-dispatcher.service",
            "networking.service",
            "getty@tty1.service",
            "rescue.service",
            "emergency.service",
            "debug-shell.service",
            "sysop-agent.service",
            "sysop-executor.service",
            "sysop-executor@1.service",
            "user@1000.service",
            "blk-availability.service",
            "iscsi.service",
            "openvpn-server@office.service",
            "strongswan-starter.service",
            "packagekit-offline-update.service",
            "kexec-load.service",
            "cryptdisks-early.service",
            "-.mount",
            "multi-user.target",
        ] {
            assert!(unit(name).is_some(), "{name}");
        }
        for name in
            ["nginx.service", "mysql.service", "php8.2-fpm.service", "sysop-controller.service", "app.target"]
        {
            assert_eq!(unit(name), None, "{name}");
        }
        assert!(process("sshd").is_some() && process("systemd-journal").is_some());
        assert!(process("nginx").is_none() && process("java").is_none());
    }
}
