//! What happens in the cluster, for programs that follow it: what kind of thing changed and which, never what it is now.

use std::collections::{HashSet, VecDeque};

use crate::{Act, BusMessage, Nudge, Refusal, SOON, ServiceError, Services, Subscription};
use domain::role::Permission;
use store::bus::replay::{EventId as Id, Replay};

pub use store::bus::replay::EventId;

/// Something that was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its id, to go on after; a resync that has none changes nothing about where to go on.
    pub id: Option<EventId>,
    /// What happened.
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// Something changed.
    Change(Nudge),
    /// Changes may have been missed: a subscriber reads everything anew.
    Resync,
}

/// Somebody who listens.
#[derive(Debug)]
pub struct Following {
    hears: Subscription,
    replayed: VecDeque<Event>,
    known: HashSet<Id>,
}

impl Services {
    /// Listens from now on, or from after an event that was heard before.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] in a process that does not follow the cluster's events.
    pub async fn follow(&self, act: &Act, after: Option<EventId>) -> Result<Following, ServiceError> {
        act.require(Permission::Read)?;
        // Listening comes before the look at what was said, so nothing falls in between.
        let hears = self.listen().ok_or(Refusal::NotListening)?;
        let mut following = Following { hears, replayed: VecDeque::new(), known: HashSet::new() };
        let Some(after) = after else { return Ok(following) };
        match self.store().deadline(SOON, self.store().replay(after)).await? {
            Replay::TooOld(newest) => {
                following.replayed.push_back(Event { id: Some(newest), what: Happening::Resync });
            }
            Replay::Since(said) => {
                following.known = said.iter().map(|(id, _)| *id).collect();
                let read = |(id, nudge)| Some(Event { id: Some(id), what: Happening::Change(Nudge::read(&nudge)?) });
                following.replayed = said.into_iter().filter_map(read).collect();
            }
        }
        Ok(following)
    }
}

impl Following {
    /// The next event; none once this process stops. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.replayed.pop_front() {
            return Some(event);
        }
        loop {
            let (id, message) = self.hears.recv_with_id().await?;
            // What was replayed may be heard as well.
            if id.is_some_and(|id| self.known.remove(&id)) {
                continue;
            }
            match message {
                BusMessage::Resync => return Some(Event { id: None, what: Happening::Resync }),
                BusMessage::Nudge(nudge) => {
                    if let Some(nudge) = Nudge::read(&nudge) {
                        return Some(Event { id, what: Happening::Change(nudge) });
                    }
                }
            }
        }
    }
}
