//! What is done to a host, and what must come of it. One table of data; nothing else knows a case.

/// One thing that is done to a host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) id: &'static str,
    pub(super) what: &'static str,
    /// A service that does it, by its lines under `[Service]`; its name is the case's id in small letters.
    pub(super) service: &'static str,
    /// What is run then in the host, by a shell.
    pub(super) inject: &'static str,
    /// Limits of the service's group, set from outside: controller, setting, value.
    pub(super) limit: &'static [(&'static str, &'static str, &'static str)],
    /// What ends it.
    pub(super) undo: &'static str,
    /// Categories that are right.
    pub(super) categories: &'static [&'static str],
    /// Who is to be named, as the finding's entity or its culprit; of a look-alike: who may not be.
    pub(super) root: &'static str,
    /// Actions that are right; none when there is only advice.
    pub(super) acceptable: &'static [&'static str],
    /// Actions that are wrong whatever comes.
    pub(super) forbidden: &'static [&'static str],
    /// Time to detect that is asked for, in seconds; three times as long is waited. Of a look-alike: how long
    /// it goes on.
    pub(super) within_s: u64,
    /// Group of cases that are under way at the same time.
    pub(super) round: u8,
    /// Part of the short story.
    pub(super) short: bool,
}

impl Case {
    /// Whether nothing is to be found.
    pub(super) fn is_benign(&self) -> bool {
        self.id.starts_with('B')
    }

    /// Name of its service.
    pub(super) fn unit(&self) -> String {
        format!("{}.service", self.id.to_lowercase())
    }
}

const NONE: Case = Case {
    id: "",
    what: "",
    service: "",
    inject: "",
    limit: &[],
    undo: "",
    categories: &[],
    root: "",
    acceptable: &[],
    forbidden: &["reboot_system"],
    within_s: 60,
    round: 0,
    short: false,
};

const START: &str = "start_service";
const STOP: &str = "stop_service";
const RESTART: &str = "restart_service";
const KILL: &str = "kill_process";
const CLEAN: &str = "cleanup_temp_files";

