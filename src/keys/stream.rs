//! Sealing of what is too long to be held in memory: a file, in frames.
//!
//! ```text
//! file  = "postern-sealed 1\n" | fingerprint of the master key (8) | nonce (19)
//!         | length of the head (4) | head | frame *
//! frame = length of the ciphertext (4), its highest bit set in the last frame | ciphertext and tag
//! ```
//!
//! Numbers are little endian. Frames are sealed by the STREAM construction (Hoang, Reyhanitabar, Rogaway and Vizár 2015)
//! over XChaCha20-Poly1305: the nonce of each holds its number and whether it is the last. So a frame that was changed,
//! left out, repeated or moved does not open, and neither does a file that was cut or continued. All that stands before
//! the frames is associated data of each; the head is not secret. The key follows from the master key and is used for
//! nothing else.

use std::io::{Read, Write};
use std::{fmt, io};

use aead_stream::{DecryptorBE32, EncryptorBE32};
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::Payload;

use super::seal::{Fingerprint, SealingKey};
use super::{KeyError, random};

const MAGIC: &[u8; 17] = b"postern-sealed 1\n";
const FINGERPRINT: usize = 8;
const NONCE: usize = 19;
/// The longest head in bytes.
pub const LONGEST_HEAD: usize = 4096;
/// Plain bytes of a frame; only the last one holds fewer.
const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;
const LAST: u32 = 1 << 31;

type Encryptor = EncryptorBE32<XChaCha20Poly1305>;
type Decryptor = DecryptorBE32<XChaCha20Poly1305>;

/// What stands before the frames of a sealed file: readable without a key, believed only once a frame has opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preface {
    /// The master key that opens the file.
    pub sealed_by: Fingerprint,
    /// What the maker wrote about it.
    pub head: Vec<u8>,
    nonce: [u8; NONCE],
}

impl Preface {
    /// Whether a file that begins so is one.
    pub fn is_of(start: &[u8]) -> bool {
        start.starts_with(MAGIC)
    }

    /// Reads it, and nothing behind it.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when it is no sealed file; those of the reader below.
    pub fn read(from: &mut impl Read) -> Result<Self, StreamError> {
        const NOT_ONE: StreamError = StreamError::Key(KeyError::Malformed("sealed file"));
        let mut start = [0; MAGIC.len() + FINGERPRINT + NONCE + 4];
        from.read_exact(&mut start).map_err(|error| if is_end(&error) { NOT_ONE } else { error.into() })?;
        let Some(rest) = start.strip_prefix(MAGIC) else { return Err(NOT_ONE) };
        let Some((fingerprint, rest)) = rest.split_first_chunk() else { return Err(NOT_ONE) };
        let Some((nonce, length)) = rest.split_first_chunk() else { return Err(NOT_ONE) };
        let length = length.try_into().map_or(usize::MAX, |length| u32::from_le_bytes(length) as usize);
        if length > LONGEST_HEAD {
            return Err(NOT_ONE);
        }
        let mut head = vec![0; length];
        from.read_exact(&mut head).map_err(|error| if is_end(&error) { StreamError::Cut } else { error.into() })?;
        Ok(Self { sealed_by: Fingerprint::from_bytes(*fingerprint), head, nonce: *nonce })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.head.len()).unwrap_or(u32::MAX).to_le_bytes();
        [&MAGIC[..], self.sealed_by.as_bytes(), &self.nonce, &length, &self.head].concat()
    }
}

/// Why a sealed file does not open.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The wrong key, or a file that was changed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It ends before its last frame.
    #[error("the file is cut off: its last frame is missing")]
    Cut,
    /// Something follows its last frame.
    #[error("something was appended to the file")]
    Appended,
    /// It could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl StreamError {
    /// The cause of an error of [`Opener`], if it is one of these.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// Seals what is written to it. Without [`Sealer::finish`] the file is one that was cut off.
pub struct Sealer<W: Write> {
    to: W,
    encryptor: Encryptor,
    associated: Vec<u8>,
    chunk: Vec<u8>,
}

