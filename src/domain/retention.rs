//! What is kept about people, why, and for how long: the one table that the page "my data" shows and that deletion
//! goes by, so that the page cannot say anything else than what happens.

use std::time::Duration;

use serde::Serialize;

/// A kind of data about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DataKind {
    /// Name, e-mail address, organization, groups, role.
    Account,
    /// Issuer and subject of the account at the identity provider.
    Identity,
    /// Profiles: names, servers, tunnel addresses, dates.
    Profiles,
    /// VPN sessions: begin, host, addresses, bytes.
    VpnSessions,
    /// Browser sign-ins: browser, address, begin, last use.
    Logins,
    /// One-time links that wait to be opened.
    Tickets,
    /// The trail of what was done by and to the person.
    Audit,
}

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// As long as the account is there.
    WithAccount,
    /// So long after its end.
    AfterEnd(Duration),
    /// So long after it was written.
    AfterWriting(Duration),
    /// Until somebody decides otherwise.
    Always,
}

const DAY: Duration = Duration::from_hours(24);

impl DataKind {
    /// All of them, in the order of the page.
    pub const ALL: [Self; 7] =
        [Self::Account, Self::Identity, Self::Profiles, Self::VpnSessions, Self::Logins, Self::Tickets, Self::Audit];

    /// What it is, in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Account => "Your account",
            Self::Identity => "Your sign-in identity",
            Self::Profiles => "Your devices",
            Self::VpnSessions => "Your VPN connections",
            Self::Logins => "Your browser sign-ins",
            Self::Tickets => "One-time links for you",
            Self::Audit => "The record of changes",
        }
    }

    /// Why it is kept.
    pub fn why(self) -> &'static str {
        match self {
            Self::Account => "to know who you are and which servers are open to you",
            Self::Identity => "to recognise you when you sign in, also when your e-mail address changes",
            Self::Profiles => "to let your devices connect, and to shut out the ones you revoke",
            Self::VpnSessions => "to show who is connected and to find out what went wrong",
            Self::Logins => "to keep you signed in, and to let you sign out elsewhere",
            Self::Tickets => "to let you open a link that sets a device up, once",
            Self::Audit => "to be able to tell who changed what",
        }
    }

    /// For how long: what the collections' expiry follows.
    pub fn kept(self) -> Kept {
        match self {
            Self::Account | Self::Identity | Self::Profiles => Kept::WithAccount,
            Self::VpnSessions => Kept::AfterEnd(90 * DAY),
            Self::Logins => Kept::AfterEnd(Duration::ZERO),
            Self::Tickets => Kept::AfterWriting(super::ticket::LIFETIME),
            Self::Audit => Kept::Always,
        }
    }
}

impl Kept {
    /// In words.
    pub fn sentence(self) -> String {
        match self {
            Self::WithAccount => "as long as you have an account".to_owned(),
            Self::AfterEnd(time) if time.is_zero() => "until they end".to_owned(),
            Self::AfterEnd(time) => format!("{} after they end", in_words(time)),
            Self::AfterWriting(time) => format!("for {}", in_words(time)),
            Self::Always => "as long as this installation exists".to_owned(),
        }
    }
}

fn in_words(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match (minutes / (24 * 60), minutes) {
        (0, minutes) => format!("{minutes} minutes"),
        (days, _) => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_says_how_long_in_words() {
        for kind in DataKind::ALL {
            assert!(!kind.title().is_empty() && !kind.why().is_empty() && !kind.kept().sentence().is_empty());
        }
        assert_eq!(DataKind::VpnSessions.kept().sentence(), "90 days after they end");
        assert_eq!(DataKind::Tickets.kept().sentence(), "for 10 minutes");
    }

    #[test]
    fn the_database_forgets_sessions_when_the_table_says_so() {
        let Kept::AfterEnd(time) = DataKind::VpnSessions.kept() else { panic!("sessions end") };
        let migration: serde_json::Value =
            serde_json::from_str(include_str!("../../migrations/0001-first.json")).unwrap();
        let commands = migration.as_array().unwrap();
        let indexes = commands.iter().find(|command| command["createIndexes"] == "sessions").unwrap();
        let expiry = indexes["indexes"].as_array().unwrap().iter().find(|index| index["name"] == "expiry").unwrap();
        assert_eq!(expiry["expireAfterSeconds"], time.as_secs());
    }
}
