//! The markup of the model's page.

use maud::{Markup, html};
use sysop_common::time::DAY_MS;

use super::ModelView;
use crate::web::layout::Ctx;
use crate::web::models::{Preview, Setting, Tried};
use crate::web::pages::opinion::fill::money;
use crate::web::pages::proposal::terminal;
use crate::web::pages::settings;
use crate::web::widgets::list::table;
use crate::web::widgets::state::{Size, State, shape_named};
use crate::web::widgets::{card, form, format, icon_small, icons, note, page_head};

pub(super) fn body(ctx: &Ctx, view: &ModelView) -> Markup {
    let below = html! {
        "A second opinion on open incidents. It chooses among the rules' own offers, can raise a risk or withdraw, and can do nothing else. "
        a href="/analyses" { "What it was asked" }
    };
    let test = html! {
        @if view.may {
            (form::post(ctx, "/settings/model/test", "", html! { button.btn { (icon_small(icons::SPARKLES)) "Test with a made-up incident" } }))
        }
    };
    html! {
        (page_head("Model", below, test))
        (settings::tabs(ctx))
        @if let Some(tried) = &view.tried { (tried_card(tried, &view.state.currency)) }
        (standing(ctx, view))
        div class="grid inc" {
            div class="c8 stack" { (settings(ctx, view)) (notes(ctx, view)) }
            div class="c4 stack" { (cost(view)) (known(ctx, view)) (trust(ctx, view)) }
        }
    }
}

fn standing(ctx: &Ctx, view: &ModelView) -> Markup {
    let state = &view.state;
    let used = view.today.tokens() >= state.limits.0;
    let _ = ctx;
    html! {
        @if !state.ready {
            (note::callout(State::Off, html! { "No model is set up. Incidents are found, explained and repaired by rules alone; nothing leaves this controller." }, None))
        } @else if !state.on {
            (note::callout(State::Off, html! { "A model is set up and switched off. Nothing is sent." }, None))
        } @else if used {
            (note::callout(State::Warn, html! { "The day's limit is reached: rules alone until tomorrow, UTC." }, None))
        } @else if state.left_alone {
            (note::callout(State::Warn, html! { "The model's server failed several times and is left alone for a while. Rules go on." }, None))
        }
    }
}

fn tried_card(tried: &Tried, currency: &str) -> Markup {
    let state = if tried.works { State::Ok } else { State::Crit };
    let paid = money(tried.micro, currency);
    note::callout(
        state,
        html! {
            b { @if tried.works { "It works: " } @else { "It does not work: " } }
            (tried.says) ", " (format::duration(i64::try_from(tried.latency_ms).unwrap_or(0))) ", "
            (format::count(tried.tokens.0 + tried.tokens.1)) " tokens"
            @if !paid.is_empty() { ", " (paid) }
            "."
            @if let Some(remedy) = &tried.remedy { " " (remedy) }
            @for reject in &tried.rejects { div.tiny { "Thrown out: " (reject) } }
        },
        None,
    )
}

const LABELS: [(&str, &str, &str); 8] = [
    ("base_url", "Address of the API", "https://api.openai.com/v1, or a server of your own"),
    ("server", "Kind of server", "auto, openai, azure, ollama, vllm, llamacpp or generic"),
    ("name", "Model", "as the server calls it"),
    ("language", "Language of its words", "en, vi, …"),
    ("interval", "Time between two periodic looks", "only hosts with an open incident: 300s, 10min"),
    ("daily_tokens", "Tokens a day", "beyond it nothing is sent until tomorrow, UTC"),
    ("daily_cost", "Money a day", "counts where model.prices names the model"),
    ("api_key", "Key", "sealed; it is never shown again"),
];

fn settings(ctx: &Ctx, view: &ModelView) -> Markup {
    let state = &view.state;
    let fields = html! {
        fieldset.stack disabled[!view.may] {
            label.row-x { input type="checkbox" name="on" checked[state.on]; span { "Ask the model about open incidents" } }
            label.row-x { input type="checkbox" name="pseudonyms" checked[state.pseudonyms]; span { "Replace names of hosts, people and addresses before anything leaves" } }
            @for (name, label, hint) in LABELS {
                @if let Some(setting) = state.settings.iter().find(|setting| setting.name == name) {
                    (field(view, setting, label, hint))
                }
            }
            @if view.may { button class="btn pri" { "Save" } }
            @else { p class="small t3" { "An admin can change this." } }
        }
    };
    card(
        "settings",
        "Settings",
        html! {},
        html! { div.cb { (form::post(ctx, "/settings/model", "stack", fields)) } },
    )
}

fn field(view: &ModelView, setting: &Setting, label: &str, hint: &str) -> Markup {
    let error = view.problem.as_ref().filter(|(field, _)| field == setting.name).map(|(_, problem)| problem);
    let secret = setting.name == "api_key";
    let below = format!("{}-below", setting.name);
    let typed = view.typed.iter().find(|(name, _)| *name == setting.name).map(|(_, value)| value.as_str());
    let value = typed.unwrap_or(if setting.here { setting.value.as_str() } else { "" });
    html! {
        div.field {
            label.lab for=(setting.name) { (label) }
            input class="inp mono" id=(setting.name) name=(setting.name) type=(if secret { "password" } else { "text" })
                value=[(!secret).then_some(value)] placeholder=(if secret { if view.state.key { "a key is set" } else { "no key is set" } } else { setting.value.as_str() })
                autocomplete="off" spellcheck="false" maxlength="4096" aria-invalid=[error.map(|_| "true")] aria-describedby=(below);
            @if let Some(error) = error {
                p class="small c-crit row-x top" id=(below) { (shape_named(State::Crit, Size::Small, "Error")) span { (label) " " (error) } }
            } @else {
                p class="small t3" id=(below) { (hint) @if !setting.here && !secret { "; empty: from file or environment" } }
            }
            @if secret && view.state.key {
                label class="row-x small" { input type="checkbox" name="forget_key"; span { "Take the key that was set here away" } }
            }
        }
    }
}

