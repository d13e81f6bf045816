//! Scores over many runs.

use serde_json::{Value, json};

use super::trial::{Outcome, Soak};

/// So many of so many.
#[derive(Debug, Clone, Copy, Default)]
pub struct Part(pub usize, pub usize);

impl Part {
    fn add(&mut self, yes: bool) {
        self.0 += usize::from(yes);
        self.1 += 1;
    }

    pub fn share(self) -> f64 {
        if self.1 == 0 { 1.0 } else { self.0 as f64 / self.1 as f64 }
    }

    /// Wilson's interval at 95 %.
    pub fn wilson(self) -> (f64, f64) {
        let (n, p, z) = (self.1.max(1) as f64, self.share(), 1.96_f64);
        let middle = p + z * z / (2.0 * n);
        let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        let whole = 1.0 + z * z / n;
        (((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0))
    }

    fn json(self) -> Value {
        let (low, high) = self.wilson();
        json!({ "of": self.1, "yes": self.0, "share": self.share(), "low": low, "high": high })
    }
}

/// What a set of runs comes to.
#[derive(Debug, Clone, Default)]
pub struct Score {
    pub recall: Part,
    pub in_time: Part,
    pub precision: Part,
    pub top1: Part,
    pub rows: Part,
    pub right_action: Part,
    /// Harmful executions among all.
    pub harmful: Part,
    pub against_harmless: usize,
    pub told_harmless: Part,
    pub plain_recall: Part,
    pub plain_precision: Part,
    pub detect: Vec<f64>,
    pub repair: Vec<f64>,
    pub late: Vec<f64>,
}

impl Outcome {
    fn in_thrice(&self) -> bool {
        self.detected.is_some_and(|at| at <= 3.0 * self.goal)
    }

    fn helped(&self) -> bool {
        self.done.first().is_some_and(|done| done.good)
    }

    pub fn is_fine(&self) -> bool {
        if self.fault {
            self.in_thrice() && self.top1 && (!self.repairable || self.helped())
        } else {
            self.incidents.is_empty()
        }
    }

    /// In one line, for whoever wants to know what went wrong.
    pub fn line(&self) -> String {
        let told: Vec<String> =
            self.incidents.iter().map(|i| format!("{:.0} s {} ({} %)", i.at, i.what, i.confidence)).collect();
        let done: Vec<String> = self
            .done
            .iter()
            .map(|d| {
                format!(
                    "{:.0} s {}{}{}",
                    d.at,
                    if d.automatic { "*" } else { "" },
                    d.what,
                    if d.harmful { " HARM" } else { "" }
                )
            })
            .collect();
        format!(
            "{} {} {}{}: goal {:.0} told {:?} top1 {} repaired {:?} | {} | {}",
            self.id,
            self.kind,
            self.seed,
            if self.overlaid { " overlaid" } else { "" },
            self.goal,
            self.detected,
            self.top1,
            self.repaired,
            told.join("; "),
            done.join("; "),
        )
    }
}

impl Score {
    pub fn of(outcomes: &[Outcome], wanted: impl Fn(&Outcome) -> bool) -> Self {
        let mut score = Self::default();
        for o in outcomes.iter().filter(|o| wanted(o)) {
            o.incidents.iter().for_each(|incident| score.precision.add(incident.matched));
            o.done.iter().for_each(|done| score.harmful.add(done.harmful));
            (score.rows.0, score.rows.1) = (score.rows.0 + o.rows_true, score.rows.1 + o.rows);
            (0..o.plain_false).for_each(|_| score.plain_precision.add(false));
            if !o.fault {
                score.told_harmless.add(!o.incidents.is_empty());
                score.against_harmless += o.done.len();
                continue;
            }
            score.recall.add(o.in_thrice());
            score.in_time.add(o.detected.is_some_and(|at| at <= o.goal));
            score.plain_recall.add(o.plain.is_some_and(|at| at <= 3.0 * o.goal));
            score.plain_precision.add(o.plain.is_some());
            if let Some(at) = o.detected {
                score.top1.add(o.top1);
                score.detect.push(at);
                score.late.push(at / o.goal);
            }
            if o.repairable {
                score.right_action.add(o.helped());
            }
            score.repair.extend(o.repaired);
        }
        score
    }

