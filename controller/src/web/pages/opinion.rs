//! A model's opinion beside the rules' finding: never the first block, never above the proposal, and
//! never in the place of a fact.

pub mod fill;

use maud::{Markup, html};
use sysop_common::action::Risk;

use crate::web::layout::Ctx;
use crate::web::widgets::risk::risk;
use crate::web::widgets::state::{Size, State, shape};
use crate::web::widgets::{bar, form, format, icon, icon_small, icons};

/// What a model said of an incident, or why it said nothing.
#[derive(Debug, Clone, Default)]
pub struct Note {
    /// Number of the question.
    pub id: i64,
    /// Which model.
    pub model: String,
    /// When, ms UTC.
    pub at_ms: i64,
    /// What became of it: `accepted`, `flagged`, `capped`, …
    pub verdict: String,
    /// What it says it is: `incident`, `benign`, `need_more`.
    pub says: String,
    /// Its findings.
    pub views: Vec<View>,
    /// What is left of its confidence by experience and by the rules, in percent.
    pub counts_for: Option<u8>,
    /// How often it was right about this kind of trouble: right, all.
    pub track: (u64, u64),
    /// What was thrown out, one line each.
    pub rejects: Vec<String>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// Rows of evidence in the question.
    pub turns: u32,
    /// Time to the answer, in ms.
    pub latency_ms: u64,
    /// Tokens of requests and of answers for the whole incident.
    pub tokens: (u64, u64),
    /// Of the requests' tokens, those from the server's cache.
    pub cached: u64,
    /// Money for the whole incident, with its currency; empty without prices.
    pub money: String,
    /// Whether the server did not count, and tokens were estimated here.
    pub estimated: bool,
}

/// One finding of a model.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// One line; empty when it came in the wrong language.
    pub title: String,
    /// A few sentences; empty as the title.
    pub summary: String,
    /// How it got there.
    pub reasoning: String,
    /// The cause that it names.
    pub root: String,
    /// Whether the rules name the same.
    pub agrees: bool,
    /// How sure it says it is, in percent.
    pub stated: u8,
    /// The risk that it sees.
    pub risk: Option<Risk>,
    /// Rows that it cites for it.
    pub evidence: Vec<String>,
    /// Rows that it cites against it.
    pub against: Vec<String>,
    /// Offers that it chooses, as words.
    pub picks: Vec<String>,
}

/// What people said of an incident, and whether this person may say something.
#[derive(Debug, Clone, Default)]
pub struct FeedbackView {
    /// The incident.
    pub incident: i64,
    /// Who said what: name, word, comment.
    pub words: Vec<(String, String, String)>,
    /// Whether the person may say something.
    pub may: bool,
    /// What the person said last.
    pub own: Option<String>,
}

