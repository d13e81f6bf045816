//! Online control of false discoveries: every soft finding is a test, and what may be spent on it
//! depends on the tests before (LORD, Javanmard and Montanari, 2018; with fading memory as in Ramdas and
//! others, 2017, so that a host that was quiet for a year is neither deaf nor over-trusting).

/// The share of openings that may be for nothing.
pub const ALPHA: f64 = 0.05;
/// What one test leaves of the memory of those before it: at most 200 tests are remembered in effect.
const DECAY: f64 = 0.995;
/// Most openings that are remembered.
const MAX_FINDS: usize = 16;

/// What was tested so far.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Wealth {
    /// Tests, each counting less the longer ago it was.
    pub tests: f64,
    /// The same count since each opening, newest last.
    pub finds: Vec<f64>,
}

impl Wealth {
    /// What the next test may spend.
    #[must_use]
    pub fn level(&self) -> f64 {
        let start = ALPHA / 2.0;
        let mut level = start * spent(self.tests + 1.0);
        for (nth, since) in self.finds.iter().enumerate() {
            let earned = if nth == 0 && self.finds.len() < MAX_FINDS { ALPHA - start } else { ALPHA };
            level += earned * DECAY.powf(*since) * spent(since + 1.0);
        }
        level.min(ALPHA)
    }

    /// Tests `p`: whether it may open something.
    pub fn test(&mut self, p: f64) -> bool {
        let found = p <= self.level();
        self.tests = self.tests * DECAY + 1.0;
        self.finds.iter_mut().for_each(|since| *since += 1.0);
        if found {
            self.finds.push(0.0);
        }
        self.finds.retain(|since| *since < 1_000.0);
        let drop = self.finds.len().saturating_sub(MAX_FINDS);
        self.finds.drain(..drop);
        found
    }
}

/// The share of the wealth for the `n`-th test; the shares sum to 1.
fn spent(n: f64) -> f64 {
    let log = n.max(2.0).ln();
    0.077_208_38 * log / (n * log.sqrt().exp())
}
