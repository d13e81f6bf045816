//! Bars and small lines as server-made SVG: widths are attributes, no script and no inline style.

use std::fmt::Write as _;

use maud::{Markup, html};

/// Class of a value by how full it is: amber at 85 %, red at 95 %.
#[must_use]
pub fn level(ratio: f64) -> &'static str {
    match ratio {
        r if r >= 0.95 => "crit",
        r if r >= 0.85 => "warn",
        _ => "",
    }
}

/// Class of the text of such a value.
#[must_use]
pub fn level_text(ratio: f64) -> &'static str {
    match level(ratio) {
        "crit" => "c-crit b",
        "warn" => "c-warn b",
        _ => "",
    }
}

/// A short bar, for a table's cell; the number stands beside it.
#[must_use]
pub fn short(ratio: f64) -> Markup {
    draw("bar", ratio, level(ratio), None)
}

/// A short bar coloured by `class`, where fuller is not worse.
#[must_use]
pub fn share(ratio: f64, class: &str) -> Markup {
    draw("bar", ratio, class, None)
}

/// A bar as wide as its place, coloured by `class`.
#[must_use]
pub fn wide(ratio: f64, class: &str) -> Markup {
    draw("bar w", ratio, class, None)
}

/// A bar as wide as its place that says `label` to a screen reader.
#[must_use]
pub fn wide_named(ratio: f64, class: &str, label: &str) -> Markup {
    draw("bar w", ratio, class, Some(label))
}

fn draw(class: &str, ratio: f64, fill: &str, label: Option<&str>) -> Markup {
    let width = format!("{:.1}%", (ratio * 100.0).clamp(0.0, 100.0));
    html! {
        svg class=(class) role=[label.map(|_| "img")] aria-label=[label] aria-hidden=[label.is_none().then_some("true")] {
            rect.bg width="100%" height="100%" rx="3" {}
            rect class={ "fg " (fill) } width=(width) height="100%" rx="3" {}
        }
    }
}

/// A line without axes. Missing points leave a hole; nothing is drawn across it.
#[derive(Debug, Clone, Copy)]
pub struct Spark<'a> {
    /// Points from old to new.
    pub points: &'a [Option<f32>],
    /// Width and height in px; a `stretch`ed one fills its place.
    pub size: (u16, u16),
    /// Value at the upper edge; the largest point when `None`.
    pub top: Option<f32>,
    /// Whether it fills the width of its place.
    pub stretch: bool,
    /// `crit`, `warn`, `off` or nothing.
    pub class: &'static str,
    /// What it says to a screen reader; decoration when `None`.
    pub label: Option<&'a str>,
}

impl Spark<'_> {
    /// The drawing.
    #[must_use]
    pub fn draw(&self) -> Markup {
        let (width, height) = (f32::from(self.size.0), f32::from(self.size.1));
        let (line, area) = self.paths(width, height);
        html! {
            svg class={ "spark " (self.class) } viewBox={ "0 0 " (width) " " (height) } height=(height)
                width=(if self.stretch { "100%".to_owned() } else { width.to_string() })
                preserveAspectRatio=[self.stretch.then_some("none")]
                role=[self.label.map(|_| "img")] aria-label=[self.label]
                aria-hidden=[self.label.is_none().then_some("true")] {
                path.a d=(area) {}
                path.l d=(line) {}
            }
        }
    }

    fn paths(&self, width: f32, height: f32) -> (String, String) {
        let largest = self.points.iter().flatten().copied().fold(0.0_f32, f32::max);
        let top = self.top.unwrap_or(largest * 1.15).max(f32::MIN_POSITIVE);
        let step = width / (self.points.len().saturating_sub(1).max(1)) as f32;
        let place = |(at, value): (usize, f32)| {
            (at as f32 * step, height - 1.0 - (value / top).clamp(0.0, 1.0) * (height - 2.0))
        };
        let (mut line, mut area) = (String::new(), String::new());
        let numbered: Vec<_> = self.points.iter().copied().enumerate().collect();
        for run in numbered.split(|(_, value)| value.is_none()).filter(|run| !run.is_empty()) {
            let places: Vec<_> = run.iter().filter_map(|(at, v)| v.map(|v| place((*at, v)))).collect();
            let mut path = String::new();
            for (x, y) in &places {
                let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "" } else { "L" });
            }
            if let [(first, _), .., (last, _)] = places[..] {
                let _ = write!(line, "M{path}");
                let _ = write!(area, "M{first:.1} {height}L{path}L{last:.1} {height}z");
            }
        }
        (line, area)
    }
}
