//! The rules as data: who may use whom, what is confined where, how large a file may grow, what the top level holds.
//!
//! Change a row here, with its reason, when the design changes; never work around one in the code.

/// A module of a crate and the sibling modules it may use. `common` is free to everyone.
pub(crate) struct Edge {
    pub(crate) module: &'static str,
    pub(crate) may_use: &'static [&'static str],
}

/// The rules of one crate of the product.
pub(crate) struct Crate {
    pub(crate) folder: &'static str,
    /// Modules that wire the crate together: they may use all of it, and nobody but each other may use them.
    pub(crate) wiring: &'static [&'static str],
    /// Small grounds that every module may stand on.
    pub(crate) ground: &'static [&'static str],
    pub(crate) edges: &'static [Edge],
}

/// The crates whose inner edges are checked.
pub(crate) const CRATES: &[Crate] = &[
    Crate {
        folder: "agent",
        wiring: &["lib", "main", "cli", "run"],
        ground: &["config"],
        edges: &[
            Edge { module: "identity", may_use: &[] },
            Edge { module: "enrol", may_use: &["identity", "link", "guard"] },
            Edge { module: "sample", may_use: &[] },
            Edge { module: "spool", may_use: &[] },
            Edge { module: "guard", may_use: &[] },
            Edge { module: "journal", may_use: &["guard"] },
            // Of guard only the facts that it gathers for the decision.
            Edge { module: "execute", may_use: &["guard", "journal"] },
            Edge { module: "executor", may_use: &["guard", "journal", "execute"] },
            Edge { module: "link", may_use: &["spool"] },
            Edge { module: "query", may_use: &["sample", "guard"] },
            // Of sample the board that its results stand on, and the host's name servers.
            Edge { module: "probe", may_use: &["sample", "guard"] },
        ],
    },
    Crate {
        folder: "controller",
        wiring: &["lib", "main", "cli", "quickstart", "run"],
        ground: &["clock", "config", "observe", "wake"],
        edges: &[
            Edge { module: "store", may_use: &[] },
            Edge { module: "ssh", may_use: &[] },
            Edge { module: "live", may_use: &[] },
            Edge { module: "identity", may_use: &["store"] },
            Edge { module: "audit", may_use: &["store", "identity"] },
            Edge { module: "link", may_use: &["identity"] },
            Edge { module: "ingest", may_use: &["link", "ssh", "store", "live"] },
            Edge { module: "rules", may_use: &["store"] },
            Edge { module: "analyse", may_use: &["store", "audit", "rules"] },
            Edge { module: "notify", may_use: &["store"] },
            // Of analyse the way in for findings, of link the way to the hosts that run probes.
            Edge { module: "probe", may_use: &["store", "audit", "analyse", "link"] },
            Edge { module: "decide", may_use: &["store", "audit", "rules"] },
            Edge { module: "dispatch", may_use: &["store", "link", "ssh", "identity", "audit", "decide"] },
            Edge {
                module: "web",
                may_use: &["store", "live", "identity", "audit", "decide", "probe", "rules"],
            },
        ],
    },
];

/// A dependency, or a part of the standard library, that only the named places may use.
pub(crate) struct Confined {
    /// Path prefixes that are confined, each as it stands in source.
    pub(crate) what: &'static [&'static str],
    /// The folders and files (without `.rs`) that may.
    pub(crate) only_in: &'static [&'static str],
    pub(crate) why: &'static str,
}

