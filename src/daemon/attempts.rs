//! Each connection attempt of a client: one line in the log, one more in the metrics.

use super::Here;
use domain::access::{Denial, ProfileAccess};
use domain::ids::ServerId;
use metrics::catalogue::VPN_CONNECTS;
use openvpn::management::Peer;

impl Here {
    /// What the numbers call a server: its name, or its id while it is not known.
    pub(super) fn label(&self, server: ServerId) -> String {
        let snapshot = self.admission.snapshot();
        snapshot.server(server).map_or_else(|| server.to_string(), |server| server.name.to_string())
    }

    /// Tells how an attempt to connect was answered.
    pub(super) fn tell_attempt(&self, server: ServerId, peer: &Peer, verdict: Result<&ProfileAccess, Denial>) {
        let (result, reason) = match verdict {
            Ok(_) => ("admitted", "none"),
            Err(denial) if denial.is_temporary() => ("deferred", denial.as_str()),
            Err(denial) => ("refused", denial.as_str()),
        };
        self.services.metrics().count(&VPN_CONNECTS, [&self.label(server), result, reason]);
        let profile = verdict.ok();
        tracing::info!(
            event = "vpn.connect",
            server.id = %server,
            // Of a stranger there is only what its certificate claims.
            profile.id = profile.map_or_else(|| peer.common_name.clone(), |profile| profile.id.to_string()),
            user.id = profile.map(|profile| tracing::field::display(profile.user_id)),
            client.address = peer.address.map(|address| tracing::field::display(address.ip())),
            client.version = peer.iv_ver,
            result,
            reason,
            "client {result}"
        );
    }
}
