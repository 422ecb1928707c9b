//! How a machine becomes a host by one command.
//!
//! An administrator makes a join token for a host name and some servers. The new machine makes its key, shows the
//! token with the public half, and gets in return what a host needs: the way to the database, sealed to that key. One
//! transaction does all of it (the token is used, the host exists, the servers are attached), so a machine that dies
//! half-way asks again with the same key and gets the same answer, and of two machines with one token the second is
//! refused. The master key stays where it is: a joined host serves VPN and nothing else.
//!
//! The way to the database is never stored ([`crate::hosts::database_users`]). What it needs is made within that
//! transaction, so where it cannot be had, nothing has happened, and the token is as good as before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::cluster::limits::Limit;
pub use crate::hosts::database_users::HostDatabase;
use crate::network::servers::check_port;
use crate::{Act, Hosts, InvalidReason, Missing, Nudge, Refusal, SOON, ServiceError};
use domain::audit::{Action, Actor, AuditEntry};
use domain::host::{Host, ProcessRole};
use domain::ids::{HostId, JoinTokenId, RequestId, ServerId};
use domain::join::{DatabaseUser, JoinLifetime, JoinTicket, MOST_CHECKS, MachineCheck, Redeemed};
use domain::role::Permission;
use domain::secret::Secret;
use domain::server::{Attachment, AttachmentKey, Port, Protocol, Server};
use domain::text::{HostName, Name, PublicAddress};
use domain::ticket::Ticket;
use keys::host::{HostPublicKey, seal_to};
use keys::join::JoinToken;
use keys::seal::Context;
use keys::token::{OneTimeSecret, SecretHash};
use store::entity::{Page, PageRequest};
use store::policy::PolicyChange;

/// How long what came of a token is remembered after it is over.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

pub use keys::join::CertificatePin;

/// Where a new machine finds the admin listener.
#[derive(Debug, Clone)]
pub struct JoinAddress {
    /// Scheme and authority.
    pub url: String,
    /// The certificate shown there, if a fresh machine has no reason to believe it.
    pub pin: Option<CertificatePin>,
}

/// A join token to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewJoinToken {
    /// The name that the machine takes.
    pub host_name: HostName,
    /// The servers that it is attached to at once.
    #[serde(default)]
    pub server_ids: BTreeSet<ServerId>,
    /// How long the token is good: an hour unless told otherwise, a day at most.
    #[serde(default)]
    pub expires_in_seconds: JoinLifetime,
    /// Whether the machine may be given the database user of the web process where it can have none of its own. Whoever
    /// takes that machine over can then read and change everything in the database, and removing the host does not end
    /// it: the password of that user must be changed. Not needed where the web process may make database users, nor
    /// where its `database.uri_for_hosts` names a user for hosts.
    #[serde(default)]
    pub share_database_user: bool,
}

/// What became of a join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JoinTokenState {
    /// It waits for its machine.
    Open,
    /// A machine became a host with it.
    Redeemed,
    /// Nobody used it in time.
    Expired,
}

/// A join token, as the API shows it. The token itself is in the answer that made it only.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = JoinToken)]
pub struct JoinTokenView {
    /// Its id.
    pub id: JoinTokenId,
    /// The name that the machine takes.
    pub host_name: HostName,
    /// The servers that it is attached to at once.
    pub server_ids: BTreeSet<ServerId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// What became of it.
    pub state: JoinTokenState,
    /// Whether the machine may be given the database user of the web process.
    pub share_database_user: bool,
    /// The host that came of it.
    pub host_id: Option<HostId>,
    /// As whom that host comes to the database.
    pub database_user: Option<DatabaseUser>,
    /// What the machine found out about itself.
    pub checks: Vec<MachineCheck>,
}

/// A join token that was just made.
#[derive(Debug)]
pub struct IssuedJoinToken {
    /// What it stands for.
    pub view: JoinTokenView,
    /// What to show; it is nowhere else.
    pub token: Secret<String>,
    /// What to run on the new machine, as root.
    pub command: Secret<String>,
}

/// The token and the key by which a machine identifies itself.
#[derive(Debug)]
pub struct JoinCredentials {
    /// The token.
    pub token: Secret<String>,
    /// The public half of the machine's key.
    pub public_key: HostPublicKey,
}

impl JoinCredentials {
    fn hash(&self) -> Result<SecretHash, ServiceError> {
        self.token.expose().parse().map(|token: JoinToken| token.hash()).map_err(|_malformed| unknown())
    }
}

