//! No secret shows, in whatever way a command line carries it.

use proptest::prelude::*;

use super::*;

fn shown(line: &str) -> String {
    Redaction::default().command_line(line.replace('|', "\0").as_bytes(), false)
}

/// Arguments are separated by `|`; `§` stands for the secret.
const SPOTS: &[&str] = &[
    "app|--password|§",
    "app|--password=§",
    "app|--db-password=§|--verbose",
    "app|-password|§",
    "app|--api-key|§|x",
    "app|--token=§",
    "app|--client_secret|§",
    "java|-Dspring.datasource.password=§|-jar|x.jar",
    "env|PGPASSWORD=§|psql",
    "sh|-c|PGPASSWORD=§ psql -h db",
    "sh|-c|PGPASSWORD='§' psql -h db",
    "sh|-c|run --password § now",
    "sh|-c|run --password \"§\" now",
    "app|password|=|§",
    "app|password = §",
    "app|host=db password=§ dbname=x",
    "app|Server=db;User Id=u;Password=§",
    "curl|-H|Authorization: Bearer §|https://x",
    "curl|-H|X-Api-Key: §",
    "curl|-HX-Api-Key:§",
    "curl|--header|Cookie: a=§",
    "curl|-u|user:§|https://x",
    "curl|-uuser:§",
    "curl|-su|user:§|https://x",
    "curl|-sSu|user:§|https://x",
    "curl|-ksuuser:§",
    "curl|-E|client.pem:§|https://x",
    "curl|--cert|client.pem:§",
    "curl|https://x/?token=§",
    "curl|https://x/?a=b&access_token=§",
    "curl|-d|{\"user\":\"u\",\"password\":\"§\"}",
    "curl|-d|{\"password\": \"§\"}",
    "app|postgres://u:§@h/db",
    "app|--url=amqp://u:§@h:5672/v",
    "app|--hosts=redis://:§@a,redis://:§@b",
    "git|clone|https://§@host/repo",
    "app|u:§@tcp(db:3306)/x",
    "mysql|-uroot|-p§|db",
    "sudo|mysqldump|-p§",
    "sh|-c|mysqldump -p§ db | gzip",
    "sshpass|-p|§|ssh|x",
    "sshpass|-p§|ssh|x",
    "redis-cli|-a|§|ping",
    "ldapsearch|-x|-w|§",
    "smbclient|//h/s|-U|u%§",
    "docker|login|-u|x|-p|§",
    "docker|login|-u|x|-p§",
    "lftp|-u|user,§|host",
    "etcdctl|--user|root:§|get|/",
    "rdesktop|-u|x|-p|§|host",
    "wpa_passphrase|network|§",
    "ssh-keygen|-t|rsa|-N|§",
    "ldapsearch|-xw|§",
    "zip|-rP|§|a.zip",
    "rabbitmqctl|add_user|bob|§",
    "beam.smp|-extra|change_password|bob|§",
    "sh|-c|ctl set_password bob § now",
    "htpasswd|-nb|user|§",
    "sqlplus|scott/§@orcl",
    "openssl|enc|-aes-256-cbc|-pass|pass:§",
    "wget|--http-password=§",
    "title with password=§ in it",
    "sh|-c|echo it's; run --password § now",
    "sh|-c|run --password\t§\n now",
    "sh|-c|PGPASSWORD='a §",
];

