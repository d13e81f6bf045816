//! Which mounts are worth a look: real file systems, each once.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::sample::read::{Line, ReadError, Text};
use crate::sample::sensor::clean;

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Mount point as it is shown.
    pub(crate) label: String,
    /// Mount point as the kernel takes it.
    pub(crate) path: PathBuf,
    /// Device, share or pool.
    pub(crate) device: String,
    pub(crate) fstype: String,
    /// Major and minor number.
    pub(crate) dev: (u32, u32),
    /// Whether the mounted part is the file system's root.
    whole: bool,
    pub(crate) read_only: bool,
    /// Whether a look can hang for as long as somebody else's machine likes.
    pub(crate) remote: bool,
}

/// Types that never fill, or that hold what is counted elsewhere.
const LEFT_OUT: [&str; 9] = [
    "squashfs",
    "iso9660",
    "udf",
    "erofs",
    "cramfs",
    "fuse.lxcfs",
    "fuse.gvfsd-fuse",
    "fuse.portal",
    "fuse.snapfuse",
];
const LOCAL: [&str; 14] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "vfat", "exfat", "ntfs3", "jfs",
    "nilfs2", "virtiofs",
];
const REMOTE: [&str; 14] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "glusterfs",
    "9p",
    "afs",
    "lustre",
    "beegfs",
    "gpfs",
    "ocfs2",
    "gfs2",
];
/// Below these there are no file systems that people fill.
const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];
/// Below these, memory file systems and overlays belong to containers and logins.
const CONTAINERS: [&str; 5] =
    ["/run", "/var/lib/docker", "/var/lib/containers", "/var/lib/containerd", "/var/lib/kubelet"];

impl Mount {
    /// One line of `mountinfo`; `None` for what is not worth a look.
    fn parse(line: &mut Line<'_>) -> Result<Option<Self>, ReadError> {
        let whole_line = *line;
        let missing = || whole_line.bad("mount", whole_line.rest);
        line.number("mount id")?;
        line.number("parent id")?;
        let dev = line.word().and_then(device_number).ok_or_else(missing)?;
        let root = line.word().ok_or_else(missing)?;
        let path = unescape(line.word().ok_or_else(missing)?);
        let options = line.word().ok_or_else(missing)?;
        while line.word().ok_or_else(missing)? != b"-" {}
        let fstype = clean(line.word().ok_or_else(missing)?);
        let device = clean(&unescape(line.word().ok_or_else(missing)?));
        let super_options = line.word().unwrap_or_default();
        let mount = Self {
            label: clean(&path),
            path: PathBuf::from(OsString::from_vec(path)),
            // Behind `fuse` and `fuseblk` is a program of this host, which can hang like a server.
            remote: REMOTE.contains(&fstype.as_str()) || fstype.starts_with("fuse"),
            device,
            fstype,
            dev,
            whole: root == b"/",
            read_only: has(options, &[b"ro"]) || has(super_options, STOPPED),
        };
        Ok(mount.is_shown().then_some(mount))
    }

    fn is_shown(&self) -> bool {
        let below = |roots: &[&str]| roots.iter().any(|root| self.path.starts_with(root));
        if LEFT_OUT.contains(&self.fstype.as_str()) {
            return false;
        }
        match self.fstype.as_str() {
            "tmpfs" | "ramfs" if self.read_only => false,
            "tmpfs" => {
                matches!(self.label.as_str(), "/run" | "/dev/shm") || !(below(&SYSTEM) || below(&CONTAINERS))
            }
            "overlay" => self.label == "/",
            // A part of a file system, mounted for a container.
            fstype if !self.whole && fstype != "btrfs" && below(&CONTAINERS) => false,
            fstype => {
                !below(&SYSTEM)
                    && (LOCAL.contains(&fstype) || self.remote || self.device.starts_with("/dev/"))
            }
        }
    }

    /// Which of two mounts of one file system is shown: smaller is better. Subvolumes are no roots.
    fn rank(&self) -> (bool, usize) {
        (!self.whole && self.fstype != "btrfs", self.label.len())
    }
}

/// Super block options that say that nothing can be written: plainly read-only, or, since Linux 6.15,
/// stopped by ext4 after an error while the mount still calls itself writable.
const STOPPED: &[&[u8]] = &[b"ro", b"emergency_ro", b"shutdown"];

fn has(options: &[u8], wanted: &[&[u8]]) -> bool {
    options.split(|b| *b == b',').any(|option| wanted.contains(&option))
}

fn device_number(word: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(word).ok()?;
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if first == b'\\' => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        out.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    out
}

