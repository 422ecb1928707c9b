//! OpenVPN's tls-crypt-v2 keys, made without running `openvpn`.
//!
//! The format is that of OpenVPN's `doc/tls-crypt-v2.txt`. A server holds one key for all its clients; each client has
//! a key of its own, and shows it to the server in wrapped form with its first packet, so the server needs no list:
//!
//! - Server key: 128 bytes, of which `Ke` (bytes 0..32, AES-256-CTR) and `Ka` (bytes 64..96, HMAC-SHA256) are used.
//! - Client key: `Kc | WKc` with `Kc` 256 random bytes and
//!   `WKc = T | AES-256-CTR(Ke, iv = T[..16], Kc | metadata) | length`, `T = HMAC-SHA256(Ka, length | Kc | metadata)`;
//!   `length` is that of `WKc` with itself, 16 bits big-endian.
//! - Metadata: a type byte (00 for user data) and the data.
//!
//! A packet without a well-wrapped key is dropped before any TLS, which hides the server from scanners. It is no means
//! of revocation: changing the server key means new profiles for everybody.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use pem::{EncodeConfig, LineEnding, Pem};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::secret::Secret;
use super::{KeyError, random};

/// Most bytes of user data that a client key can carry: `WKc` is at most 1024 bytes.
pub const MAX_METADATA: usize = 733;

const SERVER_LABEL: &str = "OpenVPN tls-crypt-v2 server key";
const CLIENT_LABEL: &str = "OpenVPN tls-crypt-v2 client key";
const SERVER_KEY_LENGTH: usize = 128;
const CLIENT_KEY_LENGTH: usize = 256;
const TAG_LENGTH: usize = 32;
const USER_DATA: u8 = 0;

/// The key that all hosts of one server share; it wraps the clients' keys.
#[derive(Debug, Clone)]
pub struct ServerKey(Secret<[u8; SERVER_KEY_LENGTH]>);

impl ServerKey {
    /// A new key.
    pub fn generate() -> Self {
        Self(Secret::new(random::bytes()))
    }

    /// Reads the file that `tls-crypt-v2` names in a server's configuration.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let parse = || {
            let pem = pem::parse(text).ok().filter(|pem| pem.tag() == SERVER_LABEL)?;
            let contents = Zeroizing::new(pem.into_contents());
            Some(Self(Secret::new(contents.as_slice().try_into().ok()?)))
        };
        parse().ok_or(KeyError::Malformed("tls-crypt-v2 server key"))
    }

    /// The file for a server's configuration.
    pub fn to_pem(&self) -> Secret<String> {
        encode(SERVER_LABEL, self.0.expose())
    }

    /// A new client key that carries `metadata` as user data, wrapped for this server.
    ///
    /// # Errors
    /// [`KeyError::MetadataTooLong`] above [`MAX_METADATA`] bytes, which OpenVPN clients could not read.
    pub fn client_key(&self, metadata: &[u8]) -> Result<ClientKey, KeyError> {
        Ok(ClientKey(encode(CLIENT_LABEL, self.client_bundle(metadata)?.expose())))
    }

    /// The same as bytes: the key, and then its wrapped form.
    ///
    /// # Errors
    /// As for [`client_key`](Self::client_key).
    pub fn client_bundle(&self, metadata: &[u8]) -> Result<Secret<Vec<u8>>, KeyError> {
        if metadata.len() > MAX_METADATA {
            return Err(KeyError::MetadataTooLong { length: metadata.len() });
        }
        let client_key = Zeroizing::new(random::bytes::<CLIENT_KEY_LENGTH>());
        let plain = Zeroizing::new([client_key.as_slice(), &[USER_DATA], metadata].concat());
        Ok(Secret::new([client_key.as_slice(), &self.wrap(&plain)].concat()))
    }

    /// `WKc` for `plain`, which is `Kc | metadata`.
    fn wrap(&self, plain: &[u8]) -> Vec<u8> {
        let length = u16::try_from(TAG_LENGTH + plain.len() + 2).expect("the metadata's length was checked");
        let length = length.to_be_bytes();
        let tag = self.tag(length, plain);
        let mut text = plain.to_vec();
        self.apply_keystream(&tag, &mut text);
        [&tag[..], &text, &length].concat()
    }

    fn tag(&self, length: [u8; 2], plain: &[u8]) -> [u8; TAG_LENGTH] {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0.expose()[64..96]).expect("HMAC takes a key of any length");
        mac.chain_update(length).chain_update(plain).finalize().into_bytes().into()
    }

    /// Encrypts or, being the same in counter mode, decrypts.
    fn apply_keystream(&self, tag: &[u8; TAG_LENGTH], text: &mut [u8]) {
        let mut cipher = Ctr128BE::<Aes256>::new_from_slices(&self.0.expose()[..32], &tag[..16])
            .expect("AES-256 takes 32 bytes of key, a counter block has 16");
        cipher.apply_keystream(text);
    }
}

