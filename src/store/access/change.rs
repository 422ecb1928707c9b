//! What one row of a policy collection tells a snapshot.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use mongodb::bson;
use mongodb::bson::{Binary, DateTime, RawBson, RawDocumentBuf};
use serde::Deserialize;

use crate::StoreError;
use crate::entity::{decode, timestamp};
use domain::access::{Change, ProfileAccess, UserAccess};
use domain::host::Host;
use domain::ids::{OrganizationId, ProfileId, ServerId, UserId};
use domain::profile::{Fingerprint, ProfileState, WrittenFor};
use domain::server::{Attachment, AttachmentKey, Server};
use domain::settings::Settings;
use domain::text::GroupName;

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
    state: ProfileState,
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
        state: row.state,
        expires_at: timestamp(row.expires_at)?,
        fingerprint: Fingerprint(row.fingerprint.bytes.try_into().ok()?),
        file,
    })
}

fn slim<T: for<'a> Deserialize<'a>>(row: &RawDocumentBuf, kind: &'static str) -> Result<T, StoreError> {
    bson::deserialize_from_slice(row.as_bytes()).map_err(|invalid| corrupt(row, kind).because(invalid))
}

fn corrupt(row: &RawDocumentBuf, collection: &'static str) -> StoreError {
    let id = row.get_str("_id").unwrap_or("without id").to_owned();
    StoreError::corrupt(collection, id)
}