/// The mounts worth a look, at most `cap`, by mount point. Each file system once, and each mount point
/// as what covers it now.
pub(crate) fn parse(text: Text<'_>, cap: usize) -> Result<Vec<Mount>, ReadError> {
    let mut seen: Vec<Mount> = Vec::new();
    for mut line in text.lines().filter(|line| !line.rest.is_empty()) {
        let covered = mount_point(line);
        seen.retain(|mount| mount.path.as_os_str().as_encoded_bytes() != covered);
        seen.extend(Mount::parse(&mut line)?);
    }
    let mut mounts: Vec<Mount> = Vec::new();
    for mount in seen {
        match mounts.iter_mut().find(|known| known.dev == mount.dev) {
            Some(known) if mount.rank() < known.rank() => *known = mount,
            Some(_) => {}
            None => mounts.push(mount),
        }
    }
    mounts.sort_by(|a, b| a.path.cmp(&b.path));
    mounts.truncate(cap);
    Ok(mounts)
}

/// Leaves out local mounts of single files, as containers have them for `/etc/hosts`.
/// Afterwards the paths lead below `root`.
pub(crate) fn without_files(mut mounts: Vec<Mount>, root: &Path) -> Vec<Mount> {
    for mount in &mut mounts {
        let path = mount.path.strip_prefix("/").map(|path| root.join(path));
        mount.path = path.unwrap_or_else(|_| mount.path.clone());
    }
    mounts.retain(|mount| mount.remote || mount.whole || !mount.path.is_file());
    mounts
}

/// The fifth word, as bytes of a path.
fn mount_point(mut line: Line<'_>) -> Vec<u8> {
    unescape((0..5).map_while(|_| line.word()).nth(4).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Vec<String> {
        let path = Path::new("mountinfo");
        parse(Text::new(path, text.as_bytes()), 64).unwrap().into_iter().map(|m| m.label).collect()
    }

    #[test]
    fn pseudo_bind_and_covered_mounts_are_left_out() {
        let text = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
28 27 254:0 /var/www /srv/www rw,relatime - ext4 /dev/vda rw
29 27 254:16 / /data rw,relatime shared:1 master:2 - xfs /dev/vdb rw
30 27 254:16 /x /d rw,relatime - xfs /dev/vdb rw
31 27 0:40 / /with\\040blank rw - ext4 /dev/vdc rw
32 27 0:41 / /tmp rw - tmpfs tmpfs rw
33 27 0:42 / /run/user/1000 rw - tmpfs tmpfs rw
34 27 0:43 / /var/lib/docker/overlay2/a/merged rw - overlay overlay rw
35 27 0:44 / /mnt/nfs rw - nfs4 server:/share rw
36 27 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro
38 27 254:48 /etc/x /run/host/incoming rw,relatime - ext4 /dev/vde rw
37 27 254:32 / /data rw,relatime - ext4 /dev/vdd rw
";
        assert_eq!(labels(text), ["/", "/d", "/data", "/mnt/nfs", "/tmp", "/with blank"]);
    }

    #[test]
    fn what_a_program_serves_is_looked_at_like_a_server() {
        let line = |fstype: &str| format!("27 1 0:50 / /mnt/usb rw - {fstype} /dev/sdb1 rw\n");
        let remote = |fstype| parse(Text::new(Path::new("m"), line(fstype).as_bytes()), 9).unwrap()[0].remote;
        assert!(remote("fuseblk") && remote("fuse.sshfs") && !remote("ext4"));
    }

    #[test]
    fn stopped_file_systems_are_read_only() {
        let line = |mount: &str, sb: &str| {
            format!("27 1 254:0 / / {mount},relatime - ext4 /dev/vda {sb},errors=remount-ro\n")
        };
        let read_only =
            |mount, sb| parse(Text::new(Path::new("m"), line(mount, sb).as_bytes()), 9).unwrap()[0].read_only;
        assert!(!read_only("rw", "rw"));
        assert!(read_only("rw", "ro"));
        assert!(read_only("ro", "rw"));
        assert!(read_only("rw", "rw,emergency_ro"));
    }

    #[test]
    fn torn_and_foreign_lines_are_errors_not_panics() {
        for bad in ["27", "27 1 254:0 / / rw", "27 1 254:0 / / rw - ext4", "x", "27 1 254 / / rw - e d rw"] {
            assert!(parse(Text::new(Path::new("m"), bad.as_bytes()), 9).is_err(), "{bad}");
        }
        assert_eq!(unescape(br"a\040b\\\04"), br"a b\\\04");
    }
}
