//! Draws from a seed: noise as series of hosts have it.

use sysop_controller::analyse::statistics::random::Seeded;

/// A stream of draws.
#[derive(Debug, Clone)]
pub struct Noise(Seeded);

impl Noise {
    pub fn new(seed: u64) -> Self {
        let mut seeded = Seeded::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5eed);
        seeded.draw();
        Self(seeded)
    }

    /// From 0 up to 1.
    pub fn unit(&mut self) -> f64 {
        self.0.unit()
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0.below(n)
    }

    pub fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let (a, b) = (self.unit().max(1e-12), self.unit());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }

    /// Student's t with 3 degrees of freedom, of standard deviation 1: the tails of load.
    pub fn heavy(&mut self) -> f64 {
        let n = self.normal();
        let chi: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
        n / chi.max(1e-9).sqrt()
    }

    /// Poisson: by multiplying for small means, by the normal for large ones.
    pub fn poisson(&mut self, mean: f64) -> f64 {
        if mean > 40.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0);
        }
        let (limit, mut product, mut n) = ((-mean.max(0.0)).exp(), self.unit(), 0.0);
        while product > limit {
            product *= self.unit();
            n += 1.0;
        }
        n
    }
}

/// P(N > c) for a Poisson mean: the share of time in which more than `c` want to run.
pub fn poisson_above(mean: f64, c: f64) -> f64 {
    if c < 0.0 {
        return 1.0;
    }
    let (mut term, mut sum, mut n) = ((-mean).exp(), 0.0, 0.0);
    while n <= c && n < 500.0 {
        sum += term;
        n += 1.0;
        term *= mean / n;
    }
    (1.0 - sum).clamp(0.0, 1.0)
}
