//! Which policy a connection was judged by last.

use runtime::random;

/// A number in the upper half of the marks of connections (`ct mark`); the lower half is left to others. Each time the
/// rules are put in place they get another one, so that every open connection is judged again by its next packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation(u16);

impl Generation {
    /// A generation by its number, which is not zero: that is the mark of what was never judged.
    ///
    /// # Panics
    /// When it is.
    #[must_use]
    pub const fn new_assert(number: u16) -> Self {
        assert!(number != 0, "zero is the mark of what was never judged");
        Self(number)
    }

    /// The one that follows what the kernel has and what this process put there last. Both count: a table can be lost,
    /// and an old one can be put back. Where neither is known, connections may bear any mark, and a number is drawn.
    pub(super) fn after(kernel: Option<Self>, last: Option<Self>) -> Self {
        let newest = match (kernel, last) {
            (Some(Self(kernel)), Some(Self(last))) => {
                // Numbers come round again, so the later of two is the one that is less than half a turn ahead.
                let ahead = kernel.wrapping_sub(last);
                if ahead < u16::MAX / 2 { kernel } else { last }
            }
            (Some(Self(known)), None) | (None, Some(Self(known))) => known,
            (None, None) => u16::from_ne_bytes(random::bytes()),
        };
        Self(newest.checked_add(1).unwrap_or(1))
    }

    /// Its mark, as nft reads it.
    pub(super) fn mark(self) -> String {
        format!("0x{:04x}0000", self.0)
    }

    /// The empty chain by which it can be read back, whatever the version of nft.
    pub(super) fn chain(self) -> String {
        format!("generation-{}", self.0)
    }

    /// The one that a chain stands for.
    pub(super) fn of_chain(name: &str) -> Option<Self> {
        let number = name.strip_prefix("generation-")?.parse().ok()?;
        (number != 0).then_some(Self(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_read_back_from_its_chain() {
        let generation = Generation(41);
        assert_eq!(Generation::of_chain(&generation.chain()), Some(generation));
        assert_eq!(generation.mark(), "0x00290000");
        for other in ["forward", "generation-", "generation-0", "generation-65536", "generation-x"] {
            assert_eq!(Generation::of_chain(other), None, "{other}");
        }
    }

    #[test]
    fn the_next_one_follows_the_later_of_kernel_and_memory() {
        let next =
            |kernel: Option<u16>, last: Option<u16>| Generation::after(kernel.map(Generation), last.map(Generation)).0;
        assert_eq!(next(Some(7), None), 8);
        assert_eq!(next(None, Some(7)), 8);
        assert_eq!(next(Some(7), Some(7)), 8);
        // Somebody put an old table back.
        assert_eq!(next(Some(3), Some(7)), 8);
        assert_eq!(next(Some(9), Some(7)), 10);
        assert_eq!(next(Some(u16::MAX), Some(u16::MAX)), 1);
        assert_eq!(next(Some(1), Some(u16::MAX)), 2);
        assert_eq!(next(Some(u16::MAX), Some(1)), 2);
        assert_ne!(next(None, None), 0);
    }
}
