//! Clients that wait to be let in: judged by the policy at hand, or put aside for one fresh look at it.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use tracing::field;

use super::Conversation;
use crate::gatekeeper;
use crate::gatekeeper::Scene;
use crate::lateness::has_waited;
use crate::roster::Client;
use domain::access::{Denial, ProfileAccess};
use domain::profile::Fingerprint;
use domain::session::{EndReason, Session};
use domain::spec::ClientSpec;
use openvpn::management::link::AskError;
use openvpn::management::{Cid, Kid, Peer};

/// How long a look at the policy may take for a client that is not known.
const REFRESH_LIMIT: Duration = Duration::from_secs(1);

/// A client that waits for its answer.
pub(super) struct Question {
    pub cid: Cid,
    pub kid: Kid,
    pub peer: Peer,
    pub renewal: bool,
    /// The uptime of the machine when it was taken up.
    taken_up: Duration,
    /// Whether it may have waited before that for too long.
    late: bool,
}

/// Whether the policy was read from the database for this question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PolicyRead {
    /// It was not; the snapshot at hand decides.
    None,
    /// It was just read.
    Fresh,
    /// It could not be read.
    Failed,
}

impl Conversation {
    /// A question as it is taken up.
    pub(super) fn question(&self, cid: Cid, kid: Kid, peer: Peer, renewal: bool) -> Question {
        let now = self.here.services.cluster().uptime();
        Question { cid, kid, peer, renewal, taken_up: now, late: self.turns.is_late(now) }
    }

    /// Answers a client, or puts it aside until the policy was read once more if its certificate is not known: a profile
    /// that was issued a moment ago must connect.
    pub(super) fn decide(&mut self, question: Question, read: PolicyRead) -> Result<(), AskError> {
        let Question { cid, kid, peer, renewal, .. } = &question;
        let client = self.span_of(*cid).entered();
        let now = self.here.services.now();
        // Whoever renews keys is connected here, and was let go on meanwhile: lateness is no reason to turn it away.
        let in_time = if *renewal { Ok(()) } else { self.in_time(&question) };
        let verdict = in_time.and_then(|()| {
            let fingerprint = peer.fingerprint.map(Fingerprint).ok_or(Denial::UnknownProfile)?;
            let (admission, host) = (&self.here.admission, self.here.host);
            if *renewal {
                return admission.renew(host, self.server, fingerprint, now);
            }
            let known = self.here.registry.takers(self.server);
            let takes = |other| known.as_ref().is_none_or(|takers| takers.contains(&other));
            admission.admit(host, self.server, fingerprint, now, takes)
        });
        let verdict = match (verdict, read) {
            (Err(Denial::UnknownProfile), PolicyRead::None) if peer.fingerprint.is_some() => {
                self.unknown_profiles.push(question);
                self.refresh();
                return Ok(());
            }
            // Somewhere it may be known: that it is not here is our fault.
            (Err(Denial::UnknownProfile), PolicyRead::Failed) => Err(Denial::NotKnown),
            (Ok(_), _) if !*renewal && !self.here.registry.is_protected(self.server) => Err(Denial::HostUnprotected),
            (verdict, _) => verdict,
        };
        let snapshot = self.here.admission.snapshot();
        let server = snapshot.server(self.server).map(AsRef::as_ref);
        let others = snapshot.others_for(self.here.host, self.server, peer.fingerprint.map(Fingerprint));
        let told = |server| (server, ClientSpec::told(&snapshot, server, |name| self.here.names.addresses(name)));
        let scene = Scene { server: server.map(told), others };
        let command = gatekeeper::answer(*cid, *kid, peer, &scene, verdict.as_ref().map_err(|denial| *denial));
        match (&verdict, server) {
            (Ok(profile), Some(server)) if !renewal => {
                let session = self.session(profile, peer, now);
                client.record("session.id", field::display(session.id));
                let mark = ClientSpec::fixed(&snapshot, server).mark();
                let client = Client::admitted(session, peer.common_name.clone(), mark);
                self.roster.admitted(*cid, client.of(peer.kind()));
                self.roster_file.touch();
            }
            (Err(denial), _) => {
                self.roster.leaving(*cid, EndReason::Refused);
                let is_for_the_drain = matches!(denial, Denial::HostLeaving | Denial::NoOtherHost);
                if let Some(drain) = snapshot.drain_of(self.here.host).filter(|_| is_for_the_drain) {
                    self.here.registry.turn_away(drain.started_at);
                }
            }
            _ => {}
        }
        if !renewal || verdict.is_err() {
            self.here.tell_attempt(self.server, peer, verdict.as_ref().map_err(|denial| *denial));
        }
        self.link.send(command)
    }

    /// Whoever asked too long ago may be elsewhere by now, and must not be let in here.
    fn in_time(&self, question: &Question) -> Result<(), Denial> {
        let late = question.late || has_waited(question.taken_up, self.here.services.cluster().uptime());
        if late { Err(Denial::HeldUp) } else { Ok(()) }
    }

    fn session(&self, profile: &ProfileAccess, peer: &Peer, now: Timestamp) -> Session {
        Session {
            id: self.here.services.new_id(),
            user_id: profile.user_id,
            profile_id: profile.id,
            server_id: self.server,
            host_id: self.here.host,
            address: profile.address,
            remote_address: peer.address.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
            connected_at: now,
            bytes_received: 0,
            bytes_sent: 0,
            client_version: (!peer.iv_ver.is_empty()).then(|| peer.iv_ver.clone()),
            client_protocol: (peer.iv_proto != 0).then_some(peer.iv_proto),
        }
    }

    /// Starts to read the policy, unless that is under way: a question that came after its start needs the next read.
    fn refresh(&mut self) {
        if self.refreshing.is_none() && !self.unknown_profiles.is_empty() {
            let admission = self.here.admission.clone();
            let read =
                async move { matches!(tokio::time::timeout(REFRESH_LIMIT, admission.refresh()).await, Ok(Ok(()))) };
            self.refreshing = Some((Box::pin(read), std::mem::take(&mut self.unknown_profiles)));
        }
    }

    pub(super) fn refreshed(&mut self, fresh: bool) -> Result<(), AskError> {
        let Some((_, waiting)) = self.refreshing.take() else { return Ok(()) };
        let read = if fresh { PolicyRead::Fresh } else { PolicyRead::Failed };
        for question in waiting {
            self.decide(question, read)?;
        }
        self.refresh();
        Ok(())
    }
}
