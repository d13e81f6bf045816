//! Tails and quantiles of the distributions that tests are read from.

/// Lanczos' coefficients (g = 7, n = 9).
const LANCZOS: [f64; 9] = [
    0.999_999_999_999_809_9,
    676.520_368_121_885_1,
    -1_259.139_216_722_402_8,
    771.323_428_777_653_1,
    -176.615_029_162_140_6,
    12.507_343_278_686_905,
    -0.138_571_095_265_720_12,
    9.984_369_578_019_572e-6,
    1.505_632_735_149_311_6e-7,
];
/// Most terms of a series or fraction.
const MAX_TERMS: usize = 500;
const TINY: f64 = 1e-300;

/// Logarithm of the gamma function, for `x` > 0.
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    let x = x - 1.0;
    let tail: f64 = (1..9).map(|i| LANCZOS[i] / (x + i as f64)).sum();
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + (LANCZOS[0] + tail).ln()
}

/// The regularised lower incomplete gamma function, for `a` > 0 and `x` >= 0.
#[must_use]
pub fn gamma_lower(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x < a + 1.0 { gamma_series(a, x) } else { 1.0 - gamma_fraction(a, x) }
}

fn gamma_upper(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if x < a + 1.0 { 1.0 - gamma_series(a, x) } else { gamma_fraction(a, x) }
}

fn gamma_series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0 / a, 1.0 / a);
    for n in 1..MAX_TERMS {
        term *= x / (a + n as f64);
        sum += term;
        if term < sum * 1e-16 {
            break;
        }
    }
    (sum * (a * x.ln() - x - ln_gamma(a)).exp()).clamp(0.0, 1.0)
}

/// By Lentz' method.
fn gamma_fraction(a: f64, x: f64) -> f64 {
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / TINY, 1.0 / b);
    let mut h = d;
    for i in 1..MAX_TERMS {
        let an = -(i as f64) * (i as f64 - a);
        b += 2.0;
        d = 1.0 / nonzero(an * d + b);
        c = nonzero(b + an / c);
        let step = d * c;
        h *= step;
        if (step - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (h * (a * x.ln() - x - ln_gamma(a)).exp()).clamp(0.0, 1.0)
}

fn nonzero(value: f64) -> f64 {
    if value.abs() < TINY { TINY } else { value }
}

/// P(Z > z) of the standard normal distribution.
#[must_use]
pub fn normal_tail(z: f64) -> f64 {
    let half = 0.5 * gamma_upper(0.5, z * z / 2.0);
    if z < 0.0 { 1.0 - half } else { half }
}

/// The z with P(Z > z) = `p`, for 0 < p < 1: by bisection, exact to the last digits that matter.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-38.0, 38.0);
    for _ in 0..80 {
        let mid = (low + high) / 2.0;
        if normal_tail(mid) > p { low = mid } else { high = mid }
    }
    (low + high) / 2.0
}

/// P(T > t) of Student's distribution with `df` > 0 degrees of freedom.
#[must_use]
pub fn student_tail(t: f64, df: f64) -> f64 {
    let half = 0.5 * beta(df / 2.0, 0.5, df / (df + t * t));
    if t < 0.0 { 1.0 - half } else { half }
}

/// The regularised incomplete beta function.
fn beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    let value = if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, x) / a
    } else {
        1.0 - front * beta_fraction(b, a, 1.0 - x) / b
    };
    value.clamp(0.0, 1.0)
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let (mut c, mut d) = (1.0, 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0)));
    let mut h = d;
    for m in 1..MAX_TERMS {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for term in [even, odd] {
            d = 1.0 / nonzero(1.0 + term * d);
            c = nonzero(1.0 + term / c);
            step = d * c;
            h *= step;
        }
        if (step - 1.0).abs() < 1e-15 {
            break;
        }
    }
    h
}

/// P(X >= `count`) of a Poisson distribution with `mean`: how odd so many events are at the usual rate.
#[must_use]
pub fn poisson_tail(count: u64, mean: f64) -> f64 {
    if count == 0 {
        return 1.0;
    }
    gamma_lower(count as f64, mean.max(0.0))
}
