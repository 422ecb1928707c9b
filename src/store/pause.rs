//! A pause of the cluster, as every change reads it.

use jiff::Timestamp;
use mongodb::bson::RawDocumentBuf;

use crate::entity::timestamp;
use domain::Revision;

/// A time in which nothing but the pause itself may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// The revision that it began with; tells it from other pauses.
    pub rev: Revision,
    /// When it began.
    pub since: Timestamp,
}

/// The pause in a document of the cluster.
pub(crate) fn pause(cluster: &RawDocumentBuf) -> Option<Pause> {
    let paused = cluster.get_document("paused").ok()?;
    let since = timestamp(paused.get_datetime("since").ok()?)?;
    Some(Pause { rev: Revision(paused.get_i64("rev").ok()?), since })
}
