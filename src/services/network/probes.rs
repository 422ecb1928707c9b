//! What hosts see of each other from outside, and how it is shown: whether clients could reach a daemon at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Network, Nudge, ServiceError};
use domain::ids::{HostId, ServerId};
use domain::look::{Door, LOOKED_AT, Look, Seen, latest};
use domain::server::{AttachmentKey, DaemonState, Port, Protocol};
use domain::text::{HostName, PublicAddress};
use store::StoreError;

/// Whether a daemon was reached from another host, the last time that one tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reached {
    /// The host that tried.
    pub by: HostId,
    /// Its name.
    #[serde(skip)]
    pub name: HostName,
    /// When.
    pub at: Timestamp,
    /// Whether a daemon with the server's key answered.
    pub ok: bool,
    /// What was seen instead, in words.
    #[schema(example = "no answer within 3 s")]
    pub detail: Option<String>,
    /// Where it tried.
    pub address: PublicAddress,
    /// At which port.
    pub port: Port,
    /// By which transport.
    pub protocol: Protocol,
}

/// What was seen of daemons, by server and host.
pub(crate) type Outside = HashMap<AttachmentKey, Reached>;

/// Whether a daemon that is in this state is meant to answer: what is seen of any other tells nothing new.
pub(crate) fn answers(state: DaemonState) -> bool {
    matches!(state, DaemonState::Running | DaemonState::Draining)
}

impl Network<'_> {
    /// Of the doors to choose from, those that a host is to look at: the first of each server whose hosts are online and
    /// say that they serve.
    pub async fn doors_to_try(self, doors: Vec<Door>) -> Result<Vec<Door>, ServiceError> {
        if doors.is_empty() {
            return Ok(doors);
        }
        let hosts: BTreeSet<HostId> = doors.iter().map(|door| door.host_id).collect();
        let hosts: Vec<HostId> = hosts.into_iter().collect();
        let keys: Vec<AttachmentKey> = doors.iter().map(key).collect();
        let (statuses, daemons) = tokio::try_join!(
            self.store().hosts().host_statuses(Some(&hosts)),
            self.store().hosts().daemons_named(&keys)
        )?;
        let online = |door: &Door| statuses.get(&door.host_id).is_some_and(|status| status.online);
        let serves = |door: &Door| daemons.iter().any(|daemon| daemon.key == key(door) && answers(daemon.state));
        let mut taken = BTreeMap::<ServerId, usize>::new();
        let mut is_next = |door: &Door| {
            let taken = taken.entry(door.server_id).or_default();
            *taken += 1;
            *taken <= LOOKED_AT
        };
        Ok(doors.into_iter().filter(|door| online(door) && serves(door) && is_next(door)).collect())
    }

    /// Says what this host saw of others; `news` are those that it did not see so before. `false` if the cluster has not
    /// heard of this host yet.
    pub async fn report_looks(
        self,
        host: HostId,
        looks: &[Look],
        news: &BTreeSet<HostId>,
    ) -> Result<bool, ServiceError> {
        self.hosts().refuse_displaced()?;
        let told = self.store().network().report_looks(host, looks).await?;
        for seen in news {
            self.nudge(&Nudge::HostChange(*seen));
        }
        Ok(told)
    }

    /// What was seen lately of the given hosts, or of all.
    pub(crate) async fn outside(self, hosts: Option<&[HostId]>) -> Result<Outside, StoreError> {
        Ok(outside(self.store().network().looks_at(hosts).await?))
    }
}

/// The newest of what was seen of each daemon.
pub(crate) fn outside(seen: Vec<Seen>) -> Outside {
    let named = |seen: Seen| {
        let Seen { by, name, at, look: Look { door, ok, detail } } = seen;
        let key = key(&door);
        let Door { address, port, protocol, .. } = door;
        (key, Reached { by, name, at, ok, detail, address, port, protocol })
    };
    latest(seen).into_iter().map(named).collect()
}

fn key(door: &Door) -> AttachmentKey {
    AttachmentKey { server_id: door.server_id, host_id: door.host_id }
}
