//! One question from its first word to what counts in the end: the first answer, one second try, and a
//! deeper look where the model wants to read more.

use sysop_common::finding::Severity;
use sysop_common::ids::HostId;

use super::ask::{Answer, Ask, AskRequest, Message, Purpose, Role, Usage, estimate_tokens};
use super::deep::{self, Reader};
use super::error::{AskError, Next};
use super::evidence::{Caps, Sheet};
use super::prompt::{self, Notes};
use super::redact::Redactor;
use super::repair;
use super::schema::{Verdict as Says, Wanted, schema};
use super::verify::{Judged, Opinion, Reject, Weight, judge};
use crate::store::analyses::Verdict;

/// Most tokens of an answer, thinking included.
const ANSWER: u32 = 1_500;

/// What to ask.
pub struct Question<'a> {
    /// On which host.
    pub host: HostId,
    /// How bad it is: who goes first when several wait.
    pub severity: Severity,
    /// What operators say beside it.
    pub notes: Notes,
    /// In which language to answer, a BCP-47 tag.
    pub language: &'a str,
    /// What is kept back.
    pub redactor: Redactor,
    /// Makes the evidence: how much of it, and whether names that hosts chose are left out.
    pub sheet: &'a (dyn Fn(Caps, bool, &mut Redactor) -> Sheet + Sync),
}

/// One request that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// `triage`, `repair`, `deep`.
    pub purpose: &'static str,
    /// What it took.
    pub usage: Usage,
}

/// What came of a question.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// In one word.
    pub verdict: Verdict,
    /// What counts.
    pub opinion: Option<Opinion>,
    /// What was thrown out.
    pub rejects: Vec<Reject>,
    /// All that was said to the model, without the part that is the same in every request.
    pub said: Vec<Message>,
    /// Its answers, as they came.
    pub answers: Vec<String>,
    /// The requests.
    pub turns: Vec<Turn>,
    /// Why there was no answer.
    pub error: Option<AskError>,
    /// From the first request to the last answer, in ms.
    pub latency_ms: u64,
}

/// Holds the conversation. It never fails: where nothing counts, the rules' own text is what there is.
pub async fn hold(ask: &dyn Ask, reader: &dyn Reader, question: Question<'_>) -> Outcome {
    let redactor = question.redactor.clone();
    let mut talk = Talk {
        ask,
        sheet: (question.sheet)(Caps::FULL, false, &mut question.redactor.clone()),
        redactor,
        question,
        said: Vec::new(),
        out: Outcome {
            verdict: Verdict::Failed,
            opinion: None,
            rejects: Vec::new(),
            said: Vec::new(),
            answers: Vec::new(),
            turns: Vec::new(),
            error: None,
            latency_ms: 0,
        },
        repaired: false,
    };
    talk.restart(Caps::FULL, false);
    let mut judged = talk.first().await;
    if let Some(found) = judged.as_ref().filter(|judged| wants_more(judged)) {
        let reads = found.reads.clone();
        judged = talk.deeper(reader, reads).await.or(judged);
    }
    talk.end(judged)
}

fn wants_more(judged: &Judged) -> bool {
    let more = judged.opinion.as_ref().is_some_and(|opinion| opinion.verdict == Says::NeedMore);
    more && !judged.reads.is_empty()
}

struct Talk<'a> {
    ask: &'a dyn Ask,
    question: Question<'a>,
    redactor: Redactor,
    sheet: Sheet,
    said: Vec<Message>,
    out: Outcome,
    repaired: bool,
}

