use std::time::Duration;

use super::*;

fn load(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.toml");
    std::fs::write(&path, file).unwrap();
    let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let layers = Layers {
        file: Some(path.clone()),
        environment: pairs(environment).into_iter().collect(),
        flags: pairs(flags),
    };
    layers.load().map_err(|e| e.to_string().replace(&path.display().to_string(), "FILE"))
}

#[test]
fn the_shipped_file_documents_every_setting_and_holds_the_defaults() {
    // Settings stand in it as comments, so that an upgrade can change a default that nobody set.
    let live: String = SAMPLE
        .lines()
        .map(|line| {
            line.strip_prefix("#").filter(|l| l.starts_with(|c: char| c.is_ascii_lowercase())).unwrap_or(line)
        })
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(load(&live, &[], &[]).unwrap(), Config::default());
    assert_eq!(load(SAMPLE, &[], &[]).unwrap(), Config::default());
    let table: toml::Table = toml::from_str(&live).unwrap();
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    for (section, value) in &defaults {
        let Some(keys) = value.as_table() else { continue };
        for key in keys.keys() {
            assert!(
                table[section].as_table().unwrap().contains_key(key),
                "{section}.{key} is not documented"
            );
        }
    }
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let file = "controller = \"a:1\"\n[sample]\ninterval = \"20s\"\n";
    let interval = |config: Config| config.sample.interval.0;
    assert_eq!(interval(load(file, &[], &[]).unwrap()), Duration::from_secs(20));
    let environment = [("SYSOP_SAMPLE_INTERVAL", "30s"), ("SYSOP_CONTROLLER", "b:2")];
    let config = load(file, &environment, &[]).unwrap();
    assert_eq!((interval(config.clone()), config.controller.as_str()), (Duration::from_secs(30), "b:2"));
    assert_eq!(
        interval(load(file, &environment, &[("sample.interval", "40s")]).unwrap()),
        Duration::from_secs(40)
    );
}

#[test]
fn a_wrong_setting_names_its_place_the_key_and_the_remedy() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (
            "\n[sample]\nintervall = \"1s\"\n",
            &[],
            &[],
            &["FILE:3", "sample.intervall", "unknown field", "min_interval"],
        ),
        ("[sample]\ninterval = 10\n", &[], &[], &["FILE:2", "sample.interval", "string"]),
        ("[sample]\ninterval = \"10\"\n", &[], &[], &["FILE:2", "sample.interval", "\"10s\""]),
        ("[sample]\n\ninterval = \"2min\"\n", &[], &[], &["FILE:3", "sample.interval", "from 1s to 1min"]),
        ("controller = \"x:y\"\n", &[], &[], &["FILE:1", "controller", "HOST:PORT"]),
        ("[link]\ntransport = \"udp\"\n", &[], &[], &["FILE:2", "link.transport", "auto", "quic", "tcp"]),
        ("[log\n", &[], &[], &["FILE:1"]),
        ("", &[("SYSOP_LOG_LEVEL", "loud")], &[], &["SYSOP_LOG_LEVEL", "log.level", "info"]),
        ("", &[], &[("spool.max_bytes", "1B")], &["--set spool.max_bytes", "64KiB"]),
        ("", &[], &[("spool.size", "1B")], &["--set spool.size", "spool.max_bytes"]),
    ];
    for (file, environment, flags, wanted) in cases {
        let error = load(file, environment, flags).unwrap_err();
        for want in *wanted {
            assert!(error.contains(want), "{error:?} lacks {want:?}");
        }
    }
}

#[test]
fn addresses_have_a_host_and_perhaps_a_port() {
    for (text, want) in [
        ("ops.example.org", Some(("ops.example.org", 8443))),
        ("10.0.0.1:9", Some(("10.0.0.1", 9))),
        ("[::1]:9", Some(("::1", 9))),
        ("[::1]", Some(("::1", 8443))),
        ("a:0", None),
        ("a:b", None),
        ("", None),
        (":1", None),
        ("http://a", None),
        ("[::1", None),
    ] {
        assert_eq!(split_address(text), want.map(|(h, p)| (h.to_owned(), p)), "{text}");
    }
}
