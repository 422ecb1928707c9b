//! Networks, routes, and which address of a server's network a profile gets.

use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::ids::ProfileId;
use super::text::Comment;

/// Why a network was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not of the form `a.b.c.d/n`.
    #[error("must be an IPv4 network such as 10.200.0.0/16")]
    Form,
    /// Bits are set behind the prefix.
    #[error("has bits set behind its prefix; did you mean {meant}?")]
    HostBits {
        /// The same network without them.
        meant: Ipv4Net,
    },
    /// Too small or too large for a server.
    #[error("must have a prefix between /8 and /29")]
    Size,
    /// Loopback, multicast or similar: nobody can be reached there.
    #[error("must be an ordinary unicast network")]
    Reserved,
}

fn parse(text: &str) -> Result<Ipv4Net, NetworkError> {
    let network: Ipv4Net = text.parse().map_err(|_: ipnet::AddrParseError| NetworkError::Form)?;
    if network != network.trunc() {
        return Err(NetworkError::HostBits { meant: network.trunc() });
    }
    Ok(network)
}

/// The network of a server: one address for its gateway, one for each profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "10.200.0.0/16")]
pub struct ServerNetwork(Ipv4Net);

impl ServerNetwork {
    /// The network in address/prefix form.
    pub fn net(self) -> Ipv4Net {
        self.0
    }

    /// The address of every daemon of the server inside the tunnel: the first of the network.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.0.network()) + 1)
    }

    /// How many profiles fit: all but the network, the gateway and the broadcast address.
    pub fn capacity(self) -> u32 {
        (1u32 << (32 - self.0.prefix_len())) - 3
    }

    /// The `n`th address for profiles, counted from zero; wraps round at the capacity.
    pub fn address(self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.0.network()) + 2 + n % self.capacity())
    }

    /// The addresses to try for a profile: each of the network once, from a place and by a step that depend on the
    /// profile alone (double hashing). So profiles made at the same time rarely want the same address and need nobody to
    /// hand them out, and a network that fills up does so without clusters.
    pub fn candidates(self, profile: ProfileId) -> impl Iterator<Item = Ipv4Addr> {
        let digest = Sha256::digest(profile.to_bytes());
        let capacity = self.capacity();
        let number = |bytes: &[u8]| bytes.iter().fold(0u32, |number, byte| (number << 8) | u32::from(*byte));
        let (first, rest) = digest.split_at(4);
        let start = number(first) % capacity;
        // Only a step without a common divisor comes past every address.
        let drawn = number(rest.split_at(4).0) % capacity;
        let step =
            (drawn..drawn + capacity).map(|n| 1 + n % capacity).find(|step| gcd(*step, capacity) == 1).unwrap_or(1);
        let nth = move |n: u32| (u64::from(start) + u64::from(n) * u64::from(step)) % u64::from(capacity);
        (0..capacity).map(move |n| self.address(u32::try_from(nth(n)).unwrap_or(0)))
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: Ipv4Net) -> bool {
        self.0.contains(&other.network()) || other.contains(&self.0.network())
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl FromStr for ServerNetwork {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let network = parse(text)?;
        if !(8..=29).contains(&network.prefix_len()) {
            return Err(NetworkError::Size);
        }
        let first = network.network();
        if first.octets().first() == Some(&0)
            || first.is_loopback()
            || first.is_multicast()
            || first.is_link_local()
            || first >= Ipv4Addr::new(240, 0, 0, 0)
        {
            return Err(NetworkError::Reserved);
        }
        Ok(Self(network))
    }
}

impl TryFrom<String> for ServerNetwork {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<ServerNetwork> for String {
    fn from(network: ServerNetwork) -> Self {
        network.0.to_string()
    }
}

/// The destination of a route: any IPv4 network without host bits, `0.0.0.0/0` included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "10.0.0.0/8")]
pub struct Destination(Ipv4Net);

impl Destination {
    /// The network in address/prefix form.
    pub fn net(self) -> Ipv4Net {
        self.0
    }
}

impl FromStr for Destination {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let network = parse(text)?;
        if network.network().is_multicast() || network.network().is_loopback() {
            return Err(NetworkError::Reserved);
        }
        Ok(Self(network))
    }
}

impl TryFrom<String> for Destination {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.0.to_string()
    }
}

/// A private network that a server's clients may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ServerRoute)]
pub struct Route {
    /// Where to.
    pub network: Destination,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Comment>,
    /// Whether the host puts its own address in place of the client's (masquerade), so that the private network
    /// needs no route back.
    #[serde(default = "yes")]
    pub nat: bool,
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Id;

    #[test]
    fn networks_with_host_bits_are_refused_with_a_proposal() {
        let meant = "10.200.0.0/16".parse().unwrap();
        assert_eq!("10.200.0.1/16".parse::<ServerNetwork>(), Err(NetworkError::HostBits { meant }));
    }

    #[test]
    fn networks_nobody_can_use_are_refused() {
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "fd00::/64",
            "10.0.0.0/7",
            "10.0.0.0/30",
            "127.0.0.0/8",
            "224.0.0.0/8",
            "0.0.0.0/8",
            "240.0.0.0/8",
        ] {
            assert!(bad.parse::<ServerNetwork>().is_err(), "{bad}");
        }
    }

    #[test]
    fn overlap_is_seen_from_both_sides() {
        let small: ServerNetwork = "10.200.4.0/24".parse().unwrap();
        let large: ServerNetwork = "10.200.0.0/16".parse().unwrap();
        let other: ServerNetwork = "10.201.0.0/16".parse().unwrap();
        assert!(small.overlaps(large.net()) && large.overlaps(small.net()));
        assert!(!small.overlaps(other.net()) && !other.overlaps(small.net()));
    }

    proptest! {
        #[test]
        fn candidates_are_every_usable_address_once(random: u128, prefix in 22u8..=29) {
            let network: ServerNetwork = format!("10.9.8.0/{prefix}").parse().or_else(|_| format!("10.9.0.0/{prefix}").parse()).unwrap();
            let profile = ProfileId::from_parts(Timestamp::UNIX_EPOCH, random);
            let all: Vec<_> = network.candidates(profile).collect();
            prop_assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
            prop_assert_eq!(all.len(), network.capacity() as usize);
            for address in all {
                prop_assert!(network.net().contains(&address));
                prop_assert!(address != network.net().network() && address != network.net().broadcast() && address != network.gateway());
            }
        }
    }
}
