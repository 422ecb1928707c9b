//! Hosts, and what they report about themselves.
//!
//! What a host *is* is policy and stands in `hosts`. How it *fares* is written by the host alone, into `host_status`
//! and `daemon_status`, without a revision: a host may be given a database user that can write these and not policy.
//! Whether a host is alive is decided when it is read, by the server's clock.

use crate::areas::{Hosts, HostsChange};
use std::collections::{BTreeSet, HashMap};

use futures_util::TryStreamExt;
use jiff::Timestamp;
use mongodb::bson;
use mongodb::bson::{Binary, Bson, DateTime, Document, RawDocumentBuf, doc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::entity::{Entity, Page, PageRequest, binary, date, timestamp};
use crate::hosts::heartbeat::{HOST_STATUS, recently_heard};
use domain::drain::{Drain, DrainProgress};
use domain::host::{Host, ProcessRole};
use domain::host_network::{HostNetwork, MOST_HOST_NETWORKS};
use domain::ids::{HostId, ServerId};
use domain::problem::{MOST_PROBLEMS, Problem, ProblemCode};
use domain::server::{Attachment, AttachmentKey, DaemonState};
use domain::text::{HostName, PublicAddress};
use domain::{Revised, Revision};

/// A daemon that has been on its way to running for this long does not get there by itself.
const STALLED_MS: i64 = 120_000;

/// The stored form.
#[derive(Serialize, Deserialize)]
pub struct HostDoc {
    #[serde(rename = "_id")]
    id: HostId,
    rev: i64,
    name: HostName,
    public_addresses: Vec<PublicAddress>,
    roles: BTreeSet<ProcessRole>,
    public_key: Binary,
    /// For the previous release, which knows no more than this.
    draining: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drain: Option<DrainDoc>,
}

#[derive(Serialize, Deserialize)]
struct DrainDoc {
    started_at: DateTime,
    ends_at: DateTime,
    forced: bool,
}

impl DrainDoc {
    fn new(drain: &Drain) -> Self {
        Self { started_at: date(drain.started_at), ends_at: date(drain.ends_at), forced: drain.forced }
    }

    fn read(&self) -> Option<Drain> {
        let (started_at, ends_at) = (timestamp(self.started_at)?, timestamp(self.ends_at)?);
        Some(Drain { started_at, ends_at, forced: self.forced })
    }
}

/// What stands for an order whose terms are lost: the previous release drops them when its host registers again.
const OVER: Drain = Drain { started_at: Timestamp::UNIX_EPOCH, ends_at: Timestamp::UNIX_EPOCH, forced: false };

impl Entity for Host {
    const COLLECTION: &'static str = "hosts";
    type Key = HostId;
    type Doc = HostDoc;

    fn key(&self) -> HostId {
        self.id
    }

    fn to_doc(&self, rev: Revision) -> HostDoc {
        HostDoc {
            id: self.id,
            rev: rev.0,
            name: self.name.clone(),
            public_addresses: self.public_addresses.clone(),
            roles: self.roles.clone(),
            public_key: binary(&self.public_key),
            draining: self.drain.is_some(),
            drain: self.drain.as_ref().map(DrainDoc::new),
        }
    }

    fn from_doc(doc: HostDoc) -> Option<Revised<Self>> {
        let drain = match (doc.draining, doc.drain) {
            (false, _) => None,
            (true, None) => Some(OVER),
            (true, Some(order)) => Some(order.read()?),
        };
        let value = Self {
            id: doc.id,
            name: doc.name,
            public_addresses: doc.public_addresses,
            roles: doc.roles,
            public_key: doc.public_key.bytes.try_into().ok()?,
            drain,
        };
        Some(Revised { rev: Revision(doc.rev), value })
    }
}

/// What a host said of itself last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostStatus {
    /// When, by the database's clock; not known of one that a release without a memory of it stopped.
    pub last_seen_at: Option<Timestamp>,
    /// Whether its last word was that it stops on purpose.
    pub stopped: bool,
    /// Whether that is recent.
    pub online: bool,
    /// Its release of Postern.
    pub version: String,
    /// How many sessions it carries.
    pub sessions: u64,
    /// How far it has come with leaving service, the last time that it was to.
    pub drain: Option<DrainProgress>,
    /// What it says is wrong with it. Of a release that does not say so, nothing.
    pub problems: Vec<Problem>,
    /// Which machine said so, where its release names one.
    pub instance: Option<String>,
    /// The networks that it needs for itself; none of one that does not tell, as releases before this one.
    pub networks: Vec<HostNetwork>,
    /// Whether all of this could be read; what could not is as if it had not been said.
    pub readable: bool,
}

/// What a host said last of one of its daemons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonStatus {
    /// Which server's daemon, on which host.
    pub key: AttachmentKey,
    /// How it is.
    pub state: DaemonState,
    /// Why, in words, where there is something to say.
    pub detail: Option<String>,
}

