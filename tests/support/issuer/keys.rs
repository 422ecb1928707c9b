//! The keys of the hostile issuer, and the tokens it makes with them by hand.

use std::sync::OnceLock;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use postern::runtime::random;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A key with a name.
pub(super) struct SigningKey {
    pub(super) kid: String,
    kind: Kind,
}

enum Kind {
    Rsa(RsaPrivateKey),
    P256(EcdsaKeyPair),
}

impl SigningKey {
    /// RSA with 2048 bits. One per process, since it takes a moment to make.
    pub(super) fn rsa() -> Self {
        static KEY: OnceLock<RsaPrivateKey> = OnceLock::new();
        Self::new(Kind::Rsa(KEY.get_or_init(|| rsa_of(2048)).clone()))
    }

    /// RSA with 1024 bits.
    pub(super) fn weak() -> Self {
        static KEY: OnceLock<RsaPrivateKey> = OnceLock::new();
        Self { kid: "weak".to_owned(), kind: Kind::Rsa(KEY.get_or_init(|| rsa_of(1024)).clone()) }
    }

    /// ECDSA on P-256.
    pub(super) fn p256() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self::new(Kind::P256(pair))
    }

    /// Another key of the same kind, which nobody publishes.
    pub(super) fn other_like(key: &Self) -> Self {
        static KEY: OnceLock<RsaPrivateKey> = OnceLock::new();
        match key.kind {
            Kind::Rsa(_) => Self::new(Kind::Rsa(KEY.get_or_init(|| rsa_of(2048)).clone())),
            Kind::P256(_) => Self::p256(),
        }
    }

    fn new(kind: Kind) -> Self {
        Self { kid: format!("{:08x}", u32::from_be_bytes(random::bytes())), kind }
    }

    /// The public half (RFC 7518 section 6).
    pub(super) fn jwk(&self) -> Value {
        match &self.kind {
            Kind::Rsa(key) => json!({
                "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
                "n": encode(&key.n().to_bytes_be()), "e": encode(&key.e().to_bytes_be()),
            }),
            Kind::P256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "use": "sig", "crv": "P-256", "kid": self.kid, "x": encode(x), "y": encode(y) })
            }
        }
    }

    /// A token under this key that claims to be made with the key called `kid`.
    pub(super) fn token(&self, kid: &str, claims: &Value, critical: bool) -> String {
        let algorithm = match self.kind {
            Kind::Rsa(_) => "RS256",
            Kind::P256(_) => "ES256",
        };
        let mut header = json!({ "alg": algorithm, "typ": "JWT", "kid": kid });
        if critical {
            header["crit"] = json!(["exp"]);
        }
        let message = message(&header, claims);
        let signature = match &self.kind {
            Kind::Rsa(key) => {
                key.sign(Pkcs1v15Sign::new::<rsa::sha2::Sha256>(), &Sha256::digest(message.as_bytes())).unwrap()
            }
            Kind::P256(key) => key.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", encode(&signature))
    }

    /// A token that is keyed with the public half, as if that were a shared secret.
    pub(super) fn hs256(&self, claims: &Value) -> String {
        let message = message(&json!({ "alg": "HS256", "typ": "JWT", "kid": self.kid }), claims);
        let mut mac = Hmac::<Sha256>::new_from_slice(self.jwk().to_string().as_bytes()).unwrap();
        mac.update(message.as_bytes());
        format!("{message}.{}", encode(&mac.finalize().into_bytes()))
    }
}

/// A token without a signature.
pub(super) fn unsigned(claims: &Value) -> String {
    format!("{}.", message(&json!({ "alg": "none" }), claims))
}

fn rsa_of(bits: usize) -> RsaPrivateKey {
    RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).unwrap()
}

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()))
}

fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}
