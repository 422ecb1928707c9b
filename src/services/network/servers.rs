//! Servers: create, change, delete.

use crate::{Act, InvalidReason, Missing, Network, Refusal, ServiceError, check_revision, difference};
use domain::audit::Action;
use domain::ids::{HostId, ServerId};
use domain::organization::Organization;
use domain::profile::Profile;
use domain::role::Permission;
use domain::server::{Endpoint, Server};
pub use domain::server::{NewServer, ServerPatch};
use domain::{Revised, Revision};
use store::entity::{Page, PageRequest};
use store::network::server_keys::StoredServerKey;
use store::policy::PolicyChange;

/// Answers to CONNECT carry every route; more than this is a mistake in a script.
const MOST_ROUTES: usize = 500;
const MOST_RESOLVERS: usize = 8;

impl Network<'_> {
    /// A page of servers.
    pub async fn servers(self, act: &Act, page: &PageRequest) -> Result<Page<Revised<Server>>, ServiceError> {
        act.require(Permission::Read)?;
        Ok(self.store().network().list_servers(page).await?)
    }

    /// One server.
    pub async fn server(self, act: &Act, id: ServerId) -> Result<Revised<Server>, ServiceError> {
        act.require(Permission::Read)?;
        self.store().find::<Server>(&id).await?.ok_or(ServiceError::NotFound(Missing::Server))
    }

    /// Makes a server. It runs nowhere until hosts are attached to it.
    pub async fn create_server(self, act: &Act, new: NewServer) -> Result<Revised<Server>, ServiceError> {
        act.require(Permission::ManageServers)?;
        let value = &Server::new(self.new_id(), new);
        let made = self
            .change_by(act, |tx| async move {
                check(&tx, value).await?;
                tx.insert(value).await.map_err(ServiceError::taken(Refusal::NameTaken { what: "server" }))?;
                let changes = difference(None, Some(value));
                tx.record(&self.entry(act, Action::ServerCreate, &value.id, changes)).await?;
                Ok(Revised { rev: tx.rev(), value: value.clone() })
            })
            .await?;
        self.hosts().warn_of_collisions(act, &made.value, None).await;
        Ok(made)
    }

    /// Changes a server. Whoever loses access by it loses the session too, on whatever host.
    pub async fn update_server(
        self,
        act: &Act,
        id: ServerId,
        patch: ServerPatch,
        expected: Option<Revision>,
    ) -> Result<Revised<Server>, ServiceError> {
        act.require(Permission::ManageServers)?;
        let patch = &patch;
        let (changed, is_moved) = self
            .change_by(act, |tx| async move {
                let found = tx.find::<Server>(&id).await?.ok_or(ServiceError::NotFound(Missing::Server))?;
                check_revision(&found, expected)?;
                let before = &found.value;
                let after = before.with(patch);
                if after == *before {
                    return Ok((found, false));
                }
                check(&tx, &after).await?;
                if after.network != before.network && tx.access().has_active_profiles(id).await? {
                    return Err(ServiceError::Conflict(Refusal::NetworkInUse));
                }
                tx.replace(&after).await.map_err(ServiceError::taken(Refusal::NameTaken { what: "server" }))?;
                let changes = difference(Some(before), Some(&after));
                tx.record(&self.entry(act, Action::ServerUpdate, &id, changes)).await?;
                let is_moved = after.network != before.network;
                Ok((Revised { rev: tx.rev(), value: after }, is_moved))
            })
            .await?;
        if is_moved {
            self.hosts().warn_of_collisions(act, &changed.value, None).await;
        }
        Ok(changed)
    }

    /// Deletes a server that no host is attached to, with all its profiles.
    pub async fn delete_server(self, act: &Act, id: ServerId, expected: Option<Revision>) -> Result<(), ServiceError> {
        act.require(Permission::ManageServers)?;
        self.change_by(act, |tx| async move {
            let found = tx.find::<Server>(&id).await?.ok_or(ServiceError::NotFound(Missing::Server))?;
            check_revision(&found, expected)?;
            if !tx.network().attachments_of(id).await?.is_empty() {
                return Err(ServiceError::Conflict(Refusal::HostsAttached));
            }
            for profile in tx.access().profiles_on(id).await? {
                tx.access().free_address(profile.value.id).await?;
                tx.delete::<Profile>(&profile.value.id, self.now()).await?;
            }
            if tx.find::<StoredServerKey>(&id).await?.is_some() {
                tx.delete::<StoredServerKey>(&id, self.now()).await?;
            }
            tx.delete::<Server>(&id, self.now()).await?;
            let changes = difference(Some(&found.value), None);
            tx.record(&self.entry(act, Action::ServerDelete, &id, changes)).await?;
            Ok(())
        })
        .await
    }
}

/// What no type can tell: how a server fits the rest of the cluster.
async fn check(tx: &PolicyChange, server: &Server) -> Result<(), ServiceError> {
    if server.routes.len() > MOST_ROUTES {
        return Err(ServiceError::invalid("routes", InvalidReason::TooMany { most: MOST_ROUTES }));
    }
    if server.dns_servers.len() > MOST_RESOLVERS {
        return Err(ServiceError::invalid("dns_servers", InvalidReason::TooMany { most: MOST_RESOLVERS }));
    }
    if server.search_domains.len() > MOST_RESOLVERS {
        return Err(ServiceError::invalid("search_domains", InvalidReason::TooMany { most: MOST_RESOLVERS }));
    }
    for (index, address) in server.dns_servers.iter().enumerate() {
        if address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback() {
            return Err(ServiceError::invalid(format!("dns_servers/{index}"), InvalidReason::NotAResolver));
        }
    }
    for (index, route) in server.routes.iter().enumerate() {
        let seen = server.routes.iter().take(index).any(|other| other.network == route.network);
        if seen {
            return Err(ServiceError::invalid(format!("routes/{index}/network"), InvalidReason::Repeated));
        }
    }
    for &organization in &server.organization_ids {
        if tx.find::<Organization>(&organization).await?.is_none() {
            return Err(ServiceError::invalid("organization_ids", InvalidReason::NoSuchOrganization { organization }));
        }
    }
    for other in tx.network().all_servers().await? {
        if other.value.id != server.id && other.value.network.overlaps(server.network.net()) {
            let reason = InvalidReason::NetworkOverlaps { network: other.value.network };
            return Err(ServiceError::invalid("network", reason));
        }
    }
    for attached in tx.network().attachments_of(server.id).await? {
        if runs_another_there(tx, server, attached.value.host_id).await? {
            return Err(ServiceError::Conflict(Refusal::PortTaken { protocol: server.protocol, port: server.port }));
        }
    }
    Ok(())
}

/// Refuses a host that could not run a server, since two cannot listen on one port.
pub(crate) async fn check_port(tx: &PolicyChange, server: &Server, host: HostId) -> Result<(), ServiceError> {
    if runs_another_there(tx, server, host).await? {
        return Err(ServiceError::Conflict(Refusal::HostPortTaken { protocol: server.protocol, port: server.port }));
    }
    Ok(())
}

/// Whether a host runs another server where this one listens.
async fn runs_another_there(tx: &PolicyChange, server: &Server, host: HostId) -> Result<bool, ServiceError> {
    for neighbour in tx.network().attachments_on(host).await? {
        if neighbour.value.server_id == server.id {
            continue;
        }
        let other = tx.find::<Server>(&neighbour.value.server_id).await?.map(|found| found.value);
        if other.is_some_and(|other| Endpoint::of(&other) == Endpoint::of(server)) {
            return Ok(true);
        }
    }
    Ok(false)
}
