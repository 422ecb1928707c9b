//! Work that follows a nudge or a period rather than a request.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{Revision, ids::HostId, job::Job},
    services::{BusMessage, Nudge, Refusal, ServiceError, Services, Subscription},
};

/// Between two heartbeats; three that are missed make a host offline.
const BEAT: Duration = Duration::from_secs(10);

/// The limit of one heartbeat.
const BEAT_LIMIT: Duration = Duration::from_secs(5);

/// How long a problem waits for others that come with it.
const GATHER: Duration = Duration::from_millis(200);

/// After how long a pause that could not be confirmed is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// How often open requests and jobs that are due are looked for without a nudge.
const PERIOD: Duration = Duration::from_secs(30);

/// How often it is looked what removed hosts leave behind.
const CLEAR: Duration = Duration::from_secs(5);

/// The longest that one round may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Says that this host is alive, how many sessions it carries and what is wrong with it, until `stop`, in periods and
/// whenever something else is wrong. A host that stops without sessions says that too; one with sessions counts as
/// offline a little later, unless its next start comes first.
pub async fn heartbeat(
    services: Services,
    host: HostId,
    sessions: impl Fn() -> usize + Send + 'static,
    stop: CancellationToken,
) {
    let mut period = tokio::time::interval(BEAT);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut problems = services.problems().watch();
    let mut trouble = Trouble::None;
    // In other words the same is no news: it waits for the period.
    let kinds = || services.problems().list().into_iter().map(|it| (it.code, it.server_id)).collect::<Vec<_>>();
    let mut told = kinds();
    loop {
        let news = tokio::select! {
            () = stop.cancelled() => break,
            _ = period.tick() => false,
            changed = problems.changed() => changed.is_ok(),
        };
        if news && kinds() == told {
            continue;
        }
        if news {
            // What goes wrong together is told together.
            let _ = stop.run_until_cancelled(tokio::time::sleep(GATHER)).await;
            problems.mark_unchanged();
        }
        told = kinds();
        let beat = async {
            if let Err(error) = services.hosts().notice_unreached(host).await {
                tracing::debug!(%error, "it is not known whether others reach this host");
            }
            services.hosts().beat(host, sessions()).await
        };
        match stop.run_until_cancelled(tokio::time::timeout(BEAT_LIMIT, beat)).await {
            None => break,
            Some(Ok(Ok(()))) => {
                if trouble == Trouble::Displaced {
                    tracing::info!(
                        event = "host.resumed",
                        "the other machine with this host's key is silent: this one is the host again"
                    );
                }
                trouble = Trouble::None;
                if news {
                    services.hosts().tell_of_host(host);
                }
            }
            Some(Ok(Err(ServiceError::Conflict(why @ Refusal::HostCloned)))) => {
                if trouble != Trouble::Displaced {
                    tracing::error!(event = "host.displaced", "{why}; no newcomer is let in here meanwhile");
                }
                trouble = Trouble::Displaced;
            }
            Some(Ok(Err(error))) => {
                if trouble == Trouble::None {
                    tracing::warn!(event = "host.unheard", %error, "heartbeat could not be written");
                    trouble = Trouble::Unheard;
                }
            }
            Some(Err(_elapsed)) => {}
        }
    }
    // Unsaid, it is found out by silence.
    let last = async {
        if sessions() == 0 { services.hosts().beat_last(host).await } else { services.hosts().release_host(host).await }
    };
    drop(tokio::time::timeout(Duration::from_secs(1), last).await);
}

/// What keeps a heartbeat from being taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// It cannot be written.
    Unheard,
    /// Another machine is the host.
    Displaced,
}

