//! What happens to hosts: troubles with the truth about them, and ordinary work that looks like trouble.

pub mod benign;
mod machine;
mod outside;
mod resources;
mod services;
mod unseen;

use sysop_common::action::Action;
use sysop_common::finding::Category;

use super::host::Host;
use super::noise::Noise;

/// Changes a host's wishes and state for one stretch: seconds since it began, and its length.
pub type Hand = Box<dyn FnMut(&mut Host, f64, f64)>;

/// Who or what is behind it.
#[derive(Debug, Clone, PartialEq)]
pub enum Root {
    Unit(String),
    Process(String),
    /// A mount point, an address, the host itself: what the finding is about.
    Entity(String),
}

/// An action against a named target.
#[derive(Debug, Clone, PartialEq)]
pub enum Do {
    Restart(String),
    Start(String),
    Stop(String),
    Kill(String),
    Clean,
}

impl Do {
    pub fn is(&self, action: &Action) -> bool {
        match (self, action) {
            (Self::Restart(name), Action::RestartService { unit })
            | (Self::Start(name), Action::StartService { unit })
            | (Self::Stop(name), Action::StopService { unit }) => unit.as_str() == name,
            (Self::Kill(name), Action::KillProcess { process }) => &process.comm == name,
            (Self::Clean, Action::CleanupTempFiles { .. }) => true,
            _ => false,
        }
    }
}

/// One run of a case, with its truth.
pub struct Plot {
    /// What its incident may be called, and what else may be said beside it as its consequence.
    pub categories: Vec<Category>,
    pub symptoms: Vec<Category>,
    pub root: Root,
    /// Actions that end it. Empty: nobody's action does.
    pub good: Vec<Do>,
    /// Actions that are not good and hurt nobody who does not take part: merely useless.
    pub useless: Vec<Do>,
    /// From the beginning until it should be told, and for how long it goes on, in seconds.
    pub goal: f64,
    pub lasts: f64,
    pub hand: Hand,
}

/// A trouble, or what looks like it.
pub struct Case {
    pub id: &'static str,
    pub name: &'static str,
    /// Prepares the host, before the quiet time that comes first.
    pub plot: fn(&mut Noise, &mut Host) -> Plot,
    pub fault: bool,
    /// Never looked at while parameters were chosen.
    pub unseen: bool,
}

pub const fn fault(id: &'static str, name: &'static str, plot: fn(&mut Noise, &mut Host) -> Plot) -> Case {
    Case { id, name, plot, fault: true, unseen: false }
}

pub const fn harmless(id: &'static str, name: &'static str, plot: fn(&mut Noise, &mut Host) -> Plot) -> Case {
    Case { id, name, plot, fault: false, unseen: false }
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut all = resources::cases();
    all.extend(machine::cases());
    all.extend(services::cases());
    all.extend(outside::cases());
    all.extend(benign::cases());
    all.extend(unseen::cases());
    all
}

/// Most of what a plot says.
pub fn plot(categories: &[Category], root: Root, goal: f64, hand: Hand) -> Plot {
    Plot {
        categories: categories.to_vec(),
        symptoms: Vec::new(),
        root,
        good: Vec::new(),
        useless: Vec::new(),
        goal,
        lasts: (3.0 * goal).max(300.0) + 60.0,
        hand,
    }
}

/// Ordinary work: nothing should be told, nothing be done.
pub fn ordinary(lasts: f64, hand: Hand) -> Plot {
    Plot { lasts, ..plot(&[], Root::Entity(String::new()), lasts, hand) }
}

impl Plot {
    pub fn good(self, good: &[Do]) -> Self {
        Self { good: good.to_vec(), ..self }
    }

    pub fn useless(self, useless: &[Do]) -> Self {
        Self { useless: useless.to_vec(), ..self }
    }

    pub fn with(self, symptoms: &[Category]) -> Self {
        Self { symptoms: symptoms.to_vec(), ..self }
    }
}

/// One of the host's services that holds no data and is nobody's lifeline.
pub fn pick(noise: &mut Noise, host: &Host) -> String {
    let data = ["postgres", "redis", "systemd", "ssh", "chrony", "cron", "backup", "batch"];
    let names: Vec<&str> = host
        .works
        .iter()
        .filter(|work| !work.session && work.runs() && !data.iter().any(|d| work.name.contains(d)))
        .map(|work| work.name.as_str())
        .collect();
    names[noise.below(names.len())].to_owned()
}

pub fn restart_or_stop(unit: &str) -> Vec<Do> {
    vec![Do::Restart(unit.to_owned()), Do::Stop(unit.to_owned())]
}
