//! Commands: typed values to the bytes of one write.

use std::fmt;

use super::{ClientConfig, Dialect, Text};

/// The number of a client within one daemon process; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid(pub u64);

/// The number of a key negotiation of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kid(pub u64);

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A command to a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Lets a daemon that waits at its start begin.
    HoldRelease,
    /// The process id.
    Pid,
    /// How much it carries: cheap, and the only question that it does not write to its log.
    LoadStats,
    /// Every client; [`Status::of`](super::Status::of) reads the answer.
    Status,
    /// Reports each client's counters every so many seconds; 0 ends it.
    ByteCount(u32),
    /// Reports changes of the daemon's own state.
    StateOn,
    /// Lets a client in that waits after CONNECT or REAUTH.
    ///
    /// Two commands in one write: `client-auth` alone wakes the client's instance only at its next packet or after a
    /// second; the empty `client-pending-auth` before it wakes it at once.
    Admit {
        /// The client.
        cid: Cid,
        /// The negotiation that is answered.
        kid: Kid,
        /// What it is given.
        config: ClientConfig,
    },
    /// Lets a connected client go on that renews its keys, without any change. Two commands for the same reason.
    Confirm {
        /// The client.
        cid: Cid,
        /// The negotiation that is answered.
        kid: Kid,
    },
    /// Turns a client away that waits after CONNECT or REAUTH.
    Refuse {
        /// The client.
        cid: Cid,
        /// The negotiation that is answered.
        kid: Kid,
        /// What it is told.
        refusal: Refusal,
    },
    /// Ends a client's session with a message; the instance is gone 5 s later at the latest.
    Kill {
        /// The client.
        cid: Cid,
        /// What it is told.
        farewell: Farewell,
    },
    /// Removes every client with this common name at once and without a word, for clients that ignore
    /// [`Command::Kill`], which the daemon itself acts on after 5 s only.
    ///
    /// By name, because `kill IP:PORT` finds nobody on a socket that serves both families. OpenVPN takes a name with a
    /// colon for an address, and does not find it.
    Evict(Text),
    /// Ends the daemon.
    Terminate,
}

/// The answer to a client that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No, and do not come back: clients show the text and end.
    Final(Text),
    /// Not here or not now: clients go to their next remote after `backoff` seconds (0: their own shortest).
    Temporary {
        /// Seconds before the next attempt.
        backoff: u16,
        /// For the client's log; people do not see it.
        text: Text,
    },
    /// The same for clients that take a temporary refusal for a final one: start over.
    Restart,
}

impl Refusal {
    /// Not here: another host will do better, at once. In the words this client's engine follows fastest.
    pub fn elsewhere(dialect: Dialect, text: Text) -> Self {
        dialect.prompt_backoff().map_or(Self::Restart, |backoff| Self::Temporary { backoff, text })
    }

    /// Not now, on any host: come back after `seconds`. Below 5, clients of all-refusing hosts would turn in circles.
    pub fn later(dialect: Dialect, seconds: u16, text: Text) -> Self {
        match dialect {
            Dialect::Two | Dialect::Three => Self::Temporary { backoff: seconds.max(5), text },
            Dialect::Plain => Self::Restart,
        }
    }

    /// The message on the control channel, see OpenVPN's manual under `AUTH_FAILED` in `management-notes.txt`.
    fn message(&self) -> String {
        match self {
            Self::Final(text) => format!("AUTH_FAILED,{text}"),
            Self::Temporary { backoff, text } => format!("AUTH_FAILED,TEMP[backoff {backoff},advance remote]:{text}"),
            Self::Restart => "RESTART,[NP]".to_owned(),
        }
    }
}

/// The message to a client whose session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Farewell {
    /// Access is over: clients show the text and end.
    Final(Text),
    /// Go to another host, now.
    MoveAway {
        /// How to say it.
        dialect: Dialect,
        /// For the client's log.
        text: Text,
    },
    /// No host takes it right now: come back after a while.
    ComeBack {
        /// How to say it.
        dialect: Dialect,
        /// Seconds before the next attempt.
        seconds: u16,
        /// For the client's log.
        text: Text,
    },
    /// Connect again, first to this host; fetches changed routes or DNS.
    Restart,
}

impl Farewell {
    fn message(&self) -> Option<String> {
        match self {
            Self::Final(text) => Some(Refusal::Final(text.clone()).message()),
            Self::MoveAway { dialect, text } => Some(Refusal::elsewhere(*dialect, text.clone()).message()),
            Self::ComeBack { dialect, seconds, text } => {
                Some(Refusal::later(*dialect, *seconds, text.clone()).message())
            }
            Self::Restart => None,
        }
    }
}

/// The shape of the answer to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// So many `SUCCESS:` or `ERROR:` lines.
    Lines(u8),
    /// A block closed by `END`.
    Block,
}

impl Command {
    /// Whether it ends a session, and so may come by the thousand.
    pub(super) fn ends_session(&self) -> bool {
        matches!(self, Self::Kill { .. } | Self::Evict(_))
    }

    /// How many answers it gets.
    pub(crate) fn answers(&self) -> u8 {
        match self.shape() {
            Shape::Lines(lines) => lines,
            Shape::Block => 1,
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Status => Shape::Block,
            Self::Admit { .. } | Self::Confirm { .. } => Shape::Lines(2),
            Self::Refuse { refusal, .. } => match refusal {
                Refusal::Final(_) | Refusal::Temporary { .. } => Shape::Lines(2),
                Refusal::Restart => Shape::Lines(1),
            },
            _ => Shape::Lines(1),
        }
    }

