//! Sessions that end or move: because of the policy, by order, or because the daemon is to end.

use std::time::Duration;

use tokio::time::Instant;

use super::{Conversation, Order};
use crate::{
    daemon::{gatekeeper, moves::Move, reaper, roster::Client},
    domain::{
        access::{Denial, Snapshot},
        session::EndReason,
    },
    openvpn::management::{Cid, Command, Farewell, Text, link::AskError},
};

/// Between the two steps of a kill: time for the message to arrive.
const KILL_STEP: Duration = Duration::from_millis(100);

impl Conversation {
    /// Holds the sessions against a new snapshot.
    pub(in crate::daemon) fn policy(&mut self, snapshot: &Snapshot) -> Result<(), AskError> {
        for (cid, denial) in reaper::doomed(&self.roster, snapshot, self.here.services.now()) {
            let Some(client) = self.roster.get(cid) else { continue };
            tracing::info!(event = "session.ended_by_policy",
                session.id = %client.session.id, user.id = %client.session.user_id, reason = denial.as_str(),
                "session is ended by the policy");
            let farewell = gatekeeper::farewell(denial, client.dialect());
            self.end(cid, farewell, EndReason::Refused)?;
        }
        let Some(server) = snapshot.server(self.server) else { return Ok(()) };
        let mark = gatekeeper::pushed(snapshot, server);
        let stale = |(_, client): &(Cid, &Client)| client.stays() && client.pushed != mark;
        let outdated = self.roster.iter().filter(stale).map(|(cid, _)| cid);
        self.moves.plan(snapshot.drain_of(self.here.host), outdated, Instant::now());
        Ok(())
    }

    /// How many other hosts can take clients over: what they say themselves, or what the policy wants of them.
    pub(super) fn takers(&self) -> usize {
        let wanted = || self.here.admission.snapshot().others(self.here.host, self.server);
        self.here.board.takers(self.server).unwrap_or_else(wanted)
    }

    pub(super) fn move_client(&mut self, cid: Cid, why: Move) -> Result<(), AskError> {
        let Some(client) = self.roster.get(cid) else { return Ok(()) };
        let (farewell, reason) = match why {
            Move::Refresh => (Farewell::Restart, EndReason::Disconnected),
            Move::Away => (gatekeeper::farewell(Denial::HostLeaving, client.dialect()), EndReason::Moved),
        };
        self.roster.leaving(cid, reason);
        self.keepsake.touch();
        self.link.send(Command::Kill { cid, farewell })
    }

    pub(super) fn obey(&mut self, order: Order) -> Result<(), AskError> {
        let Some(cid) = self.roster.find(order.session) else { return Ok(()) };
        let superseded = "connected from another place";
        let text =
            if order.reason == EndReason::Superseded { superseded } else { "an administrator ended this session" };
        self.end(cid, Farewell::Final(gatekeeper::plain(text)), order.reason)
    }

    /// Ends a session in two steps: a message, and a moment later the removal, for clients that do not obey.
    fn end(&mut self, cid: Cid, farewell: Farewell, reason: EndReason) -> Result<(), AskError> {
        if self.roster.get(cid).is_none_or(|client| !client.stays()) {
            return Ok(());
        }
        self.roster.leaving(cid, reason);
        self.keepsake.touch();
        self.kills.push_back((Instant::now() + KILL_STEP, cid));
        self.link.send(Command::Kill { cid, farewell })
    }

    /// The second step. The daemon finds clients by name, so it is left out if the profile is connected anew.
    pub(super) fn evict(&mut self, cid: Cid) -> Result<(), AskError> {
        let Some(client) = self.roster.get(cid).filter(|_| self.roster.is_alone(cid)) else { return Ok(()) };
        match Text::new(client.common_name.as_str()) {
            Ok(name) => self.link.send(Command::Evict(name)),
            // Then the first step has to do, which takes effect after 5 s at the latest.
            Err(_unspeakable) => Ok(()),
        }
    }

    /// Sends everybody to other hosts, and hears them out until they are gone or `patience` is over.
    pub(in crate::daemon) async fn clear(&mut self, patience: Duration) -> Result<(), AskError> {
        let cids: Vec<Cid> = self.roster.iter().map(|(cid, _)| cid).collect();
        for cid in cids {
            self.move_client(cid, Move::Away)?;
        }
        let until = Instant::now() + patience;
        while !self.roster.is_empty() {
            match tokio::time::timeout_at(until, self.events.recv()).await {
                Ok(Some(event)) => {
                    self.here.board.turn(self.server);
                    self.hear(event)?;
                }
                Ok(None) | Err(_) => break,
            }
        }
        Ok(())
    }
}