fn notes(ctx: &Ctx, view: &ModelView) -> Markup {
    html! {
        section.card #notes aria-labelledby="notes-title" {
            div.ch { h2 #notes-title { "Notes for the model" } span class="t3 small" { "context only: rules, form and offers stay" } }
            div class="cb stack s" {
                @if view.notes.is_empty() { p class="small t2" { "None. A note explains what is normal here, such as a job at night." } }
                @for note in &view.notes {
                    div class="stack s" {
                        p class="small" { b { (note.scope) } span.t3 { " version " (note.version) ", " (note.created_by) ", " (format::full(ctx.now_ms, note.created_at)) } }
                        p class="small t2" { (note.text) }
                    }
                }
                @if view.may {
                    (form::post(ctx, "/settings/model/notes", "stack s", html! {
                        div.field {
                            label.lab for="scope" { "For" }
                            input class="inp mono" #scope name="scope" value="global" maxlength="256" required spellcheck="false" autocomplete="off" aria-describedby="scope-below";
                            p class="small t3" #scope-below { "global, label:NAME=VALUE or host:ID. A host's own note goes before its labels', and that before the general one." }
                        }
                        div.field {
                            label.lab for="text" { "Note " span.t3 { "at most 1,000 characters; empty takes it away" } }
                            textarea.inp #text name="text" rows="4" maxlength="1000" {}
                        }
                        button.btn { "Write a new version" }
                    }))
                }
            }
        }
    }
}

fn cost(view: &ModelView) -> Markup {
    let (tokens, limit) = (view.today.tokens(), view.state.limits.0);
    let share = if limit == 0 { 1.0 } else { tokens as f64 / limit as f64 };
    let paid = |micro: i64| money(u64::try_from(micro).unwrap_or(0), &view.state.currency);
    let rows = html! {
        @for (day, calls, tokens, micro) in &view.days {
            tr {
                td { (format::machine(day * DAY_MS).get(..10).unwrap_or_default()) }
                td.r data-k="Requests" { (calls) }
                td.r data-k="Tokens" { (format::count(u64::try_from(*tokens).unwrap_or(0))) }
                td.r data-k="Cost" { @let money = paid(*micro); @if money.is_empty() { "–" } @else { (money) } }
            }
        }
    };
    let head = html! { th { "Day" } th.r { "Requests" } th.r { "Tokens" } th.r { "Cost" } };
    card(
        "cost",
        "Cost",
        html! {},
        html! {
            div class="cb stack s" {
                p.small { b { (format::count(tokens)) } " of " (format::count(limit)) " tokens today" }
                (crate::web::widgets::bar::wide_named(share, "", &format!("{} of the day's tokens", format::percent(share))))
                @if view.state.price_version.is_empty() { p class="tiny t3" { "No price is known: set model.prices to count money." } }
                @else { p class="tiny t3" { "Price list " (view.state.price_version) } }
            }
            @if !view.days.is_empty() { (table("Cost by day", head, rows)) }
        },
    )
}

fn known(ctx: &Ctx, view: &ModelView) -> Markup {
    card(
        "known",
        "What is known of the server",
        html! {},
        html! {
            div class="cb stack s small t2" {
                @for line in &view.state.profile { p { (line) } }
                @if let Some(at) = view.state.probed_at { p class="tiny t3" { "Probed " (format::full(ctx.now_ms, at.0)) } }
                @else { p class="tiny t3" { "Not probed yet." } }
            }
        },
    )
}

fn trust(ctx: &Ctx, view: &ModelView) -> Markup {
    html! {
        section.card #trust aria-labelledby="trust-title" {
            div.ch { h2 #trust-title { "Trust in actions" } }
            div class="cb stack s" {
                @for held in view.demotions.iter().filter(|held| held.lifted_at.is_none()) {
                    (note::callout(State::Warn, html! {
                        b { (held.action) } " for " (held.category) " waits for a person: " (held.reason)
                    }, view.may.then(|| form::post(ctx, &format!("/settings/model/trust/{}", held.id), "", html! {
                        button class="btn s" { "Trust it again" }
                    }))))
                }
                @if view.rates.is_empty() { p class="small t2" { "No run has ended yet." } }
                @for (action, category, seen, all) in &view.rates {
                    p class="small t2" { b { (action) } " for " (category) ": helped in " (seen) " of " (all) }
                }
                p class="tiny t3" { "Two runs in a row that were not seen to help, or fewer than 60 % of at least five, and it asks first." }
            }
        }
    }
}

pub(super) fn preview(name: &str, preview: &Preview) -> Markup {
    let below = html! {
        "About " (format::count(preview.tokens)) " tokens differ from request to request, " (format::count(preview.all_tokens)) " with the part that is always the same. Nothing was sent."
    };
    html! {
        (page_head(&format!("What would be sent about {name}"), below, html! {}))
        div.stack {
            @for (who, text) in &preview.messages {
                section.card aria-label=(who) { div.ch { h2 { (who) } } div.cb { (terminal(text)) } }
            }
            details.card { summary.ch { h2 { "The part that is always the same" } } div.cb { (terminal(&preview.prefix)) } }
            details.card { summary.ch { h2 { "The form of the answer" } } div.cb { (terminal(&preview.schema)) } }
        }
    }
}
