//! Who is let in: a client's CONNECT or REAUTH and the verdict of the policy, turned into the command that answers it.
//!
//! Whoever is refused for good reads the reason. When the fault is ours (this host is leaving, the policy is too old to
//! decide by) the client is told to try elsewhere or later, in the words its engine understands, and does not give up.
//! Nothing here waits or asks anybody.

use sha2::{Digest, Sha256};

use crate::{
    domain::{
        access::{Denial, ProfileAccess},
        server::Server,
    },
    openvpn::management::{Cid, ClientConfig, Command, Dialect, Farewell, Kid, Peer, Refusal, Text},
};

/// How long clients wait when no host may know better, in seconds.
const PATIENCE: u16 = 5;

/// The answer to a client that waits; `others` hosts may let it in where this one does not.
pub(super) fn answer(
    cid: Cid,
    kid: Kid,
    peer: &Peer,
    server: Option<&Server>,
    others: usize,
    verdict: Result<&ProfileAccess, Denial>,
) -> Command {
    let verdict = verdict.and_then(|profile| Ok((profile, server.ok_or(Denial::HostLeaving)?)));
    match verdict {
        Ok((profile, server)) => Command::Admit { cid, kid, config: config(profile, server, peer) },
        Err(denial) => {
            // A server that is off is off on every host: nobody does better elsewhere.
            let elsewhere = others > 0 && server.is_some_and(|server| server.enabled);
            Command::Refuse { cid, kid, refusal: refusal(denial, peer.dialect(), elsewhere) }
        }
    }
}

fn refusal(denial: Denial, dialect: Dialect, elsewhere: bool) -> Refusal {
    let text = words(denial);
    match denial {
        Denial::HostLeaving if elsewhere => Refusal::elsewhere(dialect, text),
        Denial::HostLeaving | Denial::NotKnown => Refusal::later(dialect, PATIENCE, text),
        Denial::UnknownProfile
        | Denial::ProfileRevoked
        | Denial::ProfileExpired
        | Denial::UserDisabled
        | Denial::NotPermitted => Refusal::Final(text),
    }
}

/// What a live client is told whom the policy does not admit any more.
pub(super) fn farewell(denial: Denial, dialect: Dialect) -> Farewell {
    if denial.is_temporary() {
        Farewell::MoveAway { dialect, text: words(denial) }
    } else {
        Farewell::Final(words(denial))
    }
}

/// A denial as a sentence that can be sent.
fn words(denial: Denial) -> Text {
    plain(&denial.to_string())
}

/// A sentence of ours that can be sent.
pub(super) fn plain(text: &str) -> Text {
    Text::new(text).expect("our own sentences are short and plain ASCII")
}

fn config(profile: &ProfileAccess, server: &Server, peer: &Peer) -> ClientConfig {
    let routes = server.routes.iter().map(|route| route.network);
    let config = routes.fold(ClientConfig::new(profile.address, server.network), ClientConfig::route);
    let servers = server.dns_servers.get(..ClientConfig::MAX_DNS_SERVERS).unwrap_or(&server.dns_servers);
    // A domain that cannot be said is no reason to keep anybody out.
    config.clone().dns(servers, &server.search_domains, peer).unwrap_or(config)
}

