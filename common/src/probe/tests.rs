use super::*;

fn http(url: &str) -> Check {
    let (url, method) = (url.to_owned(), Method::Get);
    Check::Http { url, method, status_min: 200, status_max: 399, contains: None, redirects: 0, ca: None }
}

#[test]
fn odd_urls_are_none_and_addresses_in_odd_clothes_are_no_names() {
    for good in
        ["http://a", "https://www.example.org:8443/x?y=1", "http://[2001:db8::1]:80/", "http://192.0.2.1"]
    {
        assert!(http(good).validate().is_ok(), "{good}");
    }
    for bad in [
        "",
        "a",
        "ftp://a",
        "http://",
        "http://user@a/",
        "http://a:0",
        "http://a:99999",
        "http://a:+80",
        "http://a\\b",
        "http://a b",
        "http://a\r\nHost: b",
        "http://0x7f.0x1",
        "http://2130706433",
        "http://0177.0.0.01",
        "http://127.1",
        "http://[::1",
        "http://[::ffff:169.254.169.254%25eth0]",
        "http://a#b",
        "http://ä.example",
        "http://-a",
        "http://a..b",
        "http://0x7f000001/",
        "http://1.2.3.4.5/",
    ] {
        assert!(http(bad).validate().is_err(), "{bad}");
    }
    assert!(http(&format!("http://a/{}", "x".repeat(600))).validate().is_err());
}

#[test]
fn a_location_is_joined_and_never_smuggles_a_line_or_a_host() {
    let from = Url::parse("https://shop.example/a/b?c").unwrap();
    let to = |location: &str| from.join(location).map(|url| (url.tls, url.host, url.port, url.path));
    let here = |path: &str| Some((true, "shop.example".to_owned(), 443, path.to_owned()));
    assert_eq!(to("/x"), here("/x"));
    assert_eq!(to("x"), here("/a/x"));
    assert_eq!(to("https://SHOP.example/y#z"), here("/y"));
    assert_eq!(to("//other.example/"), Some((true, "other.example".into(), 443, "/".into())));
    assert_eq!(to("http://169.254.169.254/").unwrap().1, "169.254.169.254");
    for odd in ["/a\r\nX: y", "https://u@shop.example/", "javascript://x", "https://shop.example:x/"] {
        assert_eq!(to(odd), None, "{odd}");
    }
}

#[test]
fn reserved_addresses_are_seen_through_every_clothing() {
    for reserved in [
        "169.254.169.254",
        "169.254.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "255.255.255.255",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "::",
        "fe80::1",
        "febf::1",
        "ff02::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
    ] {
        assert!(is_reserved(reserved.parse().unwrap()), "{reserved}");
    }
    for free in [
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "192.168.1.1",
        "203.0.113.1",
        "2001:db8::1",
        "fd00::1",
        "64:ff9b::a00:1",
    ] {
        assert!(!is_reserved(free.parse().unwrap()), "{free}");
    }
}

#[test]
fn an_owners_patterns_allow_what_they_say_and_metadata_only_by_name() {
    let allows = |pattern: &str, address: &str, port| {
        pattern.parse::<Pattern>().unwrap().allows_address(address.parse().unwrap(), port)
    };
    assert!(
        allows("10.0.0.0/8:80-443", "10.9.9.9", Some(80))
            && allows("10.0.0.0/8:80-443", "10.9.9.9", Some(443))
    );
    assert!(
        !allows("10.0.0.0/8:80-443", "10.9.9.9", Some(444))
            && !allows("10.0.0.0/8:80-443", "11.0.0.1", Some(80))
    );
    assert!(!allows("10.0.0.0/8:80", "10.0.0.1", None) && allows("10.0.0.0/8", "10.0.0.1", None));
    assert!(allows("[2001:db8::]/32:443", "2001:db8::7", Some(443)) && allows("::1", "::1", Some(1)));
    assert!(!allows("0.0.0.0/0", "169.254.169.254", Some(80)) && !allows("::/0", "fd00:ec2::254", None));
    assert!(allows("169.254.169.254:80", "169.254.169.254", Some(80)));
    let name = |pattern: &str, name: &str, port| pattern.parse::<Pattern>().unwrap().allows_name(name, port);
    assert!(
        name("*.example.org:443", "a.EXAMPLE.org", Some(443))
            && !name("*.example.org:443", "example.org", Some(443))
    );
    assert!(!name("*.example.org", "a.example.org.evil.net", None) && name("db-1", "db-1", None));
    for text in ["10.0.0.0/8:80-443", "[2001:db8::]/32:443", "*.example.org:443", "db-1", "::1", "10.0.0.1"] {
        assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
    }
    for bad in ["", "*", "*.*.org", "a b", "10.0.0.0/33", "a:0", "a:9-1", "a:", ":80", "x/8", "http://a"] {
        assert!(bad.parse::<Pattern>().is_err(), "{bad}");
    }
}

#[test]
fn the_line_to_add_allows_the_probe_that_it_is_made_of() {
    let dns = Check::Dns {
        name: "a.example".into(),
        record: Record::A,
        resolver: Some("192.0.2.53".into()),
        expect: vec![],
    };
    assert_eq!(dns.patterns(), ["a.example:53", "192.0.2.53:53"]);
    assert_eq!(http("https://[2001:db8::1]/x").patterns(), ["[2001:db8::1]:443"]);
    for check in [dns, http("https://a.example/"), Check::Ping { address: "192.0.2.1".into(), count: 1 }] {
        assert!(check.patterns().iter().all(|pattern| pattern.parse::<Pattern>().is_ok()));
    }
}

#[test]
fn numbers_read_back() {
    for reason in Reason::ALL {
        assert_eq!(Reason::from_number(reason.number().into()), Some(*reason));
    }
    for state in ProbeState::ALL {
        assert_eq!(ProbeState::from_number(state.number().into()), Some(state));
    }
}

#[test]
fn bounds_hold_for_every_kind() {
    let ping = |count| Check::Ping { address: "a".into(), count };
    assert!(ping(5).validate().is_ok() && ping(0).validate().is_err() && ping(6).validate().is_err());
    let tls = |warn_days, critical_days| Check::Tls {
        host: "a".into(),
        port: 443,
        server_name: None,
        warn_days,
        critical_days,
        ca: None,
    };
    assert!(tls(21, 7).validate().is_ok());
    assert_eq!(tls(7, 7).validate().unwrap_err().field, "critical_days");
    assert_eq!(tls(0, 0).validate().unwrap_err().field, "warn_days");
    let dns = |expect: &str, record| Check::Dns {
        name: "a.example.".into(),
        record,
        resolver: None,
        expect: vec![expect.into()],
    };
    assert!(dns("192.0.2.1", Record::A).validate().is_ok() && dns("x", Record::A).validate().is_err());
    assert!(
        dns("192.0.2.1", Record::Aaaa).validate().is_err()
            && dns("10 mail.example", Record::Mx).validate().is_ok()
    );
    let probe =
        |interval_ms, timeout_ms| HostProbe { id: ProbeId(1), check: ping(1), interval_ms, timeout_ms };
    assert!(probe(10_000, 1_000).validate().is_ok());
    assert!(probe(9_999, 1_000).validate().is_err() && probe(10_000, 10_001).validate().is_err());
}
