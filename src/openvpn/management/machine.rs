//! The dialogue: which answer belongs to which command, which lines make one event.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::command::Shape;
use super::lines::Lines;
use super::peer::Env;
use super::{Cid, Command, Kid, Peer};

/// The longest answer block that is kept, in bytes: `status 3` with some twenty thousand clients.
const MAX_BLOCK: usize = 8 * 1024 * 1024;

/// What stands in the place of an answer of which more came than is kept.
pub(super) const TOO_LONG: &str = "the answer is too long";

/// Something the daemon reports by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A client waits to be let in: answer within a second; after 60 it is refused, and most never come back.
    Connect {
        /// The client.
        cid: Cid,
        /// The negotiation to answer.
        kid: Kid,
        /// Who it is.
        client: Peer,
    },
    /// A connected client renews its keys, and loses its session if this is not answered.
    Reauth {
        /// The client.
        cid: Cid,
        /// The negotiation to answer.
        kid: Kid,
        /// Who it is.
        client: Peer,
    },
    /// An admitted client is up.
    Established {
        /// The client.
        cid: Cid,
        /// When its first packet reached the daemon, in seconds by the machine's clock (`time_unix`).
        dialled: Option<i64>,
    },
    /// The daemon does not take the answer that lets this client in: it is gone, or was answered before.
    NotAdmitted {
        /// The client.
        cid: Cid,
    },
    /// A client was given an address (comes before [`Event::Established`]); compare it with what was meant.
    Address {
        /// The client.
        cid: Cid,
        /// The address.
        address: Ipv4Addr,
        /// Its own, not one of a network behind it.
        primary: bool,
    },
    /// A client is gone.
    Disconnect {
        /// The client.
        cid: Cid,
        /// Bytes from it; 0 for one that was never admitted.
        bytes_received: u64,
        /// Bytes to it.
        bytes_sent: u64,
        /// How long it was connected.
        duration: Duration,
    },
    /// The counters of a client since it connected.
    ByteCount {
        /// The client.
        cid: Cid,
        /// Bytes from it.
        received: u64,
        /// Bytes to it.
        sent: u64,
    },
    /// The daemon's own state changed.
    State {
        /// The new state.
        state: DaemonState,
        /// Why, for some states.
        detail: String,
    },
    /// The daemon waits for [`Command::HoldRelease`].
    Hold,
    /// A line of the daemon's log.
    Log(String),
    /// A remark of the daemon.
    Info(String),
    /// The daemon gives up.
    Fatal(String),
    /// A line that is none of these, cleaned for a log.
    Unknown(String),
}

impl Event {
    /// The client that it is about, if it is about one.
    pub fn client(&self) -> Option<Cid> {
        match self {
            Self::Connect { cid, .. }
            | Self::Reauth { cid, .. }
            | Self::Established { cid, .. }
            | Self::NotAdmitted { cid }
            | Self::Address { cid, .. }
            | Self::Disconnect { cid, .. }
            | Self::ByteCount { cid, .. } => Some(*cid),
            Self::State { .. } | Self::Hold | Self::Log(_) | Self::Info(_) | Self::Fatal(_) | Self::Unknown(_) => None,
        }
    }
}

/// The state of a daemon in server mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonState {
    /// Starting, or held.
    Connecting,
    /// Serving clients.
    Connected,
    /// Restarting itself.
    Reconnecting,
    /// Ending.
    Exiting,
    /// Any other, by OpenVPN's name.
    Other(String),
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Done. For clients this means only that they exist.
    Success(String),
    /// Not done, with OpenVPN's words.
    Error(String),
    /// The lines of a block.
    Lines(Vec<String>),
}

/// What comes out of a [`Machine`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A report.
    Event(Event),
    /// The answer to the oldest unanswered command.
    Reply(Reply),
}

/// An unanswered command.
#[derive(Debug)]
enum Awaited {
    /// So many more lines; the first error among those that came.
    Lines { left: u8, error: Option<String> },
    /// A block, and its size so far.
    Block { lines: Vec<String>, bytes: usize },
}