proptest! {
    #[test]
    fn announced_secrets_never_show(secret in "[A-Za-z0-9!#$%^*+,./:;<>?@_~-]{8,40}", spot in 0..SPOTS.len()) {
        let template = SPOTS[spot];
        // Before a colon there it is a user's name.
        prop_assume!(!(template.contains("//§@") && secret.contains(':')));
        let out = shown(&template.replace('§', &secret));
        // Not even a part of it, unless the line itself has that part.
        let plain = template.replace('|', " ");
        for at in 0..=secret.len().saturating_sub(6) {
            let part = &secret[at..at + 6];
            prop_assert!(plain.contains(part) || HIDDEN.contains(part) || !out.contains(part), "{} -> {}", template, out);
        }
    }

    #[test]
    fn keys_are_recognised_by_their_look(
        spot in prop::sample::select(vec!["app|§", "app|-x|§|y", "app|--name=§", "app|a/§", "sh|-c|use § now"]),
        start in prop::sample::select(vec!["ghp_", "AKIA", "sk-", "xoxb-", "eyJ", "hvs."]),
        rest in "[A-Za-z0-9]{16,36}",
    ) {
        let out = shown(&spot.replace('§', &format!("{start}{rest}")));
        prop_assert!(!out.contains(&rest[4..]), "{out}");
    }

    #[test]
    fn random_hexadecimal_and_base64_keys_do_not_show(bytes in prop::array::uniform32(any::<u8>())) {
        let hex = sysop_common::ids::hex(&bytes);
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
        for secret in [hex, base64] {
            // One in a million has no digit, or begins like a path.
            prop_assume!(secret.bytes().any(|b| b.is_ascii_digit()) && !secret.starts_with('/'));
            let out = shown(&format!("app|{secret}|--seed={secret}"));
            prop_assert!(!out.contains(&secret[8..20]), "{out}");
        }
    }

    #[test]
    fn any_bytes_give_short_clean_text(bytes in prop::collection::vec(any::<u8>(), 0..600), cut: bool) {
        for hide_arguments in [false, true] {
            let rules = Redaction { hide_arguments, ..Redaction::default() };
            let out = rules.command_line(&bytes, cut);
            prop_assert!(out.len() <= MAX_TEXT);
            prop_assert!(!out.chars().any(is_unsafe));
        }
    }
}

#[test]
fn ordinary_command_lines_stay_readable() {
    for line in [
        "/usr/sbin/nginx|-g|daemon off;",
        "nginx: master process /usr/sbin/nginx -c /etc/nginx/nginx.conf",
        "/usr/lib/systemd/systemd-journald",
        "postgres: 15/main: walwriter",
        "/usr/bin/python3|/srv/app/manage.py|runserver|0.0.0.0:8000",
        "ssh|deploy@10.0.0.1|-p|22",
        "mysqld|--port=3306|-p",
        "tail|-f|/var/log/auth.log",
        "app|--id|0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b",
        "java|-Xmx512m|-Djava.io.tmpdir=/tmp|-jar|/opt/app-1.2.3.jar",
        "vim|/etc/passwd",
        "curl|-sSLo|/tmp/x|https://example.org/a",
        "tar|-xzf|a.tar.gz",
        "rsync|-a|host:/var/backups/2026-11-24_13-45-00/|/mnt/backups",
        "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups",
    ] {
        assert_eq!(shown(line), line.replace('|', " "));
    }
}

#[test]
fn what_is_hidden_is_only_the_secret() {
    for (line, expected) in [
        ("app|--password|x|--port|1", "app --password [redacted] --port 1"),
        ("app|--password=a b|--port|1", "app --password=[redacted] --port 1"),
        ("psql|postgres://u:x@h/db", "psql postgres://u:[redacted]@h/db"),
        ("mysql|-psecret|db", "mysql -p[redacted] db"),
        ("curl|-H|Authorization: Bearer x y|u", "curl -H Authorization: [redacted] u"),
        ("sh|-c|run --token x now", "sh -c run --token [redacted] now"),
    ] {
        assert_eq!(shown(line), expected);
    }
}

#[test]
fn own_rules_add_to_the_built_in_ones() {
    let rules =
        Redaction { keys: vec!["Geheim".into()], prefixes: vec!["acme_".into()], ..Redaction::default() };
    let out = rules.command_line(b"app\0--geheimnis=x1y2\0acme_abcdefghijkl\0--password=p", false);
    assert_eq!(out, "app --geheimnis=[redacted] [redacted] --password=[redacted]");
    let rules = Redaction { hide_arguments: true, ..Redaction::default() };
    assert_eq!(rules.command_line(b"/bin/app\0x", false), "/bin/app […]");
    assert_eq!(rules.command_line(b"title with words", false), "title");
}

#[test]
fn an_argument_that_is_cut_off_is_left_out() {
    assert_eq!(Redaction::default().command_line(b"app\0--ok\0ghp_abc", true), "app --ok");
    assert_eq!(Redaction::default().command_line(b"", false), "");
}
