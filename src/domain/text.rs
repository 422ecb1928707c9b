//! Text that people type: names, e-mail addresses, DNS names. Each type refuses what could break a line, a page or
//! a log wherever it may end up; nothing is stripped silently.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Why a text was refused; the sentence is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// Longer than the kind of text allows.
    #[error("must have at most {max} characters")]
    TooLong {
        /// The limit in characters.
        max: usize,
    },
    /// A control character, a line or paragraph separator, or a mark that changes the direction of what follows.
    #[error("must not contain control characters, line breaks or direction marks")]
    Control,
    /// White space at an end.
    #[error("must not begin or end with white space")]
    Untrimmed,
    /// Not of the form that this kind of text has.
    #[error("must be {expected}")]
    Form {
        /// What would be right.
        expected: &'static str,
    },
}

fn check_plain(text: &str, max: usize) -> Result<(), TextError> {
    if text.trim().is_empty() {
        return Err(TextError::Empty);
    }
    if text.chars().count() > max {
        return Err(TextError::TooLong { max });
    }
    if text.chars().any(breaks_a_line) {
        return Err(TextError::Control);
    }
    if text.trim() != text {
        return Err(TextError::Untrimmed);
    }
    Ok(())
}

/// Control characters, Unicode line breaks, and the embeddings, overrides and isolates of UAX #9 that could make a
/// log line or a page read as something else.
pub fn breaks_a_line(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Keeps spreadsheets from taking a cell of a CSV file for a formula (SEC-INJ-07).
pub fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}

macro_rules! text {
    ($($(#[$doc:meta])* $name:ident($text:ident) like $example:literal $check:block)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String, example = $example)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = TextError;

            fn from_str($text: &str) -> Result<Self, TextError> {
                $check
                Ok(Self($text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextError;

            fn try_from(text: String) -> Result<Self, TextError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    )*};
}

text! {
    /// The name of a person or a thing: any script, 1 to 200 characters, quotes and all.
    Name(text) like "Berlin" {
        check_plain(text, 200)?;
    }

    /// The name of a group, as directories hand it out: 1 to 200 characters.
    GroupName(text) like "engineering" {
        check_plain(text, 200)?;
    }

    /// A free remark, 1 to 500 characters on one line.
    Comment(text) like "the office network" {
        check_plain(text, 500)?;
    }

    /// A DNS name (RFC 1123 section 2.1): labels of letters, digits and inner hyphens, 253 characters at most, not an
    /// address. Lower case only, so that equal names are equal texts.
    DnsName(text) like "example.com" {
        if !is_dns_name(text) {
            return Err(TextError::Form { expected: "a DNS name in lower case, such as vpn-1.example.com" });
        }
    }

    /// A mailbox address in lower case: one `@`, a local part without spaces or quotes, a DNS name after it.
    Email(text) like "ana@example.com" {
        let form = TextError::Form { expected: "an e-mail address in lower case, such as ana@example.com" };
        check_plain(text, 254).map_err(|cause| if matches!(cause, TextError::Untrimmed) { form.clone() } else { cause })?;
        match text.split_once('@') {
            Some((local, domain)) if is_local_part(local) && is_dns_name(domain) && domain.contains('.') => {}
            _ => return Err(form),
        }
    }

    /// The name of a client at an issuer (RFC 6749, appendix A.1): printable ASCII, without spaces at its ends.
    ClientId(text) like "1234.apps.googleusercontent.com" {
        check_plain(text, 255)?;
        if !text.is_ascii() {
            return Err(TextError::Form { expected: "plain ASCII" });
        }
    }

    /// The name that a machine goes by in its cluster: like one label of a DNS name, or several.
    HostName(text) like "vpn-1" {
        if !is_dns_name(text) {
            return Err(TextError::Form { expected: "a host name in lower case, such as vpn-1" });
        }
    }
}

impl Email {
    /// What follows the `@`.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// What stands before the `@`, which is always a name too.
    pub fn local_part(&self) -> Name {
        Name(self.0.split_once('@').map_or("", |(local, _)| local).into())
    }
}

fn is_local_part(local: &str) -> bool {
    (1..=64).contains(&local.len())
        && !local.chars().any(|c| c.is_whitespace() || c.is_uppercase() || "@\"\\()<>,;:[]".contains(c))
}

fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    // A last label of digits would make `10.0.0.1` a name (RFC 3696 section 2).
    let last_is_number = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && !last_is_number && text.split('.').all(label)
}

/// Where clients reach a host: an address or a DNS name, as it stands in a profile's `remote` line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PublicAddress {
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A name that clients resolve.
    Name(DnsName),
}

impl PartialSchema for PublicAddress {
    fn schema() -> RefOr<Schema> {
        let about = "Where clients reach a host: an address or a DNS name.";
        ObjectBuilder::new().schema_type(Type::String).description(Some(about)).examples(["203.0.113.10"]).into()
    }
}

impl ToSchema for PublicAddress {}

impl FromStr for PublicAddress {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let expected = "an IPv4 or IPv6 address or a DNS name in lower case";
        if let Ok(ip) = text.parse::<IpAddr>() {
            let usable = !ip.is_unspecified() && !ip.is_multicast();
            return usable.then_some(Self::Ip(ip)).ok_or(TextError::Form { expected });
        }
        text.parse().map(Self::Name).map_err(|_: TextError| TextError::Form { expected })
    }
}

impl TryFrom<String> for PublicAddress {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl From<PublicAddress> for String {
    fn from(address: PublicAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for PublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_quotes_and_any_script() {
        for name in ["Ana", "Seán \"Óg\" O'Brien", "李小龍", "محمد", "a; rm -rf / #", "<b>"] {
            assert_eq!(name.parse::<Name>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_break_a_line_are_refused() {
        for name in ["", "  ", "a\nb", "a\r", "a\0", "tab\there", "\u{202e}evil", "a\u{2028}b", " padded", "\u{7f}"] {
            assert!(name.parse::<Name>().is_err(), "{name:?}");
        }
        assert_eq!("x".repeat(201).parse::<Name>(), Err(TextError::TooLong { max: 200 }));
    }

    #[test]
    fn a_spreadsheet_gets_no_formula() {
        for bad in ["=1+1", "+1", "-1", "@x", "\tx", "\rx"] {
            assert_eq!(harmless(bad.to_owned()), format!("'{bad}"));
        }
        assert_eq!(harmless("a=b".to_owned()), "a=b");
    }

    #[test]
    fn e_mail_addresses_have_one_at_sign_and_a_domain() {
        assert_eq!("ana+vpn@example.com".parse::<Email>().unwrap().domain(), "example.com");
        for bad in [
            "",
            "ana",
            "@example.com",
            "ana@",
            "a@b@example.com",
            "Ana@example.com",
            "ana@localhost",
            "a b@x.de",
            "a\n@x.de",
        ] {
            assert!(bad.parse::<Email>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn public_addresses_are_addresses_or_names() {
        for good in ["203.0.113.10", "2001:db8::1", "vpn-1.example.com", "vpn"] {
            assert_eq!(good.parse::<PublicAddress>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "203.0.113.256",
            "vpn 1194",
            "vpn\nremote evil",
            "-x",
            "a..b",
            "VPN",
            "1.2.3",
        ] {
            assert!(bad.parse::<PublicAddress>().is_err(), "{bad:?}");
        }
    }
}
