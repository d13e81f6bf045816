//! The first minutes: a controller with its defaults in an empty folder, and how it says what is wrong.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_macros)]
#![allow(unreachable_pub, missing_docs, reason = "a test has no readers of its interface")]

mod harness;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::api::{Api, text};
use harness::controller::{Controller, free_port};
use harness::hosts;
use harness::stub_model::{Emulate, KEY, StubModel};
use hosts::{Output, wait_for};

/// From the start to a series that has a value.
const FIRST_DATA: Duration = Duration::from_secs(3);
/// From Ctrl-C to the end.
const STOP: Duration = Duration::from_secs(2);
const PASSWORD: &str = "three quiet green hills";

/// A controller with its defaults, but for the ports, which another one on this machine may have.
fn controller() -> Result<Controller> {
    let port = free_port(Ipv4Addr::LOCALHOST)?;
    Controller::prepare(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &[])
}

/// The word behind `name` in what was printed last.
fn printed(controller: &Controller, name: &str) -> Result<String> {
    wait_for(&format!("{name} on the console"), Duration::from_secs(10), || {
        let text = controller.printed();
        let line = text.lines().rfind(|line| line.trim_start().starts_with(name));
        Ok(line.and_then(|line| line.split_whitespace().last()).map(str::to_owned))
    })
}

/// The newest value of a series of the only host.
fn first_value(api: &Api) -> Result<Option<f64>> {
    let hosts = api.list("/api/v1/hosts")?;
    let Some(host) = hosts.first() else { return Ok(None) };
    let series = api.get(&format!("/api/v1/hosts/{}/series?metric=cpu.usage", text(host, "id")))?;
    let points = series.pointer("/series/0/points").and_then(serde_json::Value::as_array);
    Ok(points.into_iter().flatten().filter_map(|point| point.get(1)?.as_f64()).next_back())
}

#[test]
fn an_empty_folder_becomes_a_working_controller_that_is_found_again() -> Result<()> {
    let mut controller = controller()?;
    let start = Instant::now();
    controller.run()?;
    let api = controller.api("viewer")?;
    let value = wait_for("value of a series", FIRST_DATA * 5, || first_value(&api))?;
    let took = start.elapsed();
    ensure!(took <= FIRST_DATA, "the first value came after {took:?}\n{}", controller.log());
    ensure!((0.0..=1.0).contains(&value), "CPU in use: {value}");

    ensure!(printed(&controller, "Dashboard")?.trim_end_matches('/') == controller.url());
    let code = printed(&controller, "Setup code")?;
    ensure!(controller.printed().contains("Next:"), "it does not say what to do next");
    ensure!(sign_up(&controller, "0000-0000-0000")? == 422, "a wrong code opens the door");
    ensure!(sign_up(&controller, &code)? == 303, "the code does not open the door");
    ensure!(sign_up(&controller, &code)? == 404, "the code opens the door twice");
    let took = controller.stop()?;
    ensure!(took < STOP, "it took {took:?} to stop");

    let start = Instant::now();
    controller.run()?;
    ensure!(api.list("/api/v1/hosts")?.len() == 1, "this machine enrolled again");
    wait_for("new value of a series", FIRST_DATA * 5, || {
        let hosts = api.list("/api/v1/hosts")?;
        let at = hosts.first().and_then(|host| host.pointer("/latest/at")?.as_i64()).unwrap_or_default();
        let now = std::time::UNIX_EPOCH.elapsed()?.as_millis() as i64;
        Ok((now - at < start.elapsed().as_millis() as i64).then_some(()))
    })?;
    let again = controller.printed();
    ensure!(again.matches("Setup code").count() == 1, "a second start asks for a setup again");
    let took = controller.stop()?;
    ensure!(took < STOP, "it took {took:?} to stop");
    Ok(())
}