    fn json(&self) -> Value {
        json!({
            "recall": self.recall.json(), "in_time": self.in_time.json(), "precision": self.precision.json(),
            "top1": self.top1.json(), "rows": self.rows.json(), "right_action": self.right_action.json(),
            "harmful": self.harmful.json(), "against_harmless": self.against_harmless,
            "told_harmless": self.told_harmless.json(), "plain_recall": self.plain_recall.json(),
            "plain_precision": self.plain_precision.json(),
            "detect_p50": quantile(&self.detect, 0.5), "detect_p90": quantile(&self.detect, 0.9),
            "late_p90": quantile(&self.late, 0.9),
            "repair_p50": quantile(&self.repair, 0.5), "repair_p90": quantile(&self.repair, 0.9),
        })
    }
}

pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len() as f64 - 1.0).max(0.0) * q).round() as usize;
    sorted.get(at).copied().unwrap_or(0.0)
}

/// Expected calibration error, and per tenth of confidence how many there are, how sure, and how often right.
pub fn calibration(outcomes: &[Outcome], wanted: impl Fn(&Outcome) -> bool) -> (f64, Vec<(f64, f64, usize)>) {
    let told: Vec<(f64, bool)> = outcomes
        .iter()
        .filter(|o| wanted(o))
        .flat_map(|o| o.incidents.iter().map(|i| (f64::from(i.confidence) / 100.0, i.right)))
        .collect();
    let bins: Vec<(f64, f64, usize)> = (0..10)
        .map(|bin| {
            let of = |sure: f64| ((sure * 10.0) as usize).min(9) == bin;
            let here: Vec<&(f64, bool)> = told.iter().filter(|(sure, _)| of(*sure)).collect();
            let n = here.len();
            let sure = here.iter().map(|(sure, _)| sure).sum::<f64>() / n.max(1) as f64;
            let right = here.iter().filter(|(_, right)| *right).count() as f64 / n.max(1) as f64;
            (sure, right, n)
        })
        .collect();
    let all = told.len().max(1) as f64;
    let error = bins.iter().map(|(sure, right, n)| (sure - right).abs() * *n as f64 / all).sum();
    (error, bins)
}

/// Prints what a person wants to see, and writes all of it where the environment says.
pub fn report(outcomes: &[Outcome], soaks: &[Soak]) {
    let mut ids: Vec<&str> = outcomes.iter().map(|o| o.id.as_str()).collect();
    ids.dedup();
    let per: Vec<(String, Value)> =
        ids.iter().map(|id| ((*id).to_owned(), Score::of(outcomes, |o| o.id == *id).json())).collect();
    let seen = Score::of(outcomes, |o| !o.unseen);
    let unseen = Score::of(outcomes, |o| o.unseen);
    let mut times: Vec<f64> =
        outcomes.iter().flat_map(|o| o.times_us.iter().map(|t| f64::from(*t))).collect();
    times.extend(soaks.iter().flat_map(|s| s.times_us.iter().map(|t| f64::from(*t))));
    let (error, bins) = calibration(outcomes, |o| !o.unseen && o.seed / 1_000 % 2 == 1);
    let days: f64 = soaks.iter().map(|soak| soak.days).sum();
    let alarms: usize = soaks.iter().map(|soak| soak.incidents.len()).sum();
    let plain: usize = soaks.iter().map(|soak| soak.plain).sum();
    for line in outcomes.iter().filter(|o| !o.is_fine()).map(Outcome::line) {
        println!("{line}");
    }
    for soak in soaks.iter().filter(|soak| soak.days > 0.0) {
        println!(
            "soak {} {:.1} d: {} told, {} by limits, {:?}",
            soak.kind,
            soak.days,
            soak.incidents.len(),
            soak.plain,
            soak.done
        );
        soak.incidents.iter().for_each(|line| println!("    {line}"));
    }
    println!(
        "seen {seen:?}\nunseen {unseen:?}\nece {error:.3} {bins:?}\nfalse {alarms} in {days:.0} d, plain {plain}"
    );
    println!("look us p50 {:.0} p99 {:.0} n {}", quantile(&times, 0.5), quantile(&times, 0.99), times.len());
    let all = json!({
        "seen": seen.json(), "unseen": unseen.json(), "per_case": per, "ece": error, "bins": bins,
        "days": days, "alarms": alarms, "plain_alarms": plain, "soaks": soaks, "trials": outcomes.len(),
        "look_us": { "p50": quantile(&times, 0.5), "p99": quantile(&times, 0.99), "n": times.len() },
        "outcomes": outcomes,
    });
    if let Some(path) = std::env::var_os("SYSOP_BENCH_OUT") {
        std::fs::write(path, serde_json::to_string(&all).unwrap()).unwrap();
    }
}