/// Confirms each pause of the cluster for this host, once it is `quiet`, until `stop`.
pub async fn confirm_pauses(
    services: Services,
    host: HostId,
    mut paused: watch::Receiver<Option<Revision>>,
    quiet: impl Fn() -> bool + Send + 'static,
    stop: CancellationToken,
) {
    loop {
        let pause = *paused.borrow_and_update();
        if let Some(pause) = pause
            && !confirm_pause(&services, host, pause, &quiet).await
        {
            if stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
                return;
            }
            paused.mark_changed();
        }
        match stop.run_until_cancelled(paused.changed()).await {
            Some(Ok(())) => {}
            _ => return,
        }
    }
}

async fn confirm_pause(services: &Services, host: HostId, pause: Revision, quiet: &impl Fn() -> bool) -> bool {
    let confirmed = quiet() && {
        let confirming = tokio::time::timeout(BEAT_LIMIT, services.cluster().confirm_pause(host, pause));
        matches!(confirming.await, Ok(Ok(())))
    };
    if confirmed {
        tracing::info!(
            event = "cluster.pause_confirmed",
            "the cluster is paused: what happens to sessions is kept on this host"
        );
    }
    confirmed
}

/// Runs a job by its period, and when somebody asks for it, until `stop`. Any number of processes may do so.
pub async fn run_by_period(services: Services, job: Job, mut bus: Subscription, stop: CancellationToken) {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
            message = bus.recv() => match message {
                Some(message) if wants(&message, job) => {}
                Some(_) => continue,
                None => return,
            },
        }
        match stop.run_until_cancelled(services.cluster().run_due_job(job)).await {
            None => return,
            // A run tells of itself; who pauses the cluster wants it to be still.
            Some(Ok(_) | Err(ServiceError::Paused)) => {}
            Some(Err(error)) => tracing::warn!(event = "job.put_off", %job, %error, "a job waits"),
        }
    }
}

fn wants(message: &BusMessage, job: Job) -> bool {
    match message {
        BusMessage::Resync => true,
        BusMessage::Nudge(event) => match Nudge::read(event) {
            Some(Nudge::JobChange(changed)) => changed == job || Some(changed) == job.follows(),
            _ => false,
        },
    }
}

/// Clears away what removed hosts leave behind, until `stop`. Any process that holds the master key may do so.
pub async fn clear_removed(services: Services, stop: CancellationToken) {
    let mut told = false;
    while stop.run_until_cancelled(tokio::time::sleep(CLEAR)).await.is_some() {
        match tokio::time::timeout(LIMIT, services.hosts().clear_removed_hosts()).await {
            Ok(Ok(cleared)) => {
                told = false;
                if cleared > 0 {
                    tracing::info!(
                        event = "removed_hosts.cleared",
                        cleared,
                        "removed hosts are gone, with their database users"
                    );
                }
            }
            Ok(Err(error)) if !told => {
                told = true;
                tracing::warn!(event = "removed_hosts.left", %error, "something of removed hosts is still there");
            }
            Ok(Err(_same)) => {}
            Err(_elapsed) => tracing::warn!(event = "removed_hosts.late", "clearing removed hosts away takes too long"),
        }
    }
}

/// Answers the certificate requests of daemons, until `stop`. Several processes may do so at once: who comes second
/// finds the request answered.
pub async fn certify(services: Services, mut bus: Subscription, stop: CancellationToken) {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
            message = bus.recv() => match message {
                Some(message) if asks(&message) => {}
                Some(_) => continue,
                None => return,
            },
        }
        match tokio::time::timeout(LIMIT, services.network().certify()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(answered)) => tracing::info!(event = "job.certify", answered, "signed certificates of daemons"),
            Ok(Err(error)) => tracing::warn!(event = "job.certify_failed", %error, "certificate requests wait"),
            Err(_elapsed) => {
                tracing::warn!(event = "job.certify_failed", "answering certificate requests takes too long");
            }
        }
    }
}

fn asks(message: &BusMessage) -> bool {
    match message {
        BusMessage::Resync => true,
        BusMessage::Nudge(event) => matches!(Nudge::read(event), Some(Nudge::CertificateRequest(_))),
    }
}
