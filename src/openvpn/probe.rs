//! The first packet of a client, and whether what comes back is a daemon's answer to it.
//!
//! That is all of OpenVPN's wire format which is spoken here: enough to learn whether a daemon can be reached and has
//! the right tls-crypt-v2 key, and too little to begin a TLS session. A daemon answers it without remembering
//! anything.
//!
//! The format is that of OpenVPN's `doc/tls-crypt-v2.txt` and of tls-crypt beneath it:
//!
//! - A packet: opcode and key id (one byte), the sender's session id (8), a packet number (4) and the time (4), a tag
//!   (32), then the encrypted rest. The tag is HMAC-SHA256 over what is before it and the rest in the clear; the rest is
//!   in AES-256-CTR, whose counter block is the first half of the tag.
//! - Keys: a client key has four parts of 64 bytes. A server encrypts by the first 32 bytes of the first and signs by
//!   those of the second, a client by those of the third and fourth.
//! - The rest: how many packets are acknowledged (1) and, where any are, their numbers (4 each) and the session id of
//!   their sender (8); then the number of this packet (4), and what it carries.
//! - `P_CONTROL_HARD_RESET_CLIENT_V3` has the wrapped client key behind it. Packet numbers from `0f000001` on tell a
//!   daemon that the client would show that key again; without it, a daemon would have to remember the client.
//! - Over TCP each packet comes after its length, 16 bits big-endian.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The longest packet that is an answer: what an Ethernet frame carries.
pub const LONGEST: usize = 1500;

const KEY: usize = 256;
const HEAD: usize = 17;
const TAG: usize = 32;
const CLIENT_RESET: u8 = 10;
const SERVER_RESET: u8 = 8;
/// The first packet of a client that can show its wrapped key again.
const FIRST: u32 = 0x0f00_0001;

/// A client's first packet, and what is needed to know its answer.
#[derive(Debug)]
pub struct Probe {
    key: Zeroizing<Vec<u8>>,
    session_id: [u8; 8],
    packet: Vec<u8>,
}

impl Probe {
    /// The first packet of a client whose key is `bundle`: 256 bytes, and then the same in wrapped form. `session_id` is
    /// random, `seconds` the time since 1970. `None` if the bundle is too short to be one.
    pub fn new(bundle: &[u8], session_id: [u8; 8], seconds: u32) -> Option<Self> {
        let (key, wrapped) = bundle.split_at_checked(KEY)?;
        let mut head = vec![CLIENT_RESET << 3];
        head.extend(session_id);
        head.extend(FIRST.to_be_bytes());
        head.extend(seconds.to_be_bytes());
        // Nothing is acknowledged, and it is packet 0 of the dialogue.
        let rest = [0; 5];
        let keys = DirectionKeys::to_server(key)?;
        let tag: [u8; TAG] = keys.mac(&head, &rest).finalize().into_bytes().into();
        let mut packet = [&head[..], &tag, &rest].concat();
        keys.apply_keystream(&tag, packet.get_mut(HEAD + TAG..)?)?;
        packet.extend(wrapped);
        Some(Self { key: Zeroizing::new(key.to_vec()), session_id, packet })
    }

    /// As one datagram.
    pub fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// As it goes over TCP.
    pub fn framed(&self) -> Vec<u8> {
        let length = u16::try_from(self.packet.len()).unwrap_or(u16::MAX);
        [&length.to_be_bytes(), self.packet()].concat()
    }

    /// Whether `packet` is the answer of a daemon that holds the server's key, to this probe.
    pub fn is_answered_by(&self, packet: &[u8]) -> bool {
        self.check(packet).is_some()
    }

    fn check(&self, packet: &[u8]) -> Option<()> {
        let (head, rest) = packet.split_at_checked(HEAD)?;
        let (tag, rest) = rest.split_first_chunk::<TAG>()?;
        let keys = DirectionKeys::to_client(&self.key)?;
        let mut rest = rest.to_vec();
        keys.apply_keystream(tag, &mut rest)?;
        keys.mac(head, &rest).verify_slice(tag).ok()?;
        let (acknowledged, rest) = rest.split_first()?;
        let (_numbers, rest) = rest.split_at_checked(4 * usize::from(*acknowledged))?;
        let ours = *acknowledged > 0 && rest.starts_with(&self.session_id);
        (head.first()? >> 3 == SERVER_RESET && ours).then_some(())
    }
}

/// The keys of one direction.
struct DirectionKeys<'a> {
    cipher: &'a [u8],
    mac: &'a [u8],
}

impl<'a> DirectionKeys<'a> {
    fn to_client(key: &'a [u8]) -> Option<Self> {
        Some(Self { cipher: key.get(..32)?, mac: key.get(64..96)? })
    }

