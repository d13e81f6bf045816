//! The Debian root that all hosts share: made once by debootstrap, kept in a cache, never written to again.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::process::run;

/// Where roots are kept between runs.
const CACHE: &str = "/var/cache/sysop-test";

/// What a host has beside Debian's smallest base.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,openssh-server,iproute2,nginx-light,nftables,procps";

/// Raised when the recipe changes, so that older roots are made anew.
const RECIPE: u32 = 1;

/// Debian release of the hosts on machines that run no Debian.
const FALLBACK_SUITE: &str = "bookworm";

/// Units that only cost time in a host that lives for seconds.
const MASKED: &[&str] = &[
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "systemd-networkd.service",
    "systemd-networkd-wait-online.service",
    "systemd-resolved.service",
];

/// Gives `host0` the address that the lab wrote, at every boot.
const ADDRESS_UNIT: &str = "\
[Unit]
Description=Address of this test host
DefaultDependencies=no
Before=network.target

[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/etc/host-address
ExecStart=/usr/sbin/ip link set host0 up
ExecStart=/usr/sbin/ip address replace ${ADDRESS} dev host0

[Install]
WantedBy=sysinit.target
";

/// The folder in which a lab mounts what it needs; empty outside the lab's namespace.
pub(super) fn mount_point() -> Result<PathBuf> {
    let folder = Path::new(CACHE).join("lab");
    std::fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    Ok(folder)
}

/// The cached root, made first if need be (about a minute); safe to call from several processes.
///
/// It is of this machine's own Debian release, so that programs built here run in it.
pub(super) fn ensure() -> Result<PathBuf> {
    let suite = suite();
    let root = Path::new(CACHE).join(format!("{suite}-{RECIPE}"));
    std::fs::create_dir_all(CACHE).with_context(|| format!("could not create {CACHE}"))?;
    let lock = File::create(Path::new(CACHE).join("lock"))?;
    lock.lock().context("could not lock the cache of test roots")?;
    if !root.exists() {
        let making = Path::new(CACHE).join("making");
        if making.exists() {
            std::fs::remove_dir_all(&making).context("could not remove an unfinished test root")?;
        }
        eprintln!("making the root of the test hosts ({suite}), about a minute, once");
        make(&making, &suite)?;
        std::fs::rename(&making, &root)?;
    }
    Ok(root)
}

fn suite() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        release.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_matches('"'))
    };
    match (field("ID="), field("VERSION_CODENAME=")) {
        (Some("debian"), Some(codename)) => codename.to_owned(),
        _ => FALLBACK_SUITE.to_owned(),
    }
}

/// The package mirror that this machine itself uses for `suite`; without one debootstrap takes its default.
fn mirror(suite: &str) -> Option<String> {
    let listing =
        run("apt-get", &["indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"])
            .ok()?;
    listing.lines().find_map(|line| line.strip_prefix(suite)?.strip_prefix(' ').map(str::to_owned))
}

fn make(root: &Path, suite: &str) -> Result<()> {
    let include = format!("--include={PACKAGES}");
    let target = root.to_str().context("the cache's path is not UTF-8")?;
    let mirror = mirror(suite);
    let mut arguments = vec!["--variant=minbase", &include, suite, target];
    arguments.extend(mirror.as_deref());
    run("debootstrap", &arguments).context("could not make the root of the test hosts")?;

    let units = root.join("etc/systemd/system");
    for unit in MASKED {
        let link = units.join(unit);
        let _ = std::fs::remove_file(&link);
        symlink("/dev/null", link)?;
    }
    std::fs::write(units.join("host-address.service"), ADDRESS_UNIT)?;
    let wants = units.join("sysinit.target.wants");
    std::fs::create_dir_all(&wants)?;
    symlink("/etc/systemd/system/host-address.service", wants.join("host-address.service"))?;
    // Journals in memory: they end with the host, and the cached root stays as it is.
    std::fs::create_dir_all(root.join("etc/systemd/journald.conf.d"))?;
    std::fs::write(root.join("etc/systemd/journald.conf.d/test.conf"), "[Journal]\nStorage=volatile\n")?;
    Ok(())
}
