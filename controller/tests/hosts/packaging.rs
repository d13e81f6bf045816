//! What the packages put on a host: units that systemd takes as they are, and rights as narrow as promised.

use anyhow::{Result, ensure};

use crate::hosts::Lab;

const UNITS: &[&str] = &[
    "/usr/lib/systemd/system/sysop-agent.service",
    "/usr/lib/systemd/system/sysop-executor.service",
    "/usr/lib/systemd/system/sysop-executor.socket",
    "/usr/lib/systemd/system/sysop-controller.service",
];

/// Paths and their owner, group and mode.
const RIGHTS: &[(&str, &str)] = &[
    ("/etc/sysop", "root root 755"),
    ("/run/sysop", "root sysop 1775"),
    ("/run/sysop/executor.sock", "root sysop 660"),
    ("/var/lib/sysop-agent", "sysop sysop 700"),
    ("/var/lib/sysop-executor", "root root 700"),
    ("/var/lib/sysop-controller", "sysop-controller sysop-controller 700"),
];

pub fn units_and_rights() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot("one")?;
    host.install_agent()?;
    host.install_controller()?;

    let mut verify = vec!["systemd-analyze", "verify"];
    verify.extend(UNITS);
    let verdict = host.run(&verify)?;
    ensure!(verdict.success() && verdict.stderr.trim().is_empty(), "systemd finds fault: {}", verdict.stderr);

    // The door opens only where an owner wrote a policy.
    host.check(&["systemctl", "start", "sysop-executor.socket"])?;
    ensure!(host.unit_state("sysop-executor.socket")? == "inactive", "the door is open without a policy");
    host.write("/etc/sysop/policy.toml", b"", 0o644)?;
    host.check(&["systemctl", "start", "sysop-executor.socket"])?;
    ensure!(host.unit_state("sysop-executor.socket")? == "active");

    for (path, rights) in RIGHTS {
        let found = host.check(&["stat", "--format=%U %G %a", path])?;
        ensure!(found == *rights, "{path} is {found}, not {rights}");
    }
    // Neither service may reach further than its unit says: not even a stranger's look into its state.
    for folder in ["/var/lib/sysop-agent", "/var/lib/sysop-executor", "/var/lib/sysop-controller"] {
        let look = host.run(&["runuser", "-u", "www-data", "--", "ls", folder])?;
        ensure!(!look.success(), "a stranger can list {folder}");
    }
    Ok(())
}

pub fn nginx_takes_the_example() -> Result<()> {
    let lab = Lab::new()?;
    let host = lab.boot("one")?;
    let certified = rcgen::generate_simple_self_signed(["sysop.example.org".to_owned()])?;
    host.write("/etc/ssl/sysop/fullchain.pem", certified.cert.pem().as_bytes(), 0o644)?;
    host.write("/etc/ssl/sysop/privkey.pem", certified.signing_key.serialize_pem().as_bytes(), 0o600)?;
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nginx/sysop.conf");
    host.copy_in(&example, "/etc/nginx/conf.d/sysop.conf", 0o644)?;
    host.check(&["nginx", "-t"])?;
    Ok(())
}
