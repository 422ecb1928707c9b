//! Every kind of tampering, at random places of random trails.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::chain::{Head, Hex, Link, Statement, link, sha256};
use crate::ids::{AuditId, Id};

/// Stands for the audit key: only who knows the word can do it.
fn sign(bytes: &[u8]) -> Signature {
    let half = sha256(&[b"the key", bytes].concat()).0;
    Hex(std::array::from_fn(|at| half[at % 32]))
}

fn checks(bytes: &[u8], signature: &Signature) -> bool {
    *signature == sign(bytes)
}

fn moment(millis: u64) -> Timestamp {
    Timestamp::from_millisecond(1_764_000_000_000 + i64::try_from(millis).unwrap()).unwrap()
}

fn chain(number: usize) -> ChainId {
    ChainId::from_parts(moment(0), number as u128)
}

fn new_entry(number: u128) -> AuditEntry {
    AuditEntry {
        id: AuditId::from_parts(moment(0), number),
        at: moment(u64::try_from(number).unwrap()),
        actor: format!("usr_{number}"),
        action: "user.update".to_owned(),
        object: "usr_1".to_owned(),
        outcome: "success".to_owned(),
        request_id: None,
        changes: json!({ "disabled": [false, true], "number": number.to_string() }),
        link: None,
    }
}

/// Puts an entry behind another one.
fn follow(entry: AuditEntry, chain: ChainId, before: Option<&AuditEntry>) -> AuditEntry {
    let head = before.and_then(|before| before.link).map(|at| Head { chain, seq: at.seq, hash: at.hash });
    AuditEntry { link: Some(link(&entry, chain, head.as_ref())), ..entry }
}

#[derive(Debug, Clone, Default)]
struct Trail {
    statements: Vec<Signed>,
    entries: Vec<AuditEntry>,
}

impl Trail {
    fn state(&mut self, heads: Vec<Head>, cuts: Vec<Cut>) {
        let seq = self.statements.len() as u64 + 1;
        let prev = self.statements.last().map_or(NOTHING, |signed| signed.statement.hash());
        let statement = Statement { seq, at: moment(seq), prev, key: "k".to_owned(), heads, cuts };
        let signature = sign(&statement.to_bytes());
        self.statements.push(Signed { statement, signature });
    }

    /// Chains of the given lengths, with statements after the given numbers of entries in each and at the end.
    fn new(lengths: &[usize], checkpoints: &[usize]) -> Self {
        let mut trail = Self::default();
        let mut number = 0;
        for (at, length) in lengths.iter().enumerate() {
            for n in 0..*length {
                number += 1;
                let before = trail.entries.last().filter(|_| n > 0).cloned();
                trail.entries.push(follow(new_entry(number), chain(at), before.as_ref()));
            }
        }
        for upto in checkpoints.iter().copied().chain([usize::MAX]) {
            let heads = (0..lengths.len()).filter_map(|at| trail.head(at, upto)).collect();
            trail.state(heads, Vec::new());
        }
        trail
    }

    /// The last entry of a chain up to a place.
    fn head(&self, at: usize, upto: usize) -> Option<Head> {
        let mut links = self.entries.iter().rev().filter_map(|entry| entry.link);
        let link = links.find(|link| link.chain == chain(at) && link.seq <= upto as u64)?;
        Some(Head { chain: link.chain, seq: link.seq, hash: link.hash })
    }

    fn verify(&self) -> Report {
        self.verify_with(&[])
    }

    fn verify_with(&self, copies: &[Signed]) -> Report {
        let mut verifier = Verifier::new(&checks);
        for signed in &self.statements {
            verifier.statement(signed);
        }
        for signed in copies {
            verifier.copy(signed);
        }
        for entry in &self.entries {
            verifier.entry(entry);
        }
        verifier.finish()
    }

    fn link(&self, at: usize) -> Link {
        self.entries[at].link.unwrap()
    }

    fn is_last_of_its_chain(&self, at: usize) -> bool {
        self.entries.get(at + 1).is_none_or(|next| next.link.unwrap().chain != self.link(at).chain)
    }
}

/// A trail, and a place in it.
fn trails() -> impl Strategy<Value = (Trail, usize)> {
    (prop::collection::vec(1_usize..8, 1..4), prop::collection::vec(1_usize..8, 0..3)).prop_flat_map(
        |(lengths, mut checkpoints)| {
            checkpoints.sort_unstable();
            let total = lengths.iter().sum::<usize>();
            (Just(Trail::new(&lengths, &checkpoints)), 0..total)
        },
    )
}

fn names(report: &Report, kinds: &[Break], link: &Link) -> bool {
    let exactly = format!("{} entry {} ", link.chain, link.seq);
    let alone = format!("{} entry {}", link.chain, link.seq);
    report
        .findings
        .iter()
        .any(|finding| kinds.contains(&finding.kind) && (finding.place.starts_with(&exactly) || finding.place == alone))
}

