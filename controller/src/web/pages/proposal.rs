//! A proposed repair: what it does, how risky it is and why, the exact order, and the decision.

pub mod fill;

use maud::{Markup, html};
use sysop_common::action::Risk;

use super::shared::HostRef;
use crate::web::layout::Ctx;
use crate::web::widgets::risk::{Factor, factors, risk};
use crate::web::widgets::state::{Size, State, shape};
use crate::web::widgets::{dialog, form, format, icon_small, icons, note};

/// Whether the person before the screen may decide.
#[derive(Debug, Clone)]
pub enum Decide {
    /// Yes.
    Allowed,
    /// No, for this reason in words: `You proposed it. Another person must approve high risk`.
    NotAllowed(String),
    /// It is decided, or decides itself: `Approved by admin at 03:14:02`, `Starts by itself in 40 s`.
    Settled(String),
}

/// An approval that was given.
#[derive(Debug, Clone)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When, ms UTC.
    pub at_ms: i64,
    /// What was said.
    pub comment: String,
}

/// A proposed repair.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Id of its run.
    pub run: String,
    /// Verb, object, host, effect: `Restart nginx.service on web-07, about 2 s outage`.
    pub title: String,
    /// Verb and object alone, for buttons: `restart nginx.service`.
    pub verb: String,
    /// Where it would run.
    pub host: HostRef,
    /// What it does, in one line.
    pub effect: String,
    /// How to take it back, or that one cannot.
    pub undo: String,
    /// Whether it cannot be taken back: the host's name must be typed.
    pub irreversible: bool,
    /// What is looked at afterwards.
    pub check: String,
    /// What happens when that fails.
    pub failure: String,
    /// What it will not do, if that matters: `It does not remove the cause. …`.
    pub caveat: Option<String>,
    /// Why it does not run by itself, if it could.
    pub why_asked: Option<String>,
    /// Computed risk.
    pub risk: Risk,
    /// What the risk is made of.
    pub factors: Vec<Factor>,
    /// The order as it will be signed, rendered line by line.
    pub command: String,
    /// Digest of what is approved, as hex: the approval is for exactly this.
    pub digest: String,
    /// When the proposal expires, ms UTC.
    pub expires_ms: Option<i64>,
    /// Approvals so far.
    pub approvals: Vec<Approval>,
    /// Approvals needed.
    pub needed: u8,
    /// Whether the person before the screen may decide.
    pub decide: Decide,
}

impl Proposal {
    /// Where a decision is posted.
    #[must_use]
    pub fn action(&self) -> String {
        format!("/approvals/{}", self.run)
    }

    fn waits(&self) -> bool {
        matches!(self.decide, Decide::Allowed | Decide::NotAllowed(_))
    }

