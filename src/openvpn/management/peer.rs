//! What a client says about itself: hostile until cleaned here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::kind::ClientKind;

/// The client side of a connection, as far as the daemon knows it.
///
/// Everything except the fingerprint and the address is what the peer wants us to believe. Strings are cut to
/// [`Peer::MAX_VALUE`] characters and hold printable ASCII only (`common_name`: anything printable).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peer {
    /// SHA-256 of the certificate, DER; `None` when the daemon gave none or contradictory ones: do not admit.
    pub fingerprint: Option<[u8; 32]>,
    /// The certificate's common name: a label, not an identity.
    pub common_name: String,
    /// Where its packets come from.
    pub address: Option<SocketAddr>,
    /// `IV_VER`, the version of the client's engine.
    pub iv_ver: String,
    /// `IV_PROTO`, what the client's protocol can do, as bits; 0 when unknown.
    pub iv_proto: u32,
    /// `IV_PLAT`, the operating system.
    pub iv_plat: String,
    /// `IV_SSO`, the ways of web login it can do.
    pub iv_sso: String,
    /// `IV_GUI_VER`, the application around the engine.
    pub iv_gui_ver: String,
}

impl Peer {
    /// The longest kept value, in characters.
    pub const MAX_VALUE: usize = 64;

    /// How to talk to its engine.
    pub fn dialect(&self) -> Dialect {
        Dialect::of(&self.iv_ver, self.iv_proto)
    }

    /// What kind of client it is.
    pub fn kind(&self) -> ClientKind {
        ClientKind::of(&self.iv_plat, &self.iv_gui_ver, &self.iv_ver)
    }

    /// Whether its engine is OpenVPN 3, whose options differ from those of 2 here and there.
    pub fn is_three(&self) -> bool {
        is_three(&self.iv_ver)
    }

    /// Whether it understands the `dns` option well: bit 11, or 6 in OpenVPN 2.6. The OpenVPN 3 of that time drops all
    /// search domains but the first of it.
    pub fn takes_dns_option(&self) -> bool {
        let bit = |number: u32| self.iv_proto & (1 << number) != 0;
        bit(11) || bit(6) && !self.is_three()
    }
}

fn is_three(iv_ver: &str) -> bool {
    iv_ver.starts_with("3.")
}

/// Which way of being sent elsewhere a client's engine follows fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenVPN 2.x that understands temporary refusals.
    Two,
    /// OpenVPN 3 that understands temporary refusals.
    Three,
    /// Unknown, or too old for temporary refusals: it would take one for final.
    Plain,
}

impl Dialect {
    /// From `IV_VER` and `IV_PROTO` (bit 8: temporary refusals), which may be kept for this.
    pub fn of(iv_ver: &str, iv_proto: u32) -> Self {
        if iv_proto & (1 << 8) == 0 {
            Self::Plain
        } else if is_three(iv_ver) {
            Self::Three
        } else {
            Self::Two
        }
    }

    /// The backoff after which it comes back soonest: 3.x takes 0 as its own 2 s.
    pub(super) fn prompt_backoff(self) -> Option<u16> {
        match self {
            Self::Two => Some(0),
            Self::Three => Some(1),
            Self::Plain => None,
        }
    }
}

/// The variables of a client block that we use; others are not kept, so a block's memory is bounded.
const WANTED: [&str; 16] = [
    "IV_GUI_VER",
    "IV_PLAT",
    "IV_PROTO",
    "IV_SSO",
    "IV_VER",
    "bytes_received",
    "bytes_sent",
    "common_name",
    "ifconfig_pool_remote_ip",
    "time_duration",
    "time_unix",
    "tls_digest_sha256_0",
    "untrusted_ip",
    "untrusted_ip6",
    "untrusted_port",
    "username",
];

/// The longest value taken over from a line, in bytes: twice what any wanted variable needs.
const MAX_RAW: usize = 256;

