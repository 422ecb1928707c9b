//! The management protocol of OpenVPN 2.6 (`management-notes.txt` of its sources).
//!
//! [`Machine`] is the protocol without input and output: bytes in, typed [`Event`]s and [`Reply`]s out, no clock.
//! [`Command`] is the other direction: typed values to bytes. [`link::Link`] is the one task that owns the socket
//! and joins both; `outbox` is what waits for it.
//!
//! Three kinds of lines arrive on the socket: `>NAME:…` at any moment; `SUCCESS:`, `ERROR:` or a block closed by `END`
//! as answers, in the order of the commands; and client blocks, a `>CLIENT:CONNECT,…` line with `>CLIENT:ENV,…` lines
//! up to `>CLIENT:ENV,END`. What peers say about themselves arrives in these ENV lines, so it is cut, cleaned and
//! bounded in [`Peer`] before anybody else sees it, and unknown variables are not kept at all.
//!
//! The published codec `openvpn-mgmt-codec` is not used: it writes kill messages and empty pending-auth texts
//! unquoted (OpenVPN then reads them as several parameters) and reads unparsable client ids as 0.

mod command;
mod kind;
mod lines;
pub mod link;
mod machine;
mod outbox;
mod peer;
mod push;
mod status;
mod text;

pub(crate) use lines::Lines;
pub(crate) use peer::Env;

pub use command::{Cid, Command, Farewell, Kid, Refusal};
pub use kind::{ClientKind, Platform, Program};
pub use machine::{DaemonState, Event, Machine, Output, Reply};
pub use peer::{Dialect, Peer};
pub use push::ClientConfig;
pub use status::{ClientRow, Status, StatusError, UnreadableRow};
pub use text::{Text, TextError};