    /// The bytes, to be written in one piece.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::HoldRelease => "hold release\n".to_owned(),
            Self::Pid => "pid\n".to_owned(),
            Self::LoadStats => "load-stats\n".to_owned(),
            Self::Status => "status 3\n".to_owned(),
            Self::ByteCount(seconds) => format!("bytecount {seconds}\n"),
            Self::StateOn => "state on\n".to_owned(),
            Self::Admit { cid, kid, config } => {
                let mut text = format!("client-pending-auth {cid} {kid} \"\" 20\nclient-auth {cid} {kid}\n");
                for line in config.lines() {
                    text.push_str(line);
                    text.push('\n');
                }
                text.push_str("END\n");
                text
            }
            Self::Confirm { cid, kid } => {
                format!("client-pending-auth {cid} {kid} \"\" 20\nclient-auth-nt {cid} {kid}\n")
            }
            Self::Refuse { cid, kid, refusal } => refuse(*cid, *kid, refusal),
            Self::Kill { cid, farewell } => match farewell.message() {
                Some(message) => format!("client-kill {cid} \"{message}\"\n"),
                None => format!("client-kill {cid}\n"),
            },
            Self::Evict(common_name) => format!("kill \"{common_name}\"\n"),
            Self::Terminate => "signal SIGTERM\n".to_owned(),
        }
        .into_bytes()
    }
}

/// `client-deny` settles the negotiation, `client-kill` with the same words makes the daemon say it at once.
/// A refused client gets `AUTH_FAILED` in any case, so a restart is a kill alone.
fn refuse(cid: Cid, kid: Kid, refusal: &Refusal) -> String {
    let message = refusal.message();
    match message.strip_prefix("AUTH_FAILED,") {
        Some(reason) => {
            format!("client-deny {cid} {kid} \"refused\" \"{reason}\"\nclient-kill {cid} \"{message}\"\n")
        }
        None => format!("client-kill {cid} \"{message}\"\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &str) -> Text {
        Text::new(words).unwrap()
    }

    fn written(command: &Command) -> String {
        String::from_utf8(command.to_bytes()).unwrap()
    }

    #[test]
    fn an_admission_wakes_the_client_in_the_same_write() {
        let config = ClientConfig::new("10.8.0.77".parse().unwrap(), "10.8.0.0/16".parse().unwrap()).keepalive(10, 60);
        let bytes = written(&Command::Admit { cid: Cid(1), kid: Kid(2), config });
        assert_eq!(
            bytes,
            "client-pending-auth 1 2 \"\" 20\nclient-auth 1 2\nifconfig-push 10.8.0.77 255.255.0.0\n\
             push \"ping 10\"\npush \"ping-restart 60\"\nEND\n"
        );
    }

    #[test]
    fn a_refusal_is_a_deny_and_a_kill_with_the_same_words() {
        let refusal = Refusal::elsewhere(Dialect::Two, text("draining"));
        assert_eq!(
            written(&Command::Refuse { cid: Cid(3), kid: Kid(1), refusal }),
            "client-deny 3 1 \"refused\" \"TEMP[backoff 0,advance remote]:draining\"\n\
             client-kill 3 \"AUTH_FAILED,TEMP[backoff 0,advance remote]:draining\"\n"
        );
        let refusal = Refusal::Final(text("Access denied (R4)"));
        assert_eq!(
            written(&Command::Refuse { cid: Cid(3), kid: Kid(1), refusal }),
            "client-deny 3 1 \"refused\" \"Access denied (R4)\"\nclient-kill 3 \"AUTH_FAILED,Access denied (R4)\"\n"
        );
    }

    #[test]
    fn old_clients_are_restarted_instead_of_refused_for_now() {
        let refusal = Refusal::later(Dialect::Plain, 10, text("later"));
        let command = Command::Refuse { cid: Cid(3), kid: Kid(1), refusal };
        assert_eq!(written(&command), "client-kill 3 \"RESTART,[NP]\"\n");
        assert_eq!(command.shape(), Shape::Lines(1));
    }

    #[test]
    fn moving_away_is_said_in_the_dialect_of_the_engine() {
        let kill = |dialect| {
            written(&Command::Kill { cid: Cid(9), farewell: Farewell::MoveAway { dialect, text: text("draining") } })
        };
        assert!(kill(Dialect::Two).contains("TEMP[backoff 0,advance remote]:draining"));
        assert!(kill(Dialect::Three).contains("TEMP[backoff 1,advance remote]:draining"));
        assert_eq!(kill(Dialect::Plain), "client-kill 9 \"RESTART,[NP]\"\n");
    }

    #[test]
    fn coming_back_later_is_never_said_as_a_final_word() {
        let kill = |dialect| {
            let farewell = Farewell::ComeBack { dialect, seconds: 30, text: text("later") };
            written(&Command::Kill { cid: Cid(9), farewell })
        };
        for dialect in [Dialect::Two, Dialect::Three] {
            assert_eq!(kill(dialect), "client-kill 9 \"AUTH_FAILED,TEMP[backoff 30,advance remote]:later\"\n");
        }
        assert_eq!(kill(Dialect::Plain), "client-kill 9 \"RESTART,[NP]\"\n");
    }

    #[test]
    fn the_longest_message_fits_a_parameter() {
        let refusal = Refusal::Temporary { backoff: u16::MAX, text: text(&"x".repeat(Text::MAX)) };
        assert!(refusal.message().len() <= 255);
    }
}