impl Note {
    /// The panel.
    #[must_use]
    pub fn panel(&self, ctx: &Ctx) -> Markup {
        html! {
            section class="model stack s o7" #opinion aria-labelledby="opinion-title" {
                div class="row-x wrap" {
                    span.c-wait { (icon(icons::SPARKLES)) }
                    h2 class="b" #opinion-title { "Model's note" }
                    span class="chip wait" { "not verified" }
                    span.grow {}
                    span class="tiny t3" { (self.model) }
                }
                @for view in &self.views { (self.view(view)) }
                @if self.views.is_empty() { p class="small t2" { (self.silence()) } }
                @if self.says == "benign" {
                    p class="small t2" { "It takes this for ordinary work. That closes nothing: what could run by itself now waits for a person." }
                }
                @if !self.rejects.is_empty() { (self.thrown_out()) }
                (self.footer(ctx))
            }
        }
    }

    fn view(&self, view: &View) -> Markup {
        html! {
            @if view.title.is_empty() {
                p class="small t2" { "Its words were not in the language that was asked for; the rules' words above stand." }
            } @else {
                p.small { b { (view.title) } }
                p class="small t2" { "“" (view.summary) "”" }
            }
            div class="row-x wrap small" {
                @if view.agrees {
                    (shape(State::Ok, Size::Small)) span { "Names the same cause as the rules" }
                } @else {
                    (shape(State::Warn, Size::Small))
                    span { "Names another cause: " b { @if view.root.is_empty() { "none" } @else { (view.root) } } ". A person decides" }
                }
                @if let Some(level) = view.risk { span.grow {} (risk(level)) }
            }
            @if !view.picks.is_empty() {
                p class="small t2" { "Of the rules' offers it would take: " b { (view.picks.join(", ")) } "." }
            }
            (self.numbers(view))
            details {
                summary class="tiny t3" { "What it rests on: " (format::counted(view.evidence.len() as u64, "row", "rows")) }
                ul class="tiny t2" {
                    @for row in &view.evidence { li { (row) } }
                    @for row in &view.against { li { "against: " (row) } }
                }
                @if !view.reasoning.is_empty() { p class="tiny t3" { (view.reasoning) } }
            }
        }
    }

    fn numbers(&self, view: &View) -> Markup {
        let stated = f64::from(view.stated) / 100.0;
        let (right, all) = self.track;
        html! {
            (factor("It says", stated, &format::percent(stated)))
            @if all > 0 {
                @let hit = right as f64 / all as f64;
                (factor("Was right", hit, &format!("{right} of {all}")))
            } @else {
                p class="tiny t3" { "Nobody has said yet whether it is right about such trouble." }
            }
            @if let Some(percent) = self.counts_for {
                (factor("Counts for", f64::from(percent) / 100.0, &format::percent(f64::from(percent) / 100.0)))
            }
        }
    }

    fn silence(&self) -> String {
        match (self.verdict.as_str(), &self.error) {
            ("capped", Some(why)) => {
                format!("Not asked: {why}. The rules' finding stands alone until tomorrow, UTC.")
            }
            ("capped", None) => "Not asked: the day's limit is reached.".to_owned(),
            (_, Some(error)) => format!("No answer: {error}. The rules' finding stands alone."),
            _ => "Its answer was thrown out by the verifier. The rules' finding stands alone.".to_owned(),
        }
    }

    fn thrown_out(&self) -> Markup {
        html! {
            details {
                summary class="tiny t3" {
                    "Thrown out by the verifier: " (format::counted(self.rejects.len() as u64, "claim", "claims"))
                }
                ul class="tiny t2" { @for reject in &self.rejects { li { (reject) } } }
            }
        }
    }

    fn footer(&self, ctx: &Ctx) -> Markup {
        let now = ctx.now_ms;
        let may_read = ctx.user.as_ref().is_some_and(|user| user.may_operate);
        let (prompt, answer) = self.tokens;
        html! {
            p class="tiny t3" {
                "Asked " (format::full(now, self.at_ms))
                @if self.latency_ms > 0 { ", answered in " (format::duration(i64::try_from(self.latency_ms).unwrap_or(0))) }
                ". This incident so far: " (format::count(prompt + answer)) " tokens"
                @if self.cached > 0 { ", " (format::count(self.cached)) " of them cached" }
                @if !self.money.is_empty() { ", " (self.money) }
                @if self.estimated { " (estimated)" }
                ". It cannot act, and cannot lower the risk. "
                @if may_read { a href={ "/analyses/" (self.id) } { "What was sent" } }
            }
        }
    }
}

fn factor(name: &str, share: f64, value: &str) -> Markup {
    html! {
        div.factor {
            span.t2 { (name) }
            (bar::wide_named(share, "", &format!("{name} {value}")))
            span class="fv num" { (value) }
        }
    }
}

impl FeedbackView {
    /// The card with the buttons.
    #[must_use]
    pub fn card(&self, ctx: &Ctx) -> Markup {
        let action = format!("/incidents/{}/feedback", self.incident);
        let choices = [
            ("right", "Right cause", icons::THUMB_UP),
            ("wrong", "Wrong cause", icons::THUMB_DOWN),
            ("noise", "No trouble", icons::VOLUME_OFF),
        ];
        html! {
            section class="card o8" #feedback aria-labelledby="feedback-title" {
                div.ch { h2 #feedback-title { "Was this right?" } }
                div class="cb stack s" {
                    @if self.may {
                        (form::post(ctx, &action, "stack s", html! {
                            div class="row-x wrap" {
                                @for (value, words, sign) in choices {
                                    button class=(if self.own.as_deref() == Some(value) { "btn s pri" } else { "btn s" })
                                        name="said" value=(value) aria-pressed=(if self.own.as_deref() == Some(value) { "true" } else { "false" }) {
                                        (icon_small(sign)) (words)
                                    }
                                }
                            }
                            div.field {
                                label.lab for="feedback-comment" { "What was it? " span.t3 { "may stay empty" } }
                                input.inp #feedback-comment name="comment" maxlength="500" autocomplete="off";
                            }
                        }))
                    }
                    @for (who, word, comment) in &self.words {
                        p class="small t2" { b { (who) } ": " (spoken(word)) @if !comment.is_empty() { ". “" (comment) "”" } }
                    }
                    p class="tiny t3" { "Your word trains how much a confidence counts. It changes no finding." }
                }
            }
        }
    }
}

fn spoken(word: &str) -> &'static str {
    match word {
        "right" => "the cause is right",
        "wrong" => "the cause is another one",
        _ => "there was no trouble",
    }
}
