//! What a prompt shows, as a model would read it: rows, findings and offers by their handles.

/// A row: `E1 M1 F1 down …`.
#[derive(Debug, Clone)]
pub struct Row {
    pub handle: String,
    pub metric: String,
    pub label: String,
    pub says: String,
}

/// A finding: `N1 disk_fill of F1 … by U1 share 91% rows E1,E2`.
#[derive(Debug, Clone)]
pub struct Shown {
    pub handle: String,
    pub category: String,
    pub entity: String,
    pub culprit: Option<String>,
    pub rows: Vec<String>,
}

/// An offer: `O1 restart_service U1 risk medium for N1`.
#[derive(Debug, Clone)]
pub struct Choice {
    pub handle: String,
    pub action: String,
    pub risk: String,
    pub finding: String,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Sheet {
    pub rows: Vec<Row>,
    pub findings: Vec<Shown>,
    pub offers: Vec<Choice>,
    /// Whatever looks like a handle, wherever it stands, forged ones included.
    pub anything: Vec<String>,
}

impl Sheet {
    pub fn read(prompt: &str) -> Self {
        let mut sheet = Self::default();
        for line in prompt.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(first) = words.first().copied() else { continue };
            match (kind(first), words.as_slice()) {
                (Some('E'), [_, metric, label, says, ..])
                    if kind(metric) == Some('M') && sheet.row(first).is_none() =>
                {
                    sheet.rows.push(Row {
                        handle: first.to_owned(),
                        metric: (*metric).to_owned(),
                        label: (*label).to_owned(),
                        says: (*says).to_owned(),
                    });
                }
                (Some('N'), [_, category, "of", entity, rest @ ..]) => {
                    let after = |word| rest.iter().position(|w| *w == word).and_then(|at| rest.get(at + 1));
                    let culprit = after("by").filter(|by| kind(by).is_some());
                    let rows = after("rows").map(|rows| rows.split(',').map(str::to_owned).collect());
                    sheet.findings.push(Shown {
                        handle: first.to_owned(),
                        category: (*category).to_owned(),
                        entity: (*entity).to_owned(),
                        culprit: culprit.map(|by| (*by).to_owned()),
                        rows: rows.unwrap_or_default(),
                    });
                }
                (Some('O'), [_, action, rest @ ..]) => {
                    let after = |word| rest.iter().rposition(|w| *w == word).and_then(|at| rest.get(at + 1));
                    if let Some(risk) = after("risk") {
                        sheet.offers.push(Choice {
                            handle: first.to_owned(),
                            action: (*action).to_owned(),
                            risk: (*risk).to_owned(),
                            finding: after("for").map(|of| (*of).to_owned()).unwrap_or_default(),
                        });
                    }
                }
                _ => {}
            }
        }
        let words = prompt.split(|c: char| !c.is_ascii_alphanumeric());
        for word in words.filter(|word| kind(word).is_some()) {
            if !sheet.anything.iter().any(|known| known == word) {
                sheet.anything.push(word.to_owned());
            }
        }
        sheet
    }

    pub fn row(&self, handle: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.handle == handle)
    }

    /// Handles of one kind, wherever they stand.
    pub fn of(&self, wanted: char) -> Vec<String> {
        self.anything.iter().filter(|handle| kind(handle) == Some(wanted)).cloned().collect()
    }
}

/// The letter of a handle.
fn kind(word: &str) -> Option<char> {
    let mut chars = word.chars();
    let letter = chars.next().filter(|c| "NEUPFAMDHO".contains(*c))?;
    let digits = chars.as_str();
    let is_number = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some(letter)
}
