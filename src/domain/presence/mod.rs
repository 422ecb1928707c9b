//! Which of two connections of a profile is the newer one, and what follows from it.
//!
//! No host's clock decides that. A host notes when something happened by a count that runs on while the machine sleeps
//! (its uptime), and turns it into the database's time when it writes: the database's time then, minus the age of what
//! happened. What cannot be known exactly (how long an answer took, whether the machine stood still, when it was
//! restarted) makes the [`Span`] wider. A connection is newer only if its span lies wholly after the other's. Where two
//! spans meet, nobody is ended: whoever is gone is noticed by the keepalive, and whoever comes back is surely newer.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::ids::SessionId;

/// So far apart two spans must lie: members of one database differ a little, and daemons tell whole seconds.
pub const SLACK: SignedDuration = SignedDuration::from_secs(2);

/// A record that is younger than this when it arrives takes the place of one whose time is not known.
const FRESH: SignedDuration = SignedDuration::from_secs(5);

/// The stretch of the database's time within which something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Not before this; nothing if that is not known.
    pub earliest: Option<Timestamp>,
    /// Not after this.
    pub latest: Timestamp,
}

impl Span {
    /// Whether what happened in it came surely after what happened in the other one.
    pub fn is_surely_after(&self, other: &Self) -> bool {
        self.earliest.is_some_and(|earliest| earliest.duration_since(other.latest) > SLACK)
    }

    /// The span that holds both.
    fn with(self, other: Self) -> Self {
        let earliest = self.earliest.zip(other.earliest).map(|(one, two)| one.min(two));
        Self { earliest, latest: self.latest.max(other.latest) }
    }
}

/// One look at the database's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// What the database's clock said.
    pub at: Timestamp,
    /// The uptime of this machine when the question was asked.
    pub asked: Duration,
    /// And when the answer was there.
    pub answered: Duration,
}

impl ClockReading {
    /// The uptime at which the database most likely looked at its clock.
    pub fn middle(&self) -> Duration {
        self.asked + self.answered.saturating_sub(self.asked) / 2
    }

    /// Within which span of the database's time lies what happened between two uptimes of this machine.
    fn span(&self, earliest: Option<Duration>, latest: Duration) -> Span {
        let at = |uptime, read| self.at.saturating_add(signed(uptime) - signed(read)).unwrap_or(self.at);
        Span { earliest: earliest.map(|uptime| at(uptime, self.answered)), latest: at(latest, self.asked) }
    }
}

fn signed(uptime: Duration) -> SignedDuration {
    SignedDuration::try_from(uptime).unwrap_or(SignedDuration::MAX)
}

/// When something happened on a host, by the host's uptime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Which run of the machine: uptimes of different ones cannot be compared.
    pub boot: String,
    /// Not before this; nothing if that is not known.
    pub earliest: Option<Duration>,
    /// Not after this.
    pub latest: Duration,
    /// The same in the database's time, by what was known of it then. An uptime stands still while a hypervisor pauses
    /// the machine, so neither this nor what is known later is enough by itself.
    #[serde(default)]
    pub guess: Option<Span>,
}

impl Moment {
    /// Something that happened between two uptimes of a run of the machine; `known` is the last look at the database's
    /// clock before it happened, if there was one. A later look would not show that the machine was paused in between.
    pub fn new(boot: &str, earliest: Option<Duration>, latest: Duration, known: Option<&ClockReading>) -> Self {
        let guess = known.map(|reading| reading.span(earliest, latest));
        Self { boot: boot.to_owned(), earliest, latest, guess }
    }

    /// When it happened by the database's time, as far as a fresh look at its clock tells. Of another run of the machine
    /// nothing is known but that it was before this one began; and without a look from before it happened, a pause of
    /// the machine may have made it seem younger than it is.
    pub fn span(&self, boot: &str, reading: &ClockReading) -> Span {
        let fresh = if self.boot == boot {
            reading.span(self.earliest, self.latest)
        } else {
            reading.span(None, Duration::ZERO)
        };
        self.guess.map_or(Span { earliest: None, ..fresh }, |guess| guess.with(fresh))
    }
}

/// Whom the database holds for the newest connection of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Present {
    /// There was none yet.
    Nobody,
    /// This one, and nobody knows since when: a host of the previous release wrote it, by its own clock.
    Unplaced(SessionId),
    /// This one, since then.
    Placed(SessionId, Span),
}

impl Present {
    /// One that is said to have begun then. A time in the future is not believed.
    pub fn placed(session: SessionId, span: Span, now: Timestamp) -> Self {
        if span.latest.duration_since(now) > SLACK { Self::Unplaced(session) } else { Self::Placed(session, span) }
    }

    /// Whether it is this one.
    pub fn is(&self, session: SessionId) -> bool {
        matches!(self, Self::Unplaced(one) | Self::Placed(one, _) if *one == session)
    }

    /// Whether a connection that began then has surely been followed by this one.
    pub fn supersedes(&self, session: SessionId, span: &Span) -> bool {
        matches!(self, Self::Placed(other, theirs) if *other != session && theirs.is_surely_after(span))
    }
}

/// What follows from the record of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is the newest of its profile; the one before, if it is surely older, is to end.
    Newest {
        /// Which one that is.
        older: Option<SessionId>,
    },
    /// Another one stays the newest as far as is known; nobody ends.
    Unclear,
    /// A surely newer one is known: this one is to end.
    Older,
}

/// What follows from the record of a connection that began within `span` and is read at `now`.
pub fn outcome(present: &Present, session: SessionId, span: &Span, now: Timestamp) -> Outcome {
    match *present {
        Present::Nobody => Outcome::Newest { older: None },
        Present::Unplaced(other) | Present::Placed(other, _) if other == session => Outcome::Newest { older: None },
        // In the order of arrival, since there is no other; that is as good as the record is fresh.
        Present::Unplaced(_) => {
            let fresh = span.earliest.is_some_and(|earliest| now.duration_since(earliest) <= FRESH);
            if fresh { Outcome::Newest { older: None } } else { Outcome::Unclear }
        }
        Present::Placed(other, theirs) if span.is_surely_after(&theirs) => Outcome::Newest { older: Some(other) },
        Present::Placed(_, theirs) if theirs.is_surely_after(span) => Outcome::Older,
        Present::Placed(other, theirs) => {
            let later = (span.latest, span.earliest, session) > (theirs.latest, theirs.earliest, other);
            if later { Outcome::Newest { older: None } } else { Outcome::Unclear }
        }
    }
}

#[cfg(test)]
mod tests;
