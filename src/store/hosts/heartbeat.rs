//! How a host says that it is alive and what is wrong with it, and who may say so.
//!
//! Two machines with one host key (a cloned disk) would each believe that they are the host. So each process names its
//! *instance*: a mark that stays the same over its restarts on one machine and differs on any other. A heartbeat is
//! taken while no other instance was heard within the time after which a host is offline, by the database's clock; else
//! it changes nothing but a mark that it was tried, by which the instance that is heard comes to know of it. Looking and
//! writing are one atomic step, so that of two that come at once one is refused.
//!
//! Heartbeats of the previous release name no instance and take no notice of one: what they say last counts as said by
//! nobody in particular, so that an upgrade waits for nothing.

use crate::areas::Hosts;
use jiff::Timestamp;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::options::ReturnDocument;
use sha2::{Digest as _, Sha256};

use crate::StoreError;
use crate::entity::timestamp;
use domain::ids::HostId;
use domain::problem::{MOST_PROBLEMS, Problem};

/// Where hosts say how they fare.
pub(crate) const HOST_STATUS: &str = "host_status";

/// A host that has not been heard of for this long is offline: three heartbeats.
pub(crate) const SILENCE_MS: i64 = 30_000;

/// What a host says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Heartbeat<'a> {
    /// Which host.
    pub host: HostId,
    /// The instance that sends it; a heartbeat without one is taken.
    pub instance: Option<&'a str>,
    /// The release of Postern.
    pub version: &'a str,
    /// How many sessions it carries; what was said before stays if that is not known yet.
    pub sessions: Option<u64>,
    /// What is wrong with it, by the clock of `now`.
    pub problems: &'a [Problem],
    /// The present by the host's own clock: problems are written down by their age, in the database's time.
    pub now: Timestamp,
}

/// What became of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeatOutcome {
    /// It was taken, at this time of the database.
    Taken {
        /// When.
        at: Timestamp,
        /// When another instance was refused, if that is recent.
        rival: Option<Timestamp>,
    },
    /// Another instance is the host.
    Refused,
}

impl Hosts<'_> {
    /// Writes a heartbeat of a host.
    pub async fn beat(self, beat: &Heartbeat<'_>) -> Result<BeatOutcome, StoreError> {
        let id = beat.host.to_string();
        let status = self.rows::<Document>(HOST_STATUS);
        let written = status.find_one_and_update(doc! { "_id": &id }, vec![doc! { "$set": beat.fields() }]);
        let fields = doc! { "last_seen_at": 1, "instance.id": 1, "knock": 1 };
        let after = written.upsert(true).projection(fields).return_document(ReturnDocument::After).await?;
        after.and_then(|after| beat.outcome(&after)).ok_or(StoreError::corrupt(HOST_STATUS, id))
    }

    /// Says that a machine with the key of `host` would be another host.
    pub async fn knock(self, host: HostId, instance: &str) -> Result<(), StoreError> {
        let knock = vec![doc! { "$set": { "knock": { "id": { "$literal": instance }, "at": "$$NOW" } } }];
        let status = self.rows::<Document>(HOST_STATUS);
        status.update_one(doc! { "_id": host.to_string() }, knock).await?;
        Ok(())
    }

    /// Says that a host stopped on purpose: it is offline from now on, and when that was stands beside it. Another
    /// instance that is heard is left alone.
    pub async fn beat_last(self, host: HostId, instance: Option<&str>) -> Result<(), StoreError> {
        let gone = doc! {
            "$set": { "last_seen_at": DateTime::from_millis(0), "sessions": 0_i64 },
            "$currentDate": { "stopped_at": true },
            "$unset": { "instance": "" },
        };
        let status = self.rows::<Document>(HOST_STATUS);
        status.update_one(own(host, instance), gone).await?;
        Ok(())
    }

    /// Says that a process ends whose daemons go on: whichever machine says next that it is the host, is believed.
    pub async fn release(self, host: HostId, instance: &str) -> Result<(), StoreError> {
        let status = self.rows::<Document>(HOST_STATUS);
        let filter = doc! { "_id": host.to_string(), "instance.id": instance };
        status.update_one(filter, doc! { "$unset": { "instance": "" } }).await?;
        Ok(())
    }
}

