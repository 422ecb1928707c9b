//! Bearer secrets: the holder of one is admitted, so only hashes are stored.
//!
//! Each has 256 bits from the operating system. Nobody can search that space, so the stored hash is plain SHA-256 with
//! the purpose mixed in, without a key and without the slowness that guessable passwords need: a process without the
//! master key can check a token too, and a stolen database still holds none. The purpose keeps a hash of one kind from
//! being taken for another.
//!
//! API tokens are written `pst_<id>_<secret>`, for instance `pst_tok_01J…_9f2c…`: the id finds the record, the fixed
//! beginning lets secret scanners find a leaked token, and without `-` one double click selects it all.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::secret::Secret;
use super::{KeyError, random};
use domain::ids::TokenId;

const LENGTH: usize = 32;
const PREFIX: &str = "pst_";

/// The hash of a bearer secret, as it is stored.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; LENGTH]);

impl SecretHash {
    /// A hash that was read back.
    pub fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// The bytes to store or to look up.
    pub fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

/// In constant time: how long it takes does not tell how much was right.
impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// A secret of 256 bits that is shown once, for links and tickets; its text form is 64 lower-case hexadecimal digits.
#[derive(Debug)]
pub struct OneTimeSecret(Secret<[u8; LENGTH]>);

impl OneTimeSecret {
    /// A new one.
    pub fn generate() -> Self {
        Self(Secret::new(random::bytes()))
    }

    /// The secret with these bytes.
    pub(super) fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The bytes, for a longer text form.
    pub(super) fn as_bytes(&self) -> &[u8; LENGTH] {
        self.0.expose()
    }

    /// The text to hand out.
    pub fn to_text(&self) -> Secret<String> {
        Secret::new(HEXLOWER.encode(self.0.expose()))
    }

    /// What to store. `purpose` names the kind of secret (`"join"`, `"owner_link"`); another purpose gives another hash.
    pub fn hash(&self, purpose: &str) -> SecretHash {
        let digest = Sha256::new()
            .chain_update(b"postern secret 1")
            .chain_update((purpose.len() as u64).to_be_bytes())
            .chain_update(purpose)
            .chain_update(self.0.expose())
            .finalize();
        SecretHash(digest.into())
    }
}

impl FromStr for OneTimeSecret {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; LENGTH];
        // The length comes first, since the decoder panics on a buffer of another size.
        if text.len() != 2 * LENGTH || HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).is_err() {
            return Err(KeyError::Malformed("one-time secret"));
        }
        Ok(Self(Secret::new(bytes)))
    }
}

/// An API token: which record it is, and the secret that proves it.
#[derive(Debug)]
pub struct Token {
    /// The record that holds the hash.
    pub id: TokenId,
    secret: OneTimeSecret,
}

impl Token {
    /// A new token for the record `id`.
    pub fn generate(id: TokenId) -> Self {
        Self { id, secret: OneTimeSecret::generate() }
    }

    /// The text to hand out, once.
    pub fn to_text(&self) -> Secret<String> {
        Secret::new(format!("{PREFIX}{}_{}", self.id, self.secret.to_text().expose()))
    }

    /// What to store, and to compare with what was stored.
    pub fn hash(&self) -> SecretHash {
        self.secret.hash("api_token")
    }
}

impl FromStr for Token {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let parse = || {
            let (id, secret) = text.strip_prefix(PREFIX)?.rsplit_once('_')?;
            Some(Self { id: id.parse().ok()?, secret: secret.parse().ok()? })
        };
        parse().ok_or(KeyError::Malformed("token"))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use domain::ids::Id;

    fn token() -> Token {
        Token::generate(TokenId::from_parts(Timestamp::UNIX_EPOCH, random::u128()))
    }

    #[test]
    fn a_token_survives_its_text_form() {
        let token = token();
        let read: Token = token.to_text().expose().parse().unwrap();
        assert_eq!(read.id, token.id);
        assert_eq!(read.hash(), token.hash());
        assert_eq!(read.hash(), SecretHash::from_bytes(*token.hash().as_bytes()));
    }

    #[test]
    fn every_token_is_its_own() {
        assert_ne!(token().hash(), token().hash());
    }

    #[test]
    fn a_purpose_is_part_of_the_hash() {
        let secret = OneTimeSecret::generate();
        assert_ne!(secret.hash("join"), secret.hash("owner_link"));
        let read: OneTimeSecret = secret.to_text().expose().parse().unwrap();
        assert_eq!(read.hash("join"), secret.hash("join"));
    }

    #[test]
    fn other_spellings_are_refused() {
        let text = token().to_text();
        let text = text.expose();
        for bad in ["", "pst_", "pst__", &text[1..], &text[..text.len() - 1], &text.to_uppercase(), &format!("{text} ")]
        {
            assert!(bad.parse::<Token>().is_err(), "{bad:?} must not be a token");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = token();
        let shown = format!("{token:?} {:?}", token.hash());
        assert!(!shown.contains(token.secret.to_text().expose()));
        assert!(shown.contains("Secret(…)"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_parses_to_itself_or_not_at_all(text in "(pst_)?(tok_)?[0-9A-Za-z_é]{0,100}") {
            if let Ok(token) = text.parse::<Token>() {
                let written = token.to_text();
                prop_assert_eq!(written.expose(), &text);
            }
        }

        #[test]
        fn a_changed_character_is_another_token_or_none(at in any::<prop::sample::Index>(), with in "[0-9a-zA-Z_]") {
            let token = token();
            let text = token.to_text();
            let at = at.index(text.expose().len());
            let mut changed = text.expose().clone();
            changed.replace_range(at..=at, &with);
            if &changed != text.expose() && let Ok(other) = changed.parse::<Token>() {
                prop_assert!(other.id != token.id || other.hash() != token.hash());
            }
        }
    }
}