/// Sends the form of the setup page as a browser does; the status.
fn sign_up(controller: &Controller, code: &str) -> Result<u16> {
    let visitor = controller.visitor();
    let page = visitor.ask("GET", "/setup", &[], Vec::new())?;
    if page.status != 200 {
        return Ok(page.status);
    }
    let value = |name: &str| {
        let (_, rest) = page.text.split_once(&format!("name=\"{name}\""))?;
        Some(rest.split_once("value=\"")?.1.split_once('"')?.0.to_owned())
    };
    let csrf = value("csrf").unwrap_or_default();
    let form = [("csrf", csrf.as_str()), ("code", code), ("username", "ann"), ("password", PASSWORD)];
    let form: Vec<(&str, &str)> = form.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let cookies = page.cookies.join("; ");
    let origin = controller.url();
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", origin.as_str()),
        ("sec-fetch-site", "same-origin"),
        ("cookie", cookies.as_str()),
    ];
    let body = serde_urlencoded::to_string(form)?.into_bytes();
    Ok(visitor.ask("POST", "/setup", &headers, body)?.status)
}

#[test]
fn what_stands_in_the_way_of_a_start_is_told_in_one_line() -> Result<()> {
    let controller = controller()?;
    let dashboard = TcpListener::bind(controller.dashboard())?;
    one_line(&controller.cli(&[])?, &[&controller.dashboard().to_string(), "SYSOP_PORT"])?;
    drop(dashboard);

    let (tcp, agents) = (TcpListener::bind(controller.agents())?, controller.agents().to_string());
    one_line(&controller.cli(&[])?, &[&agents])?;
    drop(tcp);
    let udp = UdpSocket::bind(controller.agents())?;
    one_line(&controller.cli(&[])?, &[&agents])?;
    drop(udp);

    // Not even root can make a folder there.
    one_line(&controller.cli(&["--data-dir", "/proc/sysop"])?, &["/proc/sysop", "--data-dir"])?;
    std::fs::write(controller.folder().join("a-file"), "")?;
    one_line(&controller.cli(&["--data-dir", "a-file"])?, &["a-file", "--data-dir"])
}

#[test]
fn a_folder_has_one_controller_at_a_time() -> Result<()> {
    let mut first = controller()?;
    first.run()?;
    let second = controller()?;
    let data = first.data();
    let data = data.to_str().context("the folder's name is not UTF-8")?;
    one_line(&second.cli(&["--data-dir", data])?, &[data, "--data-dir"])?;
    first.stop().map(drop)
}

/// A start that fails: one line that names what it is about, and an exit code that is not 0.
fn one_line(output: &Output, words: &[&str]) -> Result<()> {
    let said = output.stdout.clone() + &output.stderr;
    ensure!(output.code.is_some_and(|code| code != 0), "it ended with {:?}: {said}", output.code);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    ensure!(lines.len() == 1, "it said more than one line:\n{said}");
    for word in words {
        ensure!(said.contains(word), "it does not name {word}: {said}");
    }
    Ok(())
}

#[test]
fn the_variables_of_version_one_lead_to_a_model_that_is_probed_once_and_tells_nobody_the_key() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stub = runtime.block_on(StubModel::start(Emulate::Ollama, Duration::from_secs(1)));
    let port = free_port(Ipv4Addr::LOCALHOST)?;
    let base = stub.base_url();
    let settings = [
        ("OPENAI_API_KEY", KEY),
        ("OPENAI_BASE_URL", base.as_str()),
        ("OPENAI_MODEL", "stub:normal"),
        ("OPENAI_LANGUAGE", "Vietnamese"),
        ("APP_MODEL_DELAY", "300"),
        ("APP_DEBUG", "true"),
    ];
    let mut controller = Controller::prepare(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &settings)?;
    controller.run()?;
    let probed = || Ok(controller.printed().contains("probed what the model's server can do").then_some(()));
    wait_for("probe of the model's server", Duration::from_secs(20), probed)?;
    ensure!(stub.violations().is_empty(), "{:?}", stub.violations());
    let calls = stub.calls();
    ensure!((3..=6).contains(&calls), "{calls} questions to find out what a server can do");
    let said = controller.printed();
    ensure!(said.contains("ollama") && said.contains("context window"), "it was not recognised: {said}");
    let took = controller.stop()?;
    ensure!(took < STOP, "it took {took:?} to stop");

    controller.run()?;
    std::thread::sleep(Duration::from_secs(2));
    ensure!(stub.calls() == calls, "a second start probes again, or asks about a healthy host");
    controller.stop()?;
    ensure!(!controller.printed().contains(KEY), "the key stands in the log");
    for file in ["control.db", "control.db-wal"] {
        let bytes = std::fs::read(controller.data().join(file)).unwrap_or_default();
        ensure!(!bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes()), "the key stands in {file}");
    }
    Ok(())
}
