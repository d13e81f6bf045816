//! Texts that stand for flags, durations and lists.

/// `true` and `false`, and what people write for them.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// A duration such as `30s`, `15min`, `12h`, `7d`, in ms, within `least` and `most`.
pub(super) fn duration(least: &'static str, most: &'static str) -> impl Fn(&str) -> Result<i64, String> {
    move |text| {
        let must =
            || format!("must be a whole number with s, min, h or d, from {least} to {most}, such as {least}");
        let value = ms(text).ok_or_else(must)?;
        let range = ms(least).unwrap_or(0)..=ms(most).unwrap_or(i64::MAX);
        if range.contains(&value) { Ok(value) } else { Err(must()) }
    }
}

fn ms(text: &str) -> Option<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: i64 = match unit.trim_start() {
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

/// Texts between commas, without the space around them.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}
