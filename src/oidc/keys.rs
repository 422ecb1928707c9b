//! The public keys of a provider (RFC 7517).

use data_encoding::BASE64URL_NOPAD;
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeyType, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKey as _, JsonWebKeyAlgorithm, JwsSigningAlgorithm as _};
use serde::Deserialize;
use serde_json::Value;

use super::error::BadToken;

/// NIST SP 800-131A.
const RSA_BITS: usize = 2048;
/// Real sets have two or three keys; each one without a `kid` costs a signature check.
const MOST: usize = 64;

/// Which key a token says it was signed with.
#[derive(Debug)]
pub(super) struct KeyReference {
    /// RS256 or ES256.
    pub(super) algorithm: CoreJwsSigningAlgorithm,
    /// The key's name; a provider with one key may leave it out.
    pub(super) kid: Option<String>,
}

/// What a provider signs with: the keys that are good for that, and the names of those that are too short.
#[derive(Debug)]
pub(super) struct Keys {
    good: Vec<CoreJsonWebKey>,
    weak: Vec<Option<String>>,
}

impl Keys {
    /// Reads a JWK set. Keys of kinds that Postern does not use are left out (RFC 7517 section 5).
    pub(super) fn read(document: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(document)?;
        let mut keys = Self { good: Vec::new(), weak: Vec::new() };
        for key in set.keys.into_iter().take(MOST) {
            let is_weak = key.get("kty").and_then(Value::as_str) == Some("RSA") && bits(&key) < RSA_BITS;
            if is_weak {
                keys.weak.push(key.get("kid").and_then(Value::as_str).map(str::to_owned));
            } else if let Ok(key) = serde_json::from_value(key) {
                keys.good.push(key);
            }
        }
        Ok(keys)
    }

    /// Whether `signature` over `message` was made with the wanted key.
    pub(super) fn verify(&self, wanted: &KeyReference, message: &[u8], signature: &[u8]) -> Result<(), BadToken> {
        let candidates: Vec<_> = self.good.iter().filter(|key| fits(key, wanted)).collect();
        if candidates.iter().any(|key| key.verify_signature(&wanted.algorithm, message, signature).is_ok()) {
            return Ok(());
        }
        let weak = wanted.algorithm == CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256 && self.weak.contains(&wanted.kid);
        match candidates.is_empty() {
            true if weak => Err(BadToken::WeakKey),
            false if wanted.kid.is_some() => Err(BadToken::Signature),
            // Without a name, a key that is new is a key that does not fit.
            _ => Err(BadToken::UnknownKey),
        }
    }
}

fn fits(key: &CoreJsonWebKey, wanted: &KeyReference) -> bool {
    let named = wanted.kid.as_deref().is_none_or(|kid| key.key_id().is_some_and(|id| id.as_str() == kid));
    let for_signatures = key.key_use().is_none_or(openidconnect::JsonWebKeyUse::allows_signature);
    let of_kind: Option<CoreJsonWebKeyType> = wanted.algorithm.key_type();
    let for_algorithm = match key.signing_alg() {
        JsonWebKeyAlgorithm::Unspecified => true,
        JsonWebKeyAlgorithm::Algorithm(algorithm) => *algorithm == wanted.algorithm,
        JsonWebKeyAlgorithm::Unsupported => false,
    };
    named && for_signatures && for_algorithm && of_kind.as_ref() == Some(key.key_type())
}

/// The length of an RSA key's modulus; 0 if it cannot be read.
fn bits(key: &Value) -> usize {
    let modulus = key.get("n").and_then(Value::as_str).and_then(|n| BASE64URL_NOPAD.decode(n.as_bytes()).ok());
    let modulus = modulus.unwrap_or_default();
    let mut bytes = modulus.iter().skip_while(|byte| **byte == 0);
    bytes.next().map_or(0, |first| (u8::BITS - first.leading_zeros()) as usize + bytes.count() * 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_modulus_does_not_count_leading_zeros() {
        let of = |bytes: &[u8]| bits(&serde_json::json!({ "n": BASE64URL_NOPAD.encode(bytes) }));
        assert_eq!(of(&[0x80; 256]), 2048);
        assert_eq!(of(&[0x7f; 256]), 2047);
        assert_eq!(of(&[&[0; 200], &[0x80; 128][..]].concat()), 1024);
        assert_eq!(of(&[]), 0);
        assert_eq!(bits(&serde_json::json!({ "n": "!" })), 0);
    }
}
