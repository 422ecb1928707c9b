//! What becomes of the sessions of a host that leaves service.

use crate::areas::Network;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use mongodb::bson;
use mongodb::bson::{Document, doc};
use serde::Deserialize;

use crate::StoreError;
use crate::entity::date;
use crate::reports::readable;
use domain::drain::DrainOutcome;
use domain::ids::{HostId, ProfileId, ServerId, UserId};
use domain::profile::WrittenFor;
use domain::session::EndReason;
use domain::text::Name;

/// A live session of a host, with what the file of its profile names.
#[derive(Debug, Clone, Deserialize)]
pub struct CarriedFile {
    /// Who is connected.
    pub user_id: UserId,
    /// By which profile.
    pub profile_id: ProfileId,
    /// To which server.
    pub server_id: ServerId,
    /// What the profile's file names; unknown of imported ones.
    #[serde(default)]
    pub written_for: Option<WrittenFor>,
    /// What the user is called.
    #[serde(default)]
    pub user: Option<Name>,
    /// What the profile is called.
    #[serde(default)]
    pub profile: Option<Name>,
}

impl Network<'_> {
    /// What became of the people whom a host told to go, or lost, since a moment of the database's time: each counts once.
    ///
    /// Whoever has a session on another host that began later than the one here was moved; whoever has not, and none here
    /// either, is cut off. That it began before the one here was reported gone is the rule: a daemon forgets a client that
    /// it sent away seconds later. Sessions that ended because people disconnected are neither.
    pub async fn drain_outcome(self, host: HostId, since: Timestamp) -> Result<DrainOutcome, StoreError> {
        let (here, since) = (host.to_string(), date(since));
        let reasons = [EndReason::Moved, EndReason::DaemonEnded].map(|reason| bson::serialize_to_bson(&reason));
        let reasons: Vec<_> = reasons.into_iter().collect::<Result<_, _>>().map_err(mongodb::error::Error::from)?;
        let told = doc! { "host_id": &here, "ended_at": { "$gte": since }, "end_reason": { "$in": reasons } };
        let later = doc! { "$gt": ["$connected_at", "$$began"] };
        let seen = doc! { "$or": [
            { "host_id": { "$ne": &here }, "$expr": later }, { "host_id": &here, "ended_at": null },
        ] };
        let seen = doc! {
            "from": "sessions", "localField": "_id", "foreignField": "profile_id", "as": "seen",
            "let": { "began": "$began" },
            "pipeline": [{ "$match": seen }, { "$project": { "_id": 0, "host_id": 1 } }],
        };
        let others = doc! { "$setDifference": ["$seen.host_id", [&here]] };
        let count = |is: Document| doc! { "$sum": { "$cond": [is, 1_i64, 0_i64] } };
        let pipeline = [
            doc! { "$match": told },
            doc! { "$group": { "_id": "$profile_id", "began": { "$max": "$connected_at" } } },
            doc! { "$lookup": seen },
            doc! { "$group": {
                "_id": null,
                "moved": count(doc! { "$gt": [{ "$size": others }, 0] }),
                "cut_off": count(doc! { "$eq": [{ "$size": "$seen" }, 0] }),
            } },
        ];
        let rows: Vec<Document> = self.access().sessions().aggregate(pipeline).await?.try_collect().await?;
        let read = |field| rows.first().and_then(|row| row.get_i64(field).ok()).map_or(0, i64::unsigned_abs);
        Ok(DrainOutcome { moved: read("moved"), cut_off: read("cut_off") })
    }

    /// The live sessions of a host, each with what the file of its profile names.
    pub async fn carried_files(self, host: HostId) -> Result<Vec<CarriedFile>, StoreError> {
        let one = |from: &str, field: &str, into: &str| {
            let fields = doc! { "name": 1, "written_for": 1 };
            doc! { "$lookup": {
                "from": from, "localField": field, "foreignField": "_id", "as": into, "pipeline": [{ "$project": fields }],
            } }
        };
        let pipeline = [
            doc! { "$match": { "host_id": host.to_string(), "ended_at": null } },
            one("profiles", "profile_id", "profile"),
            one("users", "user_id", "user"),
            doc! { "$project": {
                "user_id": 1, "profile_id": 1, "server_id": 1, "written_for": { "$first": "$profile.written_for" },
                "user": { "$first": "$user.name" }, "profile": { "$first": "$profile.name" },
            } },
        ];
        let rows: Vec<Document> = self.access().sessions().aggregate(pipeline).await?.try_collect().await?;
        let read = |row: Document| {
            let id = row.get_str("_id").unwrap_or_default().to_owned();
            bson::deserialize_from_document(row).map_err(|invalid| StoreError::corrupt("sessions", id).because(invalid))
        };
        Ok(readable(rows, read))
    }
}
