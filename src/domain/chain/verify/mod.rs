//! Whether a trail is what was recorded: a fold over its statements and then its entries, in the order of an export.
//!
//! It keeps a few numbers for each chain and the heads that were signed, so that an export of any length can be looked
//! at. An entry is compared with the one before it only while that one is there: one break is one finding, not one for
//! every entry that follows.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Cut, Hash, NOTHING, Signature, Signed, hash};
use crate::audit::AuditEntry;
use crate::ids::ChainId;

/// So many findings are kept; the rest is counted.
const KEPT: usize = 100;

/// Hosts of the previous release record without a chain; for so long after the first checkpoint they may be around.
const UPGRADE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What kind of break it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Break {
    /// Its content is not what was recorded.
    Changed,
    /// Something in the middle is gone.
    Missing,
    /// It was not recorded here.
    Inserted,
    /// It stands elsewhere than it was recorded.
    Moved,
    /// The end is gone.
    Truncated,
    /// Two claim the same place.
    Forked,
    /// It is not signed by the audit key.
    Forged,
}

/// A break, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What kind.
    pub kind: Break,
    /// Where, in words.
    pub place: String,
    /// What is wrong there, as the end of a sentence.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.detail)
    }
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// How many statements were looked at.
    pub statements: u64,
    /// How many entries that have a chain.
    pub entries: u64,
    /// How many chains.
    pub chains: u64,
    /// How many entries from before the chain.
    pub before_the_chain: u64,
    /// How many entries retention has deleted, by what was signed.
    pub deleted: u64,
    /// How many entries are newer than the last statement about their chain.
    pub not_yet_signed: u64,
    /// When the last statement was made.
    pub signed_until: Option<Timestamp>,
    /// The breaks: the first hundred.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub more_findings: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether there are entries, and no checkpoint yet that could be compared with them.
    pub fn is_not_yet_signed(&self) -> bool {
        self.is_sound() && self.statements == 0 && self.entries > 0
    }

    /// This reading, less the breaks that `earlier` did not show: what one of two readings shows alone may be the
    /// reading's fault.
    #[must_use]
    pub fn confirming(mut self, earlier: &Self) -> Self {
        self.findings.retain(|finding| earlier.findings.contains(finding));
        self.more_findings = self.more_findings.min(earlier.more_findings);
        self
    }

    fn find(&mut self, kind: Break, place: impl fmt::Display, detail: impl Into<String>) {
        if self.findings.len() < KEPT {
            self.findings.push(Finding { kind, place: place.to_string(), detail: detail.into() });
        } else {
            self.more_findings += 1;
        }
    }
}

/// The state of one chain while it is verified.
struct Course {
    /// Up to here retention deleted.
    cut: u64,
    /// The place that comes next.
    next: u64,
    /// The hash of the entry before it, while that is known.
    last: Option<Hash>,
    /// Places that were passed over.
    gaps: Vec<(u64, u64)>,
    /// The heads that were signed, with the statement that did so.
    signed: BTreeMap<u64, (Hash, u64)>,
    /// Whether an entry of it was seen.
    seen: bool,
}

impl Default for Course {
    fn default() -> Self {
        Self { cut: 0, next: 1, last: Some(NOTHING), gaps: Vec::new(), signed: BTreeMap::new(), seen: false }
    }
}

impl Course {
    /// Takes a place out of what was passed over.
    fn fill(&mut self, seq: u64) -> bool {
        let Some(at) = self.gaps.iter().position(|(from, to)| (*from..=*to).contains(&seq)) else { return false };
        let (from, to) = self.gaps.remove(at);
        let rest = [(from, seq - 1), (seq + 1, to)];
        self.gaps.extend(rest.into_iter().filter(|(from, to)| from <= to));
        true
    }
}

/// The fold.
pub struct Verifier<'a> {
    check: &'a (dyn Fn(&[u8], &Signature) -> bool + Sync),
    statements: Vec<Hash>,
    first_at: Option<Timestamp>,
    is_young: bool,
    chains: HashMap<ChainId, Course>,
    report: Report,
}

impl<'a> Verifier<'a> {
    /// A verifier that asks `check` whether the audit key signed some bytes.
    pub fn new(check: &'a (dyn Fn(&[u8], &Signature) -> bool + Sync)) -> Self {
        Self {
            check,
            statements: Vec::new(),
            first_at: None,
            is_young: false,
            chains: HashMap::new(),
            report: Report::default(),
        }
    }

    /// One for a trail of which is known that nobody has signed for it so far: that there is no checkpoint is no break.
    #[must_use]
    pub fn young(self) -> Self {
        Self { is_young: true, ..self }
    }