/// A client event whose variables are still coming.
#[derive(Debug)]
struct Block {
    kind: Kind,
    cid: Cid,
    kid: Option<Kid>,
    env: Env,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Connect,
    Reauth,
    Established,
    Disconnect,
}

/// The protocol without its socket: feed it what arrives, poll it empty after each feed.
///
/// It accepts any bytes. Nothing it keeps between calls grows without bound as long as it is polled empty.
#[derive(Debug, Default)]
pub struct Machine {
    lines: Lines,
    dialogue: Dialogue,
}

#[derive(Debug, Default)]
struct Dialogue {
    awaited: VecDeque<Awaited>,
    block: Option<Block>,
    out: VecDeque<Output>,
}

impl Machine {
    /// A machine at the start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that a command is being sent, and gives its bytes, to be written in one piece.
    pub fn send(&mut self, command: &Command) -> Vec<u8> {
        self.dialogue.awaited.push_back(match command.shape() {
            Shape::Lines(left) => Awaited::Lines { left, error: None },
            Shape::Block => Awaited::Block { lines: Vec::new(), bytes: 0 },
        });
        command.to_bytes()
    }

    /// How many commands are unanswered.
    pub fn in_flight(&self) -> usize {
        self.dialogue.awaited.len()
    }

    /// Takes bytes from the socket, cut anywhere.
    pub fn receive(&mut self, bytes: &[u8]) {
        let dialogue = &mut self.dialogue;
        self.lines.feed(bytes, |line| dialogue.line(line));
    }

    /// The next event or answer.
    pub fn poll(&mut self) -> Option<Output> {
        self.dialogue.out.pop_front()
    }
}

impl Dialogue {
    fn line(&mut self, line: &[u8]) {
        if let Some(variable) = line.strip_prefix(b">CLIENT:ENV,") {
            self.variable(variable);
            return;
        }
        let line = String::from_utf8_lossy(line);
        if let Some(report) = line.strip_prefix('>') {
            self.report(report);
        } else {
            self.answer(&line);
        }
    }

    fn answer(&mut self, line: &str) {
        let ended = match (line.strip_prefix("SUCCESS: "), line.strip_prefix("ERROR: "), self.awaited.front_mut()) {
            (_, Some(error), Some(Awaited::Block { .. })) => Some(Reply::Error(cleaned(error))),
            (_, _, Some(Awaited::Block { lines, bytes })) if line == "END" => {
                if *bytes > MAX_BLOCK {
                    Some(Reply::Error(TOO_LONG.to_owned()))
                } else {
                    Some(Reply::Lines(std::mem::take(lines)))
                }
            }
            (_, _, Some(Awaited::Block { lines, bytes })) => {
                *bytes = bytes.saturating_add(line.len()).saturating_add(std::mem::size_of::<String>());
                if *bytes > MAX_BLOCK {
                    *lines = Vec::new();
                } else {
                    lines.push(cleaned_status(line));
                }
                return;
            }
            (Some(text), _, Some(Awaited::Lines { left, error })) => {
                *left = left.saturating_sub(1);
                (*left == 0).then(|| error.take().map_or_else(|| Reply::Success(cleaned(text)), Reply::Error))
            }
            (_, Some(text), Some(Awaited::Lines { left, error })) => {
                *left = left.saturating_sub(1);
                let first = error.take().unwrap_or_else(|| cleaned(text));
                if *left == 0 {
                    Some(Reply::Error(first))
                } else {
                    *error = Some(first);
                    None
                }
            }
            _ => {
                self.unknown(line);
                return;
            }
        };
        if let Some(reply) = ended {
            self.awaited.pop_front();
            self.out.push_back(Output::Reply(reply));
        }
    }

    fn report(&mut self, report: &str) {
        let (name, rest) = report.split_once(':').unwrap_or((report, ""));
        match name {
            "CLIENT" => self.client(rest),
            "BYTECOUNT_CLI" => match byte_count(rest) {
                Some(event) => self.event(event),
                None => self.unknown(report),
            },
            "STATE" => self.event(state(rest)),
            "HOLD" => self.event(Event::Hold),
            "LOG" => self.event(Event::Log(cleaned(rest))),
            "INFO" => self.event(Event::Info(cleaned(rest))),
            "FATAL" => self.event(Event::Fatal(cleaned(rest))),
            _ => self.unknown(report),
        }
    }