/// The wanted variables of one client block.
#[derive(Debug, Default)]
pub(crate) struct Env(BTreeMap<&'static str, Option<String>>);

impl Env {
    /// Takes the part of a line after `>CLIENT:ENV,`.
    ///
    /// A variable that comes twice with different values is a trick: it counts as absent.
    pub(crate) fn add(&mut self, line: &[u8]) {
        let Some(equals) = line.iter().position(|&byte| byte == b'=') else { return };
        let (name, value) = line.split_at(equals);
        let Some(name) = WANTED.into_iter().find(|wanted| wanted.as_bytes() == name) else { return };
        let value = value.get(1..).unwrap_or_default();
        let value = String::from_utf8_lossy(value.get(..MAX_RAW).unwrap_or(value)).into_owned();
        self.0
            .entry(name)
            .and_modify(|known| {
                if known.as_ref() != Some(&value) {
                    *known = None;
                }
            })
            .or_insert(Some(value));
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_deref()
    }

    /// A number, or 0.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub(super) fn seconds(&self, name: &str) -> Duration {
        Duration::from_secs(self.number(name))
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer {
            fingerprint: self.get("tls_digest_sha256_0").and_then(fingerprint),
            common_name: cleaned(self.get("common_name"), |c| !c.is_control() && c != char::REPLACEMENT_CHARACTER),
            address: self.address(),
            iv_ver: self.ascii("IV_VER"),
            iv_proto: self.get("IV_PROTO").and_then(|text| text.parse().ok()).unwrap_or(0),
            iv_plat: self.ascii("IV_PLAT"),
            iv_sso: self.ascii("IV_SSO"),
            iv_gui_ver: self.ascii("IV_GUI_VER"),
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.get("untrusted_ip").or_else(|| self.get("untrusted_ip6"))?.parse().ok()?;
        Some(SocketAddr::new(ip.to_canonical(), self.get("untrusted_port")?.parse().ok()?))
    }

    fn ascii(&self, name: &str) -> String {
        cleaned(self.get(name), |c| c.is_ascii_graphic() || c == ' ')
    }
}

fn cleaned(text: Option<&str>, allowed: impl Fn(char) -> bool) -> String {
    let replaced = |c| if allowed(c) { c } else { '_' };
    text.unwrap_or_default().chars().take(Peer::MAX_VALUE).map(replaced).collect()
}

/// Reads `aa:bb:…`, 32 bytes.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(lines: &[&[u8]]) -> Env {
        let mut env = Env::default();
        for line in lines {
            env.add(line);
        }
        env
    }

    #[test]
    fn hostile_values_are_cut_and_cleaned() {
        let long = [b"IV_VER=".as_slice(), &[b'9'; 5000]].concat();
        let peer = env(&[&long, b"IV_PLAT=\xff\x00<b>\n", b"common_name=J\xc3\xb6rg\x1b[0m", b"IV_PROTO=-1"]).peer();
        assert_eq!(peer.iv_ver.len(), Peer::MAX_VALUE);
        assert_eq!(peer.iv_plat, "__<b>_");
        assert_eq!(peer.common_name, "J\u{f6}rg_[0m");
        assert_eq!(peer.iv_proto, 0);
    }

    #[test]
    fn a_fingerprint_given_twice_is_none() {
        let one = format!("tls_digest_sha256_0={}", ["aa"; 32].join(":"));
        let other = format!("tls_digest_sha256_0={}", ["bb"; 32].join(":"));
        assert_eq!(env(&[one.as_bytes(), one.as_bytes()]).peer().fingerprint, Some([0xaa; 32]));
        assert_eq!(env(&[one.as_bytes(), other.as_bytes()]).peer().fingerprint, None);
        assert_eq!(env(&[one.as_bytes(), other.as_bytes(), other.as_bytes()]).peer().fingerprint, None);
    }

    #[test]
    fn only_a_whole_fingerprint_counts() {
        for bad in ["", "aa", &["aa"; 31].join(":"), &["aa"; 33].join(":"), &["+a"; 32].join(":")] {
            assert_eq!(fingerprint(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        let four = env(&[b"untrusted_ip=192.0.2.7", b"untrusted_port=1234"]).peer();
        assert_eq!(four.address, Some("192.0.2.7:1234".parse().unwrap()));
        let six = env(&[b"untrusted_ip6=2001:db8::7", b"untrusted_port=1234"]).peer();
        assert_eq!(six.address, Some("[2001:db8::7]:1234".parse().unwrap()));
        let mapped = env(&[b"untrusted_ip6=::ffff:192.0.2.7", b"untrusted_port=1234"]).peer();
        assert_eq!(mapped.address, Some("192.0.2.7:1234".parse().unwrap()));
    }

    #[test]
    fn the_dialect_follows_engine_and_ability() {
        assert_eq!(Dialect::of("2.6.14", 990), Dialect::Two);
        assert_eq!(Dialect::of("3.11.7", 8094), Dialect::Three);
        assert_eq!(Dialect::of("2.4.0", 2), Dialect::Plain);
        assert_eq!(Dialect::of("3.11.7", 0), Dialect::Plain);
    }
}