impl<W: Write> Sealer<W> {
    pub(super) fn begin(key: &SealingKey, sealed_by: Fingerprint, head: &[u8], mut to: W) -> io::Result<Self> {
        if head.len() > LONGEST_HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the head of a sealed file is too long"));
        }
        let preface = Preface { sealed_by, head: head.to_owned(), nonce: random::bytes() };
        let associated = preface.to_bytes();
        to.write_all(&associated)?;
        let encryptor = Encryptor::from_aead(key.cipher(), &preface.nonce.into());
        Ok(Self { to, encryptor, associated, chunk: Vec::with_capacity(CHUNK) })
    }

    /// Seals the last frame and gives back what was written to.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn finish(mut self) -> io::Result<W> {
        let payload = Payload { msg: &self.chunk, aad: &self.associated };
        let sealed = self.encryptor.encrypt_last(payload).map_err(|_full| too_long())?;
        write_frame(&mut self.to, &sealed, LAST)?;
        self.to.flush()?;
        Ok(self.to)
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK {
            let payload = Payload { msg: &self.chunk, aad: &self.associated };
            let sealed = self.encryptor.encrypt_next(payload).map_err(|_full| too_long())?;
            write_frame(&mut self.to, &sealed, 0)?;
            self.chunk.clear();
        }
        let (now, _later) = bytes.split_at(bytes.len().min(CHUNK - self.chunk.len()));
        self.chunk.extend_from_slice(now);
        Ok(now.len())
    }

    /// Frames are full or the last, so what is left stays.
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl<W: Write> fmt::Debug for Sealer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

fn too_long() -> io::Error {
    io::Error::other("a sealed file holds at most 2^32 frames")
}

fn write_frame(to: &mut impl Write, sealed: &[u8], last: u32) -> io::Result<()> {
    let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
    to.write_all(&(length | last).to_le_bytes())?;
    to.write_all(sealed)
}

/// Opens a sealed file as it is read. Errors that are no failures of the reader below are [`StreamError`]s within.
pub struct Opener<R: Read> {
    from: R,
    preface: Preface,
    /// `None` behind the last frame.
    decryptor: Option<Decryptor>,
    associated: Vec<u8>,
    opened: io::Cursor<Vec<u8>>,
}

impl<R: Read> Opener<R> {
    pub(super) fn begin(key: &SealingKey, ours: Fingerprint, preface: Preface, from: R) -> Result<Self, StreamError> {
        if preface.sealed_by != ours {
            return Err(KeyError::OtherKey { sealed_by: preface.sealed_by, ours }.into());
        }
        let decryptor = Decryptor::from_aead(key.cipher(), &preface.nonce.into());
        let associated = preface.to_bytes();
        Ok(Self { from, preface, decryptor: Some(decryptor), associated, opened: io::Cursor::default() })
    }

    /// What stands before the frames.
    pub fn preface(&self) -> &Preface {
        &self.preface
    }

    fn next_frame(&mut self) -> Result<(), StreamError> {
        let Some(mut decryptor) = self.decryptor.take() else { return Ok(()) };
        let cut = |error: io::Error| if is_end(&error) { StreamError::Cut } else { error.into() };
        let mut length = [0; 4];
        self.from.read_exact(&mut length).map_err(cut)?;
        let length = u32::from_le_bytes(length);
        let (last, length) = (length & LAST != 0, (length & !LAST) as usize);
        if !(TAG..=CHUNK + TAG).contains(&length) {
            return Err(KeyError::Refused.into());
        }
        let mut sealed = vec![0; length];
        self.from.read_exact(&mut sealed).map_err(cut)?;
        let payload = Payload { msg: &sealed, aad: &self.associated };
        let opened = if last {
            let opened = decryptor.decrypt_last(payload);
            if opened.is_ok() && self.from.read(&mut [0])? > 0 {
                return Err(StreamError::Appended);
            }
            opened
        } else {
            let opened = decryptor.decrypt_next(payload);
            self.decryptor = Some(decryptor);
            opened
        };
        self.opened = io::Cursor::new(opened.map_err(|_refused| KeyError::Refused)?);
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.opened.read(to)?;
            if read > 0 || to.is_empty() || self.decryptor.is_none() {
                return Ok(read);
            }
            self.next_frame().map_err(|error| match error {
                StreamError::Io(error) => error,
                other => io::Error::new(io::ErrorKind::InvalidData, other),
            })?;
        }
    }
}

