//! Join tokens: what a new machine needs to find the cluster, to know it for the right one, and to be let in.
//!
//! The text is `psj_` and base64url (RFC 4648, section 5, unpadded) over `version (1) | secret (32) | pinned (0 or 1)
//! | [SHA-256 of the certificate (32)] | address (UTF-8)`. The secret is the one part that must stay one; it is stored
//! as a hash. The pin is there when the cluster's certificate is one that a fresh machine has no reason to believe.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;

use super::KeyError;
use super::secret::Secret;
use super::token::{OneTimeSecret, SecretHash};

const PREFIX: &str = "psj_";
const VERSION: u8 = 1;
const LENGTH: usize = 32;
const NOT_ONE: KeyError = KeyError::Malformed("join token");

/// The SHA-256 of a certificate (DER), as `openssl x509 -fingerprint -sha256` shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CertificatePin(pub [u8; LENGTH]);

impl fmt::Display for CertificatePin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for byte in self.0 {
            write!(f, "{separator}{byte:02X}")?;
            separator = ":";
        }
        Ok(())
    }
}

impl fmt::Debug for CertificatePin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A join token.
#[derive(Debug)]
pub struct JoinToken {
    /// What lets its bearer in, once.
    pub secret: OneTimeSecret,
    /// The certificate that the cluster shows, where only this can tell that it is the right one.
    pub pin: Option<CertificatePin>,
    /// Where the cluster's admin listener is: a URL without a path.
    pub url: String,
}

impl JoinToken {
    /// What to store, and to compare with what was stored.
    pub fn hash(&self) -> SecretHash {
        self.secret.hash("join")
    }

    /// The text to hand out, once.
    pub fn to_text(&self) -> Secret<String> {
        let pin = self.pin.as_ref().map_or(&[][..], |pin| &pin.0);
        let flag = u8::from(self.pin.is_some());
        let bytes = [&[VERSION][..], self.secret.as_bytes(), &[flag], pin, self.url.as_bytes()].concat();
        let bytes = zeroize::Zeroizing::new(bytes);
        Secret::new(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes)))
    }
}

impl FromStr for JoinToken {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(NOT_ONE)?;
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).ok().map(zeroize::Zeroizing::new).ok_or(NOT_ONE)?;
        let Some((&VERSION, rest)) = bytes.split_first() else { return Err(NOT_ONE) };
        let (secret, rest) = rest.split_first_chunk::<LENGTH>().ok_or(NOT_ONE)?;
        let (pin, rest) = match rest.split_first() {
            Some((0, rest)) => (None, rest),
            Some((1, rest)) => {
                let (pin, rest) = rest.split_first_chunk().ok_or(NOT_ONE)?;
                (Some(CertificatePin(*pin)), rest)
            }
            _ => return Err(NOT_ONE),
        };
        let url = std::str::from_utf8(rest).ok().filter(|url| is_origin(url)).ok_or(NOT_ONE)?;
        Ok(Self { secret: OneTimeSecret::from_bytes(*secret), pin, url: url.to_owned() })
    }
}

/// Scheme and authority, in characters that mean nothing to a terminal or a shell.
fn is_origin(url: &str) -> bool {
    let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    authority.is_some_and(|authority| {
        !authority.is_empty() && authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(pin: Option<CertificatePin>) -> JoinToken {
        JoinToken { secret: OneTimeSecret::generate(), pin, url: "https://vpn-admin.example.com:9443".to_owned() }
    }

    #[test]
    fn a_token_survives_its_text_form() {
        for pin in [None, Some(CertificatePin([0xab; 32]))] {
            let token = token(pin);
            let read: JoinToken = token.to_text().expose().parse().unwrap();
            assert_eq!((read.hash(), read.pin, &read.url), (token.hash(), pin, &token.url));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let text = token(Some(CertificatePin([1; 32]))).to_text();
        let text = text.expose();
        for bad in ["", "psj_", "pst_AAAA", &text[1..], &text[..40], &format!("{text}="), &format!(" {text}")] {
            assert!(bad.parse::<JoinToken>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_address_that_says_more_than_where_is_refused() {
        for url in ["https://", "https://a/b", "https://a;reboot", "ftp://a", "https://u:p@a", "https://a b", ""] {
            let text = JoinToken { url: url.to_owned(), ..token(None) }.to_text();
            assert!(text.expose().parse::<JoinToken>().is_err(), "{url}");
        }
    }

    #[test]
    fn a_pin_reads_as_openssl_writes_it() {
        let shown = CertificatePin([0x0f; 32]).to_string();
        assert!(shown.starts_with("0F:0F:") && shown.len() == 95, "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_parses_to_itself_or_not_at_all(text in "(psj_)?[0-9A-Za-z_-]{0,200}") {
            if let Ok(token) = text.parse::<JoinToken>() {
                let written = token.to_text();
                prop_assert_eq!(written.expose(), &text);
            }
        }
    }
}
