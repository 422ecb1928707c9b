//! What a page may depend on: it asks for itself again when the bus tells of such a change.

use services::Nudge;

/// What a page may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// What people configure: organizations, users, profiles, servers, attachments, settings.
    Policy,
    /// Who is connected.
    Sessions,
    /// How hosts and their daemons are.
    Hosts,
    /// What periodic jobs do.
    Jobs,
    /// Which API tokens there are.
    Tokens,
}

impl Topic {
    /// The word on the stream.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Sessions => "sessions",
            Self::Hosts => "hosts",
            Self::Jobs => "jobs",
            Self::Tokens => "tokens",
        }
    }

    /// What a nudge is about; nothing for those that no page shows.
    pub(crate) fn of(nudge: &Nudge) -> Option<Self> {
        match nudge {
            Nudge::Policy(_) => Some(Self::Policy),
            Nudge::SessionChange(_) | Nudge::SessionEnd(_) => Some(Self::Sessions),
            Nudge::HostChange(_) | Nudge::DaemonChange(_) | Nudge::JoinChange(_) => Some(Self::Hosts),
            Nudge::JobChange(_) => Some(Self::Jobs),
            Nudge::TokenChange(_) => Some(Self::Tokens),
            Nudge::CertificateRequest(_) => None,
        }
    }
}
