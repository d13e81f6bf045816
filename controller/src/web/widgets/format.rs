//! Numbers and times as text: unit after a space, times absolute with zone, ages beside them.

use jiff::Timestamp;
use maud::{Markup, html};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A share as whole percent: `98 %`. One decimal below ten: `7.4 %`.
#[must_use]
pub fn percent(ratio: f64) -> String {
    format!("{} %", short(ratio * 100.0))
}

/// An amount of memory or storage in binary units: `3.1 GiB`.
#[must_use]
pub fn bytes(amount: u64) -> String {
    scaled(amount as f64, 1024.0, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"])
}

/// A flow in decimal units, as networks and disks are sold: `41 MB/s`.
#[must_use]
pub fn rate(bytes_per_second: f64) -> String {
    scaled(bytes_per_second, 1000.0, RATES)
}

/// Two flows of one thing in the unit of the larger: `14 / 3.7 MB/s`.
#[must_use]
pub fn rates(one: f64, other: f64) -> String {
    let larger = rate(one.max(other));
    let unit = larger.split_once(' ').map_or("B/s", |(_, unit)| unit);
    let base = RATES.iter().position(|known| *known == unit).map_or(1.0, |power| 1000_f64.powi(power as i32));
    format!("{} / {} {unit}", short(one / base), short(other / base))
}

const RATES: [&str; 6] = ["B/s", "kB/s", "MB/s", "GB/s", "TB/s", "PB/s"];

fn scaled(mut amount: f64, base: f64, units: [&str; 6]) -> String {
    let mut unit = 0;
    while amount >= base && unit + 1 < units.len() {
        amount /= base;
        unit += 1;
    }
    if unit == 0 { format!("{amount:.0} {}", units[0]) } else { format!("{} {}", short(amount), units[unit]) }
}

/// One decimal below ten unless it is zero, none above.
fn short(value: f64) -> String {
    let one = format!("{value:.1}");
    if value >= 9.95 {
        format!("{value:.0}")
    } else {
        one.strip_suffix(".0").map_or(one.clone(), str::to_owned)
    }
}

/// A count with separators between thousands: `184,233`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 host`, `3 hosts`.
#[must_use]
pub fn counted(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{} {many}", count(number)) }
}

/// A length of time by its largest unit: `2 s`, `6 min`, `3 h`, `41 d`.
#[must_use]
pub fn age(ms: i64) -> String {
    match ms.max(0) {
        ms if ms < MINUTE => format!("{} s", ms / SECOND),
        ms if ms < HOUR => format!("{} min", ms / MINUTE),
        ms if ms < 2 * DAY => format!("{} h", ms / HOUR),
        ms => format!("{} d", ms / DAY),
    }
}

/// A length of time by its two largest units: `850 ms`, `1.9 s`, `1 min 40 s`, `2 h 10 min`.
#[must_use]
pub fn duration(ms: i64) -> String {
    let two = |big: i64, unit: &str, small: i64, name: &str| match small {
        0 => format!("{big} {unit}"),
        _ => format!("{big} {unit} {small} {name}"),
    };
    match ms.max(0) {
        ms if ms < SECOND => format!("{ms} ms"),
        ms if ms < 10 * SECOND => format!("{} s", short(ms as f64 / SECOND as f64)),
        ms if ms < MINUTE => format!("{} s", ms / SECOND),
        ms if ms < HOUR => two(ms / MINUTE, "min", ms % MINUTE / SECOND, "s"),
        ms if ms < DAY => two(ms / HOUR, "h", ms % HOUR / MINUTE, "min"),
        ms => two(ms / DAY, "d", ms % DAY / HOUR, "h"),
    }
}

fn written(ms: i64, pattern: &str) -> String {
    let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime(pattern).to_string()
}

/// `03:11:52`, UTC.
#[must_use]
pub fn clock(ms: i64) -> String {
    written(ms, "%H:%M:%S")
}

/// `23 Nov 03:11:52 UTC`, with the year when it is not that of `now`.
#[must_use]
pub fn full(now: i64, ms: i64) -> String {
    let same = written(now, "%Y") == written(ms, "%Y");
    written(ms, if same { "%-d %b %H:%M:%S UTC" } else { "%-d %b %Y %H:%M:%S UTC" })
}

/// `Monday 23 November 2026, 03:14 UTC`.
#[must_use]
pub fn sentence(ms: i64) -> String {
    written(ms, "%A %-d %B %Y, %H:%M UTC")
}

/// Machine-readable form for `datetime` attributes.
#[must_use]
pub fn machine(ms: i64) -> String {
    written(ms, "%Y-%m-%dT%H:%M:%SZ")
}

/// An age that keeps counting in the browser; the absolute time is in its title.
#[must_use]
pub fn ago(now: i64, ms: i64) -> Markup {
    html! {
        time.num datetime=(machine(ms)) title=(full(now, ms)) data-age=(ms) { (age(now - ms)) }
    }
}

/// The time of day when it is today, else the date: for the right edge of lists.
#[must_use]
pub fn when(now: i64, ms: i64) -> Markup {
    let pattern = match now - ms {
        past if past < DAY && written(now, "%j") == written(ms, "%j") => "%H:%M:%S",
        past if past < 6 * DAY => "%a %H:%M",
        past if past < 300 * DAY => "%-d %b",
        _ => "%-d %b %Y",
    };
    html! { time.num datetime=(machine(ms)) title=(full(now, ms)) { (written(ms, pattern)) } }
}
