//! The numbers of this host's daemons as they are at the moment of asking.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::DaemonsHandle;
use domain::ids::ServerId;
use domain::server::DaemonState;
use metrics::Metrics;
use metrics::catalogue::{
    CANARY_SUCCESS, CERT_EXPIRY, OPENVPN_UP, PROBE_SUCCESS, SPOOL_DROPPED, SPOOL_EVENTS, SPOOL_OLDEST, VPN_BYTES,
    VPN_CLIENTS, VPN_SESSIONS,
};
use services::network::attachments::wanted;

impl DaemonsHandle {
    /// Measures into `now`.
    #[expect(clippy::cast_precision_loss, reason = "metrics are floating point; these stay far below 2^52")]
    pub fn measure(&self, now: &Metrics) {
        let here = &self.0;
        let snapshot = here.admission.snapshot();
        // A server that is to run and does not is a zero, not a gap.
        let servers = wanted(&snapshot, here.host).map(|(server, _)| (server.id, 0));
        let mut sessions: BTreeMap<ServerId, usize> = servers.collect();
        let mut running: BTreeMap<ServerId, bool> = sessions.keys().map(|server| (*server, false)).collect();
        for (_, carried) in here.registry.sessions() {
            *sessions.entry(carried.server_id).or_default() += 1;
        }
        for status in here.registry.statuses() {
            let up = matches!(status.state, DaemonState::Running | DaemonState::Draining);
            running.insert(status.key.server_id, up);
        }
        for (server, count) in sessions {
            now.set(&VPN_SESSIONS, [&here.label(server)], count as f64);
        }
        for (kind, count) in here.registry.kinds() {
            now.set(&VPN_CLIENTS, [kind.platform.as_str(), kind.program.as_str()], count as f64);
        }
        for (server, up) in running {
            now.set(&OPENVPN_UP, [&here.label(server)], f64::from(u8::from(up)));
        }
        for (server, (received, sent)) in here.registry.traffic() {
            now.add(&VPN_BYTES, [&here.label(server), "received"], received);
            now.add(&VPN_BYTES, [&here.label(server), "sent"], sent);
        }
        self.measure_session_log(now);
        self.measure_probes(now);
        let ends = snapshot.attached_to(here.host).filter_map(|(_, attachment)| attachment.credentials.as_ref());
        if let Some(end) = ends.map(|credentials| credentials.not_after).min() {
            now.set(&CERT_EXPIRY, ["daemon"], end.as_second() as f64);
        }
    }

    /// A host with several targets of one transport is reached if all of them are.
    fn measure_probes(&self, now: &Metrics) {
        let snapshot = self.0.admission.snapshot();
        let mut reached = BTreeMap::new();
        for probe in self.0.registry.probes() {
            let Some(host) = snapshot.host(probe.target.host_id) else { continue };
            *reached.entry((host.name.to_string(), probe.target.protocol.as_str())).or_insert(true) &= probe.ok;
        }
        for ((target, proto), ok) in reached {
            for metric in [&PROBE_SUCCESS, &CANARY_SUCCESS] {
                now.set(metric, [&target, proto], f64::from(u8::from(ok)));
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "metrics are floating point; these stay far below 2^52")]
    fn measure_session_log(&self, now: &Metrics) {
        let session_log = &self.0.session_log;
        let waited = |since: Timestamp| self.0.services.now().duration_since(since).as_secs_f64().max(0.0);
        now.set(&SPOOL_EVENTS, [], session_log.waiting() as f64);
        now.set(&SPOOL_OLDEST, [], session_log.oldest().map_or(0.0, waited));
        now.add(&SPOOL_DROPPED, [], session_log.dropped());
    }
}