/// What is confined, and where to.
pub(crate) const CONFINED: &[Confined] = &[
    Confined {
        what: &["quinn"],
        only_in: &["agent/src/link", "controller/src/link"],
        why: "the link is the only way between a host and the controller",
    },
    Confined {
        what: &["sqlx"],
        only_in: &["controller/src/store"],
        why: "a second SQL dialect must stay one folder's matter",
    },
    Confined {
        what: &["axum", "maud", "tower", "tower_http", "utoipa"],
        only_in: &["controller/src/web"],
        why: "no other step may know that a browser exists",
    },
    Confined { what: &["sysinfo"], only_in: &["agent/src/sample"], why: "sensors are the sampler's" },
    Confined {
        what: &["std::process::Command", "tokio::process"],
        only_in: &["agent/src/execute", "agent/build", "controller/build", "xtask"],
        why: "a process starts only behind guard and journal",
    },
    Confined {
        what: &["redis"],
        only_in: &["controller/src/live"],
        why: "Redis is a cache of live values, never the truth",
    },
    Confined {
        what: &["russh"],
        only_in: &["controller/src/ssh"],
        why: "hosts without an agent are one step's matter",
    },
    Confined {
        what: &["async_openai", "reqwest", "tower_service"],
        only_in: &["controller/src/analyse/model"],
        why: "requests that leave with a key are made, and what comes back is judged, in one place",
    },
    Confined {
        what: &["sysop_agent"],
        // One engine of probes: two would be two answers to one question.
        only_in: &["controller/src/quickstart", "controller/src/probe/engine", "agent/src/main"],
        why: "agent and controller meet on the wire",
    },
];

/// Files that decide by their arguments alone, so that a decision can be replayed on recorded input.
pub(crate) struct Pure {
    /// Folders and files (without `.rs`).
    pub(crate) places: &'static [&'static str],
    /// Paths, or ends of paths, that they may not name.
    pub(crate) may_not_use: &'static [&'static str],
}

/// Where purity is asked for.
pub(crate) const PURE: &[Pure] = &[
    Pure {
        places: &["common/src"],
        may_not_use: &[
            "tokio",
            "std::fs",
            "std::net::TcpStream",
            "std::net::UdpSocket",
            "SystemTime::now",
            "Instant::now",
        ],
    },
    Pure {
        places: &["agent/src/guard/check", "agent/src/link/state"],
        may_not_use: &["tokio", "std::fs", "SystemTime::now", "Instant::now"],
    },
    Pure {
        places: &[
            "controller/src/analyse/baseline",
            "controller/src/analyse/budget",
            "controller/src/analyse/rules",
            "controller/src/analyse/statistics",
            "controller/src/decide/budget",
            "controller/src/decide/risk",
            "controller/src/decide/policy",
            "controller/src/decide/plan",
            "controller/src/decide/wave",
            "controller/src/decide/approval",
        ],
        may_not_use: &["tokio", "std::fs", "SystemTime::now", "Instant::now", "crate::store"],
    },
];

/// Where SQL may be written.
pub(crate) const SQL_ONLY_IN: &[&str] = &["controller/src/store", "migrations"];

/// A source file outside tests may have this many lines.
pub(crate) const MAX_LINES: usize = 400;

/// What may stand at the top of the repository.
pub(crate) const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".dockerignore",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "agent",
    "clippy.toml",
    "common",
    "controller",
    "deny.toml",
    "deploy",
    "docs",
    "migrations",
    "packaging",
    "rustfmt.toml",
    "xtask",
];

/// Packages that may never be resolved: a second TLS or crypto stack, or RSA with its timing leak.
pub(crate) const BANNED_PACKAGES: &[&str] = &["aws-lc-rs", "aws-lc-sys", "openssl-sys", "native-tls", "rsa"];

/// Packages of which there may be one version only, because two would mean two trust decisions.
pub(crate) const SINGLE_PACKAGES: &[&str] = &["rustls", "ring", "quinn", "reqwest", "sqlx"];

/// The oldest versions without a known hole (package, first sound version).
pub(crate) const FLOORS: &[(&str, &str)] = &[
    ("bytes", "1.11.1"),
    ("h2", "0.4.16"),
    ("quinn-proto", "0.11.15"),
    ("ring", "0.17.12"),
    ("russh", "0.65.0"),
    ("rustls", "0.23.46"),
    ("rustls-webpki", "0.103.13"),
    ("sqlx", "0.8.1"),
    ("time", "0.3.47"),
    ("tracing-subscriber", "0.3.20"),
];
