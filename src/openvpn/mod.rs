//! What Postern knows about OpenVPN, and the only place that knows it.
//!
//! - [`management`]: the dialogue with a running daemon over its management socket;
//! - [`config`]: the configuration of a daemon and the profile of a client, from templates;
//! - [`process`]: starting, finding again and ending a daemon;
//! - [`relay`]: a process that holds the management socket, and answers while Postern does not;
//! - [`probe`]: the first packet of a client, to learn whether a daemon can be reached.
//!
//! One daemon is one `openvpn` process in server mode. It decides nothing: every connecting client is presented on the
//! management socket, waits, and is admitted or refused from there. Who may connect is not decided here either; this
//! folder turns decisions into the words OpenVPN understands, in the order and form that its 2.x and 3.x clients
//! answer fastest to.

pub mod config;
pub mod management;
pub mod probe;
pub mod process;
pub mod relay;
mod runtime_dir;

pub use runtime_dir::{RuntimeDir, RuntimeDirError};
