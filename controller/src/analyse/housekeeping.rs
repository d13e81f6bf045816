//! Work that a host is meant to do now and then: package managers, backups, deployments. While such a
//! service or process is behind a soft finding, nobody is told; anything else on the host still counts.

use sysop_common::finding::{Category, Culprit, Finding};
use sysop_common::grant::matches_pattern;
use sysop_common::time::{HOUR_MS, UnixMs};

/// What takes longer than this is no longer what it is meant to be.
const LONGEST_MS: i64 = 4 * HOUR_MS;
/// Services.
const UNITS: &[&str] = &[
    "apt-daily*",
    "unattended-upgrades*",
    "packagekit*",
    "dnf-*",
    "yum-*",
    "snapd*",
    "man-db*",
    "logrotate*",
    "*backup*",
    "restic*",
    "borg*",
    "duplicity*",
    "rsnapshot*",
    "bacula*",
    "pgbackrest*",
    "mlocate*",
    "plocate*",
    "updatedb*",
    "fstrim*",
    "e2scrub*",
    "btrfs-scrub*",
    "mdcheck*",
    "sysstat*",
    "certbot*",
    "ansible*",
    "puppet*",
    "chef-client*",
    "deploy*",
    "salt-minion*",
    "dpkg-db*",
];
/// Processes that belong to no service, by the kernel's short name.
const PROCESSES: &[&str] = &[
    "apt",
    "apt-get",
    "dpkg",
    "dnf",
    "yum",
    "rpm",
    "zypper",
    "pacman",
    "snap",
    "restic",
    "borg",
    "rsync",
    "duplicity",
    "tar",
    "pigz",
    "pg_dump",
    "mysqldump",
    "mariadb-dump",
    "mongodump",
    "logrotate",
    "updatedb",
    "mandb",
    "fstrim",
    "ansible*",
    "cc1*",
    "rustc",
    "cargo",
    "make",
    "ninja",
];

/// Whether a soft finding is only about such work, and has not been for too long.
pub(super) fn excuses(finding: &Finding, now: UnixMs) -> bool {
    // Memory that runs out hurts everybody, whoever takes it.
    let bearable = matches!(finding.category, Category::CpuPressure | Category::IoPressure);
    bearable && now.since(finding.onset) < LONGEST_MS && finding.culprit.as_ref().is_some_and(is_expected)
}

fn is_expected(culprit: &Culprit) -> bool {
    let any = |patterns: &[&str], name: &str| patterns.iter().any(|pattern| matches_pattern(pattern, name));
    match culprit {
        Culprit::Unit { unit, .. } => any(UNITS, unit),
        Culprit::Process { comm, .. } => any(PROCESSES, comm),
        Culprit::Diffuse { .. } => false,
    }
}