proptest! {
    #[test]
    fn a_trail_that_nobody_touched_is_sound((trail, _) in trails()) {
        let report = trail.verify_with(&trail.statements);
        prop_assert!(report.is_sound(), "{report:?}");
        prop_assert_eq!(report.entries, trail.entries.len() as u64);
        prop_assert_eq!(report.not_yet_signed, 0);
    }

    #[test]
    fn a_change_is_named(((mut trail, at), what) in (trails(), 0..4)) {
        let entry = &mut trail.entries[at];
        match what {
            0 => entry.actor.push('x'),
            1 => entry.changes = json!({}),
            2 => entry.at = moment(999_999),
            _ => "denied".clone_into(&mut entry.outcome),
        }
        let report = trail.verify();
        prop_assert!(names(&report, &[Break::Changed], &trail.link(at)), "{report:?}");
        prop_assert_eq!(report.findings.len(), 1, "{:?}", report);
    }

    #[test]
    fn a_change_with_all_hashes_made_anew_is_found_by_what_was_signed((mut trail, at) in trails()) {
        trail.entries[at].actor.push('x');
        let chain = trail.link(at).chain;
        let mut last = at;
        for n in at..trail.entries.len() {
            if trail.link(n).chain == chain {
                let before = n.checked_sub(1).filter(|_| trail.link(n).seq > 1).map(|n| trail.entries[n].clone());
                trail.entries[n] = follow(AuditEntry { link: None, ..trail.entries[n].clone() }, chain, before.as_ref());
                last = n;
            }
        }
        let report = trail.verify();
        prop_assert!(names(&report, &[Break::Changed], &trail.link(last)), "{report:?}");
    }

    #[test]
    fn a_deletion_is_named((mut trail, at) in trails()) {
        let (link, end) = (trail.link(at), trail.is_last_of_its_chain(at));
        trail.entries.remove(at);
        let report = trail.verify();
        let kind = if end { Break::Truncated } else { Break::Missing };
        prop_assert!(names(&report, &[kind], &link), "{link:?} {report:?}");
        prop_assert_eq!(report.findings.len(), 1, "{:?}", report);
    }

    #[test]
    fn a_chain_that_is_gone_is_named((mut trail, at) in trails()) {
        let gone = trail.link(at).chain;
        trail.entries.retain(|entry| entry.link.unwrap().chain != gone);
        let report = trail.verify();
        prop_assert_eq!(report.findings.len(), 1, "{:?}", report);
        prop_assert_eq!(report.findings[0].kind, Break::Truncated);
        prop_assert!(report.findings[0].place.starts_with(&format!("{gone} entry 1")), "{report:?}");
    }

    #[test]
    fn an_insertion_is_named(((mut trail, at), copied) in (trails(), any::<bool>())) {
        let place = trail.link(at);
        let before = at.checked_sub(1).filter(|_| place.seq > 1).map(|at| trail.entries[at].clone());
        let forged = if copied {
            trail.entries[at].clone()
        } else {
            follow(new_entry(1_000_000), place.chain, before.as_ref())
        };
        trail.entries.insert(at, forged);
        let report = trail.verify();
        prop_assert!(names(&report, &[Break::Inserted, Break::Forked], &place), "{report:?}");
    }

    #[test]
    fn an_entry_that_was_moved_is_named((mut trail, at) in trails()) {
        prop_assume!(!trail.is_last_of_its_chain(at));
        let link = trail.link(at);
        trail.entries.swap(at, at + 1);
        let report = trail.verify();
        prop_assert!(names(&report, &[Break::Moved], &link), "{report:?}");
    }

    #[test]
    fn a_truncation_is_named_with_what_was_signed(((mut trail, at), cut) in (trails(), 1_usize..4)) {
        let chain = trail.link(at).chain;
        let of_chain = trail.entries.iter().filter(|entry| entry.link.unwrap().chain == chain).count();
        let keep = of_chain.saturating_sub(cut) as u64;
        trail.entries.retain(|entry| entry.link.is_some_and(|link| link.chain != chain || link.seq <= keep));
        let report = trail.verify();
        prop_assert_eq!(report.findings.len(), 1, "{:?}", report);
        prop_assert_eq!(report.findings[0].kind, Break::Truncated);
        prop_assert!(report.findings[0].place.starts_with(&format!("{chain} entry {}", keep + 1)), "{report:?}");
    }

    #[test]
    fn a_fork_is_named((mut trail, at) in trails()) {
        let place = trail.link(at);
        let before = at.checked_sub(1).filter(|_| place.seq > 1).map(|at| trail.entries[at].clone());
        trail.entries.insert(at + 1, follow(new_entry(1_000_000), place.chain, before.as_ref()));
        let report = trail.verify();
        prop_assert!(names(&report, &[Break::Forked, Break::Changed], &place), "{report:?}");
    }

    #[test]
    fn statements_are_held_to_the_same(((trail, _), what) in (trails(), 0..5)) {
        prop_assume!(trail.statements.len() > 1);
        let mut touched = trail.clone();
        let kind = match what {
            0 => {
                touched.statements[0].statement.at = moment(7);
                Break::Forged
            }
            1 => {
                touched.statements.remove(0);
                Break::Missing
            }
            2 => {
                let again = touched.statements[0].clone();
                touched.statements.insert(1, again);
                Break::Forked
            }
            3 => {
                // Signed by the key, and yet not the one that stood here.
                let Signed { statement, signature } = &mut touched.statements[0];
                statement.at = moment(7);
                *signature = sign(&statement.to_bytes());
                Break::Changed
            }
            _ => {
                touched.statements.pop();
                prop_assert!(touched.verify().is_sound(), "the end of the statements cannot be seen from inside");
                Break::Truncated
            }
        };
        let copies = if kind == Break::Truncated { trail.statements.as_slice() } else { &[] };
        let report = touched.verify_with(copies);
        prop_assert!(report.findings.iter().any(|finding| finding.kind == kind), "{report:?}");
    }

    #[test]
    fn a_signed_cut_is_no_break_and_an_unsigned_one_is(((trail, at), signed) in (trails(), any::<bool>())) {
        let link = trail.link(at);
        let mut cut = trail.clone();
        let of_chain = |entry: &AuditEntry| entry.link.filter(|other| other.chain == link.chain);
        cut.entries.retain(|entry| of_chain(entry).is_none_or(|other| other.seq > link.seq));
        if signed {
            let whole = Cut {
                chain: Some(link.chain), through: link.seq, hash: link.hash, count: link.seq, from: moment(0), to: moment(1),
            };
            cut.state(Vec::new(), vec![whole]);
        }
        let report = cut.verify();
        prop_assert_eq!(report.is_sound(), signed, "{:?}", report);
        prop_assert_eq!(report.deleted, if signed { link.seq } else { 0 });
    }
}

