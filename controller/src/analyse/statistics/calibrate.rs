//! From a score to a probability: a logistic curve to begin with, then what was measured.

/// A score as a probability.
#[must_use]
pub fn logistic(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}

/// Measured probabilities that never fall as the score rises: steps `(score from, probability)`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table(pub Vec<(f64, f64)>);

impl Table {
    /// From scores and whether each was right, by pooling neighbours that are out of order (isotonic
    /// regression).
    #[must_use]
    pub fn fit(outcomes: &[(f64, bool)]) -> Self {
        let mut sorted = outcomes.to_vec();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        // Blocks of (first score, right, all).
        let mut blocks: Vec<(f64, f64, f64)> = Vec::new();
        for (score, right) in sorted {
            let right = f64::from(u8::from(right));
            match blocks.last_mut() {
                Some(block) if block.0 == score => {
                    block.1 += right;
                    block.2 += 1.0;
                }
                _ => blocks.push((score, right, 1.0)),
            }
            merge(&mut blocks);
        }
        Self(blocks.into_iter().map(|(score, right, all)| (score, right / all)).collect())
    }

    /// The probability of `score`; the logistic curve's where nothing was measured.
    #[must_use]
    pub fn at(&self, score: f64) -> f64 {
        let steps = &self.0;
        let Some(first) = steps.first() else { return logistic(score) };
        let after = steps.partition_point(|(from, _)| *from <= score);
        after.checked_sub(1).map_or(first.1, |at| steps[at].1)
    }
}

fn merge(blocks: &mut Vec<(f64, f64, f64)>) {
    while let [.., a, b] = blocks.as_slice() {
        if a.1 / a.2 < b.1 / b.2 {
            return;
        }
        let joined = (a.0, a.1 + b.1, a.2 + b.2);
        blocks.truncate(blocks.len() - 2);
        blocks.push(joined);
    }
}