    /// The next statement. All come before the first entry.
    pub fn statement(&mut self, signed: &Signed) {
        let statement = &signed.statement;
        let place = format!("checkpoint {}", statement.seq);
        if !(self.check)(&statement.to_bytes(), &signed.signature) {
            self.report.find(Break::Forged, place, "is not signed by this key");
            return;
        }
        let expected = self.statements.len() as u64 + 1;
        if statement.seq < expected {
            self.report.find(Break::Forked, place, "stands here a second time");
            return;
        }
        if statement.seq > expected {
            let gone = places("checkpoint", expected, statement.seq - 1);
            self.report.find(Break::Missing, gone, "missing");
            let gone = usize::try_from(statement.seq - expected).unwrap_or(usize::MAX).min(1 << 20);
            self.statements.extend(std::iter::repeat_n(NOTHING, gone));
        } else if statement.prev != self.statements.last().copied().unwrap_or(NOTHING) {
            self.report.find(Break::Changed, place, "does not follow the checkpoint before it");
        }
        self.statements.push(statement.hash());
        self.first_at.get_or_insert(statement.at);
        self.report.statements += 1;
        self.report.signed_until = Some(statement.at);
        self.believe(signed);
    }

    /// A statement that was kept elsewhere. All come between the statements and the entries.
    pub fn copy(&mut self, signed: &Signed) {
        let statement = &signed.statement;
        let place = format!("checkpoint {} of the copy", statement.seq);
        if !(self.check)(&statement.to_bytes(), &signed.signature) {
            self.report.find(Break::Forged, place, "is not signed by this key");
            return;
        }
        let at = usize::try_from(statement.seq - 1).unwrap_or(usize::MAX);
        match self.statements.get(at) {
            Some(known) if *known == statement.hash() => {}
            Some(_) => self.report.find(Break::Forked, place, "is another one than the audit log's"),
            None => {
                let last = self.statements.len();
                self.report.find(Break::Truncated, place, format!("the audit log ends with checkpoint {last}"));
                self.believe(signed);
            }
        }
    }

    fn believe(&mut self, Signed { statement, .. }: &Signed) {
        for head in &statement.heads {
            let course = self.chains.entry(head.chain).or_default();
            course.signed.insert(head.seq, (head.hash, statement.seq));
        }
        for Cut { chain, through, hash, count, .. } in &statement.cuts {
            self.report.deleted += count;
            if let Some(chain) = chain {
                let course = self.chains.entry(*chain).or_default();
                (course.cut, course.next, course.last) = (*through, through + 1, Some(*hash));
            }
        }
    }

    /// The next entry.
    pub fn entry(&mut self, entry: &AuditEntry) {
        let report = &mut self.report;
        let Some(link) = &entry.link else {
            report.before_the_chain += 1;
            if self.first_at.is_some_and(|first| entry.at > first + UPGRADE) {
                report.find(Break::Inserted, entry.id, "has no place in any chain, though it is newer than the chains");
            }
            return;
        };
        report.entries += 1;
        let place = format!("{} entry {} ({})", link.chain, link.seq, entry.id);
        let course = self.chains.entry(link.chain).or_default();
        course.seen = true;
        if hash(entry, link) != link.hash {
            report.find(Break::Changed, &place, "its content is not what was recorded");
        } else if let Some((signed, by)) = course.signed.get(&link.seq)
            && *signed != link.hash
        {
            report.find(Break::Changed, &place, format!("is not the entry that checkpoint {by} signed for"));
        }
        if link.seq <= course.cut {
            report.find(
                Break::Inserted,
                place,
                format!("everything up to entry {} was deleted at its age", course.cut),
            );
        } else if link.seq < course.next {
            if course.fill(link.seq) {
                report.find(Break::Moved, place, format!("stands behind entry {}", course.next - 1));
            } else if course.last == Some(link.hash) {
                report.find(Break::Inserted, place, "stands here twice");
            } else {
                report.find(Break::Forked, place, "another entry has the same place");
            }
        } else {
            if link.seq > course.next {
                course.gaps.push((course.next, link.seq - 1));
            } else if course.last.is_some_and(|last| last != link.prev) {
                report.find(Break::Changed, place, "the entry before it is not the one that it was recorded behind");
            }
            (course.next, course.last) = (link.seq + 1, Some(link.hash));
        }
    }

    /// The end: what is missing, and what came of it.
    pub fn finish(self) -> Report {
        let mut report = self.report;
        let mut chains: Vec<_> = self.chains.into_iter().collect();
        chains.sort_unstable_by_key(|(chain, _)| *chain);
        report.chains = chains.len() as u64;
        if report.statements == 0 && report.entries > 0 && !self.is_young {
            report.find(Break::Truncated, "the checkpoints", "missing, though there are entries to sign for");
        }
        for (chain, course) in chains {
            for (from, to) in &course.gaps {
                report.find(Break::Missing, places(format_args!("{chain} entry"), *from, *to), "missing");
            }
            let last = course.next - 1;
            let signed = course.signed.last_key_value().map_or(0, |(seq, _)| *seq);
            if let Some((seq, (_, by))) = course.signed.last_key_value()
                && *seq > last
            {
                let gone = places(format_args!("{chain} entry"), last + 1, *seq);
                let detail = format!("missing at the end, though checkpoint {by} signed for entry {seq}");
                report.find(Break::Truncated, gone, detail);
            } else if course.seen {
                report.not_yet_signed += last - signed.max(course.cut).min(last);
            }
        }
        report
    }
}

/// One place or a range of them.
fn places(noun: impl fmt::Display, from: u64, to: u64) -> String {
    if from == to { format!("{noun} {from}") } else { format!("{noun} {from} to {to}") }
}

#[cfg(test)]
mod tests;
