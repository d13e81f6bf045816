//! Whether a text is in the language that was asked for. It need not be certain: a text that is taken
//! for another one gives way to the catalogue's words. Pure.

/// Words that English texts of a sentence or more can hardly do without.
const ENGLISH: [&str; 32] = [
    "the", "is", "of", "and", "to", "a", "in", "on", "it", "by", "for", "was", "has", "are", "with", "that",
    "not", "from", "an", "be", "because", "its", "this", "as", "at", "after", "more", "no", "which", "when",
    "out", "were",
];
/// The same for Vietnamese.
const VIETNAMESE: [&str; 32] = [
    "là", "của", "và", "không", "đã", "bị", "do", "có", "được", "trên", "trong", "cho", "với", "này", "các",
    "đang", "khi", "vì", "từ", "đến", "lại", "một", "những", "nên", "hơn", "sau", "máy", "dịch", "vụ", "bộ",
    "nhớ", "đĩa",
];
/// A shorter text proves nothing.
const LEAST_LETTERS: usize = 24;

/// Whether `text` may be in the language with the tag `tag`.
#[must_use]
pub fn fits(tag: &str, text: &str) -> bool {
    let letters: Vec<char> = text.chars().filter(|c| c.is_alphabetic()).collect();
    if letters.len() < LEAST_LETTERS {
        return true;
    }
    let share = |of: fn(u32) -> bool| {
        letters.iter().filter(|c| of(u32::from(**c))).count() as f64 / letters.len() as f64
    };
    let latin = share(|c| matches!(c, 0x41..=0x5A | 0x61..=0x7A | 0xC0..=0x24F | 0x1E00..=0x1EFF));
    let primary = tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
    match primary.as_str() {
        "zh" => share(han) > 0.3,
        "ja" => share(|c| han(c) || matches!(c, 0x3040..=0x30FF)) > 0.3,
        "ko" => share(|c| matches!(c, 0xAC00..=0xD7A3 | 0x1100..=0x11FF)) > 0.3,
        "th" => share(|c| matches!(c, 0xE00..=0xE7F)) > 0.3,
        "ru" | "uk" | "bg" | "sr" => share(|c| matches!(c, 0x400..=0x52F)) > 0.3,
        "el" => share(|c| matches!(c, 0x370..=0x3FF)) > 0.3,
        "ar" | "fa" => share(|c| matches!(c, 0x600..=0x6FF)) > 0.3,
        "he" => share(|c| matches!(c, 0x590..=0x5FF)) > 0.3,
        "en" => latin > 0.7 && words(text, &ENGLISH) >= words(text, &VIETNAMESE).max(1),
        "vi" => latin > 0.7 && words(text, &VIETNAMESE) > words(text, &ENGLISH),
        // Of other languages only the script is known.
        _ => latin > 0.5,
    }
}

fn han(c: u32) -> bool {
    matches!(c, 0x3400..=0x4DBF | 0x4E00..=0x9FFF)
}

fn words(text: &str, list: &[&str]) -> usize {
    let lower = text.to_lowercase();
    lower.split(|c: char| !c.is_alphabetic()).filter(|word| list.contains(word)).count()
}

#[cfg(test)]
mod tests {
    use super::fits;

    const EN: &str = "The unit F1 fills up because U1 writes more log than it used to; restart it.";
    const VI: &str = "Phân vùng F1 đầy vì dịch vụ U1 đã ghi quá nhiều nhật ký; khởi động lại U1.";
    const ZH: &str = "根分区已满,因为服务写入了过多的日志,请重新启动该服务以恢复正常运行状态。";

    #[test]
    fn the_language_that_was_asked_for_is_told_from_others() {
        assert!(fits("en", EN) && fits("vi", VI) && fits("zh-Hans", ZH) && fits("en-GB", EN));
        assert!(!fits("vi", EN) && !fits("en", VI) && !fits("en", ZH) && !fits("vi", ZH) && !fits("zh", EN));
        assert!(fits("de", "Der Dienst U1 schreibt zu viel in das Dateisystem F1."));
        assert!(fits("vi", "nginx.service failed"), "too short to tell");
    }
}
