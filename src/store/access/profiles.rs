//! Profiles, and the addresses that they hold.

use crate::areas::{Access, AccessChange};
use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use mongodb::bson;
use mongodb::bson::{Binary, DateTime, Document, doc};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::entity::{Entity, Page, PageRequest, binary, date, decode_all, timestamp};
use domain::effect::ProfileFile;
use domain::ids::{HostId, ProfileId, ServerId, UserId};
use domain::network::ServerNetwork;
use domain::profile::{Fingerprint, Profile, ProfileState, WrittenFor};
use domain::text::Name;
use domain::{Revised, Revision};

/// The stored form.
#[derive(Serialize, Deserialize)]
pub struct ProfileDoc {
    #[serde(rename = "_id")]
    id: ProfileId,
    rev: i64,
    user_id: UserId,
    server_id: ServerId,
    name: Name,
    address: Ipv4Addr,
    state: ProfileState,
    issued_at: DateTime,
    expires_at: DateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<DateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_connected_at: Option<DateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced_by: Option<ProfileId>,
    fingerprint: Binary,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    written_for: Option<WrittenFor>,
}

impl Entity for Profile {
    const COLLECTION: &'static str = "profiles";
    type Key = ProfileId;
    type Doc = ProfileDoc;

    fn key(&self) -> ProfileId {
        self.id
    }

    fn to_doc(&self, rev: Revision) -> ProfileDoc {
        ProfileDoc {
            id: self.id,
            rev: rev.0,
            user_id: self.user_id,
            server_id: self.server_id,
            name: self.name.clone(),
            address: self.address,
            state: self.state,
            issued_at: date(self.issued_at),
            expires_at: date(self.expires_at),
            revoked_at: self.revoked_at.map(date),
            last_connected_at: self.last_connected_at.map(date),
            replaced_by: self.replaced_by,
            fingerprint: binary(&self.fingerprint.0),
            written_for: self.written_for.clone(),
        }
    }

    fn from_doc(doc: ProfileDoc) -> Option<Revised<Self>> {
        let value = Self {
            id: doc.id,
            user_id: doc.user_id,
            server_id: doc.server_id,
            name: doc.name,
            address: doc.address,
            state: doc.state,
            issued_at: timestamp(doc.issued_at)?,
            expires_at: timestamp(doc.expires_at)?,
            revoked_at: doc.revoked_at.and_then(timestamp),
            last_connected_at: doc.last_connected_at.and_then(timestamp),
            replaced_by: doc.replaced_by,
            fingerprint: Fingerprint(doc.fingerprint.bytes.try_into().ok()?),
            written_for: doc.written_for,
        };
        Some(Revised { rev: Revision(doc.rev), value })
    }
}

/// Which profiles.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProfileFilter {
    /// Those of one user.
    pub user_id: Option<UserId>,
    /// Those of one server.
    pub server_id: Option<ServerId>,
}