    /// A `>CLIENT:` line other than a variable. It ends a block that was never closed, which nobody can answer.
    fn client(&mut self, rest: &str) {
        let mut fields = rest.split(',');
        let name = fields.next().unwrap_or_default();
        let kind = match name {
            "CONNECT" => Kind::Connect,
            "REAUTH" => Kind::Reauth,
            "ESTABLISHED" => Kind::Established,
            "DISCONNECT" => Kind::Disconnect,
            "ADDRESS" => {
                match address(fields) {
                    Some(event) => self.event(event),
                    None => self.unknown(rest),
                }
                return;
            }
            _ => return self.unknown(rest),
        };
        self.block = None;
        let cid = fields.next().and_then(|text| text.parse().ok()).map(Cid);
        let key = fields.next().and_then(|text| text.parse().ok()).map(Kid);
        match cid {
            Some(cid) => self.block = Some(Block { kind, cid, kid: key, env: Env::default() }),
            None => self.unknown(rest),
        }
    }

    fn variable(&mut self, variable: &[u8]) {
        if variable != b"END" {
            if let Some(block) = &mut self.block {
                block.env.add(variable);
            }
            return;
        }
        let Some(Block { kind, cid, kid, env }) = self.block.take() else { return };
        let event = match (kind, kid) {
            (Kind::Connect, Some(kid)) => Event::Connect { cid, kid, client: env.peer() },
            (Kind::Reauth, Some(kid)) => Event::Reauth { cid, kid, client: env.peer() },
            (Kind::Connect | Kind::Reauth, None) => return self.unknown("CLIENT without a key number"),
            (Kind::Established, _) => {
                Event::Established { cid, dialled: env.get("time_unix").and_then(|text| text.parse().ok()) }
            }
            (Kind::Disconnect, _) => Event::Disconnect {
                cid,
                bytes_received: env.number("bytes_received"),
                bytes_sent: env.number("bytes_sent"),
                duration: env.seconds("time_duration"),
            },
        };
        self.event(event);
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    fn unknown(&mut self, line: &str) {
        self.event(Event::Unknown(cleaned(line)));
    }
}

fn address<'a>(mut fields: impl Iterator<Item = &'a str>) -> Option<Event> {
    Some(Event::Address {
        cid: Cid(fields.next()?.parse().ok()?),
        address: fields.next()?.parse().ok()?,
        primary: fields.next()? == "1",
    })
}

fn byte_count(rest: &str) -> Option<Event> {
    let mut fields = rest.split(',').map(|text| text.parse().ok());
    Some(Event::ByteCount { cid: Cid(fields.next()??), received: fields.next()??, sent: fields.next()?? })
}

/// `time,NAME,detail,…`.
fn state(rest: &str) -> Event {
    let mut fields = rest.split(',').skip(1);
    let state = match fields.next().unwrap_or_default() {
        "CONNECTING" => DaemonState::Connecting,
        "CONNECTED" => DaemonState::Connected,
        "RECONNECTING" => DaemonState::Reconnecting,
        "EXITING" => DaemonState::Exiting,
        other => DaemonState::Other(cleaned(other)),
    };
    Event::State { state, detail: cleaned(fields.next().unwrap_or_default()) }
}

/// Without control characters and cut, for logs.
fn cleaned(text: &str) -> String {
    text.chars().take(512).map(|c| if c.is_control() { '_' } else { c }).collect()
}