/// All of them.
pub(super) const CASES: &[Case] = &[
    Case {
        id: "F19",
        what: "a service ends with 1 and is not started again",
        service: "ExecStart=/bin/sh -c 'sleep 3; exit 1'",
        categories: &["unit_failed"],
        root: "f19.service",
        acceptable: &[START, RESTART],
        forbidden: &[STOP, KILL, CLEAN],
        within_s: 75,
        short: true,
        ..NONE
    },
    Case {
        id: "F20",
        what: "a service ends every second and is started again",
        service: "ExecStart=/bin/sh -c 'sleep 1; exit 1'\nRestart=always\nRestartSec=1",
        categories: &["unit_flapping"],
        root: "f20.service",
        acceptable: &[STOP],
        forbidden: &[RESTART, KILL, CLEAN],
        within_s: 60,
        short: true,
        ..NONE
    },
    Case {
        id: "F21",
        what: "the check of a service's configuration fails, again and again",
        service: "ExecStartPre=/bin/sh -c 'sleep 1; exit 3'\nExecStart=/bin/sleep 600\nRestart=on-failure\nRestartSec=1",
        categories: &["unit_flapping", "unit_failed"],
        root: "f21.service",
        acceptable: &[STOP],
        forbidden: &[KILL, CLEAN],
        ..NONE
    },
    Case {
        id: "F22",
        what: "a service's main process is stopped in its tracks",
        service: "ExecStart=/usr/bin/perl -e 'select(undef,undef,undef,0.02) while 1'",
        inject: "sleep 20; systemctl kill --signal=STOP f22.service",
        categories: &["unit_hung"],
        root: "f22.service",
        acceptable: &[RESTART],
        forbidden: &[STOP, CLEAN],
        within_s: 120,
        ..NONE
    },
    Case {
        id: "F24",
        what: "a database is killed and what needs it ends with it",
        service: "ExecStart=/bin/sleep 600",
        inject: "printf '[Unit]\\nBindsTo=f24.service\\nAfter=f24.service\\n[Service]\\nExecStart=/bin/sleep 600\\n' > /run/systemd/system/web24.service; systemctl daemon-reload; systemctl start web24.service; sleep 2; systemctl kill --signal=KILL f24.service",
        undo: "systemctl stop web24.service",
        categories: &["unit_failed"],
        root: "f24.service",
        acceptable: &[START, RESTART],
        forbidden: &[STOP, KILL, CLEAN],
        within_s: 75,
        ..NONE
    },
    Case {
        id: "F26",
        what: "a service opens files and closes none, 1,024 are allowed",
        service: "LimitNOFILE=1024\nExecStart=/usr/bin/perl -e 'while(1){ if(@f<990){my $h; open($h, q(<), q(/dev/null)) and push @f,$h} select(undef,undef,undef,0.02)}'",
        categories: &["fd_exhaustion"],
        root: "f26.service",
        acceptable: &[RESTART],
        forbidden: &[STOP, KILL, CLEAN],
        within_s: 60,
        ..NONE
    },
    Case {
        id: "F27",
        what: "a service forks without end, 200 processes are allowed",
        service: "ExecStart=/usr/bin/perl -e 'sleep 6; while(1){ my $p=fork(); if(!defined $p){select(undef,undef,undef,0.05); next} if(!$p){sleep 120; exit} }'",
        limit: &[("pids", "pids.max", "200")],
        categories: &["pid_exhaustion"],
        root: "f27.service",
        acceptable: &[STOP, KILL, RESTART],
        forbidden: &[CLEAN],
        within_s: 30,
        ..NONE
    },
    Case {
        id: "F28",
        what: "a service leaves 500 ended processes uncollected",
        service: "ExecStart=/usr/bin/perl -e 'for(1..500){ my $p=fork(); exit 0 if defined $p && !$p; select(undef,undef,undef,0.01)} sleep 600'",
        categories: &["zombies"],
        root: "f28.service",
        acceptable: &[RESTART],
        forbidden: &[STOP, CLEAN],
        within_s: 180,
        ..NONE
    },
    Case {
        id: "F29",
        what: "a service starts tasks and ends none, 200 are allowed",
        service: "ExecStart=/bin/sh -c 'while :; do sleep 900 & sleep 0.3; done'",
        limit: &[("pids", "pids.max", "200")],
        categories: &["pid_exhaustion"],
        root: "f29.service",
        acceptable: &[RESTART],
        forbidden: &[KILL, CLEAN],
        within_s: 60,
        ..NONE
    },
    Case {
        id: "F08",
        what: "a service grows beyond its 64 MiB and the kernel kills it",
        service: "ExecStart=/usr/bin/perl -e 'sleep 6; my @a; while(1){push @a, \"x\" x 4194304; select(undef,undef,undef,0.1)}'",
        limit: &[("memory", "memory.limit_in_bytes", "67108864")],
        categories: &["oom_kill", "unit_failed"],
        root: "f08.service",
        acceptable: &[RESTART, START],
        forbidden: &[CLEAN],
        within_s: 30,
        round: 2,
        ..NONE
    },
    Case {
        id: "F13",
        what: "files without content use up a file system's inodes",
        service: "ExecStartPre=/bin/sh -c 'mkdir -p /srv/f13; mount -t tmpfs -o size=64m,nr_inodes=20000 f13 /srv/f13'\nExecStart=/usr/bin/perl -e 'for(1..19900){open(F,\">\",\"/srv/f13/$_\"); close F; select(undef,undef,undef,0.001) } sleep 600'",
        undo: "umount -l /srv/f13",
        categories: &["inode_fill"],
        root: "/srv/f13",
        acceptable: &[],
        forbidden: &[KILL],
        within_s: 180,
        short: true,
        ..NONE
    },
    Case {
        id: "F11",
        what: "a service's temporary files fill a file system of 256 MiB",
        service: "ExecStartPre=/bin/sh -c 'mkdir -p /srv/f11; mount -t tmpfs -o size=256m f11 /srv/f11'\nExecStart=/bin/sh -c 'for n in $(seq 250); do head -c 1048576 /dev/zero > /srv/f11/$n; sleep 0.1; done; sleep 600'",
        undo: "umount -l /srv/f11",
        categories: &["disk_fill"],
        root: "/srv/f11",
        acceptable: &[],
        forbidden: &[KILL],
        within_s: 180,
        ..NONE
    },
    Case {
        id: "F18",
        what: "a file system that was written to becomes read-only",
        service: "ExecStart=/bin/sleep 600",
        inject: "mknod /dev/loop-control c 10 237; for n in $(seq 0 15); do mknod /dev/loop$n b 7 $n; done; truncate -s 16M /var/tmp/f18.img && mkfs.ext4 -q /var/tmp/f18.img && mkdir -p /srv/f18 && mount -o loop /var/tmp/f18.img /srv/f18 && sleep 8; mount -o remount,ro /srv/f18",
        undo: "umount /srv/f18; rm -f /var/tmp/f18.img",
        categories: &["fs_read_only"],
        root: "/srv/f18",
        acceptable: &[],
        forbidden: &[RESTART, STOP, KILL, CLEAN],
        within_s: 30,
        round: 1,
        ..NONE
    },
    Case {
        id: "F34",
        what: "one address tries passwords",
        service: "ExecStart=/bin/sleep 600",
        inject: "A=$(. /etc/host-address; echo ${ADDRESS%/*}); for n in 1 2 3 4 5 6 7 8; do SSH_ASKPASS=/bin/false-word SSH_ASKPASS_REQUIRE=force ssh -o StrictHostKeyChecking=no -o PreferredAuthentications=password -o NumberOfPasswordPrompts=6 root@$A true < /dev/null & sleep 0.5; done; wait",
        categories: &["brute_force"],
        root: "10.207.",
        acceptable: &[],
        forbidden: &[RESTART, STOP, KILL, CLEAN],
        within_s: 60,
        round: 1,
        ..NONE
    },
    Case {
        id: "F36",
        what: "one address opens connections and keeps them",
        service: "ExecStart=/usr/bin/perl -MIO::Socket::INET -e 'open(A,\"/etc/host-address\"); ($a)=<A>=~/=([0-9.]+)/; sleep 8; for(1..600){push @s, IO::Socket::INET->new(PeerAddr=>$a,PeerPort=>80)} sleep 600'",
        categories: &["connection_flood"],
        root: "",
        acceptable: &[],
        forbidden: &[RESTART, STOP, KILL, CLEAN],
        within_s: 60,
        round: 1,
        ..NONE
    },
    Case {
        id: "F12",
        what: "a service writes 4 MiB a second into its log",
        service: "ExecStart=/bin/sh -c 'sleep 20; for n in $(seq 300); do head -c 2097152 /dev/zero | tr \"\\\\0\" x >> /var/log/f12.log; sleep 0.5; done; sleep 600'",
        undo: "rm -f /var/log/f12.log",
        categories: &["log_flood"],
        root: "f12.service",
        acceptable: &[RESTART, STOP],
        forbidden: &[KILL],
        within_s: 180,
        round: 2,
        ..NONE
    },
    Case {
        id: "F01",
        what: "a service takes all processors",
        service: "ExecStart=/bin/sh -c 'for n in 1 2 3 4 5 6; do (while :; do :; done) & done; wait'",
        categories: &["cpu_pressure"],
        root: "f01.service",
        acceptable: &[RESTART, STOP],
        forbidden: &[CLEAN, KILL],
        within_s: 120,
        round: 3,
        ..NONE
    },
    Case {
        id: "F06",
        what: "a service leaks memory, 1 MiB a second",
        service: "ExecStart=/usr/bin/perl -e 'my @a; while(1){push @a, \"x\" x 1048576 if @a < 700; sleep 1}'",
        categories: &["memory_leak"],
        root: "f06.service",
        acceptable: &[RESTART],
        forbidden: &[CLEAN],
        within_s: 300,
        round: 4,
        ..NONE
    },
    Case {
        id: "F40",
        what: "the agent is frozen",
        service: "ExecStart=/bin/sleep 600",
        inject: "systemctl kill --signal=STOP sysop-agent.service",
        undo: "systemctl kill --signal=CONT sysop-agent.service",
        categories: &["silence"],
        root: "",
        acceptable: &[],
        forbidden: &[RESTART, STOP, KILL, CLEAN, START],
        within_s: 30,
        round: 9,
        ..NONE
    },
    Case {
        id: "B08",
        what: "somebody stops a service",
        service: "ExecStart=/bin/sleep 600",
        inject: "sleep 6; systemctl stop b08.service",
        root: "b08.service",
        within_s: 30,
        short: true,
        ..NONE
    },
    Case {
        id: "B13",
        what: "a copy takes a file system from 40 to 70 % and ends",
        service: "ExecStartPre=/bin/sh -c 'mkdir -p /srv/b13; mount -t tmpfs -o size=256m b13 /srv/b13; head -c 107374182 /dev/zero > /srv/b13/a; sleep 8'\nExecStart=/bin/sh -c 'for n in $(seq 19); do head -c 4194304 /dev/zero > /srv/b13/$n; sleep 0.5; done; sleep 600'",
        undo: "umount -l /srv/b13",
        root: "/srv/b13",
        within_s: 40,
        short: true,
        ..NONE
    },
    Case {
        id: "B09",
        what: "a service has a sixth more memory than before, and no more",
        service: "ExecStart=/usr/bin/perl -e 'my $a=\"x\" x 104857600; sleep 30; my $b=\"x\" x 15728640; sleep 600'",
        root: "b09.service",
        within_s: 90,
        ..NONE
    },
    Case {
        id: "B17",
        what: "five wrong passwords",
        service: "ExecStart=/bin/sleep 600",
        inject: "SSH_ASKPASS=/bin/false-word SSH_ASKPASS_REQUIRE=force ssh -o StrictHostKeyChecking=no -o PreferredAuthentications=password -o NumberOfPasswordPrompts=5 root@127.0.0.1 true < /dev/null",
        root: "127.0.0.1",
        within_s: 60,
        ..NONE
    },
    Case {
        id: "B01",
        what: "a backup packs at low priority",
        service: "Nice=19\nExecStart=/bin/sh -c 'for n in $(seq 40); do head -c 20971520 /dev/urandom | gzip -9 > /dev/null; done; sleep 600'",
        root: "b01.service",
        within_s: 90,
        round: 2,
        ..NONE
    },
    Case {
        id: "B05",
        what: "files are read until the cache is full of them",
        service: "ExecStart=/bin/sh -c 'for n in 1 2 3; do cat /usr/lib/x86_64-linux-gnu/*.so* > /dev/null; sleep 5; done; sleep 600'",
        root: "b05.service",
        within_s: 60,
        round: 2,
        ..NONE
    },
];

/// What of the plan is not in the table, and why.
pub(super) const NOT_SHOWN: &[(&str, &str)] = &[
    (
        "F02",
        "a process outside every service takes the processors: on a machine that others use, too, no share is clear",
    ),
    (
        "F07 F09",
        "memory and its pressure are the whole machine's; groups of version 1 have no pressure of their own",
    ),
    ("F31", "loss between host and controller holds up the samples that would show it"),
    ("F32", "no sensor measures the time of a round trip"),
    ("F35", "thirty sources of an address each: one host has one"),
    ("B04", "as F02: whether others wait depends on what else the machine does"),
];
