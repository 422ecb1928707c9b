//! The clients that a daemon has already when the dialogue begins: its status, held against what was remembered.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Conversation;
use crate::Here;
use crate::roster::{Client, real_address};
use domain::access::Snapshot;
use domain::ids::ServerId;
use domain::session::Session;
use domain::spec::ClientSpec;
use openvpn::management::link::AskError;
use openvpn::management::{ClientRow, Command, Farewell, Reply, Status};

/// How long questions of clients may be on their way to us after a status that lists them.
const QUESTION_LAG: Duration = Duration::from_millis(300);

impl Conversation {
    /// The daemon said who is connected.
    pub(super) fn reconcile(&mut self, reply: Result<Reply, AskError>) -> Result<(), AskError> {
        let status = match Status::of(reply?) {
            // Only a daemon that serves has a status. An adopted one reports no change of state.
            Ok(Some(status)) => {
                self.serving = true;
                status
            }
            Ok(None) => Status::default(),
            Err(error) => {
                tracing::error!(event = "daemon.status_unreadable", server.id = %self.server,
                    error = &error as &dyn std::error::Error, "the status of a daemon cannot be read");
                self.unreadable = true;
                return Ok(());
            }
        };
        for row in &status.unreadable {
            tracing::error!(event = "daemon.client_unreadable", server.id = %self.server, client = row.cid.0,
                column = row.column, "a client that cannot be read in the daemon's status is asked to connect anew");
        }
        let now = self.here.services.now();
        let snapshot = self.here.admission.snapshot();
        let mark =
            snapshot.server(self.server).map(|server| ClientSpec::fixed(&snapshot, server).mark()).unwrap_or_default();
        let (here, server) = (Arc::clone(&self.here), self.server);
        let adopt = |row: &ClientRow| {
            let session = unrecorded(&here, server, &snapshot, row, now)?;
            Some(Client::admitted(session, row.common_name.clone(), mark.clone()))
        };
        let at = self.at();
        let result = self.roster.reconcile(&status, &at, adopt);
        if !status.clients.is_empty() {
            tracing::info!(event = "daemon.clients_adopted", server.id = %self.server, clients = status.clients.len(),
                "adopted the clients of a running daemon");
        }
        for (_, client) in self.roster.iter().filter(|(_, client)| client.up) {
            self.here.registry.welcome(client);
        }
        self.roster_file.touch();
        self.write_down(result.records);
        for cid in result.unvouched {
            self.link.send(Command::Kill { cid, farewell: Farewell::Restart })?;
        }
        self.unanswered = Some((Instant::now() + QUESTION_LAG, result.unanswered));
        Ok(())
    }
}

/// The session of a client that a daemon carries and nothing is remembered of, if the policy admits it. All that is
/// known is the common name, which in certificates of ours is the profile's id.
fn unrecorded(here: &Here, server: ServerId, snapshot: &Snapshot, row: &ClientRow, now: Timestamp) -> Option<Session> {
    let profile = snapshot.profile(row.common_name.parse().ok()?)?;
    if row.address != Some(profile.address) || snapshot.must_end(server, profile.id, now).is_some() {
        return None;
    }
    Some(Session {
        id: here.services.new_id(),
        user_id: profile.user_id,
        profile_id: profile.id,
        server_id: server,
        host_id: here.host,
        address: profile.address,
        remote_address: real_address(row),
        connected_at: since(row, here.services.cluster().machine_now(), now),
        bytes_received: row.bytes_received,
        bytes_sent: row.bytes_sent,
        client_version: None,
        client_protocol: None,
    })
}

/// When a client connected: as long ago as the daemon says, which goes by the machine's clock, before `now` by the
/// cluster's.
fn since(row: &ClientRow, machine: Timestamp, now: Timestamp) -> Timestamp {
    let ago = Timestamp::from_second(row.since).map(|since| machine.duration_since(since)).unwrap_or_default();
    now.checked_sub(ago).map_or(now, |since| since.min(now))
}