/// The same for a row of columns: tabs stay.
fn cleaned_status(text: &str) -> String {
    text.chars().take(2048).map(|c| if c.is_control() && c != '\t' { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::lines::MAX_LINE;
    use super::*;

    fn drain(machine: &mut Machine) -> Vec<Output> {
        std::iter::from_fn(|| machine.poll()).collect()
    }

    fn fed(bytes: &[u8]) -> Vec<Output> {
        let mut machine = Machine::new();
        machine.receive(bytes);
        drain(&mut machine)
    }

    #[test]
    fn answers_keep_the_order_of_commands_with_reports_between() {
        let mut machine = Machine::new();
        machine.send(&Command::Pid);
        machine.send(&Command::Status);
        machine.send(&Command::Terminate);
        machine.receive(b"SUCCESS: pid=7\r\nTITLE\tx\r\n>BYTECOUNT_CLI:4,5,6\r\nTIME\ty\r\nEND\r\nERROR: no\r\n");
        assert_eq!(
            drain(&mut machine),
            [
                Output::Reply(Reply::Success("pid=7".into())),
                Output::Event(Event::ByteCount { cid: Cid(4), received: 5, sent: 6 }),
                Output::Reply(Reply::Lines(vec!["TITLE\tx".into(), "TIME\ty".into()])),
                Output::Reply(Reply::Error("no".into())),
            ]
        );
        assert_eq!(machine.in_flight(), 0);
    }

    #[test]
    fn either_half_of_an_admission_can_fail() {
        for answers in ["ERROR: bad\nSUCCESS: ok\n", "SUCCESS: ok\nERROR: bad\n"] {
            let mut machine = Machine::new();
            let config =
                crate::management::ClientConfig::new("10.0.0.2".parse().unwrap(), "10.0.0.0/24".parse().unwrap());
            machine.send(&Command::Admit { cid: Cid(0), kid: Kid(1), config });
            machine.receive(answers.as_bytes());
            assert_eq!(drain(&mut machine), [Output::Reply(Reply::Error("bad".into()))]);
        }
    }

    #[test]
    fn an_answer_nobody_asked_for_is_only_reported() {
        assert_eq!(fed(b"SUCCESS: what\n"), [Output::Event(Event::Unknown("SUCCESS: what".into()))]);
    }

    #[test]
    fn a_client_without_a_number_is_not_client_zero() {
        let out = fed(b">CLIENT:CONNECT,x,1\n>CLIENT:ENV,common_name=a\n>CLIENT:ENV,END\n");
        assert_eq!(out, [Output::Event(Event::Unknown("CONNECT,x,1".into()))]);
    }

    #[test]
    fn a_block_that_was_never_closed_does_not_lend_its_variables() {
        let out = fed(b">CLIENT:CONNECT,1,1\n>CLIENT:ENV,common_name=a\n>CLIENT:CONNECT,2,1\n>CLIENT:ENV,END\n");
        let expected = Event::Connect { cid: Cid(2), kid: Kid(1), client: Peer::default() };
        assert_eq!(out, [Output::Event(expected)]);
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory() {
        let mut machine = Machine::new();
        for _ in 0..100 {
            machine.receive(&vec![b'x'; 100_000]);
        }
        assert!(machine.lines.held() <= MAX_LINE);
        machine.send(&Command::Status);
        for _ in 0..300 {
            machine.receive("y\n".repeat(20_000).as_bytes());
        }
        machine.receive(b"END\n");
        assert_eq!(machine.poll().map(|out| matches!(out, Output::Event(_))), Some(false));
    }

    /// Pieces of the protocol in any order and with rubbish between reach more states than rubbish alone.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b">CLIENT:CONNECT,1,1\r\n".to_vec()),
            Just(b">CLIENT:DISCONNECT,18446744073709551616\n".to_vec()),
            Just(b">CLIENT:ENV,END\n".to_vec()),
            Just(b">CLIENT:ENV,".to_vec()),
            Just(b">CLIENT:ADDRESS,1,10.8.0.7,1\n".to_vec()),
            Just(b"tls_digest_sha256_0=".to_vec()),
            Just(b"END\nSUCCESS: x\nERROR: y\n>STATE:\n>HOLD\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..60),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_cut_anywhere_give_the_same(bytes in pieces(), cut in any::<prop::sample::Index>()) {
            let run = |parts: &[&[u8]]| {
                let mut machine = Machine::new();
                machine.send(&Command::Status);
                machine.send(&Command::Pid);
                for part in parts {
                    machine.receive(part);
                }
                drain(&mut machine)
            };
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            let whole = run(&[&bytes]);
            prop_assert_eq!(&run(&[head, tail]), &whole);
            prop_assert_eq!(run(&bytes.chunks(1).collect::<Vec<_>>()), whole);
        }
    }
}
