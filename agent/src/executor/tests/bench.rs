//! A host on which actions append a line to a file, and a controller that may sign orders for it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
};
use sysop_common::action::{Action, Risk};
use sysop_common::bytes::Digest;
use sysop_common::ids::{HostId, OrderId};
use sysop_common::order::{DispatchKey, ORDER_VERSION, Order, Origin, SignedOrder, dispatch_usage_oid};
use sysop_common::time::UnixMs;
use uuid::Uuid;

use super::super::core::Core;
use super::super::probe::{NoProbe, Probe};
use super::super::serve::Options;
use super::super::{Paths, prepare};
use crate::execute::Tools;
use crate::execute::runner::{Invocation, Output, Ran, RunError, Runner};
use crate::journal::{Clock, Stamp, SystemClock};

pub(super) const POLICY: &str = "\
[limits]
actions_per_hour = 60
protected = [\"own.service\"]
[[allow]]
action = \"restart_service\"
units = [\"u*.service\", \"slow.service\", \"fails.service\", \"own.service\"]
automatic = true
[[allow]]
action = \"stop_service\"
units = [\"*\"]
";

/// Pretends to be systemd: every unit has failed, and a restart appends the unit's name to a file.
pub(super) struct Appender {
    pub(super) effects: PathBuf,
}

impl Runner for Appender {
    fn run(&self, invocation: &Invocation) -> Result<Ran, RunError> {
        let unit = invocation.arguments.last().unwrap().clone();
        let mut exit = 0;
        let text = if invocation.arguments.iter().any(|a| a == "show") {
            let active = if unit.starts_with("up") { "active" } else { "failed" };
            format!(
                "Id={unit}\nNames={unit}\nLoadState=loaded\nActiveState={active}\nSubState={active}\nType=simple\n\
                 Result=exit-code\nMainPID=0\nCanStart=yes\nCanStop=yes\n"
            )
        } else {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(&self.effects).unwrap();
            writeln!(file, "{unit}").unwrap();
            if unit == "slow.service" {
                std::thread::sleep(Duration::from_millis(500));
            }
            exit = i32::from(unit == "fails.service");
            format!("did {unit}\n")
        };
        let kept = text.into_bytes();
        let digest = Digest(sysop_common::ids::sha256(&kept));
        let output = Output { total: kept.len() as u64, kept, digest };
        Ok(Ran { exit: Some(exit), timed_out: false, output })
    }
}

/// A clock that a test moves: the wall by `wall`, and beside it what nobody can set.
#[derive(Default)]
pub(super) struct TestClock {
    wall: AtomicI64,
    up: AtomicI64,
}

impl TestClock {
    pub(super) fn wall(&self, ms: i64) {
        self.wall.fetch_add(ms, Ordering::Relaxed);
    }

    pub(super) fn pass(&self, ms: i64) {
        self.wall(ms);
        self.up.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn stamp(&self) -> Stamp {
        let real = SystemClock::new().stamp();
        Stamp {
            at: real.at.plus(self.wall.load(Ordering::Relaxed)),
            up_ms: real.up_ms + self.up.load(Ordering::Relaxed).unsigned_abs(),
            boot: real.boot,
        }
    }
}

/// A controller's CA and dispatch key.
pub(super) struct Controller {
    ca: CertifiedIssuer<'static, KeyPair>,
    pub(super) key: DispatchKey,
}

impl Controller {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let ca =
            CertifiedIssuer::self_signed(params, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap())
                .unwrap();
        let key = dispatch_key(&ca, ExtendedKeyUsagePurpose::Other(dispatch_usage_oid().to_vec()));
        Self { ca, key }
    }

    /// A key that the same CA certified for agents.
    pub(super) fn agent_key(&self) -> DispatchKey {
        dispatch_key(&self.ca, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

fn dispatch_key(ca: &CertifiedIssuer<'static, KeyPair>, usage: ExtendedKeyUsagePurpose) -> DispatchKey {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![usage];
    let certificate = params.signed_by(&key, ca).unwrap();
    DispatchKey::new(&key.serialize_der(), certificate.der().to_vec()).unwrap()
}

/// The host.
pub(super) struct Bench {
    pub(super) dir: PathBuf,
    _temporary: Option<tempfile::TempDir>,
    pub(super) controller: Controller,
    pub(super) clock: Arc<TestClock>,
}

pub(super) fn host() -> HostId {
    HostId(Uuid::from_u128(42))
}

pub(super) fn paths(dir: &Path) -> Paths {
    Paths { policy: dir.join("policy.toml"), trust: dir.join("trust"), state: dir.join("state") }
}

pub(super) fn tools(dir: &Path) -> Tools {
    let runner = Box::new(Appender { effects: dir.join("effects") });
    Tools { runner, window: Some(Duration::ZERO), ..Tools::default() }
}

impl Bench {
    pub(super) fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().to_owned();
        let controller = Controller::new();
        fs::create_dir(dir.join("trust")).unwrap();
        fs::write(dir.join("trust/ca.pem"), controller.ca.pem()).unwrap();
        fs::write(dir.join("trust/host_id"), format!("{}\n", host())).unwrap();
        fs::write(dir.join("policy.toml"), POLICY).unwrap();
        for path in ["", "trust", "trust/ca.pem", "trust/host_id", "policy.toml"] {
            let mode = if path.contains('.') || path.contains('_') { 0o644 } else { 0o755 };
            fs::set_permissions(dir.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        prepare(&paths(&dir)).unwrap();
        Self { dir, _temporary: Some(temporary), controller, clock: Arc::default() }
    }

    pub(super) fn core(&self) -> Core {
        self.core_with(Arc::new(NoProbe))
    }

    pub(super) fn core_with(&self, probe: Arc<dyn Probe>) -> Core {
        Core::open(paths(&self.dir), Arc::clone(&self.clock) as Arc<dyn Clock>, tools(&self.dir), probe)
    }

    pub(super) fn options(&self) -> Options {
        Options { tools: tools(&self.dir), ..Options::new(paths(&self.dir), Some(self.socket())) }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join("executor.sock")
    }

    pub(super) fn order(&self, unit: &str) -> Order {
        self.order_of(Action::RestartService { unit: unit.parse().unwrap() })
    }

    pub(super) fn order_of(&self, action: Action) -> Order {
        let wall = self.clock.wall.load(Ordering::Relaxed);
        let now = UnixMs::from_system(SystemTime::now()).plus(wall);
        Order {
            version: ORDER_VERSION,
            id: OrderId(Uuid::now_v7()),
            host: host(),
            entry: action.entry().digest(),
            action,
            not_before: now.plus(-1_000),
            expires: now.plus(60_000),
            lease: 5,
            audit_head: Digest([8; 32]),
            origin: Origin::Automatic,
            risk: Risk::Medium,
            reason: "it failed".into(),
        }
    }

    pub(super) fn sign(&self, order: &Order) -> SignedOrder {
        self.controller.key.sign(order).unwrap()
    }

    /// Lines that the actions on `unit` have appended.
    pub(super) fn effects(&self, unit: &str) -> usize {
        fs::read_to_string(self.dir.join("effects"))
            .unwrap_or_default()
            .lines()
            .filter(|line| *line == unit)
            .count()
    }
}

pub(super) fn packed(signed: &SignedOrder) -> Vec<u8> {
    serde_cbor::ser::to_vec_packed(signed).unwrap()
}
