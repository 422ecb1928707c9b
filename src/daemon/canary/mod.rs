//! Looks at other hosts of the servers that run here, as a client would see them: a firewall in front of a machine is
//! seen from outside or not at all.
//!
//! About once a minute, and soon after the ring of hosts or one of their daemons changed, each server's next two hosts of
//! the ring are greeted. While one of them does not answer, it is greeted more often, so that its return is known soon.
//! What was seen goes into this host's own status, and into its numbers.

mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Here, within};
use domain::{
    access::Snapshot,
    ids::{HostId, ServerId},
    look::{Door, Look, MOST_LOOKS, doors},
};
use metrics::catalogue::CANARY_SECONDS;
use openvpn::greeting::Greeting;
use runtime::random;
use services::{
    BusMessage, Nudge, Subscription,
    network::attachments::{visiting_key, wanted},
};

/// Between two looks at the same doors. Up to a quarter more, so that hosts which started together do not look together.
const PERIOD: Duration = Duration::from_mins(1);
/// The same while a door is shut.
const SHUT_PERIOD: Duration = Duration::from_secs(15);
/// After something changed: it is rarely the only thing.
const SOON: Duration = Duration::from_secs(1);
/// However much changes, there is so much between two rounds.
const PAUSE: Duration = Duration::from_secs(5);
/// So many doors are tried at once.
const AT_ONCE: usize = 16;
/// The limit of one call.
const LIMIT: Duration = Duration::from_secs(5);

/// Runs until `stop`.
pub(super) async fn run(here: Arc<Here>, mut bus: Subscription, stop: CancellationToken) {
    let mut snapshots = here.admission.watch();
    let mut bus_open = true;
    let mut canary = Canary::new(Instant::now());
    loop {
        canary.choose(&here);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(canary.due) => {
                if stop.run_until_cancelled(canary.round(&here)).await.is_none() {
                    return;
                }
            }
            changed = snapshots.changed() => if changed.is_err() { return },
            message = bus.recv(), if bus_open => match message {
                Some(message) if canary.concerns(&message) => canary.hurry(Instant::now()),
                Some(_) => {}
                None => bus_open = false,
            },
        }
    }
}

/// What is looked at, when next, and what was seen last.
struct Canary {
    doors: Vec<Door>,
    due: Instant,
    last: Option<Instant>,
    seen: Sights,
}

impl Canary {
    fn new(now: Instant) -> Self {
        Self { doors: Vec::new(), due: now + PERIOD, last: None, seen: BTreeMap::new() }
    }

    /// Takes the doors to choose from out of the policy. Others than before are looked at soon.
    fn choose(&mut self, here: &Here) {
        let snapshot = here.admission.snapshot();
        let servers = wanted(&snapshot, here.host).map(|(server, _)| server.id);
        let doors: Vec<Door> = servers.flat_map(|server| doors(&snapshot, here.host, server)).collect();
        if doors != self.doors {
            self.doors = doors;
            self.hurry(Instant::now());
        }
    }

    /// Brings the next round forward, but not upon the heels of the last.
    fn hurry(&mut self, now: Instant) {
        let soonest = self.last.map_or(now, |last| last + PAUSE);
        self.due = self.due.min(soonest.max(now + SOON));
    }

    /// Whether a message is about a daemon behind one of the doors.
    fn concerns(&self, message: &BusMessage) -> bool {
        let BusMessage::Nudge(event) = message else { return false };
        let Some(Nudge::DaemonChange(key)) = Nudge::read(event) else { return false };
        self.doors.iter().any(|door| place(door) == (key.server_id, key.host_id))
    }

    /// Looks once at all that is to be looked at, and tells.
    async fn round(&mut self, here: &Here) {
        let looks = match within(LIMIT, here.services.network().doors_to_try(self.doors.clone())).await {
            Ok(doors) => Some(look_at(here, doors).await),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "nobody was looked at");
                None
            }
        };
        let now = Instant::now();
        self.last = Some(now);
        let is_shut = looks.iter().flatten().any(|look| !look.ok);
        self.due = now + if is_shut { SHUT_PERIOD } else { PERIOD + PERIOD.mul_f64(0.25 * chance()) };
        if let Some(looks) = &looks {
            self.tell(here, looks).await;
        }
        here.board.know_looks(looks.unwrap_or_default());
    }

    /// Tells the cluster what was seen, and the log what is seen otherwise than before.
    async fn tell(&mut self, here: &Here, looks: &[Look]) {
        let seen: Sights = looks.iter().map(|look| (place(&look.door), look.ok)).collect();
        if seen.is_empty() && self.seen.is_empty() {
            return;
        }
        let news = news(&self.seen, &seen);
        for look in looks.iter().filter(|look| news.contains(&place(&look.door))) {
            let Look { door: Door { server_id, host_id, address, .. }, ok, detail } = look;
            if !ok {
                tracing::warn!(event = "canary.unreached", server.id = %server_id, host.id = %host_id, %address, detail,
                    "another host of a server cannot be reached");
            } else if self.seen.contains_key(&place(&look.door)) {
                tracing::info!(event = "canary.reached", server.id = %server_id, host.id = %host_id, %address,
                    "another host of a server is reached again");
            }
        }
        let news = news.into_iter().map(|(_, host)| host).collect();
        match within(LIMIT, here.services.network().report_looks(here.host, looks, &news)).await {
            Ok(true) => self.seen = seen,
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "what was seen was not written down");
            }
        }
    }
}

/// Which server on which host.
type Place = (ServerId, HostId);
/// Whether each place was reached.
type Sights = BTreeMap<Place, bool>;

fn place(door: &Door) -> Place {
    (door.server_id, door.host_id)
}

/// A number from 0 up to 1.
fn chance() -> f64 {
    f64::from(u32::from_ne_bytes(random::bytes())) / f64::from(u32::MAX)
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
            tracing::warn!(event = "canary.no_key", server.id = %server, %error, "the key of a server cannot be used");
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
    fn what_changed_is_looked_at_soon_and_never_upon_the_heels_of_the_last_round() {
        let now = Instant::now();
        let mut canary = Canary::new(now);
        assert_eq!(canary.due, now + PERIOD);
        canary.hurry(now);
        assert_eq!(canary.due, now + SOON);
        canary.hurry(now + SOON / 2);
        assert_eq!(canary.due, now + SOON, "one change after the other puts nothing off");
        canary.last = Some(now);
        canary.due = now + PERIOD;
        canary.hurry(now + SOON);
        assert_eq!(canary.due, now + PAUSE);
    }

    #[test]
    fn only_what_is_seen_otherwise_than_before_is_news() {
        let seen = |ok| BTreeMap::from([((id(1), id(7)), true), ((id(1), id(8)), ok)]);
        assert_eq!(news(&BTreeMap::new(), &seen(true)), [(id(1), id(7)), (id(1), id(8))].into());
        assert_eq!(news(&seen(true), &seen(false)), [(id(1), id(8))].into());
        assert!(news(&seen(false), &seen(false)).is_empty());
    }
}
