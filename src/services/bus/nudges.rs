//! What one process tells the others: where to look, never what is true.

use domain::Revision;
use domain::ids::{HostId, JoinTokenId, SessionId, TokenId};
use domain::job::Job;
use domain::server::AttachmentKey;
use store::bus::events;

/// A hint to read something. A process that gets one reads what it names; a lost or forged one does no harm, since
/// everything is also looked at in periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nudge {
    /// Policy has reached this revision.
    Policy(Revision),
    /// The end of this session is asked for.
    SessionEnd(SessionId),
    /// A session began or ended.
    SessionChange(SessionId),
    /// A daemon asks for a certificate.
    CertificateRequest(AttachmentKey),
    /// A daemon's state changed.
    DaemonChange(AttachmentKey),
    /// A host came, went or changed.
    HostChange(HostId),
    /// A machine that holds a join token said something of itself.
    JoinChange(JoinTokenId),
    /// A run of a job is wanted, or has ended.
    JobChange(Job),
    /// An API token was made or revoked.
    TokenChange(TokenId),
}

impl From<&Nudge> for events::Nudge {
    fn from(nudge: &Nudge) -> Self {
        let (kind, key, rev) = match nudge {
            Nudge::Policy(rev) => ("policy", None, Some(rev.0)),
            Nudge::SessionEnd(id) => ("session.end", Some(id.to_string()), None),
            Nudge::SessionChange(id) => ("session.change", Some(id.to_string()), None),
            Nudge::CertificateRequest(key) => ("certificate.request", Some(key.to_string()), None),
            Nudge::DaemonChange(key) => ("daemon.change", Some(key.to_string()), None),
            Nudge::HostChange(id) => ("host.change", Some(id.to_string()), None),
            Nudge::JoinChange(id) => ("join.change", Some(id.to_string()), None),
            Nudge::JobChange(job) => ("job.change", Some(job.to_string()), None),
            Nudge::TokenChange(id) => ("token.change", Some(id.to_string()), None),
        };
        Self { kind: kind.to_owned(), key, rev }
    }
}

impl Nudge {
    /// The nudge behind an event; `None` for kinds of a later release and for nonsense.
    pub fn read(event: &events::Nudge) -> Option<Self> {
        let key = event.key.as_deref().unwrap_or_default();
        match event.kind.as_str() {
            "policy" => event.rev.map(Revision).map(Self::Policy),
            "session.end" => key.parse().ok().map(Self::SessionEnd),
            "session.change" => key.parse().ok().map(Self::SessionChange),
            "certificate.request" => key.parse().ok().map(Self::CertificateRequest),
            "daemon.change" => key.parse().ok().map(Self::DaemonChange),
            "host.change" => key.parse().ok().map(Self::HostChange),
            "join.change" => key.parse().ok().map(Self::JoinChange),
            "job.change" => key.parse().ok().map(Self::JobChange),
            "token.change" => key.parse().ok().map(Self::TokenChange),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use domain::ids::{Id, ServerId};

    #[test]
    fn nudges_survive_the_bus() {
        let host = HostId::from_parts(Timestamp::UNIX_EPOCH, 1);
        let session = SessionId::from_parts(Timestamp::UNIX_EPOCH, 2);
        let key = AttachmentKey { server_id: ServerId::from_parts(Timestamp::UNIX_EPOCH, 3), host_id: host };
        for nudge in [
            Nudge::Policy(Revision(7)),
            Nudge::SessionEnd(session),
            Nudge::SessionChange(session),
            Nudge::CertificateRequest(key),
            Nudge::DaemonChange(key),
            Nudge::HostChange(host),
            Nudge::JoinChange(JoinTokenId::from_parts(Timestamp::UNIX_EPOCH, 4)),
            Nudge::JobChange(Job::AuditVerify),
            Nudge::TokenChange(TokenId::from_parts(Timestamp::UNIX_EPOCH, 4)),
        ] {
            let event = events::Nudge::from(&nudge);
            assert_eq!(Nudge::read(&event), Some(nudge));
            assert!(events::KINDS.contains(&event.kind.as_str()), "{event:?} is not counted under its name");
        }
    }

    #[test]
    fn nonsense_is_no_nudge() {
        for (kind, key) in [("policy", None), ("session.end", Some("x")), ("from.the.future", None)] {
            let event = events::Nudge { kind: kind.to_owned(), key: key.map(str::to_owned), rev: None };
            assert_eq!(Nudge::read(&event), None);
        }
    }
}
