//! The door: setup with the one-time code, and sign-in. What both share is here.

use maud::{Markup, html};

use crate::web::assets;

/// The form at the left, what the product does at the right.
pub(super) fn frame(heading: &str, below: &str, form: Markup) -> Markup {
    html! {
        div.door {
            main.pane #main tabindex="-1" {
                div.box-in {
                    div.row-x { img src=(assets::MARK_SVG) alt="" width="36" height="36"; b { "Smart System Operator" } }
                    (form)
                }
            }
            aside.art { h2 { (heading) } p.t3 { (below) } (story()) }
        }
    }
}

/// One incident as a picture: the disk fills, the cause is found, the repair is approved and verified.
fn story() -> Markup {
    let says = "Example: used space rises until the disk is full, the cause is found, a repair is approved, the value falls and is verified";
    let line = "M0 170C60 168 110 172 160 168L330 62L392 60L404 172C450 168 520 172 600 168";
    html! {
        svg.hero viewBox="0 0 600 250" role="img" aria-label=(says) {
            path d="M0 60H600" stroke="#e5484d" stroke-dasharray="4 5" opacity=".7" {}
            text x="600" y="50" text-anchor="end" fill="#ff8a8e" { "full" }
            path d={ (line) "V250H0z" } fill="#3d5fdc" opacity=".16" {}
            path d=(line) fill="none" stroke="#8ea6ff" stroke-width="2.5" stroke-linejoin="round" {}
            g stroke="#4a5770" stroke-dasharray="2 4" { path d="M160 168V216M330 62V30M392 60V30M470 170V216" {} }
            rect x="154" y="162" width="12" height="12" rx="2" fill="#9aa5b6" {}
            path d="M326 53h8l6 6v8l-6 6h-8l-6-6v-8z" fill="#e5484d" {}
            path d="M392 51l9 9-9 9-9-9z" fill="#8ea6ff" {}
            circle cx="470" cy="170" r="8" fill="#2fa56a" {}
            path d="M466.5 170l2.5 2.5 4.5-5" fill="none" stroke="#fff" stroke-width="1.8" {}
            @for (x, y, anchor, strong, words) in [
                ("160", "232", "middle", true, "02:58 the log grows"), ("160", "248", "middle", false, "found as the cause"),
                ("338", "22", "end", true, "03:11 the disk is full"), ("388", "22", "start", true, "03:13 you approve"),
                ("470", "232", "start", true, "03:14 verified"), ("470", "248", "start", false, "written to the audit"),
            ] { text x=(x) y=(y) text-anchor=(anchor) class=[strong.then_some("w")] { (words) } }
        }
    }
}