impl Talk<'_> {
    /// Begins again with evidence of another size, or without names.
    fn restart(&mut self, caps: Caps, nameless: bool) {
        let notes = self.question.notes.through(&mut self.redactor);
        self.sheet = (self.question.sheet)(caps, nameless, &mut self.redactor);
        self.said = prompt::messages(&self.sheet, &notes, self.question.language);
    }

    /// The first question, once more with less where the server's limits ask for it.
    async fn first(&mut self) -> Option<Judged> {
        let answer = match self.send(Purpose::Triage, "triage").await {
            Ok(answer) => Ok(answer),
            Err(error) => match error.next() {
                Next::HalveEvidence => {
                    self.restart(Caps::FULL.halved(), false);
                    self.send(Purpose::Triage, "triage").await
                }
                Next::CleanHarder => {
                    self.restart(Caps::FULL, true);
                    self.send(Purpose::Triage, "triage").await
                }
                Next::FallBack => Err(error),
            },
        };
        match answer {
            Ok(answer) => Some(self.judged(Purpose::Triage, answer).await),
            Err(error) => {
                self.out.error = Some(error);
                None
            }
        }
    }

    /// Judges an answer, and has it mended once in the whole conversation.
    async fn judged(&mut self, purpose: Purpose, answer: Answer) -> Judged {
        let text = answer.text;
        let first = judge(&text, &self.sheet, self.question.language, &self.redactor);
        self.out.rejects.extend(first.rejects.iter().cloned());
        self.said.push(Message::assistant(repair::given_back(&text)));
        self.out.answers.push(text);
        if self.repaired || first.worst().is_none_or(|worst| worst < Weight::Action) {
            return first;
        }
        self.repaired = true;
        self.said.push(Message::user(repair::words(&first.rejects)));
        match self.send(purpose, "repair").await {
            Ok(answer) => {
                let second = judge(&answer.text, &self.sheet, self.question.language, &self.redactor);
                self.out.rejects.extend(second.rejects.iter().cloned());
                self.said.push(Message::assistant(repair::given_back(&answer.text)));
                self.out.answers.push(answer.text);
                second
            }
            Err(error) => {
                self.out.error = Some(error);
                first
            }
        }
    }

    /// Reads what is wanted and asks again, a few times and within its tokens.
    async fn deeper(&mut self, reader: &dyn Reader, reads: Vec<Wanted>) -> Option<Judged> {
        let (mut reads, mut last) = (reads, None);
        let before = self.spent();
        for turn in 1..=deep::TURNS {
            let mut told = String::from("READINGS\n");
            for wanted in &reads {
                let Some(query) = deep::query(wanted, &self.sheet) else { continue };
                let name = query.name();
                let result = reader.read(self.question.host, query).await;
                told.push_str(&deep::rows(name, &result, &mut self.sheet, &mut self.redactor));
            }
            let left = deep::TURNS - turn;
            told.push_str(&match left {
                0 => "No more readings: decide now.".to_owned(),
                left => format!("{left} more turns of readings are left. Send the whole JSON answer."),
            });
            self.said.push(Message::user(told));
            if self.spent() - before + self.estimate() > deep::TOKENS {
                return last;
            }
            let answer = match self.send(Purpose::DeepDive, "deep").await {
                Ok(answer) => answer,
                Err(error) => {
                    self.out.error = Some(error);
                    return last;
                }
            };
            let judged = self.judged(Purpose::DeepDive, answer).await;
            let more = wants_more(&judged);
            reads.clone_from(&judged.reads);
            if judged.opinion.is_some() || last.is_none() {
                last = Some(judged);
            }
            if !more {
                break;
            }
        }
        last
    }

    async fn send(&mut self, purpose: Purpose, name: &'static str) -> Result<Answer, AskError> {
        let request = AskRequest {
            system_prefix: prompt::prefix().to_owned(),
            messages: self.said.clone(),
            schema: schema(&self.sheet),
            max_output_tokens: ANSWER,
            deadline: None,
            purpose,
            severity: self.question.severity,
        };
        // What went out and came to nothing may be billed all the same: it counts as estimated.
        let lost = Usage { prompt: self.estimate(), estimated: true, ..Usage::default() };
        let result = self.ask.ask(request).await;
        let usage = match &result {
            Ok(answer) if answer.shared => None,
            Ok(answer) => {
                let again = u64::from(answer.tries.saturating_sub(1)).saturating_mul(lost.prompt);
                let prompt = answer.usage.prompt.saturating_add(again);
                Some(Usage { prompt, estimated: answer.usage.estimated || again > 0, ..answer.usage })
            }
            Err(error) => error.usage().or(error.was_sent().then_some(lost)),
        };
        if let Ok(answer) = &result {
            self.out.latency_ms += answer.latency_ms;
        }
        if let Some(usage) = usage {
            self.out.turns.push(Turn { purpose: name, usage });
        }
        result
    }

    /// Tokens so far, without the part that is the same in every request.
    fn spent(&self) -> u64 {
        let fixed = estimate_tokens(prompt::prefix().len());
        self.out.turns.iter().map(|turn| turn.usage.total().saturating_sub(fixed)).sum()
    }

    /// Tokens that the next request is likely to take.
    fn estimate(&self) -> u64 {
        let bytes: usize = self.said.iter().map(|message| message.text.len()).sum();
        estimate_tokens(bytes) + u64::from(ANSWER) / 2
    }

    fn end(mut self, judged: Option<Judged>) -> Outcome {
        self.out.said = self.said.into_iter().filter(|message| message.role != Role::Assistant).collect();
        let Some(judged) = judged else { return self.out };
        let worst = judged.worst();
        self.out.verdict = match (&judged.opinion, worst) {
            (None, _) => Verdict::Rejected,
            (Some(_), Some(Weight::Action | Weight::Answer)) => Verdict::Flagged,
            (Some(_), _) if self.repaired => Verdict::Repaired,
            (Some(_), _) => Verdict::Accepted,
        };
        self.out.opinion = judged.opinion;
        self.out
    }
}

#[cfg(test)]
mod tests;