impl Access<'_> {
    /// A page of profiles.
    pub async fn list_profiles(
        self,
        filter: &ProfileFilter,
        page: &PageRequest,
    ) -> Result<Page<Revised<Profile>>, StoreError> {
        let mut query = doc! {};
        if let Some(user) = filter.user_id {
            query.insert("user_id", user.to_string());
        }
        if let Some(server) = filter.server_id {
            query.insert("server_id", server.to_string());
        }
        let mut page = self.page(query, page).await?;
        self.date(&mut page.items).await?;
        Ok(page)
    }

    /// One profile.
    pub async fn find_profile(self, id: ProfileId) -> Result<Option<Revised<Profile>>, StoreError> {
        let mut found: Vec<_> = self.find::<Profile>(&id).await?.into_iter().collect();
        self.date(&mut found).await?;
        Ok(found.pop())
    }

    /// Fills in when each profile connected last. Hosts write that into `presence`, since a host that only serves VPN
    /// may not touch profiles; what stands in the profile itself is of an earlier release.
    async fn date(self, profiles: &mut [Revised<Profile>]) -> Result<(), StoreError> {
        let ids: Vec<ProfileId> = profiles.iter().map(|profile| profile.value.id).collect();
        let newest = self.last_connections(&ids).await?;
        for Revised { value, .. } in profiles {
            value.last_connected_at = value.last_connected_at.max(newest.get(&value.id).copied());
        }
        Ok(())
    }

    /// Whether any profile was ever issued and is still known.
    pub async fn has_profiles(self) -> Result<bool, StoreError> {
        Ok(self.collection::<Profile>().find_one(doc! {}).await?.is_some())
    }

    /// The newest profiles of a user, at most `limit`.
    pub async fn newest_profiles(self, user: UserId, limit: i64) -> Result<Vec<Revised<Profile>>, StoreError> {
        let profiles = self.collection::<Profile>();
        let rows = profiles.find(doc! { "user_id": user.to_string() }).sort(doc! { "_id": -1 }).limit(limit);
        let mut profiles = decode_all::<Profile>(rows.await?).await?;
        self.date(&mut profiles).await?;
        Ok(profiles)
    }

    /// The files of the profiles of these servers that their owners are meant to use at `now`; what imported ones name is
    /// not known. There are as many as the hosts of a server have changed, not as many as profiles.
    pub async fn files_of(self, servers: &BTreeSet<ServerId>, now: Timestamp) -> Result<Vec<ProfileFile>, StoreError> {
        #[derive(Deserialize)]
        struct Row {
            #[serde(rename = "_id")]
            file: File,
            profiles: i64,
        }
        #[derive(Deserialize)]
        struct File {
            server_id: ServerId,
            written_for: WrittenFor,
        }
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let wanted = doc! {
            "server_id": { "$in": servers }, "state": "active", "expires_at": { "$gt": date(now) },
            "replaced_by": null, "written_for": { "$type": "object" },
        };
        let same = doc! { "server_id": "$server_id", "written_for": "$written_for" };
        let pipeline = [doc! { "$match": wanted }, doc! { "$group": { "_id": same, "profiles": { "$sum": 1_i64 } } }];
        let rows: Vec<Document> = self.collection::<Profile>().aggregate(pipeline).await?.try_collect().await?;
        let corrupt = || StoreError::corrupt(Profile::COLLECTION, "a file of some");
        let file = |row: Document| {
            let Row { file: File { server_id, written_for }, profiles } =
                bson::deserialize_from_document(row).map_err(|invalid| corrupt().because(invalid))?;
            Ok(ProfileFile { server_id, written_for, profiles: profiles.unsigned_abs() })
        };
        rows.into_iter().map(file).collect()
    }

    /// A profile, if it belongs to this user.
    pub async fn find_profile_of(self, user: UserId, id: ProfileId) -> Result<Option<Revised<Profile>>, StoreError> {
        let filter = doc! { "_id": id.to_string(), "user_id": user.to_string() };
        let mut found = self.all::<Profile>(filter).await?;
        self.date(&mut found).await?;
        Ok(found.pop())
    }

    /// Reserves an address of a server's network for a profile: the first free one of the profile's own sequence.
    /// `None` if every address is taken.
    ///
    /// Inserting is allocating, and a unique index decides who was first, so any number of processes may do this at
    /// once. It happens before the profile's transaction, which must not lose its turn to a taken address; if no
    /// profile comes of it, [`Self::release_address`] gives it back.
    pub async fn reserve_address(
        self,
        server: ServerId,
        network: ServerNetwork,
        profile: ProfileId,
        now: Timestamp,
    ) -> Result<Option<Ipv4Addr>, StoreError> {
        const PROBES: usize = 16;
        for address in network.candidates(profile).take(PROBES) {
            if self.try_reserve(server, profile, address, now).await? {
                return Ok(Some(address));
            }
        }
        // A crowded network: read what is taken once, and try what is free in the same order.
        let taken = self.taken_addresses(server).await?;
        for address in network.candidates(profile).filter(|address| !taken.contains(address)) {
            if self.try_reserve(server, profile, address, now).await? {
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    async fn try_reserve(
        self,
        server: ServerId,
        profile: ProfileId,
        address: Ipv4Addr,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let row = doc! {
            "_id": profile.to_string(), "server_id": server.to_string(), "profile_id": profile.to_string(),
            "address": address.to_string(), "at": date(now),
        };
        match self.addresses().insert_one(row).await.map_err(StoreError::from) {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn taken_addresses(self, server: ServerId) -> Result<std::collections::HashSet<Ipv4Addr>, StoreError> {
        let filter = doc! { "server_id": server.to_string() };
        let rows = self.addresses().find(filter).projection(doc! { "address": 1 }).await?;
        let rows: Vec<Document> = rows.try_collect().await?;
        Ok(rows.iter().filter_map(|row| row.get_str("address").ok()?.parse().ok()).collect())
    }

    /// Gives a reserved address back.
    pub async fn release_address(self, profile: ProfileId) -> Result<(), StoreError> {
        self.addresses().delete_one(doc! { "_id": profile.to_string() }).await?;
        Ok(())
    }

    /// Gives back the addresses that were reserved before `before` and that no profile came of: a process died between
    /// the two. Returns how many.
    pub async fn release_orphaned_addresses(self, before: Timestamp) -> Result<u64, StoreError> {
        let orphans = [
            doc! { "$match": { "at": { "$lt": date(before) } } },
            doc! { "$lookup": { "from": Profile::COLLECTION, "localField": "_id", "foreignField": "_id", "as": "profile" } },
            doc! { "$match": { "profile": [] } },
            doc! { "$project": { "_id": 1 } },
        ];
        let rows: Vec<Document> = self.addresses().aggregate(orphans).await?.try_collect().await?;
        let ids: Vec<_> = rows.iter().filter_map(|row| row.get("_id").cloned()).collect();
        if ids.is_empty() {
            return Ok(0);
        }
        Ok(self.addresses().delete_many(doc! { "_id": { "$in": ids } }).await?.deleted_count)
    }

    /// How many profiles that are good at `now` name a host in their file.
    pub async fn profiles_listing(self, host: HostId, now: Timestamp) -> Result<u64, StoreError> {
        let filter = doc! {
            "written_for.hosts.id": host.to_string(), "state": "active", "expires_at": { "$gt": date(now) },
        };
        Ok(self.collection::<Profile>().count_documents(filter).await?)
    }

    /// How many profiles open each of the given servers at `now`; those that none opens are absent.
    pub async fn good_profiles_by_server(
        self,
        servers: &[ServerId],
        now: Timestamp,
    ) -> Result<HashMap<ServerId, u64>, StoreError> {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let pipeline = [
            doc! { "$match": { "server_id": { "$in": servers }, "state": "active", "expires_at": { "$gt": date(now) } } },
            doc! { "$group": { "_id": "$server_id", "count": { "$sum": 1_i64 } } },
        ];
        let profiles = self.rows::<Document>(Profile::COLLECTION);
        let rows: Vec<Document> = profiles.aggregate(pipeline).await?.try_collect().await?;
        let read =
            |row: &Document| Some((row.get_str("_id").ok()?.parse().ok()?, row.get_i64("count").ok()?.unsigned_abs()));
        Ok(rows.iter().filter_map(read).collect())
    }

    fn addresses(self) -> mongodb::Collection<Document> {
        self.rows("addresses")
    }
}

/// The profiles that open a server at `now`.
fn good_on(server: ServerId, now: Timestamp) -> Document {
    doc! { "server_id": server.to_string(), "state": "active", "expires_at": { "$gt": date(now) } }
}

impl AccessChange<'_> {
    /// A profile, if it belongs to this user.
    pub async fn profile_of(self, user: UserId, id: ProfileId) -> Result<Option<Revised<Profile>>, StoreError> {
        self.find_where::<Profile>(doc! { "_id": id.to_string(), "user_id": user.to_string() }).await
    }

    /// Gives the address of a profile back, so that another profile may get it.
    pub async fn free_address(self, profile: ProfileId) -> Result<(), StoreError> {
        self.delete_rows("addresses", doc! { "_id": profile.to_string() }).await.map(drop)
    }

    /// All profiles of a server.
    pub async fn profiles_on(self, server: ServerId) -> Result<Vec<Revised<Profile>>, StoreError> {
        self.all_where(doc! { "server_id": server.to_string() }).await
    }

    /// The profiles that open a server at `now`.
    pub async fn good_profiles_on(self, server: ServerId, now: Timestamp) -> Result<Vec<Revised<Profile>>, StoreError> {
        self.all_where(good_on(server, now)).await
    }

    /// Whether any profile opens a server at `now`.
    pub async fn has_good_profiles(self, server: ServerId, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.count_where::<Profile>(good_on(server, now), 1).await? > 0)
    }

    /// Whether a server has any profile that still opens it.
    pub async fn has_active_profiles(self, server: ServerId) -> Result<bool, StoreError> {
        Ok(self.count_where::<Profile>(doc! { "server_id": server.to_string(), "state": "active" }, 1).await? > 0)
    }
}