/// What a machine shows in order to become a host.
#[derive(Debug)]
pub struct JoinRequest {
    /// Its token and key.
    pub shown: JoinCredentials,
    /// Where clients reach it.
    pub public_addresses: Vec<PublicAddress>,
}

/// What the machine that holds a token is to become.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JoinPlan {
    /// Its name.
    pub host_name: HostName,
    /// What it is to run.
    pub servers: Vec<PlannedServer>,
}

/// A server that a new machine is to run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PlannedServer {
    /// Its id.
    pub id: ServerId,
    /// Its name.
    pub name: Name,
    /// Where it listens.
    pub port: Port,
    /// How.
    pub protocol: Protocol,
}

/// A peer that is not authenticated.
#[derive(Debug, Clone, Copy)]
pub struct UnauthenticatedPeer {
    /// Its address.
    pub address: IpAddr,
    /// The id of its request, for the audit log.
    pub request_id: Option<RequestId>,
}

/// What a machine needs to run as a host.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Joined {
    /// Who it is from now on.
    pub host_id: HostId,
    /// Its name.
    pub host_name: HostName,
    /// The name of the database.
    pub database: String,
    /// The way there, sealed to the machine's key; base64.
    pub sealed_database_uri: String,
    /// As whom it comes there.
    pub database_user: DatabaseUser,
    /// The servers that it is attached to.
    pub server_ids: BTreeSet<ServerId>,
}

/// The place that the way to the database is sealed for.
pub fn database_place(host: &str) -> Context<'_> {
    Context { collection: "join", id: host, field: "database_uri" }
}

impl JoinTokenView {
    fn new(ticket: JoinTicket, now: Timestamp) -> Self {
        let state = match ticket.redeemed {
            Some(_) => JoinTokenState::Redeemed,
            None if ticket.good_until <= now => JoinTokenState::Expired,
            None => JoinTokenState::Open,
        };
        Self {
            id: ticket.token_id,
            host_name: ticket.host_name,
            server_ids: ticket.server_ids,
            created_at: ticket.made_at,
            expires_at: ticket.good_until,
            state,
            share_database_user: ticket.share_database_user,
            host_id: ticket.redeemed.map(|redeemed| redeemed.host_id),
            database_user: ticket.redeemed.and_then(|redeemed| redeemed.database_user),
            checks: ticket.checks,
        }
    }
}

