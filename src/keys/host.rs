//! A host's own key pair, and sealing to it.
//!
//! The private half is made on the host at its first start and never leaves it; the public half is in the database.
//! What a daemon needs is sealed to it by a process that has the master key, with HPKE in base mode (RFC 9180:
//! DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305). A sealed value is `version (1) | encapsulated key (32)
//! | ciphertext and tag`; the [`Context`] is its associated data. Base mode does not say who sealed: that the value
//! stands in the host's record is what the database vouches for.
//!
//! What a host asks for stands where other hosts can write, so it is sealed the other way in authenticated mode (RFC
//! 9180, section 5.1.3): it opens only with the public key of the host that sealed it, and only for its place.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, HpkeError, Kem as _, OpModeR, OpModeS, Serializable as _};
use zeroize::Zeroizing;

use super::keyfile::KEY_LENGTH;
use super::seal::{Context, Sealed, SealingKey};
use super::{KeyError, keyfile};

type Kem = X25519HkdfSha256;
type PrivateKey = <Kem as hpke::Kem>::PrivateKey;
type PublicKey = <Kem as hpke::Kem>::PublicKey;
type EncappedKey = <Kem as hpke::Kem>::EncappedKey;

const VERSION: u8 = 1;
/// Keeps these ciphertexts apart from any other use of the same key (`info` of RFC 9180).
const INFO: &[u8] = b"postern host seal 1";
/// The same for what a host asks for.
const REQUEST: &[u8] = b"postern host request 1";
const NOT_ONE: KeyError = KeyError::Malformed("value sealed to a host");

/// A host's key pair.
pub struct HostKey {
    private: PrivateKey,
    public: HostPublicKey,
    local: SealingKey,
}

impl HostKey {
    /// Reads the key file at `path`, or makes one: a host that lost its key joins again, so nothing is hidden by it.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        Ok(Self::from_bytes(&*keyfile::read_or_create(path)?))
    }

    /// The pair whose private half is `bytes`.
    #[expect(clippy::missing_panics_doc, reason = "the expectation is an invariant")]
    pub fn from_bytes(bytes: &[u8; KEY_LENGTH]) -> Self {
        let private = PrivateKey::from_bytes(bytes).expect("any 32 bytes are an X25519 key");
        let public = HostPublicKey(Kem::sk_to_pk(&private).to_bytes().into());
        Self { private, public, local: SealingKey::derive(bytes, "host local") }
    }

    /// The half that others may know.
    pub fn public(&self) -> HostPublicKey {
        self.public
    }

    /// Opens what [`seal_to`] sealed to this host for the place `context`.
    ///
    /// # Errors
    /// [`KeyError::Refused`] if it was changed, moved or sealed to another host; [`KeyError::Malformed`] if it is not
    /// such a value.
    pub fn open(&self, context: &Context<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.open_as(&OpModeR::Base, INFO, context, sealed)
    }

    /// Seals a request of this host to the holder of `to`, which learns by opening it that it is this host's.
    #[expect(clippy::missing_panics_doc, reason = "the expectation is an invariant")]
    pub fn request(&self, to: &HostPublicKey, context: &Context<'_>, request: &[u8]) -> Vec<u8> {
        let mine = PublicKey::from_bytes(&self.public.0).expect("a public key of ours");
        let mode = OpModeS::Auth((self.private.clone(), mine));
        seal_as(&mode, &to.0, REQUEST, context, request).expect("points of low order are refused when a key is read")
    }

    /// Opens a [`request`](Self::request) that `from` made for the place `context`; errors as of [`open`](Self::open).
    pub fn open_request(
        &self,
        from: &HostPublicKey,
        context: &Context<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let from = PublicKey::from_bytes(&from.0).map_err(|_low_order| KeyError::Refused)?;
        self.open_as(&OpModeR::Auth(from), REQUEST, context, sealed)
    }

    fn open_as(
        &self,
        mode: &OpModeR<'_, Kem>,
        info: &[u8],
        context: &Context<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let Some((&VERSION, rest)) = sealed.split_first() else { return Err(NOT_ONE) };
        let Some((encapped, ciphertext)) = rest.split_first_chunk::<KEY_LENGTH>() else { return Err(NOT_ONE) };
        let opened = EncappedKey::from_bytes(encapped).and_then(|encapped| {
            hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
                mode,
                &self.private,
                &encapped,
                info,
                ciphertext,
                &context.to_bytes(),
            )
        });
        opened.map(Zeroizing::new).ok().ok_or(KeyError::Refused)
    }

    /// Seals a line of a file on this host's own disk, for its place in the file; a text without line breaks.
    pub fn seal_line(&self, file: &str, number: u64, plain: &[u8]) -> String {
        let number = number.to_string();
        let context = Context { collection: "host", id: file, field: &number };
        STANDARD.encode(self.local.seal(&context, plain).as_bytes())
    }

    /// Opens a [`seal_line`](Self::seal_line); nothing if it is not what this host sealed for this place.
    pub fn open_line(&self, file: &str, number: u64, line: &str) -> Option<Zeroizing<Vec<u8>>> {
        let number = number.to_string();
        let context = Context { collection: "host", id: file, field: &number };
        self.local.open(&context, &Sealed::from(STANDARD.decode(line).ok()?)).ok()
    }

    /// The key for files on this host's own disk (snapshot, spool): worthless anywhere else.
    pub fn local_key(&self) -> &SealingKey {
        &self.local
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({})", self.public)
    }
}

/// The public half of a host's key; its text form is base64 (RFC 4648, padded, 44 characters).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostPublicKey([u8; KEY_LENGTH]);

