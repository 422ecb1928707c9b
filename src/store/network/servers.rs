//! Servers, and their attachments to hosts.

use crate::areas::{Network, NetworkChange};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use mongodb::bson::{Binary, DateTime, Document, doc};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::entity::{Entity, Page, PageRequest, binary, date, timestamp};
use domain::ids::{HostId, OrganizationId, ServerId};
use domain::server::{Attachment, AttachmentKey, Credentials, Server, StoredServer};
use domain::{Revised, Revision};

impl Entity for Server {
    const COLLECTION: &'static str = "servers";
    type Key = ServerId;
    type Doc = StoredServer;

    fn key(&self) -> ServerId {
        self.id
    }

    fn to_doc(&self, rev: Revision) -> StoredServer {
        StoredServer::of(self, rev)
    }

    fn from_doc(doc: StoredServer) -> Option<Revised<Self>> {
        Some(doc.into())
    }
}

/// The stored form.
#[derive(Serialize, Deserialize)]
pub struct AttachmentDoc {
    #[serde(rename = "_id")]
    id: String,
    rev: i64,
    server_id: ServerId,
    host_id: HostId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credentials: Option<CredentialsDoc>,
}

#[derive(Serialize, Deserialize)]
struct CredentialsDoc {
    certificate: String,
    key_hash: Binary,
    not_after: DateTime,
    client_authorities: String,
    sealed_tls_crypt: Binary,
}

impl Entity for Attachment {
    const COLLECTION: &'static str = "attachments";
    type Key = AttachmentKey;
    type Doc = AttachmentDoc;

    fn key(&self) -> AttachmentKey {
        AttachmentKey { server_id: self.server_id, host_id: self.host_id }
    }

    fn to_doc(&self, rev: Revision) -> AttachmentDoc {
        let credentials = self.credentials.as_ref().map(|given| CredentialsDoc {
            certificate: given.certificate.clone(),
            key_hash: binary(&given.key_hash),
            not_after: date(given.not_after),
            client_authorities: given.client_authorities.clone(),
            sealed_tls_crypt: binary(&given.sealed_tls_crypt),
        });
        AttachmentDoc {
            id: self.key().to_string(),
            rev: rev.0,
            server_id: self.server_id,
            host_id: self.host_id,
            credentials,
        }
    }

    fn from_doc(doc: AttachmentDoc) -> Option<Revised<Self>> {
        let credentials = match doc.credentials {
            None => None,
            Some(given) => Some(Credentials {
                certificate: given.certificate,
                key_hash: given.key_hash.bytes,
                not_after: timestamp(given.not_after)?,
                client_authorities: given.client_authorities,
                sealed_tls_crypt: given.sealed_tls_crypt.bytes,
            }),
        };
        let value = Self { server_id: doc.server_id, host_id: doc.host_id, credentials };
        Some(Revised { rev: Revision(doc.rev), value })
    }
}

impl Network<'_> {
    /// The servers with these ids.
    pub async fn servers_by_id(self, ids: &[ServerId]) -> Result<Vec<Server>, StoreError> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let found = self.all::<Server>(doc! { "_id": { "$in": ids } }).await?;
        Ok(found.into_iter().map(|found| found.value).collect())
    }

    /// All servers of the cluster.
    pub async fn all_servers(self) -> Result<Vec<Server>, StoreError> {
        Ok(self.all(doc! {}).await?.into_iter().map(|found| found.value).collect())
    }

    /// The servers that are enabled and open to an organization, by their names.
    pub async fn servers_open_to(self, organization: OrganizationId) -> Result<Vec<Server>, StoreError> {
        let found = self.all::<Server>(doc! { "enabled": true, "organization_ids": organization.to_string() }).await?;
        let mut servers: Vec<Server> = found.into_iter().map(|found| found.value).collect();
        servers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(servers)
    }

    /// A page of servers.
    pub async fn list_servers(self, page: &PageRequest) -> Result<Page<Revised<Server>>, StoreError> {
        self.page(doc! {}, page).await
    }

    /// All attachments of a server.
    pub async fn attachments_of(self, server: ServerId) -> Result<Vec<Revised<Attachment>>, StoreError> {
        self.all(doc! { "server_id": server.to_string() }).await
    }

    /// All attachments of all the given hosts.
    pub async fn attachments_on_all(self, hosts: &[HostId]) -> Result<Vec<Attachment>, StoreError> {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let found = self.all::<Attachment>(doc! { "host_id": { "$in": hosts } }).await?;
        Ok(found.into_iter().map(|found| found.value).collect())
    }

    /// When the certificates of daemons end, by the hosts that they are for.
    pub async fn certificate_ends(self) -> Result<Vec<(HostId, Timestamp)>, StoreError> {
        let attachments = self.rows::<Document>(Attachment::COLLECTION);
        let known = attachments.find(doc! { "credentials.not_after": { "$type": "date" } });
        let rows = known.projection(doc! { "host_id": 1, "credentials.not_after": 1 }).await?;
        let rows: Vec<Document> = rows.try_collect().await?;
        let end = |row: &Document| {
            let host = row.get_str("host_id").ok()?.parse().ok()?;
            Some((host, timestamp(*row.get_document("credentials").ok()?.get_datetime("not_after").ok()?)?))
        };
        Ok(rows.iter().filter_map(end).collect())
    }

    /// All attachments of a host.
    pub async fn attachments_on(self, host: HostId) -> Result<Vec<Revised<Attachment>>, StoreError> {
        self.all(doc! { "host_id": host.to_string() }).await
    }
}

impl NetworkChange<'_> {
    /// All servers of the cluster.
    pub async fn all_servers(self) -> Result<Vec<Revised<Server>>, StoreError> {
        self.all_where(doc! {}).await
    }

    /// All attachments of a server.
    pub async fn attachments_of(self, server: ServerId) -> Result<Vec<Revised<Attachment>>, StoreError> {
        self.all_where(doc! { "server_id": server.to_string() }).await
    }

    /// All attachments of a host.
    pub async fn attachments_on(self, host: HostId) -> Result<Vec<Revised<Attachment>>, StoreError> {
        self.all_where(doc! { "host_id": host.to_string() }).await
    }
}