/// A request of a daemon for a certificate. Any host could have written it: who did shows when it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The daemon that it names.
    pub key: AttachmentKey,
    /// What the host sealed.
    pub sealed: Vec<u8>,
}

/// A daemon that may not be as it should, and since when its host has said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TroubledDaemon {
    /// The daemon.
    pub daemon: DaemonStatus,
    /// Since when it has been in this state.
    pub since: Option<Timestamp>,
}

#[derive(Deserialize)]
struct ProblemDoc {
    code: ProblemCode,
    #[serde(default)]
    server_id: Option<ServerId>,
    detail: String,
    since: DateTime,
}

impl ProblemDoc {
    fn read(self) -> Option<Problem> {
        let Self { code, server_id, detail, since } = self;
        Some(Problem { code, server_id, detail, since: timestamp(since)? }.clipped())
    }
}

/// A status as its host wrote it, read field by field: nothing that one host writes may hide the others.
struct StatusReader {
    row: Document,
    readable: bool,
}

impl StatusReader {
    /// A field; `None` if it is absent or cannot be read.
    fn field<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let value = self.row.remove(name).filter(|value| *value != Bson::Null)?;
        let read = bson::deserialize_from_bson(value).ok();
        self.readable &= read.is_some();
        read
    }

    fn time(&mut self, name: &str) -> Option<Timestamp> {
        let read = self.field(name).map(timestamp);
        self.readable &= read != Some(None);
        read.flatten()
    }

    fn problems(&mut self) -> Vec<Problem> {
        let listed = self.row.get("problems").is_some_and(|problems| *problems != Bson::Null);
        let problems = self.row.get_document_mut("problems").ok().and_then(|problems| problems.remove("of"));
        let Some(Bson::Array(problems)) = problems else {
            self.readable &= !listed;
            return Vec::new();
        };
        let told = problems.len().min(MOST_PROBLEMS);
        let read = |problem| bson::deserialize_from_bson::<ProblemDoc>(problem).ok()?.read();
        let read: Vec<Problem> = problems.into_iter().take(told).filter_map(read).collect();
        self.readable &= read.len() == told;
        read
    }

    fn networks(&mut self) -> Vec<HostNetwork> {
        let told: Vec<Bson> = self.field("networks").unwrap_or_default();
        let told = told.into_iter().take(MOST_HOST_NETWORKS);
        let (told, read) = told.fold((0, Vec::new()), |(told, mut read), network| {
            read.extend(bson::deserialize_from_bson::<HostNetwork>(network).ok());
            (told + 1, read)
        });
        self.readable &= read.len() == told;
        read
    }

    fn read(mut self) -> Option<(HostId, HostStatus)> {
        let id = self.field("_id")?;
        let said = self.time("last_seen_at");
        let stopped = said == Some(Timestamp::UNIX_EPOCH);
        let drain = self.field::<ProgressDoc>("drain").map(|progress| progress.read());
        self.readable &= drain != Some(None);
        let status = HostStatus {
            last_seen_at: if stopped { self.time("stopped_at") } else { said },
            stopped,
            online: self.field("online").unwrap_or(false),
            version: self.field("version").unwrap_or_default(),
            sessions: self.field::<i64>("sessions").and_then(|count| u64::try_from(count).ok()).unwrap_or(0),
            drain: drain.flatten(),
            problems: self.problems(),
            instance: self.field("instance_id"),
            networks: self.networks(),
            readable: self.readable,
        };
        Some((id, status))
    }
}

#[derive(Serialize, Deserialize)]
struct ProgressDoc {
    order: DateTime,
    taken_up_at: DateTime,
    remaining: i64,
    refused: i64,
    held: bool,
    drained_at: Option<DateTime>,
}

impl ProgressDoc {
    fn new(progress: &DrainProgress) -> Self {
        Self {
            order: date(progress.order),
            taken_up_at: date(progress.taken_up_at),
            remaining: i64::try_from(progress.remaining).unwrap_or(i64::MAX),
            refused: i64::try_from(progress.refused).unwrap_or(i64::MAX),
            held: progress.held,
            drained_at: progress.drained_at.map(date),
        }
    }

    fn read(&self) -> Option<DrainProgress> {
        Some(DrainProgress {
            order: timestamp(self.order)?,
            taken_up_at: timestamp(self.taken_up_at)?,
            remaining: u64::try_from(self.remaining).ok()?,
            refused: u64::try_from(self.refused).ok()?,
            held: self.held,
            drained_at: match self.drained_at {
                None => None,
                Some(at) => Some(timestamp(at)?),
            },
        })
    }
}

