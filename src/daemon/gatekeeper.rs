//! Who is let in: a client's CONNECT or REAUTH and the verdict of the policy, turned into the command that answers it.
//!
//! Whoever is refused for good reads the reason. When the fault is ours (this host is leaving, the policy is too old to
//! decide by) the client gets the answer to try elsewhere or later, in the words its engine understands, and does not
//! give up. Nothing here waits or asks anybody.

use domain::access::{Denial, ProfileAccess};
use domain::server::Server;
use domain::spec::ClientSpec;
use openvpn::management::{Cid, ClientConfig, Command, Dialect, Farewell, Kid, Peer, Refusal, Text};

/// How long clients wait when no host may know better, in seconds.
const PATIENCE: u16 = 5;

/// How long clients wait that cannot be admitted before an administrator has acted, in seconds.
const LONG_PATIENCE: u16 = 30;

/// What a client's server looks like from here.
pub(super) struct Scene<'a> {
    /// The server, if it is still there, and what it tells its clients.
    pub server: Option<(&'a Server, ClientSpec)>,
    /// How many other hosts may let a client in where this one does not.
    pub others: usize,
}

/// The answer to a client that waits.
pub(super) fn answer(
    cid: Cid,
    kid: Kid,
    peer: &Peer,
    scene: &Scene<'_>,
    verdict: Result<&ProfileAccess, Denial>,
) -> Command {
    let Scene { server, others } = scene;
    let verdict = verdict.and_then(|profile| Ok((profile, server.as_ref().ok_or(Denial::HostLeaving)?)));
    match verdict {
        Ok((profile, (server, spec))) => {
            let config = ClientConfig::new(profile.address, server.network).told(spec, peer);
            Command::Admit { cid, kid, config }
        }
        Err(denial) => {
            // A server that is off is off on every host: nobody does better elsewhere.
            let elsewhere = *others > 0 && server.as_ref().is_some_and(|(server, _)| server.enabled);
            Command::Refuse { cid, kid, refusal: refusal(denial, peer.dialect(), elsewhere) }
        }
    }
}

fn refusal(denial: Denial, dialect: Dialect, elsewhere: bool) -> Refusal {
    let text = words(denial);
    match denial {
        Denial::HostLeaving | Denial::HeldUp | Denial::HostUnprotected if elsewhere => {
            Refusal::elsewhere(dialect, text)
        }
        Denial::NoOtherHost => Refusal::later(dialect, LONG_PATIENCE, text),
        Denial::HostLeaving | Denial::NotKnown | Denial::HeldUp | Denial::HostUnprotected => {
            Refusal::later(dialect, PATIENCE, text)
        }
        Denial::UnknownProfile
        | Denial::ProfileRevoked
        | Denial::ProfileExpired
        | Denial::UserDisabled
        | Denial::NotPermitted => Refusal::Final(text),
    }
}

/// The answer to a live client that the policy no longer admits.
pub(super) fn farewell(denial: Denial, dialect: Dialect) -> Farewell {
    match denial {
        Denial::NoOtherHost => Farewell::ComeBack { dialect, seconds: LONG_PATIENCE, text: words(denial) },
        _ if denial.is_temporary() => Farewell::MoveAway { dialect, text: words(denial) },
        _ => Farewell::Final(words(denial)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    const TWO: &str = "2.6.14";
    const THREE: &str = "3.11.7";

    fn peer(version: &str, iv_proto: u32) -> Peer {
        Peer { iv_ver: version.to_owned(), iv_proto, ..Peer::default() }
    }

    fn refused(denial: Denial, peer: &Peer, server: &Server, others: usize) -> Refusal {
        let scene = Scene { server: Some((server, ClientSpec::of(server))), others };
        match answer(Cid(4), Kid(1), peer, &scene, Err(denial)) {
            Command::Refuse { cid: Cid(4), kid: Kid(1), refusal } => refusal,
            other => panic!("not a refusal: {other:?}"),
        }
    }

    #[test]
    fn an_admitted_client_gets_its_address_routes_and_resolvers() {
        let server = samples::server();
        let profile = samples::profile();
        let outside = [std::net::IpAddr::from([10, 77, 0, 3])].into();
        let scene = Scene { server: Some((&server, ClientSpec { outside, ..ClientSpec::of(&server) })), others: 1 };
        let command = answer(Cid(4), Kid(1), &peer(TWO, 990), &scene, Ok(&profile));
        let Command::Admit { cid: Cid(4), kid: Kid(1), config } = command else { panic!("{command:?}") };
        assert_eq!(
            config.lines(),
            [
                "ifconfig-push 10.9.0.7 255.255.0.0",
                "push \"route 10.77.0.0 255.255.0.0\"",
                "push \"route 10.77.0.3 255.255.255.255 net_gateway\"",
                "push \"dhcp-option DNS 10.77.0.53\"",
                "push \"dhcp-option DOMAIN corp.example\"",
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
            // Only another file helps, or the host's return: the client stays, and asks rarely.
            (Denial::NoOtherHost, &server, 0, peer(TWO, 990), Some(30)),
            (Denial::NoOtherHost, &server, 0, peer(THREE, 8094), Some(30)),
            (Denial::NoOtherHost, &server, 0, peer("2.4.0", 2), None),
            (Denial::HeldUp, &server, 1, peer(TWO, 990), Some(0)),
            (Denial::HeldUp, &server, 0, peer(TWO, 990), Some(5)),
            (Denial::HeldUp, &server, 1, peer("", 0), None),
            (Denial::HostUnprotected, &server, 1, peer(TWO, 990), Some(0)),
            (Denial::HostUnprotected, &server, 0, peer(TWO, 990), Some(5)),
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
    fn nobody_is_sent_away_for_good_whose_file_names_no_other_host() {
        for dialect in [Dialect::Two, Dialect::Three, Dialect::Plain] {
            let expected = Farewell::ComeBack { dialect, seconds: 30, text: words(Denial::NoOtherHost) };
            assert_eq!(farewell(Denial::NoOtherHost, dialect), expected);
        }
    }

    #[test]
    fn a_server_that_vanished_refuses_for_now() {
        let scene = Scene { server: None, others: 1 };
        let command = answer(Cid(1), Kid(1), &peer(TWO, 990), &scene, Ok(&samples::profile()));
        assert!(
            matches!(command, Command::Refuse { refusal: Refusal::Temporary { backoff: 5, .. }, .. }),
            "{command:?}"
        );
    }
}
