//! A host as the API shows it, with how far it has come with leaving service.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::hosts::host_problems::Condition;
use domain::drain::{Drain, DrainOutcome, DrainProgress};
use domain::host::{Host, HostState, ProcessRole};
use domain::ids::HostId;
use domain::problem::Problem;
use domain::text::{HostName, PublicAddress};

/// A host, as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Host)]
pub struct HostView {
    /// Its id.
    pub id: HostId,
    /// Its name, unique in the cluster.
    pub name: HostName,
    /// Where clients reach it: the first of its addresses.
    pub public_address: Option<PublicAddress>,
    /// All of them, a `remote` line each.
    pub public_addresses: Vec<PublicAddress>,
    /// Whether it is of use right now.
    pub state: HostState,
    /// When it was last heard of.
    pub last_seen_at: Option<Timestamp>,
    /// Its release of Postern.
    pub version: Option<String>,
    /// What its process does.
    pub roles: BTreeSet<ProcessRole>,
    /// How many sessions it carries.
    pub sessions: u64,
    /// How far it has come with leaving service, while it is to.
    pub drain: Option<DrainView>,
    /// What is wrong with it; nothing if it is well. Of a host that is offline, only that is known.
    pub problems: Vec<Problem>,
}

impl HostView {
    pub(crate) fn new(host: Host, condition: Condition, drain: Option<DrainView>) -> Self {
        let Condition { status, problems, .. } = condition;
        let status = status.as_ref();
        let state = match status {
            Some(status) if status.online && host.is_draining() => HostState::Draining,
            Some(status) if status.online => HostState::Online,
            _ => HostState::Offline,
        };
        let last_seen_at = status.and_then(|status| status.last_seen_at);
        Self {
            id: host.id,
            name: host.name,
            public_address: host.public_addresses.first().cloned(),
            public_addresses: host.public_addresses,
            state,
            last_seen_at,
            version: status.map(|status| status.version.clone()),
            roles: host.roles,
            sessions: status.map_or(0, |status| status.sessions),
            drain,
            problems,
        }
    }
}

/// What a host that is to leave service is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrainState {
    /// It has not taken the order up yet.
    Waiting,
    /// It sends its sessions to other hosts.
    Moving,
    /// It keeps its sessions: no other host can take them over right now.
    Held,
    /// It carries no session any more.
    Drained,
}

/// How far a host has come with leaving service, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DrainView {
    /// What it is doing.
    pub state: DrainState,
    /// Since when newcomers are turned away.
    pub started_at: Timestamp,
    /// By when all its sessions are to be elsewhere.
    pub ends_at: Timestamp,
    /// How many people it told to go and who have been seen on another host since.
    pub moved: u64,
    /// How many sessions it still carries. Whoever has a profile that names no other host stays until the budget is over.
    pub waiting: u64,
    /// How many people it told to go and who have not been seen on another host, or not yet. Those whose profile names no
    /// other host need the updated one.
    pub cut_off: u64,
    /// The same as `waiting`; it goes with the next release.
    #[schema(deprecated)]
    pub remaining: u64,
    /// How many attempts to connect it has turned away; it goes with the next release.
    #[schema(deprecated)]
    pub refused: u64,
    /// Since when it carries none.
    pub drained_at: Option<Timestamp>,
}

impl DrainView {
    pub(crate) fn new(
        host: &Host,
        drain: &Drain,
        progress: Option<DrainProgress>,
        carried: u64,
        outcome: DrainOutcome,
    ) -> Self {
        let state = match progress {
            _ if !host.roles.contains(&ProcessRole::Vpn) => DrainState::Drained,
            None => DrainState::Waiting,
            Some(progress) if progress.drained_at.is_some() => DrainState::Drained,
            Some(progress) if progress.held => DrainState::Held,
            Some(_) => DrainState::Moving,
        };
        let waiting = progress.map_or(carried, |progress| progress.remaining);
        Self {
            state,
            started_at: drain.started_at,
            ends_at: drain.ends_at,
            moved: outcome.moved,
            waiting,
            cut_off: outcome.cut_off,
            remaining: waiting,
            refused: progress.map_or(0, |progress| progress.refused),
            drained_at: progress.and_then(|progress| progress.drained_at),
        }
    }
}
