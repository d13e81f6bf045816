//! What people say of incidents afterwards: the ground truth for confidence.

use sqlx::FromRow;
use sysop_common::finding::Category;
use sysop_common::time::UnixMs;

use super::{Conn, Db, StoreError};

/// What a person says of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The cause is the right one.
    Right,
    /// There was trouble, and the cause is another one.
    Wrong,
    /// There was no trouble.
    Noise,
}

impl Said {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Right, Self::Wrong, Self::Noise];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::Noise => "noise",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|said| said.word() == word)
    }
}

/// One word of one person.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Feedback {
    /// Number, rising.
    pub id: i64,
    /// On which incident.
    pub incident: i64,
    /// What kind it was.
    pub category: String,
    /// `right`, `wrong`, `noise`.
    pub verdict: String,
    /// In the person's words.
    pub comment: String,
    /// How sure the rules were at that moment, in percent.
    pub confidence: i64,
    /// Which model had an opinion.
    pub model: Option<String>,
    /// How sure it said it was, in percent.
    pub stated: Option<i64>,
    /// Who.
    pub created_by: String,
    /// When, ms UTC.
    pub created_at: i64,
}

/// What is to be stored.
#[derive(Debug, Clone)]
pub struct NewFeedback<'a> {
    /// On which incident.
    pub incident: i64,
    /// What kind it is.
    pub category: Category,
    /// What is said.
    pub said: Said,
    /// In the person's words.
    pub comment: &'a str,
    /// How sure the rules are, in percent.
    pub confidence: u8,
    /// Which model has an opinion, and how sure it says it is, in percent.
    pub model: Option<(&'a str, u8)>,
    /// Who.
    pub who: &'a str,
}

/// Stores what a person says.
///
/// # Errors
/// Only the store's.
pub async fn insert(conn: &mut Conn, new: &NewFeedback<'_>, now: UnixMs) -> Result<i64, StoreError> {
    let done = sqlx::query(
        "INSERT INTO feedback (incident, category, verdict, comment, confidence, model, stated, created_by,
             created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(new.incident)
    .bind(new.category.word())
    .bind(new.said.word())
    .bind(new.comment)
    .bind(i64::from(new.confidence))
    .bind(new.model.map(|(model, _)| model))
    .bind(new.model.map(|(_, stated)| i64::from(stated)))
    .bind(new.who)
    .bind(now.0)
    .execute(conn)
    .await?;
    Ok(done.last_insert_rowid())
}

/// The last word of each person on an incident, newest first.
///
/// # Errors
/// Only the store's.
pub async fn of_incident(db: &Db, incident: i64) -> Result<Vec<Feedback>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT * FROM feedback WHERE id IN (
             SELECT max(id) FROM feedback WHERE incident = ? GROUP BY created_by)
         ORDER BY id DESC LIMIT 100",
    )
    .bind(incident)
    .fetch_all(db.read())
    .await?)
}

/// Last words that tell of a category, newest first, at most 1,000: how sure the rules were, how sure the
/// model said it was, and whether the cause was right.
///
/// # Errors
/// Only the store's.
pub async fn of_category(
    conn: &mut Conn,
    category: Category,
) -> Result<Vec<(u8, Option<(String, u8)>, bool)>, StoreError> {
    let rows: Vec<(i64, Option<String>, Option<i64>, String)> = sqlx::query_as(
        "SELECT confidence, model, stated, verdict FROM feedback WHERE category = ? AND id IN (
             SELECT max(id) FROM feedback GROUP BY incident, created_by)
         ORDER BY id DESC LIMIT 1000",
    )
    .bind(category.word())
    .fetch_all(conn)
    .await?;
    let percent = |n: i64| u8::try_from(n).unwrap_or(0).min(100);
    Ok(rows
        .into_iter()
        .map(|(rules, model, stated, verdict)| {
            let model = model.zip(stated).map(|(model, stated)| (model, percent(stated)));
            (percent(rules), model, verdict == Said::Right.word())
        })
        .collect())
}
