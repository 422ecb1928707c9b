//! Packets that our table lets pass and that never leave this host.
//!
//! Not every firewall shows in nft's list: the tables of iptables-legacy do not. Our table counts what it accepts from
//! clients, ahead of everybody else's rules, and what leaves the host; nothing lies between the two but the rules of
//! others.

use std::collections::{BTreeMap, BTreeSet};

use super::Ruleset;
use super::ruleset::Passage;

/// So many packets between two looks, and none of them left, are no chance.
const ENOUGH: u64 = 3;

/// What became of clients' packets, from look to look.
#[derive(Debug, Default)]
pub struct LossWatch {
    before: BTreeMap<String, Passage>,
    lost: BTreeSet<String>,
    passed: BTreeSet<String>,
}

impl LossWatch {
    /// Compares the counters with those of the last look, unless the table was replaced since (`is_same`).
    pub fn look(&mut self, ruleset: &Ruleset, is_same: bool) {
        self.passed.clear();
        self.lost.retain(|device| ruleset.passages.contains_key(device));
        for (device, now) in ruleset.passages.iter().filter(|_| is_same) {
            let before = self.before.get(device).copied().unwrap_or_default();
            let accepted = now.accepted.saturating_sub(before.accepted);
            if now.left > before.left {
                self.lost.remove(device);
                self.passed.insert(device.clone());
            } else if accepted >= ENOUGH {
                self.lost.insert(device.clone());
            }
        }
        self.before.clone_from(&ruleset.passages);
    }

    /// Whether the packets of clients behind this device vanish on their way. Silence proves nothing: it stays so until
    /// one has left.
    pub fn is_lost(&self, device: &str) -> bool {
        self.lost.contains(device)
    }

    /// Whether one left between the last two looks.
    pub fn has_passed(&self, device: &str) -> bool {
        self.passed.contains(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_that_never_leave_are_noticed_until_one_does() {
        let mut watch = LossWatch::default();
        let mut look = |accepted, left, is_same| {
            let passages = [("pst-1".to_owned(), Passage { accepted, left })].into();
            watch.look(&Ruleset { passages, ..Ruleset::default() }, is_same);
            (watch.is_lost("pst-1"), watch.has_passed("pst-1"))
        };
        assert_eq!(look(100, 0, false), (false, false), "nothing to compare with");
        assert_eq!(look(102, 0, true), (false, false), "too few");
        assert_eq!(look(105, 0, true), (true, false));
        assert_eq!(look(105, 0, true), (true, false), "silence");
        assert_eq!(look(9, 0, false), (true, false), "another table");
        assert_eq!(look(10, 1, true), (false, true));
        assert_eq!(look(20, 11, true), (false, true));
    }
}
