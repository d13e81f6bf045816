//! Stories on real hosts: booted Debian systems with their own systemd, as root, one after the other.
//!
//! Where hosts cannot be booted each story is reported as ignored, and the reason is printed. A new story
//! is a function in a file of this folder and its line in [`STORIES`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_macros
)]
#![allow(unreachable_pub, missing_docs, reason = "a test has no readers of its interface")]

mod actions;
mod browser;
mod enrol;
mod fallback;
mod faults;
#[path = "../harness/mod.rs"]
mod harness;
mod lab;
mod loss;
mod orders;
mod packaging;
mod repair;
mod sandbox;

use std::process::ExitCode;

use harness::hosts;
use libtest_mimic::{Arguments, Trial};

/// A story's name, as a sentence, and the function that tells it.
type Story = (&'static str, fn() -> anyhow::Result<()>);

/// All stories, in the order in which they run.
const STORIES: &[Story] = &[
    ("lab::two_hosts_boot_and_a_killed_service_fails_on_one_alone", lab::two_hosts_boot),
    ("lab::a_cut_drops_one_port_and_healing_restores_it", lab::a_cut_drops_one_port),
    ("lab::datagrams_are_lost_as_often_as_asked", lab::datagrams_are_lost),
    ("lab::a_host_comes_back_after_a_power_cut_with_its_files", lab::a_power_cut),
    ("lab::nothing_remains_of_a_lab_whose_owner_was_killed", lab::nothing_remains),
    ("packaging::systemd_takes_the_units_and_rights_are_narrow", packaging::units_and_rights),
    ("packaging::nginx_takes_the_example_of_a_proxy", packaging::nginx_takes_the_example),
    ("sandbox::the_units_walls_hide_no_metric_from_the_collector", sandbox::hides_no_metric),
    ("sandbox::the_executor_can_do_its_work_and_no_more", sandbox::executor_can_work),
    ("enrol::two_hosts_come_in_by_the_pasted_line_and_what_is_shown_is_true", enrol::two_hosts_enrol),
    ("actions::all_of_the_catalogue_and_all_readings_work_on_a_host", actions::the_whole_catalogue),
    ("repair::a_failed_service_comes_back_by_itself_by_a_click_or_not_at_all", repair::a_failed_service),
    ("browser::what_a_person_approves_in_the_browser_is_repaired_or_refused", browser::approved_by_a_click),
    ("fallback::samples_go_on_over_tcp_and_a_revoked_host_has_no_session", fallback::datagrams_are_dropped),
    ("loss::kills_cuts_and_a_rolled_back_disk_lose_no_sample", loss::no_sample_is_lost),
    ("orders::an_executor_killed_in_the_middle_never_acts_twice", orders::a_killed_executor),
    ("faults::a_few_faults_are_found_at_their_root_and_look_alikes_are_not", faults::a_few),
    ("orders::replayed_altered_and_foreign_orders_are_refused", orders::orders_that_are_not_taken),
];

/// Stories that take long and give figures; they run when they are asked for with `--ignored`.
const FIGURES: &[Story] = &[("faults::all_of_the_table_with_a_line_of_figures_each", faults::all)];

/// Names the part that this program plays when a story starts it a second time, here or in a host.
const ROLE: &str = "SYSOP_TEST_ROLE";

fn play(role: &str) -> ExitCode {
    let played = match role {
        "owner" => lab::own_until_killed(),
        "look" => sandbox::look(),
        "use" => sandbox::tell_use(),
        "submit" => orders::submit(),
        other => Err(anyhow::anyhow!("no role is called {other}")),
    };
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    if let Some(role) = std::env::var_os(ROLE) {
        return play(&role.to_string_lossy());
    }
    let mut arguments = Arguments::from_args();
    // Hosts share two cores: one story at a time, unless asked otherwise.
    arguments.test_threads = arguments.test_threads.or(Some(1));
    let missing = hosts::missing();
    if let Some(reason) = &missing {
        eprintln!("hosts ignored: {reason}");
    }
    let trials = STORIES.iter().map(|(name, story)| {
        Trial::test(format!("booted::{name}"), move || story().map_err(|error| format!("{error:#}").into()))
            .with_ignored_flag(missing.is_some())
    });
    let figures = FIGURES.iter().map(|(name, story)| {
        Trial::test(format!("booted::{name}"), move || story().map_err(|error| format!("{error:#}").into()))
            .with_ignored_flag(true)
    });
    // Asked for by name, not left out for what is missing.
    let figures = figures.filter(|_| arguments.ignored || arguments.include_ignored);
    libtest_mimic::run(&arguments, trials.chain(figures).collect()).exit_code()
}