impl HostPublicKey {
    /// The key with these bytes. The few that force a known shared secret (points of low order) are refused.
    pub fn from_bytes(bytes: [u8; KEY_LENGTH]) -> Result<Self, KeyError> {
        let context = Context { collection: "", id: "", field: "" };
        match seal_for(&bytes, &context, &[]) {
            Ok(_) => Ok(Self(bytes)),
            Err(_) => Err(KeyError::Malformed("host key")),
        }
    }

    /// The 32 bytes of RFC 7748.
    pub fn as_bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }
}

impl fmt::Display for HostPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for HostPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for HostPublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        Self::from_bytes(bytes.ok_or(KeyError::Malformed("host key"))?)
    }
}

/// Seals `plaintext` so that only the holder of `host`'s private half opens it, and only for the place `context`.
#[expect(clippy::missing_panics_doc, reason = "the expectation is an invariant")]
pub fn seal_to(host: &HostPublicKey, context: &Context<'_>, plaintext: &[u8]) -> Vec<u8> {
    seal_for(&host.0, context, plaintext).expect("points of low order are refused when a key is read")
}

fn seal_for(public: &[u8; KEY_LENGTH], context: &Context<'_>, plaintext: &[u8]) -> Result<Vec<u8>, HpkeError> {
    seal_as(&OpModeS::Base, public, INFO, context, plaintext)
}

fn seal_as(
    mode: &OpModeS<'_, Kem>,
    public: &[u8; KEY_LENGTH],
    info: &[u8],
    context: &Context<'_>,
    plaintext: &[u8],
) -> Result<Vec<u8>, HpkeError> {
    let (encapped, ciphertext) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, Kem>(
        mode,
        &PublicKey::from_bytes(public)?,
        info,
        plaintext,
        &context.to_bytes(),
    )?;
    Ok([&[VERSION][..], &encapped.to_bytes(), &ciphertext].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONTEXT: Context<'_> = Context { collection: "attachments", id: "srv_1/hst_1", field: "tls_crypt" };

    fn host() -> HostKey {
        HostKey::from_bytes(&[3; 32])
    }

    #[test]
    fn only_the_host_opens_what_is_sealed_to_it() {
        let sealed = seal_to(&host().public(), &CONTEXT, b"secret");
        assert_eq!(*host().open(&CONTEXT, &sealed).unwrap(), b"secret");
        let other = HostKey::from_bytes(&[4; 32]);
        assert!(matches!(other.open(&CONTEXT, &sealed), Err(KeyError::Refused)));
    }

    #[test]
    fn a_moved_value_is_refused() {
        let sealed = seal_to(&host().public(), &CONTEXT, b"secret");
        let moved = Context { id: "srv_2/hst_1", ..CONTEXT };
        assert!(matches!(host().open(&moved, &sealed), Err(KeyError::Refused)));
    }

    #[test]
    fn a_request_opens_only_as_the_one_of_the_host_that_made_it_and_for_its_place() {
        let cluster = HostKey::from_bytes(&[5; 32]);
        let sealed = host().request(&cluster.public(), &CONTEXT, b"request");
        let open = |from: &HostKey, context| cluster.open_request(&from.public(), context, &sealed);
        assert_eq!(*open(&host(), &CONTEXT).unwrap(), b"request");
        let other = HostKey::from_bytes(&[4; 32]);
        assert!(matches!(open(&other, &CONTEXT), Err(KeyError::Refused)), "of another host");
        let moved = Context { id: "srv_2/hst_1", ..CONTEXT };
        assert!(matches!(open(&host(), &moved), Err(KeyError::Refused)), "for another place");
        let unsigned = seal_to(&cluster.public(), &CONTEXT, b"request");
        assert!(matches!(cluster.open_request(&host().public(), &CONTEXT, &unsigned), Err(KeyError::Refused)));
    }

    #[test]
    fn a_public_key_survives_its_text_form() {
        let text = host().public().to_string();
        assert_eq!(text.len(), 44);
        assert_eq!(text.parse::<HostPublicKey>().unwrap(), host().public());
        for bad in ["", "AAAA", &text[..43], &format!("{text}A"), &format!(" {text}")] {
            assert!(bad.parse::<HostPublicKey>().is_err(), "{bad:?} must not be a key");
        }
    }

    #[test]
    fn a_point_of_low_order_is_no_key() {
        let mut one = [0; 32];
        one[0] = 1;
        for bytes in [[0; 32], one] {
            assert!(matches!(HostPublicKey::from_bytes(bytes), Err(KeyError::Malformed(_))));
        }
    }

    #[test]
    fn the_local_key_is_this_hosts_alone() {
        let sealed = host().local_key().seal(&CONTEXT, b"snapshot");
        assert_eq!(*host().local_key().open(&CONTEXT, &sealed).unwrap(), b"snapshot");
        let other = HostKey::from_bytes(&[4; 32]);
        assert!(matches!(other.local_key().open(&CONTEXT, &sealed), Err(KeyError::OtherKey { .. })));
    }

    #[test]
    fn debug_shows_the_public_half_only() {
        assert_eq!(format!("{:?}", host()), format!("HostKey({})", host().public()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_flipped_bit_is_refused(at in any::<prop::sample::Index>()) {
            let mut bytes = seal_to(&host().public(), &CONTEXT, b"secret");
            let bit = at.index(8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
            // The highest bit of an X25519 point is ignored by RFC 7748, but HPKE hashes the bytes as they are.
            prop_assert!(host().open(&CONTEXT, &bytes).is_err());
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..96)) {
            prop_assert!(host().open(&CONTEXT, &bytes).is_err());
        }
    }
}
