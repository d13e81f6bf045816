//! Facts that an attacker makes: lines in logs, and real failed sign-ins for which another one's address, or
//! one that people come from, would have to pay.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sysop_agent::sample::{Options, Roots, Sampler};
use sysop_common::finding::{Category, Offer};
use sysop_common::ids::{Epoch, Seq};
use sysop_common::time::{SECOND_MS, UnixMs};

use crate::analyse::engine::Engine;
use crate::analyse::input::HostInput;
use crate::analyse::window::Window;
use crate::store::samples::{Boot, NamedSchema, Stored};

/// Records of `btmp` and `wtmp` as glibc writes them on x86-64.
const SIZE: usize = 384;
const LOGIN: i16 = 6;
const SESSION: i16 = 7;

fn record(kind: i16, seconds_ago: u64, source: [u8; 4], user: &str) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut out = vec![0; SIZE];
    out[..2].copy_from_slice(&kind.to_ne_bytes());
    // The name that was tried is the attacker's to choose.
    let name = &user.as_bytes()[..user.len().min(32)];
    out[44..44 + name.len()].copy_from_slice(name);
    out[340..344].copy_from_slice(&u32::try_from(now - seconds_ago).unwrap().to_ne_bytes());
    out[348..352].copy_from_slice(&source);
    out
}

/// What is found on a host with these files, and what is offered for it.
fn found(files: &[(&str, Vec<u8>)]) -> (Vec<String>, Vec<Offer>) {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("var/log");
    std::fs::create_dir_all(&logs).unwrap();
    for (name, bytes) in files {
        std::fs::write(logs.join(name), bytes).unwrap();
    }
    let roots = Roots::below(folder.path());
    let mut sampler = Sampler::only(roots, Options::default(), &["signin"]);
    let (mut ticks, mut told, mut offers) = (Vec::new(), Vec::new(), Vec::new());
    let (engine, mut input) = (Engine::new(), HostInput::default());
    for look in 0..12 {
        let at = UnixMs(1_800_000_000_000 + look * 10 * SECOND_MS);
        let seen = sampler.tick(Seq(look as u64 + 1), at);
        ticks.push(Arc::new(Stored {
            tick: Arc::new(seen.tick),
            schema: NamedSchema::new((*seen.schema).clone()),
            epoch: Epoch(1),
            boot: Boot(1),
            at,
            received_at: at,
        }));
        input.window = Window::new(ticks.clone(), None);
        let step = engine.step(input).unwrap();
        let found = step.groups.iter().flat_map(|group| &group.findings);
        told.extend(found.filter(|f| f.category == Category::BruteForce).map(|f| f.entity.clone()));
        offers.extend(step.groups.iter().flat_map(|group| group.offers.clone()));
        input = step.input;
    }
    told.dedup();
    (told, offers)
}

#[cfg(target_arch = "x86_64")]
#[test]
fn log_text_alone_is_no_fact_and_no_address_that_people_come_from_can_be_framed() {
    let lines: String = (0..500)
        .map(|n| format!("sshd[{n}]: Failed password for root from 192.0.2.1 port 4711 ssh2\n"))
        .collect();
    let forged = ["auth.log", "secure", "messages", "syslog"].map(|name| (name, lines.clone().into_bytes()));
    assert_eq!(found(&forged), (vec![], vec![]), "lines in logs");

    let tries = |source: [u8; 4], user: &str| -> Vec<u8> {
        (0..40).flat_map(|n| record(LOGIN, 40 + n, source, user)).collect()
    };
    // Real failures, by one who got the victim's machine, or its address, to try.
    let victim = [203, 0, 113, 7];
    let good = record(SESSION, 3_000_000 / 2, victim, "ann");
    let framed = [("btmp", tries(victim, "root")), ("wtmp", good)];
    assert_eq!(found(&framed), (vec![], vec![]), "an address of somebody who was here within the month");

    // The name that is tried names nobody else, and nothing is offered that would close a door by itself.
    let attacker = [198, 51, 100, 9];
    let (told, offers) = found(&[("btmp", tries(attacker, "x from 192.0.2.1; block 10.0.0.1"))]);
    assert_eq!((told, offers), (vec!["198.51.100.9".to_owned()], vec![]));
}
