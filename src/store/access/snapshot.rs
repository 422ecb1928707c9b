//! The one read that keeps a snapshot up to date: everything that changed after a revision.
//!
//! One aggregation with read concern *snapshot* reads the cluster's revision and, from each policy collection, what is
//! newer than the revision that the reader has: all as of one moment, in one round trip. From revision zero it reads
//! everything, so a process that starts and one that follows take the same road.

use crate::areas::Access;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::TryStreamExt;
use mongodb::{
    bson::{self, Binary, DateTime, Document, RawBson, RawDocumentBuf, doc},
    options::ReadConcern,
};
use serde::Deserialize;

use crate::{
    StoreError,
    access::profiles::state_from,
    cluster::state::pause,
    entity::{Entity, decode, timestamp},
    network::servers::AttachmentKey,
};
use domain::{
    Revision,
    access::{Change, ProfileAccess, UserAccess},
    host::Host,
    ids::{OrganizationId, ProfileId, ServerId, UserId},
    profile::{Fingerprint, WrittenFor},
    server::{Attachment, Server},
    settings::Settings,
    text::GroupName,
};

/// Tombstones are kept for 30 days; whoever has not read for longer than this reads everything.
pub const DELTA_REACH: Duration = Duration::from_hours(7 * 24);

/// What changed.
#[derive(Debug)]
pub struct Delta {
    /// The revision up to which it is complete.
    pub revision: Revision,
    /// The timeline that the revision is of; each restore begins another.
    pub timeline: String,
    /// The revision with which the cluster was paused, if it is.
    pub paused: Option<Revision>,
    /// The documents, each in its newest form.
    pub changes: Vec<Change>,
}

impl Access<'_> {
    /// The cluster's revision.
    pub async fn revision(self) -> Result<Revision, StoreError> {
        let cluster = self.database().collection::<Document>("cluster").find_one(doc! { "_id": "cluster" }).await?;
        let missing = || StoreError::Corrupt { collection: "cluster", id: "cluster".into() };
        cluster.as_ref().and_then(|cluster| cluster.get_i64("revision").ok()).map(Revision).ok_or_else(missing)
    }

    /// The cluster's id, which never changes.
    pub async fn cluster_id(self) -> Result<String, StoreError> {
        let cluster = self.database().collection::<Document>("cluster").find_one(doc! { "_id": "cluster" }).await?;
        let missing = || StoreError::Corrupt { collection: "cluster", id: "cluster".into() };
        cluster.as_ref().and_then(|cluster| cluster.get_str("id").ok()).map(str::to_owned).ok_or_else(missing)
    }

    /// All that changed after `since`.
    pub async fn changes_since(self, since: Revision) -> Result<Delta, StoreError> {
        let newer = |projection: Option<Document>, kind: &str| {
            let mut steps = vec![doc! { "$match": { "rev": { "$gt": since.0 } } }];
            steps.extend(projection.map(|fields| doc! { "$project": fields }));
            steps.push(doc! { "$set": { "_kind": kind } });
            steps
        };
        let user = doc! { "organization_id": 1, "groups": 1, "disabled": 1 };
        let profile = doc! {
            "user_id": 1, "server_id": 1, "address": 1, "state": 1, "expires_at": 1, "fingerprint": 1, "written_for": 1,
        };
        let mut pipeline = vec![
            doc! { "$match": { "_id": "cluster" } },
            doc! { "$project": { "revision": 1, "timeline": 1, "paused": 1, "_kind": "cluster" } },
        ];
        for (collection, projection) in [
            ("users", Some(user)),
            ("profiles", Some(profile)),
            (Server::COLLECTION, None),
            (Host::COLLECTION, None),
            (Attachment::COLLECTION, None),
            (Settings::COLLECTION, None),
            // Nothing that was ever read can be gone for who has read nothing.
            ("tombstones", None),
        ] {
            if collection != "tombstones" || since > Revision(0) {
                let steps = newer(projection, collection);
                pipeline.push(doc! { "$unionWith": { "coll": collection, "pipeline": steps } });
            }
        }
        let cluster = self.database().collection::<RawDocumentBuf>("cluster");
        let mut rows = cluster
            .aggregate(pipeline)
            .read_concern(ReadConcern::snapshot())
            .batch_size(5_000)
            .with_type::<RawDocumentBuf>()
            .await?;
        let mut delta = Delta { revision: Revision(-1), timeline: String::new(), paused: None, changes: Vec::new() };
        let mut files = Files::default();
        while let Some(row) = rows.try_next().await? {
            take(&row, &mut files, &mut delta)?;
        }
        if delta.revision < Revision(0) {
            return Err(StoreError::Corrupt { collection: "cluster", id: "cluster".into() });
        }
        Ok(delta)
    }
}