    fn to_server(key: &'a [u8]) -> Option<Self> {
        Some(Self { cipher: key.get(128..160)?, mac: key.get(192..224)? })
    }

    fn mac(&self, head: &[u8], rest: &[u8]) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(self.mac).expect("HMAC takes a key of any length");
        mac.chain_update(head).chain_update(rest)
    }

    /// Encrypts or, being the same in counter mode, decrypts.
    fn apply_keystream(&self, tag: &[u8; TAG], text: &mut [u8]) -> Option<()> {
        Ctr128BE::<Aes256>::new_from_slices(self.cipher, tag.get(..16)?).ok()?.apply_keystream(text);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    const SESSION: [u8; 8] = [0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6, 0x07, 0x18];
    const AT: u32 = 1_795_800_000;

    /// What openvpn 2.6.14 with `force-cookie` answered to [`probe`], by UDP and by TCP.
    const ANSWERS: [&str; 2] = [
        "40722867d3aff6a8aa000000016b09c0fde19dcbcb3bb078c3cf8cfc9068c673a4fc0ab7289bac6d5ee1a603fd64797c57aed8268de93711cd\
         9ea5dd1299250ffe462a05d84a7ccd",
        "40e0c064d1ae93d5ee0f0000016b09c0fd0178732d384faf05323bc9cedb6ca701119f2bea3e7e97005ae9c445093fe3aa6793fc8368c8443a\
         ccce9da8df7ae24ec3",
    ];

    fn key() -> Vec<u8> {
        (0..=255).collect()
    }

    fn probe() -> Probe {
        Probe::new(&[&key()[..], b"wrapped"].concat(), SESSION, AT).unwrap()
    }

    fn answers() -> [Vec<u8>; 2] {
        ANSWERS.map(|hex| HEXLOWER.decode(hex.as_bytes()).unwrap())
    }

    /// What an OpenVPN server would send, with this opcode and these bytes in the clear.
    fn sealed(opcode: u8, rest: &[u8]) -> Vec<u8> {
        let (key, head) = (key(), [&[opcode << 3][..], &[7; 16]].concat());
        let keys = DirectionKeys::to_client(&key).unwrap();
        let tag: [u8; TAG] = keys.mac(&head, rest).finalize().into_bytes().into();
        let mut rest = rest.to_vec();
        keys.apply_keystream(&tag, &mut rest).unwrap();
        [&head[..], &tag, &rest].concat()
    }

    fn acknowledging(session_id: [u8; 8]) -> Vec<u8> {
        [&[1, 0, 0, 0, 0][..], &session_id, &[0; 4]].concat()
    }

    #[test]
    fn a_probe_is_the_packet_that_openvpn_answered() {
        let expected = "50a1b2c3d4e5f607180f0000016b09bbc07c0d7e5714adac43f1a8a3cdc9d551e4e1498fb7e7b01602cd14551c3f746ee038e\
                        c92ae81";
        let probe = probe();
        let (packet, wrapped) = probe.packet().split_at(54);
        assert_eq!((HEXLOWER.encode(packet).as_str(), wrapped), (expected, &b"wrapped"[..]));
        assert_eq!(probe.framed(), [&[0, 61], probe.packet()].concat());
    }

    #[test]
    fn the_answers_of_openvpn_are_known_and_belong_to_one_session() {
        let other = Probe::new(&key(), [0; 8], AT).unwrap();
        for answer in answers() {
            assert!(probe().is_answered_by(&answer));
            assert!(!other.is_answered_by(&answer), "an answer to somebody else");
        }
    }

    #[test]
    fn another_key_or_opcode_is_no_answer() {
        let answer = sealed(SERVER_RESET, &acknowledging(SESSION));
        assert!(probe().is_answered_by(&answer));
        let other = Probe::new(&[9; KEY], SESSION, AT).unwrap();
        assert!(!other.is_answered_by(&answer), "of a server with another key");
        assert!(!probe().is_answered_by(&sealed(4, &acknowledging(SESSION))));
        assert!(!probe().is_answered_by(&sealed(SERVER_RESET, &[0; 5])), "it acknowledges nothing");
        assert!(!probe().is_answered_by(&sealed(SERVER_RESET, &[255, 0, 0])), "it is cut off");
    }

    #[test]
    fn half_a_key_makes_no_probe() {
        assert!(Probe::new(&[0; KEY - 1], SESSION, AT).is_none());
    }

    proptest! {
        #[test]
        fn nothing_that_was_changed_or_made_up_is_an_answer(
            noise in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(),
        ) {
            prop_assert!(!probe().is_answered_by(&noise));
            for mut answer in answers() {
                let bit = at.index(8 * answer.len());
                answer[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(!probe().is_answered_by(&answer));
            }
        }
    }
}
