//! What is kept about people, why, and for how long: the one table that the page "my data" shows and that deletion
//! goes by, so that the page cannot say anything else than what happens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

use super::settings::Retention;

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
    /// The audit log of what was done by and to the person.
    Audit,
}

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// As long as the account is there.
    WithAccount,
    /// So long after its end.
    AfterEnd(Duration),
    /// So long after its end, and the address that it came from shorter.
    Shortened {
        /// How long it is kept.
        whole: Duration,
        /// How long its address is.
        address: Duration,
    },
    /// So long after it was written.
    AfterWriting(Duration),
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

    /// For how long: what the job `retention` and the collections' expiry follow.
    pub fn kept(self, settings: &Retention) -> Kept {
        match self {
            Self::Account | Self::Identity | Self::Profiles => Kept::WithAccount,
            Self::VpnSessions => {
                Kept::Shortened { whole: settings.session_days.get() * DAY, address: settings.address_days.get() * DAY }
            }
            Self::Logins => Kept::AfterEnd(Duration::ZERO),
            Self::Tickets => Kept::AfterWriting(super::ticket::LIFETIME),
            Self::Audit => Kept::AfterWriting(settings.audit_days.get() * DAY),
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
            Self::Shortened { whole, address } if address < whole => format!(
                "{} after they end; of the address you connected from only the network after {}",
                in_words(whole),
                in_words(address)
            ),
            Self::Shortened { whole, .. } => format!("{} after they end", in_words(whole)),
            Self::AfterWriting(time) => format!("for {}", in_words(time)),
        }
    }
}

fn in_words(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    match (minutes / (24 * 60), minutes) {
        (0, minutes) => format!("{minutes} minutes"),
        (1, _) => "1 day".to_owned(),
        (days, _) => format!("{days} days"),
    }
}

/// What remains of an address that is too old to be kept: its network, /24 or of IPv6 /48, and no port.
pub fn shortened(address: SocketAddr) -> SocketAddr {
    let network = match address.ip().to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80)).into(),
    };
    SocketAddr::new(network, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_says_how_long_in_words() {
        for kind in DataKind::ALL {
            let kept = kind.kept(&Retention::default()).sentence();
            assert!(!kind.title().is_empty() && !kind.why().is_empty() && !kept.is_empty());
        }
        let settings: Retention = serde_json::from_str(r#"{"session_days": 60, "address_days": 1}"#).unwrap();
        let said = |kind: DataKind| kind.kept(&settings).sentence();
        let sessions = "60 days after they end; of the address you connected from only the network after 1 day";
        assert_eq!(said(DataKind::VpnSessions), sessions);
        assert_eq!(said(DataKind::Tickets), "for 10 minutes");
        assert_eq!(said(DataKind::Audit), "for 400 days");
        let short: Retention = serde_json::from_str(r#"{"session_days": 20}"#).unwrap();
        assert_eq!(DataKind::VpnSessions.kept(&short).sentence(), "20 days after they end");
    }

    #[test]
    fn of_an_old_address_the_network_remains() {
        for (whole, short) in [
            ("203.0.113.9:4711", "203.0.113.0:0"),
            ("[2001:db8:1:2:3::4]:1194", "[2001:db8:1::]:0"),
            ("[::ffff:203.0.113.9]:1", "203.0.113.0:0"),
        ] {
            assert_eq!(shortened(whole.parse().unwrap()), short.parse().unwrap());
            assert_eq!(shortened(short.parse().unwrap()), short.parse().unwrap(), "once is enough");
        }
    }

    #[test]
    fn the_database_by_itself_forgets_no_session_before_the_longest_setting() {
        let migration: serde_json::Value =
            serde_json::from_str(include_str!("../../migrations/0007-retention.json")).unwrap();
        let expiry = &migration[0]["index"];
        assert_eq!((&migration[0]["collMod"], &expiry["name"]), (&"sessions".into(), &"expiry".into()));
        let longest = DAY * super::super::settings::SessionDays::MAX.get();
        assert_eq!(expiry["expireAfterSeconds"], longest.as_secs());
    }
}
