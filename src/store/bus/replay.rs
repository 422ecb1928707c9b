//! The messages of the bus since a moment, for clients of the API that were disconnected for a while.
//!
//! The order of the collection is only nearly the same on all members of the set, so a replay begins some places before
//! the last event that was heard: an event may come twice, and none is passed over.

use std::fmt;
use std::str::FromStr;

use futures_util::TryStreamExt as _;
use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::options::ReadConcern;

use crate::bus::events::{EVENTS, Nudge, SEED};
use crate::{Store, StoreError};

/// So many places before the last event that was heard.
const OVERLAP: usize = 32;

/// Names an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId(pub(crate) ObjectId);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        ObjectId::parse_str(text).map(Self).map_err(|_other| ())
    }
}

/// The messages since an event.
#[derive(Debug)]
pub enum Replay {
    /// These, the oldest first.
    Since(Vec<(EventId, Nudge)>),
    /// The event is not known any more; the newest that is.
    TooOld(EventId),
}

impl Store {
    /// The messages since `last`.
    pub async fn replay(&self, last: EventId) -> Result<Replay, StoreError> {
        let events: Collection<RawDocumentBuf> = self.bus_client().collection(EVENTS);
        if events.find_one(doc! { "_id": last.0 }).await?.is_none() {
            let newest = events.find_one(doc! {}).sort(doc! { "$natural": -1 }).await?;
            let newest = newest.and_then(|row| row.get_object_id("_id").ok()).unwrap_or(SEED);
            return Ok(Replay::TooOld(EventId(newest)));
        }
        let newest_first = doc! { "$natural": -1 };
        let mut rows = events.find(doc! {}).sort(newest_first).read_concern(ReadConcern::local()).await?;
        let mut said = Vec::new();
        let mut before = None;
        while let Some(row) = rows.try_next().await? {
            let Ok(id) = row.get_object_id("_id") else { continue };
            match &mut before {
                None if id == last.0 => before = Some(0_usize),
                None => {}
                Some(places) if *places == OVERLAP => break,
                Some(places) => *places += 1,
            }
            if id != last.0 {
                said.extend(Nudge::from_raw(&row).map(|nudge| (EventId(id), nudge)));
            }
        }
        said.reverse();
        Ok(Replay::Since(said))
    }
}
