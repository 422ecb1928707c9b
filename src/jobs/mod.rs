//! Work that follows a nudge or a period rather than a request.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::services::{BusMessage, Nudge, Services, Subscription};

/// How often open requests are looked for without a nudge.
const PERIOD: Duration = Duration::from_secs(30);

/// The longest that one round may take.
const LIMIT: Duration = Duration::from_secs(30);

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
        match tokio::time::timeout(LIMIT, services.certify()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(answered)) => tracing::info!(answered, "signed certificates of daemons"),
            Ok(Err(error)) => tracing::warn!(%error, "certificate requests wait"),
            Err(_elapsed) => tracing::warn!("answering certificate requests takes too long"),
        }
    }
}

fn asks(message: &BusMessage) -> bool {
    match message {
        BusMessage::Resync => true,
        BusMessage::Nudge(event) => matches!(Nudge::read(event), Some(Nudge::CertificateRequest(_))),
    }
}