impl<R: Read> fmt::Debug for Opener<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("sealed_by", &self.preface.sealed_by).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::master::MasterKey;

    const HEAD: &[u8] = b"{\"cluster\":\"c1\"}";

    fn key() -> MasterKey {
        MasterKey::from_bytes(&[7; 32])
    }

    fn seal(plain: &[u8]) -> Vec<u8> {
        let mut sealer = key().seal_stream(HEAD, Vec::new()).unwrap();
        sealer.write_all(plain).unwrap();
        sealer.finish().unwrap()
    }

    fn open(sealed: &[u8]) -> Result<Vec<u8>, String> {
        let mut from = sealed;
        let preface = Preface::read(&mut from).map_err(|error| error.to_string())?;
        let mut opener = key().open_stream(preface, from).map_err(|error| error.to_string())?;
        let mut plain = Vec::new();
        opener.read_to_end(&mut plain).map_err(|error| error.to_string())?;
        Ok(plain)
    }

    fn plain(length: usize) -> Vec<u8> {
        (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
    }

    /// Where the preface ends and each frame, length included.
    fn frames(sealed: &[u8]) -> (usize, Vec<std::ops::Range<usize>>) {
        let preface = MAGIC.len() + FINGERPRINT + NONCE + 4 + HEAD.len();
        let mut at = preface;
        let mut frames = Vec::new();
        while at < sealed.len() {
            let length = u32::from_le_bytes(sealed[at..at + 4].try_into().unwrap()) & !LAST;
            frames.push(at..at + 4 + length as usize);
            at += 4 + length as usize;
        }
        (preface, frames)
    }

    #[test]
    fn any_length_comes_back() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let sealed = seal(&plain(length));
            assert_eq!(open(&sealed).unwrap(), plain(length), "{length}");
            assert_eq!(frames(&sealed).1.len(), length.div_ceil(CHUNK).max(1), "{length}");
        }
    }

    #[test]
    fn what_stands_before_the_frames_is_readable_and_bound_to_them() {
        let mut sealed = seal(b"secret");
        let preface = Preface::read(&mut &sealed[..]).unwrap();
        assert_eq!((preface.sealed_by, &preface.head[..]), (key().fingerprint(), HEAD));
        let at = frames(&sealed).0 - 2;
        sealed[at] ^= 1;
        assert_ne!(Preface::read(&mut &sealed[..]).unwrap().head, HEAD);
        assert!(open(&sealed).unwrap_err().contains("was changed"));
    }

    #[test]
    fn another_key_is_named() {
        let other = MasterKey::from_bytes(&[8; 32]);
        let sealed = seal(b"secret");
        let preface = Preface::read(&mut &sealed[..]).unwrap();
        let error = other.open_stream(preface, &sealed[..]).unwrap_err().to_string();
        assert!(error.contains(&key().fingerprint().to_string()), "{error}");
    }

    #[test]
    fn cut_at_the_end_of_any_frame_it_does_not_open() {
        let sealed = seal(&plain(3 * CHUNK + 5));
        let (preface, frames) = frames(&sealed);
        for end in std::iter::once(preface).chain(frames.iter().map(|frame| frame.end).take(frames.len() - 1)) {
            assert!(open(&sealed[..end]).unwrap_err().contains("cut off"), "{end}");
        }
    }

    #[test]
    fn frames_that_changed_places_were_repeated_or_left_out_do_not_open() {
        let sealed = seal(&plain(3 * CHUNK + 5));
        let (preface, frames) = frames(&sealed);
        for order in [&[1, 0, 2, 3][..], &[0, 0, 1, 2, 3], &[0, 2, 3], &[0, 1, 3], &[3], &[0, 1, 2, 3, 3]] {
            let parts = order.iter().flat_map(|at| &sealed[frames[*at].clone()]);
            let reordered: Vec<u8> = sealed[..preface].iter().chain(parts).copied().collect();
            assert!(open(&reordered).is_err(), "{order:?}");
        }
    }

    #[test]
    fn a_frame_of_another_file_does_not_open() {
        let [mut one, two] = [plain(CHUNK + 1), plain(CHUNK + 1)].map(|plain| seal(&plain));
        let frame = frames(&one).1[0].clone();
        one[frame.clone()].copy_from_slice(&two[frame]);
        assert!(open(&one).is_err());
    }

    #[test]
    fn an_announced_length_is_not_believed() {
        let mut sealed = seal(b"secret");
        let at = frames(&sealed).0;
        for length in [0_u32, 15, u32::try_from(CHUNK + TAG + 1).unwrap(), u32::MAX >> 1, u32::MAX] {
            sealed[at..at + 4].copy_from_slice(&length.to_le_bytes());
            assert!(open(&sealed).is_err(), "{length}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_flipped_bit_is_refused(at in any::<prop::sample::Index>()) {
            let mut sealed = seal(&plain(CHUNK + 100));
            let bit = at.index(8 * sealed.len());
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(open(&sealed).is_err());
        }

        #[test]
        fn a_cut_file_is_refused(at in any::<prop::sample::Index>()) {
            let sealed = seal(&plain(CHUNK + 100));
            let length = at.index(sealed.len());
            prop_assert!(open(&sealed[..length]).is_err());
        }

        #[test]
        fn arbitrary_bytes_are_refused(tail in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open(&tail).is_err());
            prop_assert!(open(&[&MAGIC[..], &tail].concat()).is_err());
        }
    }
}
