//! The tables: what announces a secret, and what a secret looks like.

/// A name that contains one of these is that of a secret, after dashes, dots and underscores are taken out.
const KEYS: [&str; 12] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "credential",
    "auth",
    "cookie",
    "bearer",
    "private",
    "signature",
    "jwt",
    "sessionid",
];
/// A name that ends in one of these, or is one of these.
const KEY_ENDS: [&str; 3] = ["key", "dsn", "connectionstring"];
const WHOLE_KEYS: [&str; 4] = ["sig", "pin", "otp", "pw"];

/// How keys of well-known services begin. In all of them at least twelve more characters follow.
const PREFIXES: [&str; 36] = [
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "glrt-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xoxs-",
    "xapp-",
    "sk-",
    "sk_live_",
    "rk_live_",
    "pk_live_",
    "eyJ",
    "hvs.",
    "npm_",
    "pypi-",
    "dckr_pat_",
    "SG.",
    "AGE-SECRET-KEY-",
    "shpat_",
    "dop_v1_",
    "tskey-",
    "ATATT",
    "lin_api_",
    "figd_",
    "EAACEdEose0cBA",
    "-----BEGIN",
];
const PREFIX_REST: usize = 12;

/// Short options that carry a secret: program's name (with `*`, its beginning), option, where the secret
/// stands.
const OPTIONS: [(&str, &str, Place); 43] = [
    ("mysql*", "-p", Place::Attached),
    ("mariadb*", "-p", Place::Attached),
    ("7z*", "-p", Place::Attached),
    ("rar", "-hp", Place::Attached),
    ("rar", "-p", Place::Attached),
    ("unrar", "-p", Place::Attached),
    ("xfreerdp", "/p:", Place::Attached),
    ("sshpass", "-p", Place::Behind),
    ("redis-cli", "-a", Place::Either),
    ("curl", "-u", Place::Behind),
    ("curl", "-U", Place::Behind),
    ("curl", "-b", Place::Behind),
    ("curl", "-E", Place::Behind),
    ("curl", "--cert", Place::Either),
    ("curl", "--proxy-cert", Place::Either),
    ("curl", "--user", Place::Either),
    ("curl", "--proxy-user", Place::Either),
    ("lftp", "-u", Place::Either),
    ("etcdctl", "--user", Place::Either),
    ("rdesktop", "-p", Place::Either),
    ("ssh-keygen", "-N", Place::Either),
    ("ssh-keygen", "-P", Place::Either),
    ("ldap*", "-w", Place::Behind),
    ("smbclient", "-U", Place::Behind),
    ("rpcclient", "-U", Place::Behind),
    ("net", "-U", Place::Behind),
    ("mosquitto_*", "-P", Place::Either),
    ("mongo*", "-p", Place::Either),
    // Attached it is a port as a rule, and for `docker login` the password.
    ("docker", "-p", Place::Either),
    ("podman", "-p", Place::Either),
    ("zip", "-P", Place::Behind),
    ("unzip", "-P", Place::Behind),
    ("ipmitool", "-P", Place::Behind),
    ("sqlcmd", "-P", Place::Either),
    ("snmp*", "-A", Place::Behind),
    ("snmp*", "-X", Place::Behind),
    ("snmp*", "-c", Place::Behind),
    ("openssl", "-k", Place::Either),
    ("htpasswd", "", Place::Anywhere),
    ("sqlplus", "", Place::Anywhere),
    ("wpa_passphrase", "", Place::Anywhere),
    ("rabbitmqctl", "", Place::Anywhere),
    ("chpasswd", "", Place::Anywhere),
];

/// Where a program's option has its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the same word only: the option alone asks at the terminal.
    Attached,
    /// In the same word or the next one.
    Either,
    /// The same, and the option may stand behind other letters: `-su`.
    Behind,
    /// Any argument may hold it.
    Anywhere,
}

/// Whether `name` is that of a secret; `own` are the host's own words.
pub(super) fn is_key(name: &str, own: &[String]) -> bool {
    let name: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    KEYS.iter().any(|key| name.contains(key))
        || KEY_ENDS.iter().any(|key| name.ends_with(key))
        || WHOLE_KEYS.contains(&name.as_str())
        || own.iter().any(|key| !key.is_empty() && name.contains(&key.to_ascii_lowercase()))
}

/// Whether a known beginning of a key stands in `run`; `own` are the host's own beginnings.
pub(super) fn begins_like_key(run: &str, own: &[String]) -> bool {
    if run.len() <= PREFIX_REST {
        return false;
    }
    let bytes = run.as_bytes();
    let begins = |at: usize| {
        let rest = &bytes[at..];
        let is = |prefix: &str| {
            !prefix.is_empty()
                && rest.len() >= prefix.len() + PREFIX_REST
                && rest.starts_with(prefix.as_bytes())
        };
        PREFIXES.into_iter().any(is) || own.iter().any(|prefix| is(prefix))
    };
    (0..bytes.len() - PREFIX_REST).any(|at| (at == 0 || !bytes[at - 1].is_ascii_alphanumeric()) && begins(at))
}

/// Rows of [`OPTIONS`] whose program is named by `word`, as bits.
pub(super) fn programs(word: &str) -> u64 {
    let name = word.rsplit('/').next().unwrap_or_default();
    let named = OPTIONS.iter().enumerate().filter(|(_, (program, ..))| match program.strip_suffix('*') {
        Some(family) => name.starts_with(family),
        None => name == *program,
    });
    named.fold(0, |bits, (row, _)| bits | 1 << row)
}

/// What a word is to one of the programs seen before.
pub(super) enum Match<'a> {
    /// All of it may be a secret.
    Whole,
    /// The option alone: the next word is the secret.
    Next,
    /// The option, with the secret behind it.
    Attached(&'a str),
}

/// Looks for a short option of the programs in `seen`.
pub(super) fn option(word: &str, seen: u64) -> Option<Match<'_>> {
    let rows = || OPTIONS.iter().enumerate().filter(|(row, _)| seen & (1 << row) != 0);
    for (_, (_, option, place)) in rows() {
        if *place == Place::Anywhere {
            return Some(Match::Whole);
        }
        let Some(value) = word.strip_prefix(option) else { continue };
        if value.is_empty() {
            if *place != Place::Attached {
                return Some(Match::Next);
            }
        } else if !option.starts_with("--") || value.starts_with('=') {
            return Some(Match::Attached(option));
        }
    }
    // `-su name:secret`: the first such letter of a bundle takes what is behind it.
    let letters = word.strip_prefix('-')?.bytes().take_while(u8::is_ascii_alphabetic).count();
    let behind = |letter: &str| {
        rows().any(|(_, (_, option, place))| {
            *place == Place::Behind && option.strip_prefix('-') == Some(letter)
        })
    };
    let at = (1..=letters).find(|at| behind(&word[*at..=*at]))? + 1;
    Some(if at == word.len() { Match::Next } else { Match::Attached(&word[..at]) })
}

/// Long and of mixed characters, as random keys are. Identifiers in the usual form are not.
pub(super) fn is_random(run: &str) -> bool {
    let any = |test: fn(&u8) -> bool| run.as_bytes().iter().any(test);
    let (digit, lower, upper) =
        (any(u8::is_ascii_digit), any(u8::is_ascii_lowercase), any(u8::is_ascii_uppercase));
    let mixed =
        (run.len() >= 32 && digit && (lower || upper)) || (run.len() >= 20 && digit && lower && upper);
    mixed && !is_uuid(run)
}

fn is_uuid(run: &str) -> bool {
    let groups: Vec<&str> = run.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()))
}
