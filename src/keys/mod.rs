//! Keys that are not certificates: what seals secrets at rest, what identifies a host, what a bearer shows.
//!
//! - [`master`]: the key in a file beside the database, never in it. Whoever issues or changes secrets needs it; a
//!   process that only serves VPN does not.
//! - [`host`]: each host's own key pair. The master-key side seals to its public half, so that a host opens what is
//!   meant for it and nothing else, and a stolen database opens nothing.
//! - [`join`]: what a new machine is handed so that it becomes a host: a bearer secret, and whom to show it to.
//! - [`seal`]: the authenticated encryption under both. Each ciphertext is bound to the place it is stored at
//!   ([`seal::Context`]); moved to another record or field it is refused.
//! - [`signing`]: the key that signs the audit log.
//! - [`stream`]: the same for files of any length.
//! - [`token`]: bearer secrets (API tokens, one-time links); only their hashes are stored.
//! - [`tls_crypt`]: OpenVPN's tls-crypt-v2 keys, made here without running `openvpn`.
//!
//! A key that is missing, exposed or wrong is an error with the way out in its text; nothing falls back to a fresh
//! key or to plain text. The one exception is named so: [`master::MasterKey::load_or_create`].

pub mod host;
pub mod join;
mod keyfile;
pub mod master;
pub mod seal;
pub mod signing;
pub mod stream;
pub mod tls_crypt;
pub mod token;

use std::io;
use std::path::PathBuf;

pub use domain::secret;
pub use runtime::random;

/// Why a key could not be used, or a sealed value not be opened.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such key file.
    #[error("there is no key file at {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Others on the machine can read or change the key file.
    #[error("the key file {path} has mode {mode:04o}, so others can get at it: run `chmod 600 {path}`", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold a key.
    #[error("the key file {} must hold exactly 64 hexadecimal digits and a newline", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read or written.
    #[error("the key file {} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The value was sealed under another key than ours: bring that key, the value itself may be in order.
    #[error("sealed under key {sealed_by}, but the key here is {ours}")]
    OtherKey {
        /// The key that is needed.
        sealed_by: seal::Fingerprint,
        /// The key that was tried.
        ours: seal::Fingerprint,
    },
    /// The value was changed, or belongs to another record, field or host.
    #[error("the sealed value was changed, or it belongs to another record or host")]
    Refused,
    /// The value is not in a form that this release knows.
    #[error("not a {0}")]
    Malformed(&'static str),
    /// More user data than a tls-crypt-v2 client key can carry.
    #[error("tls-crypt-v2 metadata of {length} bytes, at most {} fit", tls_crypt::MAX_METADATA)]
    MetadataTooLong {
        /// Length of the data that was given, in bytes.
        length: usize,
    },
}