impl Hosts<'_> {
    fn join_address(&self) -> Result<&JoinAddress, ServiceError> {
        Ok(self.join_address.as_ref().ok_or(Refusal::NoAdminListener)?)
    }

    /// Makes a join token.
    ///
    /// # Errors
    /// [`ServiceError::Conflict`] if a living host has the name already, or if two of the servers listen on one port;
    /// [`ServiceError::Invalid`] if the host could have no database user of its own and may not share the web process's.
    pub async fn create_join_token(self, act: &Act, new: NewJoinToken) -> Result<IssuedJoinToken, ServiceError> {
        act.require(Permission::ManageHosts)?;
        if !new.server_ids.is_empty() {
            act.require(Permission::ManageServers)?;
        }
        let address = self.join_address()?;
        self.master_key()?;
        let expected = self.expected_database_user().await?;
        if expected == DatabaseUser::SharedWithWeb && !new.share_database_user {
            return Err(ServiceError::invalid("share_database_user", InvalidReason::SharesDatabaseUser));
        }
        let now = self.now();
        let good_until = now + SignedDuration::from_secs(new.expires_in_seconds.seconds().into());
        let ticket = JoinTicket {
            token_id: self.new_id(),
            host_name: new.host_name,
            server_ids: new.server_ids,
            made_by: act.actor.to_string(),
            made_at: now,
            good_until,
            share_database_user: new.share_database_user,
            new_host_id: Some(self.new_id()),
            redeemed: None,
            checks: Vec::new(),
        };
        let token = JoinToken { secret: OneTimeSecret::generate(), pin: address.pin, url: address.url.clone() };
        let hash = token.hash();
        let stored = &Ticket { expires_at: good_until + REMEMBERED, body: ticket.clone() };
        let changes = json!({
            "host_name": [null, ticket.host_name], "server_ids": [null, ticket.server_ids],
            "expires_at": [null, good_until], "share_database_user": [null, ticket.share_database_user],
        });
        let entry = &self.entry(act, Action::JoinTokenCreate, &ticket.token_id, changes);
        let alive = &self.living_hosts().await?;
        self.store()
            .note(|tx| async move {
                let known = tx.hosts().host_by_name(&stored.body.host_name).await?;
                if known.is_some_and(|host| alive.contains(&host.value.id)) {
                    return Err(ServiceError::Conflict(Refusal::HostNameTaken { host: stored.body.host_name.clone() }));
                }
                check_servers(&tx, &stored.body.server_ids).await?;
                tx.identity().insert_ticket(hash.as_bytes(), stored).await?;
                Ok(tx.record(entry).await?)
            })
            .await?;
        let token = token.to_text();
        let command = format!("printf %s {} | postern join {} --token-file -", token.expose(), address.url);
        Ok(IssuedJoinToken { view: JoinTokenView::new(ticket, now), token, command: Secret::new(command) })
    }

    /// A page of the join tokens that wait for their machines.
    pub async fn join_tokens(self, act: &Act, page: &PageRequest) -> Result<Page<JoinTokenView>, ServiceError> {
        act.require(Permission::Read)?;
        let now = self.now();
        let page = self.store().identity().open_join_tickets(now, page).await?;
        let items = page.items.into_iter().map(|ticket| JoinTokenView::new(ticket, now)).collect();
        Ok(Page { items, next: page.next, count: page.count })
    }

    /// One join token and what became of it; it is known for a day after it is over.
    pub async fn join_token(self, act: &Act, id: JoinTokenId) -> Result<JoinTokenView, ServiceError> {
        act.require(Permission::Read)?;
        let ticket =
            self.store().identity().find_join_ticket(id).await?.ok_or(ServiceError::NotFound(Missing::JoinToken))?;
        Ok(JoinTokenView::new(ticket, self.now()))
    }

    /// Withdraws a join token that nobody has used.
    pub async fn withdraw_join_token(self, act: &Act, id: JoinTokenId) -> Result<(), ServiceError> {
        act.require(Permission::ManageHosts)?;
        let ticket =
            self.store().identity().find_join_ticket(id).await?.ok_or(ServiceError::NotFound(Missing::JoinToken))?;
        if ticket.redeemed.is_some() {
            return Err(ServiceError::Conflict(Refusal::JoinTokenUsed));
        }
        let changes = json!({ "host_name": [ticket.host_name, null] });
        let entry = &self.entry(act, Action::JoinTokenWithdraw, &id, changes);
        self.store()
            .note(|tx| async move {
                if !tx.identity().withdraw_join_ticket(id).await? {
                    return Err(ServiceError::Conflict(Refusal::JoinTokenUsed));
                }
                Ok(tx.record(entry).await?)
            })
            .await
    }

    /// Writes down what a machine that holds a join token found out about itself, for whoever waits for it, and tells
    /// the machine what it is to become. The token stays as it is.
    ///
    /// # Errors
    /// As [`Self::redeem_join_token`].
    pub async fn report_machine(
        self,
        shown: &JoinCredentials,
        checks: &[MachineCheck],
        peer: &UnauthenticatedPeer,
    ) -> Result<JoinPlan, ServiceError> {
        self.cluster().limit_address(Limit::Join, peer.address)?;
        if checks.len() > MOST_CHECKS {
            return Err(ServiceError::invalid("checks", InvalidReason::TooMany { most: MOST_CHECKS }));
        }
        let outcome = self.report(shown, checks).await;
        self.tell_of_refusal(outcome, shown, peer).await
    }

    async fn report(self, shown: &JoinCredentials, checks: &[MachineCheck]) -> Result<JoinPlan, ServiceError> {
        self.refuse_removed(shown.public_key.as_bytes()).await?;
        let hash = shown.hash()?;
        let found = self.store().identity().find_join_ticket_by_secret(hash.as_bytes()).await?.ok_or_else(unknown)?;
        self.check_use(&found, shown)?;
        if !checks.is_empty() {
            self.store().write(SOON, self.store().identity().set_machine_checks(hash.as_bytes(), checks)).await?;
            self.nudge(&Nudge::JoinChange(found.token_id));
        }
        let mut servers = Vec::new();
        for id in &found.server_ids {
            if let Some(server) = self.store().find::<Server>(id).await? {
                let Server { id, name, port, protocol, .. } = server.value;
                servers.push(PlannedServer { id, name, port, protocol });
            }
        }
        Ok(JoinPlan { host_name: found.host_name, servers })
    }

    /// Makes the machine that holds a join token a host, and attaches it to the servers that the token names. The same
    /// machine, known by its key, may ask again and gets the same. Whatever fails here leaves the token as it was.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] for a token that is not known, [`ServiceError::Conflict`] for one that is used or
    /// over, for a name that a living host has, and where there is no database user for the host. Each is recorded.
    pub async fn redeem_join_token(
        self,
        request: &JoinRequest,
        peer: &UnauthenticatedPeer,
    ) -> Result<Joined, ServiceError> {
        self.cluster().limit_address(Limit::Join, peer.address)?;
        let outcome = self.redeem(request, peer).await;
        self.tell_of_refusal(outcome, &request.shown, peer).await
    }

    /// Records a refusal before it is answered.
    async fn tell_of_refusal<T>(
        self,
        outcome: Result<T, ServiceError>,
        shown: &JoinCredentials,
        peer: &UnauthenticatedPeer,
    ) -> Result<T, ServiceError> {
        if let Err(error @ (ServiceError::NotFound(_) | ServiceError::Conflict(_))) = &outcome {
            self.store().evidence().insert_audit(&self.join_denial(shown, error, peer).await).await?;
        }
        outcome
    }

    async fn redeem(self, request: &JoinRequest, peer: &UnauthenticatedPeer) -> Result<Joined, ServiceError> {
        let (hash, fresh): (_, HostId) = (request.shown.hash()?, self.new_id());
        let alive = &self.living_hosts().await?;
        let access = &self.database_access(&request.shown.public_key).await?;
        let ticket = self
            .change(|tx| async move {
                if let Some(removed) = tx.hosts().removed_host(request.shown.public_key.as_bytes()).await? {
                    return Err(ServiceError::Conflict(Refusal::HostRemoved { host: Box::new(removed) }));
                }
                let found = tx.identity().join_ticket(hash.as_bytes()).await?.ok_or_else(unknown)?;
                self.check_use(&found.body, &request.shown)?;
                let act = |host| Act::by(Actor::Host(host), peer.request_id);
                if let Some(redeemed) = found.body.redeemed {
                    let host = tx.find::<Host>(&redeemed.host_id).await?;
                    if host.is_none_or(|host| host.value.public_key != redeemed.public_key) {
                        return Err(ServiceError::Conflict(Refusal::JoinedHostGone));
                    }
                    let user = access.give(self, redeemed.host_id, &found.body).await?;
                    let now = Redeemed { database_user: Some(user), ..redeemed };
                    let ticket = Ticket { body: JoinTicket { redeemed: Some(now), ..found.body }, ..found };
                    if redeemed != now {
                        tx.identity().replace_join_ticket(hash.as_bytes(), &ticket).await?;
                        let changes = json!({ "database_user": [redeemed.database_user, user] });
                        let host = redeemed.host_id;
                        tx.record(&self.entry(&act(host), Action::HostJoin, &host, changes)).await?;
                    }
                    return Ok(ticket.body);
                }
                let fresh = found.body.new_host_id.unwrap_or(fresh);
                let host = self.take_name(&tx, &found.body, request, fresh, alive).await?;
                let attached = self.attach_named(&tx, &found.body, host.id, &act(host.id)).await?;
                // Nobody else is in a change now, so of two machines with one token only the one that becomes the host
                // gets here; doing it again does no harm.
                let user = access.give(self, host.id, &found.body).await?;
                let redeemed =
                    Some(Redeemed { host_id: host.id, public_key: host.public_key, database_user: Some(user) });
                let ticket = Ticket { body: JoinTicket { redeemed, ..found.body }, expires_at: found.expires_at };
                tx.identity().replace_join_ticket(hash.as_bytes(), &ticket).await?;
                let changes = json!({
                    "token_id": [null, ticket.body.token_id], "name": [null, host.name],
                    "public_addresses": [null, host.public_addresses], "server_ids": [null, attached],
                    "address": [null, peer.address], "database_user": [null, user],
                });
                tx.record(&self.entry(&act(host.id), Action::HostJoin, &host.id, changes)).await?;
                Ok(ticket.body)
            })
            .await?;
        let redeemed = ticket.redeemed.and_then(|redeemed| Some((redeemed.host_id, redeemed.database_user?)));
        let (host_id, user) = redeemed.ok_or_else(|| ServiceError::Internal("a token that was used says so".into()))?;
        self.nudge(&Nudge::HostChange(host_id));
        let uri = access.uri(self, host_id, user)?;
        let sealed = seal_to(&request.shown.public_key, &database_place(&host_id.to_string()), uri.expose().as_bytes());
        Ok(Joined {
            host_id,
            host_name: ticket.host_name,
            database: self.host_database()?.name.clone(),
            sealed_database_uri: STANDARD.encode(sealed),
            database_user: user,
            server_ids: ticket.server_ids,
        })
    }

    /// Whether this machine may use the token.
    fn check_use(self, ticket: &JoinTicket, shown: &JoinCredentials) -> Result<(), ServiceError> {
        match ticket.redeemed {
            Some(redeemed) if redeemed.public_key != *shown.public_key.as_bytes() => {
                Err(ServiceError::Conflict(Refusal::JoinTokenStolen))
            }
            _ if ticket.good_until <= self.now() => {
                Err(ServiceError::Conflict(Refusal::JoinTokenOver { ran_out_at: ticket.good_until }))
            }
            _ => Ok(()),
        }
    }

    /// The host of the token's name: a new one, or one that was known, is silent, and whose machine was set up anew.
    async fn take_name(
        self,
        tx: &PolicyChange,
        ticket: &JoinTicket,
        request: &JoinRequest,
        fresh: HostId,
        alive: &BTreeSet<HostId>,
    ) -> Result<Host, ServiceError> {
        let known = tx.hosts().host_by_name(&ticket.host_name).await?.map(|found| found.value);
        let host = Host {
            id: known.as_ref().map_or(fresh, |known| known.id),
            name: ticket.host_name.clone(),
            public_addresses: request.public_addresses.clone(),
            roles: BTreeSet::from([ProcessRole::Vpn]),
            public_key: *request.shown.public_key.as_bytes(),
            drain: known.as_ref().and_then(|known| known.drain),
        };
        match known {
            None => tx.insert(&host).await?,
            Some(known) if known.public_key != host.public_key && alive.contains(&known.id) => {
                return Err(ServiceError::Conflict(Refusal::JoinNameAlive { host: known.name }));
            }
            Some(_) => tx.replace(&host).await?,
        }
        Ok(host)
    }

    /// Attaches a host to those of the token's servers that are still there.
    async fn attach_named(
        self,
        tx: &PolicyChange,
        ticket: &JoinTicket,
        host: HostId,
        act: &Act,
    ) -> Result<Vec<ServerId>, ServiceError> {
        let mut attached = Vec::new();
        for server_id in &ticket.server_ids {
            let key = AttachmentKey { server_id: *server_id, host_id: host };
            let Some(server) = tx.find::<Server>(server_id).await? else { continue };
            if tx.find::<Attachment>(&key).await?.is_some() {
                continue;
            }
            check_port(tx, &server.value, host).await?;
            tx.insert(&Attachment { server_id: *server_id, host_id: host, credentials: None }).await?;
            let changes = json!({ "host_id": [null, host] });
            tx.record(&self.entry(act, Action::HostAttach, server_id, changes)).await?;
            attached.push(*server_id);
        }
        Ok(attached)
    }

    async fn living_hosts(self) -> Result<BTreeSet<HostId>, ServiceError> {
        let statuses = self.store().hosts().host_statuses(None).await?;
        Ok(statuses.into_iter().filter(|(_, status)| status.online).map(|(host, _)| host).collect())
    }

    /// The entry of a refused attempt. Nobody became a host, so the rule is the actor and the token the object.
    async fn join_denial(
        self,
        shown: &JoinCredentials,
        error: &ServiceError,
        peer: &UnauthenticatedPeer,
    ) -> AuditEntry {
        let act = Act::by(Actor::System("join"), peer.request_id);
        let known = match shown.hash() {
            Ok(hash) => self.store().identity().find_join_ticket_by_secret(hash.as_bytes()).await.ok().flatten(),
            Err(_malformed) => None,
        };
        let object = known.as_ref().map_or_else(|| "join token".to_owned(), |ticket| ticket.token_id.to_string());
        let changes = json!({
            "reason": [null, error.to_string()], "address": [null, peer.address],
            "host_name": [null, known.map(|ticket| ticket.host_name)],
        });
        AuditEntry { outcome: "denied".to_owned(), ..self.entry(&act, Action::HostJoin, &object, changes) }
    }
}

fn unknown() -> ServiceError {
    ServiceError::NotFound(Missing::UnknownJoinToken)
}

/// Refuses servers that do not exist, and servers that one machine cannot run together.
async fn check_servers(tx: &PolicyChange, servers: &BTreeSet<ServerId>) -> Result<(), ServiceError> {
    let mut ports = BTreeMap::new();
    for (index, id) in servers.iter().enumerate() {
        let field = format!("server_ids/{index}");
        let Some(found) = tx.find::<Server>(id).await? else {
            return Err(ServiceError::invalid(field, InvalidReason::NoSuchServer));
        };
        let server = found.value;
        if let Some(other) = ports.insert((server.protocol.as_str(), server.port.get()), server.name.clone()) {
            return Err(ServiceError::invalid(field, InvalidReason::PortShared { server: other }));
        }
    }
    Ok(())
}