/// A mark of what clients of a server are given beside their address. A session with another mark is out of date.
pub(super) fn pushed(server: &Server) -> String {
    let mut digest = Sha256::new();
    for route in &server.routes {
        digest.update(route.network.net().to_string());
        digest.update(b"\0");
    }
    for resolver in &server.dns_servers {
        digest.update(resolver.octets());
    }
    for domain in &server.search_domains {
        digest.update(b"\0");
        digest.update(domain.as_str());
    }
    data_encoding::HEXLOWER.encode(digest.finalize().get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::samples;

    const TWO: &str = "2.6.14";
    const THREE: &str = "3.11.7";

    fn peer(version: &str, iv_proto: u32) -> Peer {
        Peer { iv_ver: version.to_owned(), iv_proto, ..Peer::default() }
    }

    fn refused(denial: Denial, peer: &Peer, server: &Server, others: usize) -> Refusal {
        match answer(Cid(4), Kid(1), peer, Some(server), others, Err(denial)) {
            Command::Refuse { cid: Cid(4), kid: Kid(1), refusal } => refusal,
            other => panic!("not a refusal: {other:?}"),
        }
    }

    #[test]
    fn an_admitted_client_gets_its_address_routes_and_resolvers() {
        let server = samples::server();
        let profile = samples::profile();
        let command = answer(Cid(4), Kid(1), &peer(TWO, 990), Some(&server), 1, Ok(&profile));
        let Command::Admit { cid: Cid(4), kid: Kid(1), config } = command else { panic!("{command:?}") };
        assert_eq!(
            config.lines(),
            [
                "ifconfig-push 10.9.0.7 255.255.0.0",
                "push \"route 10.77.0.0 255.255.0.0\"",
                "push \"dhcp-option DNS 10.77.0.53\"",
                "push \"dhcp-option DOMAIN-SEARCH corp.example\"",
                "push \"dns server 0 address 10.77.0.53\"",
                "push \"dns search-domains corp.example\"",
            ]
        );
    }

    #[test]
    fn whoever_is_refused_for_good_reads_why() {
        let finals = [
            (Denial::UnknownProfile, "this profile is not known here"),
            (Denial::ProfileRevoked, "this profile was revoked"),
            (Denial::ProfileExpired, "this profile has expired"),
            (Denial::UserDisabled, "this account is disabled"),
            (Denial::NotPermitted, "this account may not use this server"),
        ];
        for (denial, text) in finals {
            for client in [peer(TWO, 990), peer(THREE, 8094), peer("", 0)] {
                assert_eq!(refused(denial, &client, &samples::server(), 1), Refusal::Final(plain(text)));
            }
        }
    }

    #[test]
    fn our_own_faults_are_temporary_in_the_words_of_each_engine() {
        let server = samples::server();
        let off = Server { enabled: false, ..samples::server() };
        let cases = [
            (Denial::HostLeaving, &server, 1, peer(TWO, 990), Some(0)),
            (Denial::HostLeaving, &server, 2, peer(THREE, 8094), Some(1)),
            (Denial::HostLeaving, &server, 1, peer("2.4.0", 2), None),
            // The last host of all: clients must not turn in circles.
            (Denial::HostLeaving, &server, 0, peer(TWO, 990), Some(5)),
            (Denial::HostLeaving, &server, 0, peer(THREE, 8094), Some(5)),
            (Denial::HostLeaving, &off, 1, peer(TWO, 990), Some(5)),
            (Denial::NotKnown, &server, 1, peer(TWO, 990), Some(5)),
            (Denial::NotKnown, &server, 1, peer(THREE, 8094), Some(5)),
            (Denial::NotKnown, &server, 1, peer("", 0), None),
        ];
        for (denial, server, others, client, wait) in cases {
            let expected = match wait {
                Some(backoff) => Refusal::Temporary { backoff, text: words(denial) },
                None => Refusal::Restart,
            };
            assert_eq!(refused(denial, &client, server, others), expected, "{denial:?} {client:?}");
        }
    }

    #[test]
    fn a_server_that_vanished_refuses_for_now() {
        let command = answer(Cid(1), Kid(1), &peer(TWO, 990), None, 1, Ok(&samples::profile()));
        assert!(
            matches!(command, Command::Refuse { refusal: Refusal::Temporary { backoff: 5, .. }, .. }),
            "{command:?}"
        );
    }

    #[test]
    fn the_mark_follows_what_is_pushed_and_nothing_else() {
        let before = pushed(&samples::server());
        let mut server = samples::server();
        server.port = 1195.try_into().unwrap();
        assert_eq!(pushed(&server), before);
        server.dns_servers.clear();
        assert_ne!(pushed(&server), before);
        let mut server = samples::server();
        server.routes.clear();
        assert_ne!(pushed(&server), before);
    }
}