/// A client's key, for the `<tls-crypt-v2>` block of its profile.
#[derive(Debug)]
pub struct ClientKey(Secret<String>);

impl ClientKey {
    /// The PEM text.
    pub fn pem(&self) -> &str {
        self.0.expose()
    }

    /// The PEM text, without a copy.
    pub fn into_pem(self) -> Secret<String> {
        self.0
    }
}

fn encode(label: &str, bytes: &[u8]) -> Secret<String> {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    Secret::new(pem::encode_config(&Pem::new(label, bytes), config))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a server does with the bundle of a client key: `Kc`, then type and user data.
    fn unwrap(server: &ServerKey, bundle: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let (shown, wrapped) = bundle.split_at_checked(CLIENT_KEY_LENGTH)?;
        let (tag, rest) = wrapped.split_first_chunk::<TAG_LENGTH>()?;
        let (text, length) = rest.split_last_chunk::<2>()?;
        let mut plain = text.to_vec();
        server.apply_keystream(tag, &mut plain);
        let right = usize::from(u16::from_be_bytes(*length)) == wrapped.len() && server.tag(*length, &plain) == *tag;
        let (key, metadata) = plain.split_at_checked(CLIENT_KEY_LENGTH)?;
        (right && key == shown).then(|| (key.to_vec(), metadata.to_vec()))
    }

    fn bundle(key: &ClientKey) -> Vec<u8> {
        let pem = pem::parse(key.pem()).unwrap();
        assert_eq!(pem.tag(), "OpenVPN tls-crypt-v2 client key");
        pem.into_contents()
    }

    #[test]
    fn the_server_unwraps_what_it_wrapped() {
        let server = ServerKey::generate();
        let bundle = bundle(&server.client_key(b"prf_1").unwrap());
        assert_eq!(unwrap(&server, &bundle).unwrap().1, b"\0prf_1");
        assert_eq!(unwrap(&ServerKey::generate(), &bundle), None);
    }

    #[test]
    fn a_bundle_has_the_documented_size() {
        let server = ServerKey::generate();
        // 291 = tag, key, type byte and length without user data.
        assert_eq!(bundle(&server.client_key(b"").unwrap()).len(), CLIENT_KEY_LENGTH + 291);
        assert_eq!(bundle(&server.client_key(&[7; MAX_METADATA]).unwrap()).len(), CLIENT_KEY_LENGTH + 1024);
    }

    #[test]
    fn metadata_that_no_client_could_read_is_refused() {
        let result = ServerKey::generate().client_key(&[7; MAX_METADATA + 1]);
        assert!(matches!(result, Err(KeyError::MetadataTooLong { length: 734 })));
    }

    #[test]
    fn clients_have_different_keys() {
        let server = ServerKey::generate();
        let [one, two] = [(); 2].map(|()| unwrap(&server, &bundle(&server.client_key(b"").unwrap())).unwrap().0);
        assert_ne!(one, two);
    }

    #[test]
    fn a_server_key_survives_its_file() {
        let server = ServerKey::generate();
        let text = server.to_pem();
        let read = ServerKey::from_pem(text.expose()).unwrap();
        assert_eq!(read.0.expose(), server.0.expose());
        assert!(text.expose().starts_with("-----BEGIN OpenVPN tls-crypt-v2 server key-----\n"));
        assert!(text.expose().lines().all(|line| line.len() <= 64));
    }

    #[test]
    fn another_file_is_no_server_key() {
        let server = ServerKey::generate();
        let short = pem::encode(&Pem::new(SERVER_LABEL, vec![0; 127]));
        for text in ["", "key", server.client_key(b"").unwrap().pem(), &short] {
            assert!(matches!(ServerKey::from_pem(text), Err(KeyError::Malformed(_))));
        }
    }

    proptest! {
        #[test]
        fn a_changed_bundle_does_not_unwrap(at in any::<prop::sample::Index>()) {
            let server = ServerKey::generate();
            let mut bundle = bundle(&server.client_key(b"prf_1").unwrap());
            let bit = at.index(8 * bundle.len());
            bundle[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(unwrap(&server, &bundle), None);
        }
    }
}
