//! Looks at other hosts of the servers that run here, as a client would see them: a firewall in front of a machine is
//! seen from outside or not at all.
//!
//! About once a minute, and soon after the ring of hosts or one of their daemons changed, each server's next two hosts of
//! the ring are greeted. While one of them does not answer, it is greeted more often, so that its return is known soon.
//! What was seen goes into this host's own status, and into its numbers.

mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Here, within};
use domain::access::Snapshot;
use domain::ids::{HostId, ServerId};
use domain::look::{Door, Look, MOST_LOOKS, doors};
use futures_util::{StreamExt as _, stream};
use metrics::catalogue::CANARY_SECONDS;
use openvpn::greeting::Greeting;
use runtime::random;
use runtime::reconcile::{Done, Failure, Outcome, Reconciler, Task, Work};
use services::network::attachments::{visiting_key, wanted};
use services::{BusMessage, Nudge, Subscription};

/// A minute to a minute and a quarter between two looks, so that hosts which started together do not look together. What
/// changes is rarely the only thing, and however much changes, there are some seconds between two rounds.
const TASK: Task = Task::new(
    "reachability",
    "Looks whether other hosts of the same servers can be reached from here.",
    Duration::from_secs(75),
)
.jitter(0.2)
.deadline(Duration::from_mins(1))
.gather(Duration::from_secs(1))
.distance(Duration::from_secs(5))
.quiet();
/// Between two looks while a door is shut.
const SHUT_PERIOD: Duration = Duration::from_secs(15);
/// So many doors are tried at once.
const AT_ONCE: usize = 16;
/// The limit of one call.
const LIMIT: Duration = Duration::from_secs(5);

/// Starts the task.
pub(super) fn start(here: &Arc<Here>, bus: Subscription, tasks: &Reconciler) {
    let (host, heard) = (here.host, Arc::clone(here));
    let wants = move |message: &BusMessage| concerns(&doors_to_choose(&heard.admission.snapshot(), host), message);
    tasks
        .start(TASK, Prober { here: Arc::clone(here), seen: Sights::new() })
        .wake_on_change_of(here.admission.watch(), move |snapshot| doors_to_choose(snapshot, host))
        .wake_by(|nudge| bus.wake(nudge, wants));
}

/// The doors to choose from, by the policy.
fn doors_to_choose(snapshot: &Snapshot, host: HostId) -> Vec<Door> {
    let servers = wanted(snapshot, host).map(|(server, _)| server.id);
    servers.flat_map(|server| doors(snapshot, host, server)).collect()
}

/// Whether a message is about a daemon behind one of the doors.
fn concerns(doors: &[Door], message: &BusMessage) -> bool {
    let BusMessage::Nudge(event) = message else { return false };
    let Some(Nudge::DaemonChange(key)) = Nudge::read(event) else { return false };
    doors.iter().any(|door| place(door) == (key.server_id, key.host_id))
}

struct Prober {
    here: Arc<Here>,
    /// What was seen last, as the cluster was told.
    seen: Sights,
}

impl Work for Prober {
    async fn run(&mut self) -> Outcome {
        let here = Arc::clone(&self.here);
        let doors = doors_to_choose(&here.admission.snapshot(), here.host);
        let doors = match within(LIMIT, here.services.network().doors_to_try(doors)).await {
            Ok(doors) => doors,
            Err(error) => {
                here.registry.know_looks(Vec::new());
                return Err(error.into());
            }
        };
        let looks = look_at(&here, doors).await;
        let shut = looks.iter().filter(|look| !look.ok).count();
        let told = self.tell(&here, &looks).await;
        let done = match (looks.len(), shut) {
            (0, _) => Done::default(),
            (all, 0) => Done::saying(format!("Other hosts that were reached: {all} of {all}.")),
            (all, shut) => {
                let reached = format!("Other hosts that were reached: {} of {all}.", all - shut);
                Done::saying(reached).again_in(SHUT_PERIOD)
            }
        };
        here.registry.know_looks(looks);
        told.map(|()| done)
    }
}

impl Prober {
    /// Tells the cluster what was seen, and the log what is seen otherwise than before.
    async fn tell(&mut self, here: &Here, looks: &[Look]) -> Result<(), Failure> {
        let seen: Sights = looks.iter().map(|look| (place(&look.door), look.ok)).collect();
        if seen.is_empty() && self.seen.is_empty() {
            return Ok(());
        }
        let news = news(&self.seen, &seen);
        for look in looks.iter().filter(|look| news.contains(&place(&look.door))) {
            let Look { door: Door { server_id, host_id, address, .. }, ok, detail } = look;
            if !ok {
                tracing::warn!(event = "probe.unreached", server.id = %server_id, host.id = %host_id, %address, detail,
                    "another host of a server cannot be reached");
            } else if self.seen.contains_key(&place(&look.door)) {
                tracing::info!(event = "probe.reached", server.id = %server_id, host.id = %host_id, %address,
                    "another host of a server is reached again");
            }
        }
        let news = news.into_iter().map(|(_, host)| host).collect();
        if within(LIMIT, here.services.network().report_looks(here.host, looks, &news)).await? {
            self.seen = seen;
        }
        Ok(())
    }
}

/// Which server on which host.
type Place = (ServerId, HostId);
/// Whether each place was reached.
type Sights = BTreeMap<Place, bool>;

fn place(door: &Door) -> Place {
    (door.server_id, door.host_id)
}

/// The places of which something else is seen than before.
fn news(before: &Sights, now: &Sights) -> BTreeSet<Place> {
    now.iter().filter(|(place, ok)| before.get(place) != Some(ok)).map(|(place, _)| *place).collect()
}

/// Tries the doors. One that cannot be tried with what is at hand is left out.
async fn look_at(here: &Here, doors: Vec<Door>) -> Vec<Look> {
    let snapshot = here.admission.snapshot();
    let looks = doors.into_iter().take(MOST_LOOKS).map(|door| try_door(here, &snapshot, door));
    let looks: Vec<Option<Look>> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    looks.into_iter().flatten().collect()
}

async fn try_door(here: &Here, snapshot: &Snapshot, door: Door) -> Option<Look> {
    let greeting = greeting(here, snapshot, door.server_id)?;
    let looked = wire::look(&door, &greeting).await;
    if let Ok(took) = looked {
        here.services.metrics().observe(&CANARY_SECONDS, [], took.as_secs_f64());
    }
    Some(Look { door, ok: looked.is_ok(), detail: looked.err().map(|why| why.to_string()) })
}

/// What a client of a server says first; nothing before this host was given the server's key.
fn greeting(here: &Here, snapshot: &Snapshot, server: ServerId) -> Option<Greeting> {
    let (_, attachment) = wanted(snapshot, here.host).find(|(wanted, _)| wanted.id == server)?;
    let bundle = visiting_key(&here.key, attachment)
        .inspect_err(|error| {
            tracing::warn!(event = "probe.no_key", server.id = %server, %error, "the key of a server cannot be used");
        })
        .ok()??;
    let seconds = u32::try_from(here.services.now().as_second()).unwrap_or_default();
    Greeting::new(bundle.expose(), random::bytes(), seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::id;

    #[test]
    fn only_what_is_seen_otherwise_than_before_is_news() {
        let seen = |ok| BTreeMap::from([((id(1), id(7)), true), ((id(1), id(8)), ok)]);
        assert_eq!(news(&BTreeMap::new(), &seen(true)), [(id(1), id(7)), (id(1), id(8))].into());
        assert_eq!(news(&seen(true), &seen(false)), [(id(1), id(8))].into());
        assert!(news(&seen(false), &seen(false)).is_empty());
    }
}