#[derive(Deserialize)]
struct UserRow {
    #[serde(rename = "_id")]
    id: UserId,
    organization_id: OrganizationId,
    groups: BTreeSet<GroupName>,
    disabled: bool,
}

#[derive(Deserialize)]
struct ProfileRow {
    #[serde(rename = "_id")]
    id: ProfileId,
    user_id: UserId,
    server_id: ServerId,
    address: std::net::Ipv4Addr,
    state: String,
    expires_at: DateTime,
    fingerprint: Binary,
    #[serde(default)]
    written_for: Option<RawBson>,
}

/// What files name, each read once: as many profiles name the same hosts as were issued between two changes of them.
#[derive(Debug, Default)]
pub(crate) struct Files(HashMap<Vec<u8>, Option<Arc<WrittenFor>>>);

impl Files {
    /// What a file names; unknown where that was not written down, or not in a form that can be read.
    fn read(&mut self, written: Option<&RawBson>) -> Option<Arc<WrittenFor>> {
        let RawBson::Document(written) = written? else { return None };
        let bytes = written.as_bytes();
        if let Some(known) = self.0.get(bytes) {
            return known.clone();
        }
        let file = bson::deserialize_from_slice(bytes).ok().map(Arc::new);
        self.0.insert(bytes.to_vec(), file.clone());
        file
    }
}

fn take(row: &RawDocumentBuf, files: &mut Files, delta: &mut Delta) -> Result<(), StoreError> {
    let kind = row.get_str("_kind").unwrap_or_default();
    if kind == "cluster" {
        delta.revision = Revision(row.get_i64("revision").unwrap_or(-1));
        row.get_str("timeline").unwrap_or_default().clone_into(&mut delta.timeline);
        delta.paused = pause(row).map(|pause| pause.rev);
    } else {
        delta.changes.extend(change(kind, row, files)?);
    }
    Ok(())
}

/// What a row of a collection tells a snapshot; nothing if none holds such rows.
pub(crate) fn change(collection: &str, row: &RawDocumentBuf, files: &mut Files) -> Result<Option<Change>, StoreError> {
    Ok(Some(match collection {
        "users" => {
            let user: UserRow = slim(row, "users")?;
            Change::User(UserAccess {
                id: user.id,
                organization_id: user.organization_id,
                groups: user.groups.into_iter().collect(),
                disabled: user.disabled,
            })
        }
        "profiles" => {
            let read: ProfileRow = slim(row, "profiles")?;
            let file = files.read(read.written_for.as_ref());
            Change::Profile(profile(read, file).ok_or_else(|| corrupt(row, "profiles"))?)
        }
        "servers" => Change::Server(Box::new(decode::<Server>(row)?.value)),
        "hosts" => Change::Host(Box::new(decode::<Host>(row)?.value)),
        "attachments" => Change::Attachment(Box::new(decode::<Attachment>(row)?.value)),
        "settings" => Change::Settings(Box::new(decode::<Settings>(row)?.value)),
        "tombstones" => return tombstone(row),
        _ => return Ok(None),
    }))
}

fn tombstone(row: &RawDocumentBuf) -> Result<Option<Change>, StoreError> {
    let collection = row.get_str("collection").unwrap_or_default();
    let key = row.get_str("key").unwrap_or_default();
    let gone = match collection {
        "users" => key.parse().ok().map(Change::UserGone),
        "profiles" => key.parse().ok().map(Change::ProfileGone),
        "servers" => key.parse().ok().map(Change::ServerGone),
        "hosts" => key.parse().ok().map(Change::HostGone),
        "attachments" => key.parse().ok().map(|key: AttachmentKey| Change::AttachmentGone(key.server_id, key.host_id)),
        // Policy that no snapshot holds.
        _ => return Ok(None),
    };
    gone.map(Some).ok_or_else(|| corrupt(row, "tombstones"))
}

fn profile(row: ProfileRow, file: Option<Arc<WrittenFor>>) -> Option<ProfileAccess> {
    Some(ProfileAccess {
        id: row.id,
        user_id: row.user_id,
        server_id: row.server_id,
        address: row.address,
        state: state_from(&row.state)?,
        expires_at: timestamp(row.expires_at)?,
        fingerprint: Fingerprint(row.fingerprint.bytes.try_into().ok()?),
        file,
    })
}

fn slim<T: for<'a> Deserialize<'a>>(row: &RawDocumentBuf, kind: &'static str) -> Result<T, StoreError> {
    bson::deserialize_from_slice(row.as_bytes()).map_err(|_invalid| corrupt(row, kind))
}

fn corrupt(row: &RawDocumentBuf, collection: &'static str) -> StoreError {
    let id = row.get_str("_id").unwrap_or("without id").to_owned();
    StoreError::Corrupt { collection, id }
}
