//! What is left of a model's confidence by experience: how often it was right when it said so, made
//! monotone by pooling neighbours that are out of order. Pure.

/// With fewer words of people than this, experience says nothing yet.
const LEAST: usize = 8;
/// Then no confidence counts for more than this, in percent.
const UNTRIED: u8 = 70;

/// How often a stated confidence was right.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Up to which stated confidence, in percent, and how much is left of it.
    steps: Vec<(u8, f64)>,
    points: usize,
}

impl Table {
    /// From what was stated, in percent, and whether it was right.
    #[must_use]
    pub fn new(points: &[(u8, bool)]) -> Self {
        let mut by_stated: std::collections::BTreeMap<u8, (f64, f64)> = std::collections::BTreeMap::new();
        for (stated, right) in points {
            let entry = by_stated.entry(*stated).or_default();
            *entry = (entry.0 + if *right { 1.0 } else { 0.0 }, entry.1 + 1.0);
        }
        // (right, all, highest stated confidence) of each block.
        let mut blocks: Vec<(f64, f64, u8)> = Vec::new();
        for (stated, (right, all)) in by_stated {
            blocks.push((right, all, stated));
            while let [.., before, last] = blocks.as_slice()
                && before.0 / before.1 >= last.0 / last.1
            {
                let merged = (before.0 + last.0, before.1 + last.1, last.2);
                blocks.truncate(blocks.len() - 2);
                blocks.push(merged);
            }
        }
        // One more right and one more wrong in each block: a few hits are no certainty. Then never falling.
        let mut steps: Vec<(u8, f64)> =
            blocks.iter().map(|(right, all, upto)| (*upto, (right + 1.0) / (all + 2.0))).collect();
        for at in (1..steps.len()).rev() {
            steps[at - 1].1 = steps[at - 1].1.min(steps[at].1);
        }
        Self { steps, points: points.len() }
    }

    /// What is left of a stated confidence, in percent.
    #[must_use]
    pub fn apply(&self, stated: u8) -> u8 {
        if self.points < LEAST {
            return stated.min(UNTRIED);
        }
        let step = self.steps.iter().find(|(upto, _)| stated <= *upto).or(self.steps.last());
        let share = step.map_or(0.0, |(_, share)| *share);
        (share * 100.0).round().clamp(0.0, 100.0) as u8
    }
}

/// What counts in the end: the model's, by experience, and never more than the rules'.
#[must_use]
pub fn last_word(stated: u8, experience: &Table, rules: u8) -> u8 {
    experience.apply(stated).min(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_experience_a_claim_is_bounded() {
        let table = Table::new(&[(100, true); 3]);
        assert_eq!((table.apply(100), table.apply(40)), (70, 40));
        assert_eq!(last_word(100, &table, 55), 55);
    }

    #[test]
    fn one_hit_at_the_top_is_no_certainty() {
        let mut points = vec![(90, true); 25];
        points.extend(vec![(90, false); 25]);
        points.push((100, true));
        let table = Table::new(&points);
        assert!(table.apply(100) < 70, "{}", table.apply(100));
        assert!(table.apply(90) <= table.apply(100));
    }

    #[test]
    fn a_model_that_boasts_is_taken_at_its_record() {
        let points: Vec<_> = (0..100).map(|n| (95, n % 2 == 0)).collect();
        assert_eq!(Table::new(&points).apply(95), 50);
        let honest: Vec<_> =
            (0..200).map(|n| if n % 2 == 0 { (90, n % 20 != 0) } else { (30, n % 10 < 3) }).collect();
        let table = Table::new(&honest);
        assert!((85..=92).contains(&table.apply(90)), "{}", table.apply(90));
        assert!((18..=32).contains(&table.apply(30)), "{}", table.apply(30));
        let all: Vec<u8> = (0..=100).map(|stated| table.apply(stated)).collect();
        assert!(all.is_sorted(), "more confidence never counts for less");
    }
}