#[test]
fn entries_without_a_chain_are_from_before_it_or_are_not_ours() {
    let mut trail = Trail::new(&[2], &[]);
    trail.entries.insert(0, new_entry(9));
    let report = trail.verify();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.before_the_chain, 1);
    let late = AuditEntry { at: moment(8 * 24 * 3_600_000), ..new_entry(10) };
    trail.entries.insert(0, late);
    assert_eq!(trail.verify().findings[0].kind, Break::Inserted);
}

#[test]
fn what_came_after_the_last_statement_is_told() {
    let mut trail = Trail::new(&[3], &[]);
    trail.entries.push(follow(new_entry(9), chain(0), trail.entries.last().cloned().as_ref()));
    let report = trail.verify();
    assert!(report.is_sound());
    assert_eq!(report.not_yet_signed, 1);
}

#[test]
fn a_young_trail_is_not_yet_signed_and_one_that_lost_its_checkpoints_is_broken() {
    let mut trail = Trail::new(&[3, 2], &[]);
    trail.statements.clear();
    let report = trail.verify();
    assert_eq!(report.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [Break::Truncated]);
    assert!(!report.is_not_yet_signed());

    let young = |trail: &Trail| {
        let mut verifier = Verifier::new(&checks).young();
        trail.entries.iter().for_each(|entry| verifier.entry(entry));
        verifier.finish()
    };
    let report = young(&trail);
    assert!(report.is_not_yet_signed(), "{report:?}");
    assert_eq!((report.entries, report.not_yet_signed), (5, 5));
    trail.entries[1].actor.push('x');
    assert!(!young(&trail).is_sound(), "what was changed is a break, signed for or not");
}

#[test]
fn a_break_counts_once_a_second_reading_shows_it_too() {
    let whole = Trail::new(&[4], &[]);
    let mut broken = whole.clone();
    broken.entries[1].actor.push('x');
    let mut broken_elsewhere = whole.clone();
    broken_elsewhere.entries[2].actor.push('x');
    let (sound, first, other) = (whole.verify(), broken.verify(), broken_elsewhere.verify());
    assert!(sound.clone().confirming(&first).is_sound());
    assert!(other.confirming(&first).is_sound());
    assert_eq!(first.clone().confirming(&first).findings, first.findings);
}

#[test]
fn a_flood_of_breaks_is_counted_and_not_kept() {
    let mut trail = Trail::new(&[300], &[]);
    trail.entries.iter_mut().for_each(|entry| entry.actor.push('x'));
    let report = trail.verify();
    assert_eq!((report.findings.len(), report.more_findings), (KEPT, 200));
}