#[derive(Serialize, Deserialize)]
struct DaemonStatusDoc {
    #[serde(rename = "_id")]
    id: String,
    server_id: ServerId,
    host_id: HostId,
    state: DaemonState,
    #[serde(default)]
    detail: Option<String>,
}

impl Hosts<'_> {
    /// A page of hosts.
    pub async fn list_hosts(self, page: &PageRequest) -> Result<Page<Revised<Host>>, StoreError> {
        self.page(doc! {}, page).await
    }

    /// The host of this name.
    pub async fn find_host_by_name(self, name: &HostName) -> Result<Option<Revised<Host>>, StoreError> {
        let filter = doc! { "name": name.as_str() };
        Ok(self.all::<Host>(filter).await?.into_iter().next())
    }

    /// The host that has this key.
    pub async fn find_host_by_key(self, public_key: &[u8; 32]) -> Result<Option<Host>, StoreError> {
        let found = self.all::<Host>(doc! { "public_key": binary(public_key) }).await?.into_iter().next();
        Ok(found.map(|found| found.value))
    }

    /// The hosts that are attached to each of the given servers, the draining ones included.
    pub async fn attached_hosts(self, servers: &[ServerId]) -> Result<HashMap<ServerId, Vec<Host>>, StoreError> {
        #[derive(Deserialize)]
        struct Row {
            server_id: ServerId,
            host: HostDoc,
        }
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let pipeline = [
            doc! { "$match": { "server_id": { "$in": servers } } },
            doc! { "$lookup": { "from": Host::COLLECTION, "localField": "host_id", "foreignField": "_id", "as": "host" } },
            doc! { "$unwind": "$host" },
            doc! { "$project": { "server_id": 1, "host": 1 } },
        ];
        let mut rows = self.collection::<Attachment>().aggregate(pipeline).with_type::<RawDocumentBuf>().await?;
        let mut attached = HashMap::<_, Vec<_>>::new();
        while let Some(row) = rows.try_next().await? {
            let corrupt = || StoreError::corrupt(Host::COLLECTION, row.get_str("_id").unwrap_or("?").to_owned());
            let found: Row =
                bson::deserialize_from_slice(row.as_bytes()).map_err(|invalid| corrupt().because(invalid))?;
            let host = Host::from_doc(found.host).ok_or_else(corrupt)?.value;
            attached.entry(found.server_id).or_default().push(host);
        }
        Ok(attached)
    }

    /// All hosts.
    pub async fn all_hosts(self) -> Result<Vec<Host>, StoreError> {
        Ok(self.all::<Host>(doc! {}).await?.into_iter().map(|host| host.value).collect())
    }

    /// The names of hosts.
    pub async fn host_names(self, hosts: &[HostId]) -> Result<HashMap<HostId, HostName>, StoreError> {
        self.names::<Host, HostName>(hosts).await
    }

    /// Says how far a host has come with leaving service. `false` if it has not said yet that it is alive.
    pub async fn report_drain(self, host: HostId, progress: &DrainProgress) -> Result<bool, StoreError> {
        let progress = ProgressDoc::new(progress);
        let sessions = progress.remaining;
        let progress = bson::serialize_to_document(&progress).map_err(mongodb::error::Error::from)?;
        let told = doc! { "$set": { "drain": progress, "sessions": sessions } };
        let told = self.host_status().update_one(doc! { "_id": host.to_string() }, told).await?;
        Ok(told.matched_count > 0)
    }

    /// Says which networks a host needs for itself. `false` if it has not said yet that it is alive.
    pub async fn report_networks(self, host: HostId, networks: &[HostNetwork]) -> Result<bool, StoreError> {
        let networks = bson::serialize_to_bson(networks).map_err(mongodb::error::Error::from)?;
        let told = doc! { "$set": { "networks": networks } };
        let told = self.host_status().update_one(doc! { "_id": host.to_string() }, told).await?;
        Ok(told.matched_count > 0)
    }

    /// The status of the given hosts, or of all.
    pub async fn host_statuses(self, hosts: Option<&[HostId]>) -> Result<HashMap<HostId, HostStatus>, StoreError> {
        let filter = match hosts {
            Some(hosts) => doc! { "_id": { "$in": hosts.iter().map(ToString::to_string).collect::<Vec<_>>() } },
            None => doc! {},
        };
        let rows = self.host_status().find(filter).projection(status_fields()).await?;
        let rows: Vec<Document> = rows.try_collect().await?;
        Ok(rows.into_iter().filter_map(read_status).collect())
    }

    /// Says how a daemon is. A `request` for a certificate, sealed, stays until the next one replaces it.
    pub async fn report_daemon(self, status: &DaemonStatus, request: Option<&[u8]>) -> Result<(), StoreError> {
        let state = bson::serialize_to_bson(&status.state).map_err(mongodb::error::Error::from)?;
        let mut fields = doc! {
            "server_id": status.key.server_id.to_string(), "host_id": status.key.host_id.to_string(),
            "state": state, "detail": status.detail.clone(),
        };
        if let Some(request) = request {
            fields.insert("sealed_request", binary(request));
        }
        let update = doc! { "$set": fields, "$currentDate": { "at": true } };
        self.daemon_status().update_one(doc! { "_id": status.key.to_string() }, update).upsert(true).await?;
        Ok(())
    }

    /// Forgets a daemon that is gone for good.
    pub async fn forget_daemon(self, key: AttachmentKey) -> Result<(), StoreError> {
        self.daemon_status().delete_one(doc! { "_id": key.to_string() }).await?;
        Ok(())
    }

    /// What the hosts of a server say of its daemons.
    pub async fn daemons_of(self, server: ServerId) -> Result<Vec<DaemonStatus>, StoreError> {
        self.daemons(doc! { "server_id": server.to_string() }).await
    }

    /// What the hosts say of the daemons of all the given servers.
    pub async fn daemons_of_all(self, servers: &[ServerId]) -> Result<Vec<DaemonStatus>, StoreError> {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        self.daemons(doc! { "server_id": { "$in": servers } }).await
    }

    /// The reports of single daemons.
    pub async fn daemons_named(self, keys: &[AttachmentKey]) -> Result<Vec<DaemonStatus>, StoreError> {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        self.daemons(doc! { "_id": { "$in": keys } }).await
    }

    /// The requests for certificates, answered ones included.
    pub async fn certificate_requests(self) -> Result<Vec<CertificateRequest>, StoreError> {
        let daemons = self.daemon_status();
        let asking = daemons.find(doc! { "sealed_request": { "$type": "binData" } });
        let rows: Vec<Document> = asking.projection(doc! { "sealed_request": 1 }).await?.try_collect().await?;
        let read = |row: &Document| {
            let sealed = row.get_binary_generic("sealed_request").ok()?.clone();
            Some(CertificateRequest { key: row.get_str("_id").ok()?.parse().ok()?, sealed })
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    async fn daemons(self, filter: Document) -> Result<Vec<DaemonStatus>, StoreError> {
        let rows: Vec<Document> = self.daemon_status().find(filter).await?.try_collect().await?;
        Ok(rows.into_iter().filter_map(read_daemon).collect())
    }

    fn host_status(self) -> mongodb::Collection<Document> {
        self.rows(HOST_STATUS)
    }

    fn daemon_status(self) -> mongodb::Collection<Document> {
        self.rows("daemon_status")
    }
}

/// What is read of the status of a host.
pub(crate) fn status_fields() -> Document {
    doc! {
        "last_seen_at": 1, "version": 1, "sessions": 1, "drain": 1, "stopped_at": 1, "problems": 1, "networks": 1,
        "instance_id": "$instance.id", "online": recently_heard(),
    }
}

/// What a host says of itself; nothing where no host of ours has written.
pub(crate) fn read_status(row: Document) -> Option<(HostId, HostStatus)> {
    StatusReader { row, readable: true }.read()
}

/// The daemons on hosts that are not as they should be: those that failed, and those that have been on their way for
/// long.
pub(crate) fn troubled(hosts: &[String]) -> Document {
    let long_ago = doc! { "$lt": ["$at", { "$subtract": ["$$NOW", STALLED_MS] }] };
    doc! { "host_id": { "$in": hosts }, "$or": [
        // What cannot be read is no sound state either.
        { "state": { "$nin": ["pending", "starting", "running", "draining", "stopped"] } },
        { "state": { "$in": ["pending", "starting"] }, "$expr": long_ago },
    ] }
}

/// One of those.
pub(crate) fn read_troubled(row: Document) -> Option<TroubledDaemon> {
    let since = row.get_datetime("at").ok().copied().and_then(timestamp);
    Some(TroubledDaemon { daemon: read_daemon(row)?, since })
}

/// What a host says of a daemon. Of a row that cannot be read, that much is said: it must not hide the others.
fn read_daemon(row: Document) -> Option<DaemonStatus> {
    let key = row.get_str("_id").ok().and_then(|id| id.parse().ok());
    if let Ok(doc) = bson::deserialize_from_document::<DaemonStatusDoc>(row) {
        let key = AttachmentKey { server_id: doc.server_id, host_id: doc.host_id };
        return Some(DaemonStatus { key, state: doc.state, detail: doc.detail });
    }
    let detail = Some("what its host reports of this daemon cannot be read".to_owned());
    Some(DaemonStatus { key: key?, state: DaemonState::Failed, detail })
}

impl HostsChange<'_> {
    /// The host of this name.
    pub async fn host_by_name(self, name: &HostName) -> Result<Option<Revised<Host>>, StoreError> {
        self.find_where(doc! { "name": name.as_str() }).await
    }
}
