//! Sessions that end or move: because of the policy, by order, or because the daemon is to end.

use std::time::Duration;

use tokio::time::Instant;

use super::{Conversation, Order};
use crate::moves::{Move, WaysOut};
use crate::roster::Client;
use crate::{gatekeeper, reaper};
use domain::access::{Denial, Snapshot};
use domain::drain::Drain;
use domain::session::EndReason;
use domain::spec::ClientSpec;
use openvpn::management::link::AskError;
use openvpn::management::{Cid, Command, Farewell, Text};

/// Between the two steps of a kill: time for the message to arrive.
const KILL_STEP: Duration = Duration::from_millis(100);

/// How long the clients of a daemon may be sent away in waves, at the most: a host that was removed has 30 s.
const CLEARING: Duration = Duration::from_secs(20);

impl Conversation {
    /// Ends the sessions that the policy does not admit any more.
    fn end_refused(&mut self, snapshot: &Snapshot) -> Result<(), AskError> {
        for (cid, denial) in reaper::doomed(&self.roster, snapshot, self.here.services.now()) {
            let Some(client) = self.roster.get(cid) else { continue };
            tracing::info!(event = "session.ended_by_policy",
                session.id = %client.session.id, user.id = %client.session.user_id, reason = denial.as_str(),
                "session is ended by the policy");
            let farewell = gatekeeper::farewell(denial, client.dialect());
            self.end(cid, farewell, EndReason::Refused)?;
        }
        Ok(())
    }

    /// Holds the sessions against a new snapshot.
    pub(crate) fn policy(&mut self, snapshot: &Snapshot) -> Result<(), AskError> {
        self.end_refused(snapshot)?;
        let Some(server) = snapshot.server(self.server) else { return Ok(()) };
        let mark = ClientSpec::fixed(snapshot, server).mark();
        let stale = |(_, client): &(Cid, &Client)| client.stays() && client.pushed != mark;
        let outdated = self.roster.iter().filter(stale).map(|(cid, _)| cid);
        self.moves.plan(snapshot.drain_of(self.here.host), outdated, Instant::now());
        Ok(())
    }

    /// Asks the clients to go whose turn it is.
    pub(super) fn move_those_due(&mut self, now: Instant) -> Result<(), AskError> {
        let snapshot = self.here.admission.snapshot();
        let takers = self.here.registry.takers(self.server);
        let mut ways = WaysOut::new(&snapshot, self.server, self.here.host, takers.as_ref());
        let at = self.here.services.now();
        for (cid, why) in self.moves.take(&self.roster, &mut |client| ways.of(client), now, at) {
            self.move_client(cid, why)?;
        }
        Ok(())
    }

    fn move_client(&mut self, cid: Cid, why: Move) -> Result<(), AskError> {
        let Some(client) = self.roster.get(cid) else { return Ok(()) };
        let (farewell, reason) = match why {
            Move::Refresh => (Farewell::Restart, EndReason::Disconnected),
            Move::Away => (gatekeeper::farewell(Denial::HostLeaving, client.dialect()), EndReason::Moved),
            Move::Out => (gatekeeper::farewell(Denial::NoOtherHost, client.dialect()), EndReason::Moved),
        };
        self.roster.leaving(cid, reason);
        self.roster_file.touch();
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
        self.roster_file.touch();
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

    /// Sends all clients to other hosts, and goes on reading until they are gone or `patience` is over. A host that
    /// does not run the server any more sends them in waves that the others can follow, and the patience counts from
    /// the last one.
    pub(crate) async fn clear(&mut self, patience: Duration) -> Result<(), AskError> {
        let snapshot = self.here.admission.snapshot();
        let in_waves = !snapshot.runners(self.server).contains(&self.here.host);
        if in_waves {
            let now = self.here.services.now();
            let at_once = Drain { started_at: now, ends_at: now, forced: true };
            self.moves.plan(Some(at_once), std::iter::empty(), Instant::now());
        } else {
            let cids: Vec<Cid> = self.roster.iter().map(|(cid, _)| cid).collect();
            for cid in cids {
                self.move_client(cid, Move::Away)?;
            }
        }
        let (mut until, last) = (Instant::now() + patience, Instant::now() + CLEARING);
        while !self.roster.is_empty() && Instant::now() < until.min(last) {
            let is_left = || self.roster.iter().any(|(_, client)| client.stays());
            let due = self.moves.due().filter(|_| in_waves && is_left());
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => {
                        self.here.registry.turn(self.server);
                        self.hear(event)?;
                    }
                    None => break,
                },
                () = tokio::time::sleep_until(due.unwrap_or(until)) => {
                    if due.is_some() {
                        self.here.registry.turn(self.server);
                        self.end_refused(&self.here.admission.snapshot())?;
                        self.move_those_due(Instant::now())?;
                        until = Instant::now() + patience.max(self.moves.pause());
                    }
                }
            }
        }
        Ok(())
    }
}