    /// The panel with the decision.
    #[must_use]
    pub fn panel(&self, ctx: &Ctx) -> Markup {
        html! {
            section class="card o3" #repair aria-labelledby="repair-title" {
                div.ch {
                    (shape(if self.waits() { State::Wait } else { State::Info }, Size::Row))
                    h2 #repair-title { "Proposed repair" }
                    div.acts { (risk(self.risk)) }
                }
                div class="cb stack" {
                    h3 { (self.title) }
                    (self.facts())
                    @if let Some(caveat) = &self.caveat { (note::callout(State::Warn, html! { (caveat) }, None)) }
                    (self.decision(ctx))
                    (self.signed_for(ctx.now_ms))
                }
            }
        }
    }

    /// What it does, to what, and how it ends.
    #[must_use]
    pub fn facts(&self) -> Markup {
        html! {
            dl class="dl left" {
                dt { "Host" } dd { b { (self.host.link()) } ", nothing else" }
                dt { "Effect" } dd { (self.effect) }
                dt { "Undo" } dd {
                    @if self.irreversible { span.c-warn { (icon_small(icons::ALERT_TRIANGLE)) } }
                    @else { span.c-ok { (icon_small(icons::ARROW_BACK_UP)) } }
                    " " (self.undo)
                }
                dt { "Check after" } dd { (self.check) }
                dt { "If it fails" } dd { (self.failure) }
                @if let Some(why) = &self.why_asked { dt { "Why it asks" } dd { (why) } }
            }
        }
    }

    /// The buttons, or why there are none.
    #[must_use]
    pub fn decision(&self, ctx: &Ctx) -> Markup {
        match &self.decide {
            Decide::Settled(words) => {
                html! { div.co { (shape(State::Info, Size::Row)) div.small { (words) } } }
            }
            Decide::NotAllowed(why) => html! {
                button type="button" class="btn big full" disabled { (why) }
            },
            Decide::Allowed => html! {
                div class="stack s decide" {
                    @if self.irreversible {
                        (dialog::opener("approve", "btn danfill big full", html! { "Approve: " (self.verb) " on " (self.host.name) }))
                    } @else {
                        (self.post(ctx, "approve", html! {
                            button class="btn pri big full" { "Approve: " (self.verb) " on " (self.host.name) }
                        }))
                    }
                    (dialog::opener("deny", "btn dan full", html! { (icon_small(icons::X)) "Deny" }))
                }
                (self.deny_dialog(ctx))
                @if self.irreversible { (self.typed_dialog(ctx)) }
            },
        }
    }

    fn post(&self, ctx: &Ctx, decision: &str, body: Markup) -> Markup {
        form::post(
            ctx,
            &self.action(),
            "stack s",
            html! {
                (form::hidden("decision", decision))
                (form::hidden("digest", &self.digest))
                (body)
            },
        )
    }

    fn deny_dialog(&self, ctx: &Ctx) -> Markup {
        let body = self.post(
            ctx,
            "deny",
            html! {
                p.t2 { "Nothing runs on " b { (self.host.name) } ". The incident stays open until the trouble is gone." }
                div.field {
                    label.lab for="deny-why" { "Why " span.t3 { "kept in the audit" } }
                    textarea.inp #deny-why name="comment" rows="2" maxlength="500" {}
                }
                div class="row-x wrap" {
                    button class="btn dan" { "Deny: do not " (self.verb) }
                    (dialog::leave("deny", "Leave it waiting"))
                }
            },
        );
        dialog::dialog("deny", "Deny this repair", body)
    }

    fn typed_dialog(&self, ctx: &Ctx) -> Markup {
        let exact = self.host.name.replace('.', "\\.");
        let body = self.post(
            ctx,
            "approve",
            html! {
                p.t2 { (self.effect) }
                div.field {
                    label.lab for="typed" { "Cannot be undone. Type " code { (self.host.name) } " to approve" }
                    input class="inp mono" #typed name="confirm" required autocomplete="off" spellcheck="false"
                        pattern=(exact) title={ "The host's name, " (self.host.name) };
                }
                div.field {
                    label.lab for="approve-why" { "Comment " span.t3 { "kept in the audit" } }
                    textarea.inp #approve-why name="comment" rows="2" maxlength="500" {}
                }
                div class="row-x wrap" {
                    button class="btn danfill" { "Approve: " (self.verb) " on " (self.host.name) " now" }
                    (dialog::leave("approve", "Leave it waiting"))
                }
            },
        );
        dialog::dialog("approve", &self.title, body)
    }

    fn signed_for(&self, now: i64) -> Markup {
        let short: String = self.digest.chars().take(12).collect();
        html! {
            p class="tiny t3" {
                "You approve exactly this order, digest " code title=(self.digest) { (short) "…" }
                @if let Some(until) = self.expires_ms { ", valid until " (format::full(now, until)) }
                ". " (self.host.name) " checks it against its own policy before it runs anything."
            }
        }
    }

    /// Approvals given and missing, as ticked and empty rings.
    #[must_use]
    pub fn quorum(&self) -> Markup {
        let given = self.approvals.len();
        html! {
            span.quorum role="img" aria-label={ (given) " of " (self.needed) " approvals" } {
                @for at in 0..usize::from(self.needed) {
                    @if at < given { i.y { (icon_small(icons::CHECK)) } } @else { i {} }
                }
            }
        }
    }

    /// The order as it will be signed.
    #[must_use]
    pub fn command_card(&self) -> Markup {
        html! {
            details class="card o4" open {
                summary.ch { h2 { "What exactly will run" } }
                div class="cb stack s" { (terminal(&self.command)) }
            }
        }
    }

    /// What the risk is made of.
    #[must_use]
    pub fn factors_card(&self) -> Markup {
        html! {
            details class="card o5" open {
                summary.ch { h2 { "Why " (self.risk.word()) " risk" } }
                div.cb {
                    (factors(&self.factors))
                    p class="tiny t3" { "Computed, never claimed. A model can raise it, not lower it." }
                }
            }
        }
    }

    /// The decision within reach of the thumb, on a phone.
    #[must_use]
    pub fn phone_bar(&self, ctx: &Ctx) -> Markup {
        html! {
            @if matches!(self.decide, Decide::Allowed) {
                div.stickbar role="region" aria-label="Decide" {
                    (dialog::opener("deny", "btn dan", html! { "Deny" }))
                    @if self.irreversible {
                        (dialog::opener("approve", "btn danfill grow", html! { "Approve on " (self.host.name) }))
                    } @else {
                        (form::post(ctx, &self.action(), "grow", html! {
                            (form::hidden("decision", "approve"))
                            (form::hidden("digest", &self.digest))
                            button class="btn pri full" { "Approve on " (self.host.name) }
                        }))
                    }
                }
            }
        }
    }
}

/// Text as a terminal shows it; lines that start with `#` are quieter.
#[must_use]
pub fn terminal(text: &str) -> Markup {
    html! {
        pre.term tabindex="0" {
            @for (at, line) in text.lines().enumerate() {
                @if at > 0 { "\n" }
                @if line.trim_start().starts_with('#') { span.c { (line) } } @else { (line) }
            }
        }
    }
}