/// The status of a host, unless another instance of it was heard last.
fn own(host: HostId, instance: Option<&str>) -> Document {
    let id = host.to_string();
    match instance {
        None => doc! { "_id": id },
        Some(instance) => doc! { "_id": id, "instance.id": { "$in": [instance, Bson::Null] } },
    }
}

impl Heartbeat<'_> {
    /// The status that it leads to, in terms of the one before.
    fn fields(&self) -> Document {
        let sessions = match self.sessions {
            Some(sessions) => Bson::Int64(i64::try_from(sessions).unwrap_or(i64::MAX)),
            None => doc! { "$ifNull": ["$sessions", 0_i64] }.into(),
        };
        let mut fields =
            doc! { "last_seen_at": "$$NOW", "version": { "$literal": self.version }, "sessions": sessions };
        let key = self.key();
        fields.insert(
            "problems",
            // As long as nothing changes, what was written first stays, with its times.
            doc! { "$cond": [
                { "$eq": ["$problems.key", &key] }, "$problems", { "key": { "$literal": &key }, "of": self.problems() },
            ] },
        );
        let Some(instance) = self.instance else { return fields };
        let instance = doc! { "$literal": instance };
        let free = doc! { "$or": [
            // The last heartbeat named no instance, or there was none yet.
            { "$ne": [{ "$ifNull": ["$instance.at", Bson::Null] }, "$last_seen_at"] },
            { "$eq": ["$instance.id", &instance] },
            { "$not": [recently_heard()] },
        ] };
        fields.insert("instance", doc! { "id": &instance, "at": "$$NOW" });
        let mut either = Document::new();
        for (field, value) in fields {
            let before = doc! { "$ifNull": [format!("${field}"), "$$REMOVE"] };
            either.insert(field, doc! { "$cond": [&free, value, before] });
        }
        let others =
            doc! { "$cond": [{ "$eq": ["$knock.id", &instance] }, "$$REMOVE", { "$ifNull": ["$knock", "$$REMOVE"] }] };
        either.insert("knock", doc! { "$cond": [free, others, { "id": instance, "at": "$$NOW" }] });
        either
    }

    fn outcome(&self, after: &Document) -> Option<BeatOutcome> {
        let at = |document: &Document, field| timestamp(*document.get_datetime(field).ok()?);
        let seen = at(after, "last_seen_at")?;
        let knock = after.get_document("knock").ok();
        let knocked = knock.and_then(|knock| at(knock, "at"));
        let holder = after.get_document("instance").ok().and_then(|instance| instance.get_str("id").ok());
        if self.instance.is_some() && holder != self.instance {
            return Some(BeatOutcome::Refused);
        }
        let recent = |knocked: &Timestamp| seen.duration_since(*knocked).as_millis() < i128::from(SILENCE_MS);
        Some(BeatOutcome::Taken { at: seen, rival: knocked.filter(recent) })
    }

    /// What stands for this set of problems.
    fn key(&self) -> String {
        let mut digest = Sha256::new();
        for problem in self.problems.iter().take(MOST_PROBLEMS) {
            let server = problem.server_id.map(|server| server.to_string()).unwrap_or_default();
            let parts = [problem.code.as_str(), &server, &problem.since.to_string(), &problem.detail];
            for part in parts {
                digest.update(part);
                digest.update(b"\0");
            }
        }
        data_encoding::HEXLOWER.encode(digest.finalize().get(..16).unwrap_or_default())
    }

    fn problems(&self) -> Vec<Document> {
        let problem = |problem: &Problem| {
            let age = self.now.duration_since(problem.since).as_millis();
            let Problem { code, server_id, detail, .. } = problem.clone().clipped();
            let since = doc! { "$subtract": ["$$NOW", i64::try_from(age).unwrap_or(0).max(0)] };
            let mut document =
                doc! { "code": { "$literal": code.as_str() }, "detail": { "$literal": detail }, "since": since };
            if let Some(server) = server_id {
                document.insert("server_id", doc! { "$literal": server.to_string() });
            }
            document
        };
        self.problems.iter().take(MOST_PROBLEMS).map(problem).collect()
    }
}

/// Whether a host was heard of so lately that it is online. A time in the future is nobody's.
pub(crate) fn recently_heard() -> Document {
    doc! { "$and": [
        { "$gt": ["$last_seen_at", { "$subtract": ["$$NOW", SILENCE_MS] }] },
        { "$lt": ["$last_seen_at", { "$add": ["$$NOW", SILENCE_MS] }] },
    ] }
}
