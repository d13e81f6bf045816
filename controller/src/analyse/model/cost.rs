//! What a request costs, by the price list that holds. Pure.

use sysop_common::ids::sha256;

use super::ask::Usage;
use crate::config::{Model, Price};

/// Money in millionths of the currency, rounded up; nothing without a price.
#[must_use]
pub fn micro(usage: &Usage, price: Option<&Price>) -> u64 {
    let Some(price) = price else { return 0 };
    let cached = usage.cached.min(usage.prompt);
    let parts = [
        (usage.prompt - cached, price.prompt_micro),
        (cached, price.cached_micro),
        (usage.completion, price.completion_micro),
    ];
    let sum: u128 = parts.iter().map(|(tokens, each)| u128::from(*tokens) * u128::from(*each)).sum();
    u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Names the price list: another list has another name.
#[must_use]
pub fn price_version(model: &Model) -> String {
    let list: Vec<String> = model
        .prices
        .iter()
        .map(|p| format!("{}={}/{}/{}", p.model, p.prompt_micro, p.cached_micro, p.completion_micro))
        .collect();
    let digest = sha256(format!("{} {}", model.currency, list.join(" ")).as_bytes());
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_to_a_millionth_and_cached_tokens_cost_their_own_price() {
        let price = Price {
            model: "m".into(),
            prompt_micro: 2_500_000,
            cached_micro: 1_250_000,
            completion_micro: 10_000_000,
        };
        let usage = Usage { prompt: 3_000, cached: 1_000, completion: 400, reasoning: 100, estimated: false };
        // 2,000 at 2.50, 1,000 at 1.25, 400 at 10 per million.
        assert_eq!(micro(&usage, Some(&price)), 5_000 + 1_250 + 4_000);
        assert_eq!(micro(&usage, None), 0);
        let odd = Usage { prompt: 1, cached: 9, ..Usage::default() };
        assert_eq!(micro(&odd, Some(&price)), 2, "rounded up, and never less than nothing");
        let huge = Usage { prompt: u64::MAX, completion: u64::MAX, ..Usage::default() };
        assert_eq!(micro(&huge, Some(&price)), u64::MAX);
    }
}
