//! What passes, what is remembered, and what is answered in Postern's place: bytes in, bytes out, `now` is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use super::PATIENCE;
use crate::management::{Cid, Command, Dialect, Env, Kid, Lines, Refusal, Text};

/// The longest client block that is kept, in bytes. OpenVPN's are some 3 kB.
const MAX_BLOCK: usize = 64 * 1024;
/// The longest command of the manager: an admission with thousands of routes.
const MAX_COMMAND: usize = 2 * 1024 * 1024;
/// How much may wait for a manager that does not read. A status of 4,096 clients is 1 MB.
const MAX_BACKLOG: usize = 4 * 1024 * 1024;
/// How many questions may be open; a daemon has fewer clients.
const MAX_OPEN: usize = 8192;

/// Whose command an answer of the daemon belongs to.
#[derive(Debug, PartialEq, Eq)]
enum Awaited {
    /// The manager's who was connected at that number.
    Manager { number: u64, block: bool },
    /// Our own.
    Own,
    /// No command was sent; the manager gets this answer in its turn.
    Canned { number: u64, text: Vec<u8> },
}

/// A client that waits for an answer.
#[derive(Debug)]
struct Question {
    kid: Kid,
    renewal: bool,
    dialect: Dialect,
    /// As the daemon said it.
    raw: Vec<u8>,
    /// When it is answered here.
    due: Instant,
}

/// A client block whose variables are still coming.
#[derive(Debug)]
struct Block {
    head: String,
    raw: Vec<u8>,
    env: Env,
}

/// The manager has to go: it asked to, or what it does cannot be followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dismiss;

/// The relay without its sockets.
#[derive(Debug, Default)]
pub(super) struct Core {
    /// Bytes for the daemon: whole commands, in order.
    pub to_daemon: Vec<u8>,
    /// Bytes for the manager.
    pub to_manager: Vec<u8>,
    from_daemon: Lines,
    from_manager: Lines,
    greeting: Option<Vec<u8>>,
    hold: Option<Vec<u8>>,
    block: Option<Block>,
    open: BTreeMap<Cid, Question>,
    /// Newcomers that were turned away here and are not gone yet.
    refused: BTreeSet<Cid>,
    awaited: VecDeque<Awaited>,
    /// The manager's command, as far as it has come.
    command: Vec<u8>,
    /// Counts the managers.
    number: u64,
    connected: bool,
    dismissed: bool,
}

impl Core {
    /// A manager has connected; there is one at a time, the newest. It gets what a fresh connection to the daemon would
    /// tell it, and every question that is still open.
    pub(super) fn manager_came(&mut self) {
        self.manager_left();
        self.number += 1;
        self.connected = true;
        self.dismissed = false;
        for line in [&self.greeting, &self.hold].into_iter().flatten() {
            self.to_manager.extend_from_slice(line);
        }
        for question in self.open.values() {
            self.to_manager.extend_from_slice(&question.raw);
        }
    }

    /// The manager is gone. What it had not finished saying is forgotten.
    pub(super) fn manager_left(&mut self) {
        self.connected = false;
        self.to_manager.clear();
        self.command.clear();
        self.from_manager = Lines::default();
    }

    /// Whether a manager is to be told something that it can take.
    pub(super) fn must_dismiss(&self) -> bool {
        self.connected && self.dismissed
    }

    /// When the next question is to be answered here.
    pub(super) fn due(&self) -> Option<Instant> {
        self.open.values().map(|question| question.due).min()
    }

    /// Answers what has been open for too long.
    pub(super) fn on_time(&mut self, now: Instant) {
        let late: Vec<Cid> =
            self.open.iter().filter(|(_, question)| question.due <= now).map(|(cid, _)| *cid).collect();
        for cid in late {
            self.answer(cid);
        }
    }

    fn answer(&mut self, cid: Cid) {
        let Some(Question { kid, renewal, dialect, .. }) = self.open.remove(&cid) else { return };
        let command = if renewal {
            Command::Confirm { cid, kid }
        } else {
            self.refused.insert(cid);
            let text = Text::new("this host does not answer at the moment").expect("our own words are plain");
            Command::Refuse { cid, kid, refusal: Refusal::elsewhere(dialect, text) }
        };
        // Not above debug: nobody trims its log while there is no Postern.
        tracing::debug!(client = cid.0, renewal, "a client was answered in Postern's place");
        self.awaited.extend((0..command.answers()).map(|_| Awaited::Own));
        self.to_daemon.extend(command.to_bytes());
    }

    /// Takes bytes from the daemon, cut anywhere.
    pub(super) fn daemon_said(&mut self, bytes: &[u8], now: Instant) {
        let mut lines = std::mem::take(&mut self.from_daemon);
        lines.feed(bytes, |line| self.daemon_line(line, now));
        self.from_daemon = lines;
    }

    fn daemon_line(&mut self, line: &[u8], now: Instant) {
        if let Some(variable) = line.strip_prefix(b">CLIENT:ENV,") {
            self.variable(line, variable, now);
        } else if let Some(head) = line.strip_prefix(b">CLIENT:") {
            let head = String::from_utf8_lossy(head).into_owned();
            if head.starts_with("ADDRESS,") {
                self.pass(line);
            } else {
                self.block = Some(Block { head, raw: with_end(line), env: Env::default() });
            }
        } else if line.starts_with(b">") {
            if line.starts_with(b">INFO:OpenVPN Management") {
                self.greeting = Some(with_end(line));
            } else if line.starts_with(b">HOLD:") {
                self.hold = Some(with_end(line));
            }
            self.pass(line);
        } else {
            self.reply(line);
        }
    }

    fn variable(&mut self, line: &[u8], variable: &[u8], now: Instant) {
        let ended = variable == b"END";
        let Some(block) = &mut self.block else { return };
        if ended || block.raw.len() + line.len() < MAX_BLOCK {
            block.raw.extend(with_end(line));
            block.env.add(variable);
        }
        if ended && let Some(block) = self.block.take() {
            self.block_ended(block, now);
        }
    }

    fn block_ended(&mut self, Block { head, raw, env }: Block, now: Instant) {
        self.tell(&raw);
        let mut fields = head.split(',');
        let event = fields.next().unwrap_or_default();
        let Some(cid) = fields.next().and_then(|text| text.parse().ok()).map(Cid) else { return };
        let kid = fields.next().and_then(|text| text.parse().ok()).map(Kid);
        match (event, kid) {
            ("CONNECT" | "REAUTH", Some(kid)) => {
                let (renewal, dialect) = (event == "REAUTH", env.peer().dialect());
                self.open.insert(cid, Question { kid, renewal, dialect, raw, due: now + PATIENCE });
                if self.open.len() > MAX_OPEN
                    && let Some(oldest) =
                        self.open.iter().min_by_key(|(_, question)| question.due).map(|(oldest, _)| *oldest)
                {
                    self.answer(oldest);
                }
            }
            ("DISCONNECT", _) => {
                self.open.remove(&cid);
                self.refused.remove(&cid);
            }
            _ => {}
        }
    }

    /// A line of an answer: it belongs to the oldest unanswered command.
    fn reply(&mut self, line: &[u8]) {
        let settled = line.starts_with(b"SUCCESS:") || line.starts_with(b"ERROR:");
        let (theirs, ended) = match self.awaited.front() {
            Some(Awaited::Manager { number, block }) => {
                let ended = if *block { line == b"END" || line.starts_with(b"ERROR:") } else { settled };
                (*number == self.number, ended)
            }
            Some(Awaited::Own) => (false, settled),
            // Nobody asked; what it is about is the manager's to judge.
            Some(Awaited::Canned { .. }) | None => (true, false),
        };
        if theirs {
            self.pass(line);
        }
        if ended {
            self.awaited.pop_front();
            self.tell_canned();
        }
    }

    /// Answers of our own to the manager, whose turn has come.
    fn tell_canned(&mut self) {
        while let Some(Awaited::Canned { .. }) = self.awaited.front() {
            if let Some(Awaited::Canned { number, text }) = self.awaited.pop_front()
                && number == self.number
            {
                self.tell(&text);
            }
        }
    }

    fn pass(&mut self, line: &[u8]) {
        self.tell(&with_end(line));
    }

    /// A manager that does not read is given up; it gets all open questions again when it returns.
    fn tell(&mut self, bytes: &[u8]) {
        if !self.connected || self.dismissed {
            return;
        }
        if self.to_manager.len() + bytes.len() > MAX_BACKLOG {
            self.dismissed = true;
        } else {
            self.to_manager.extend_from_slice(bytes);
        }
    }

    /// Takes bytes from the manager, cut anywhere.
    pub(super) fn manager_said(&mut self, bytes: &[u8]) -> Result<(), Dismiss> {
        let mut lines = std::mem::take(&mut self.from_manager);
        let mut result = Ok(());
        lines.feed(bytes, |line| {
            if result.is_ok() {
                result = self.manager_line(line);
            }
        });
        self.from_manager = lines;
        result
    }

    fn manager_line(&mut self, line: &[u8]) -> Result<(), Dismiss> {
        let begins_block = self.command.is_empty() && line.starts_with(b"client-auth ");
        let in_block = !self.command.is_empty();
        if self.command.len() + line.len() > MAX_COMMAND {
            return Err(Dismiss);
        }
        self.command.extend_from_slice(line);
        self.command.push(b'\n');
        if begins_block || (in_block && line != b"END") {
            return Ok(());
        }
        let command = std::mem::take(&mut self.command);
        let first = command.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let first = String::from_utf8_lossy(first).into_owned();
        self.command_ended(&first, &command)
    }

    fn command_ended(&mut self, first: &str, command: &[u8]) -> Result<(), Dismiss> {
        let mut words = first.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let cid = words.next().and_then(|text| text.parse().ok()).map(Cid);
        match (verb, cid) {
            // An empty line is no command, and has no answer.
            ("", _) => return Ok(()),
            // The connection to the daemon is not the manager's to close.
            ("exit" | "quit", _) => return Err(Dismiss),
            ("hold", _) => self.hold = None,
            ("client-kill", Some(cid)) => drop(self.open.remove(&cid)),
            ("client-auth" | "client-auth-nt" | "client-deny" | "client-pending-auth", Some(cid))
                if self.refused.contains(&cid) =>
            {
                let text = format!("ERROR: {verb}: the relay has answered this client\r\n").into_bytes();
                self.awaited.push_back(Awaited::Canned { number: self.number, text });
                if self.awaited.len() == 1 {
                    self.tell_canned();
                }
                return Ok(());
            }
            // Without a text it only wakes the client's instance, and the answer is still to come.
            ("client-pending-auth", _) if first.contains("\"\"") => {}
            ("client-auth" | "client-auth-nt" | "client-deny" | "client-pending-auth", Some(cid)) => {
                let kid = words.next().and_then(|text| text.parse().ok()).map(Kid);
                if self.open.get(&cid).is_some_and(|question| Some(question.kid) == kid) {
                    self.open.remove(&cid);
                }
            }
            _ => {}
        }
        self.awaited.push_back(Awaited::Manager { number: self.number, block: answered_by_block(first) });
        self.to_daemon.extend_from_slice(command);
        Ok(())
    }
}

/// Whether the answer to a command is a block closed by `END`.
fn answered_by_block(command: &str) -> bool {
    let mut words = command.split_whitespace();
    match words.next() {
        Some("status" | "version" | "help") => true,
        Some("state" | "log" | "echo") => !matches!(words.next(), Some("on" | "off")),
        _ => false,
    }
}

fn with_end(line: &[u8]) -> Vec<u8> {
    [line, b"\r\n"].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const CONNECT: &str =
        ">CLIENT:CONNECT,5,1\r\n>CLIENT:ENV,IV_VER=2.6.14\r\n>CLIENT:ENV,IV_PROTO=990\r\n>CLIENT:ENV,END\r\n";
    const REAUTH: &str = ">CLIENT:REAUTH,5,3\r\n>CLIENT:ENV,END\r\n";
    const GONE: &str = ">CLIENT:DISCONNECT,5\r\n>CLIENT:ENV,END\r\n";
    const REFUSAL: &str = "client-deny 5 1 \"refused\" \"TEMP[backoff 0,advance remote]:this host does not answer at the \
        moment\"\nclient-kill 5 \"AUTH_FAILED,TEMP[backoff 0,advance remote]:this host does not answer at the moment\"\n";

    struct Rig {
        core: Core,
        now: Instant,
    }

    impl Rig {
        fn new() -> Self {
            Self { core: Core::default(), now: Instant::now() }
        }

        fn with_manager() -> Self {
            let mut rig = Self::new();
            rig.core.manager_came();
            rig
        }

        fn daemon(&mut self, text: &str) -> &mut Self {
            self.core.daemon_said(text.as_bytes(), self.now);
            self
        }

        fn manager(&mut self, text: &str) -> &mut Self {
            self.core.manager_said(text.as_bytes()).unwrap();
            self
        }

        fn later(&mut self, by: Duration) -> &mut Self {
            self.now += by;
            self.core.on_time(self.now);
            self
        }

        fn for_daemon(&mut self) -> String {
            String::from_utf8(std::mem::take(&mut self.core.to_daemon)).unwrap()
        }

        fn for_manager(&mut self) -> String {
            String::from_utf8(std::mem::take(&mut self.core.to_manager)).unwrap()
        }
    }

    #[test]
    fn what_is_said_passes_unchanged() {
        let mut rig = Rig::with_manager();
        rig.daemon(">INFO:OpenVPN Management Interface\r\n").daemon(CONNECT);
        assert_eq!(rig.for_manager(), format!(">INFO:OpenVPN Management Interface\r\n{CONNECT}"));
        let admit = "client-pending-auth 5 1 \"\" 20\nclient-auth 5 1\npush \"route 10.0.0.0 255.0.0.0\"\nEND\n";
        rig.manager(admit).daemon("SUCCESS: pending\r\nSUCCESS: auth\r\n");
        assert_eq!(rig.for_daemon(), admit);
        assert_eq!(rig.for_manager(), "SUCCESS: pending\r\nSUCCESS: auth\r\n");
        rig.later(PATIENCE);
        assert_eq!(rig.for_daemon(), "", "it was answered");
    }

    #[test]
    fn a_newcomer_that_nobody_answers_is_sent_to_another_host() {
        for mut rig in [Rig::new(), Rig::with_manager()] {
            rig.daemon(CONNECT).later(PATIENCE / 2);
            assert_eq!(rig.for_daemon(), "");
            rig.later(PATIENCE / 2);
            assert_eq!(rig.for_daemon(), REFUSAL);
            // What the daemon says to that is not the manager's.
            rig.for_manager();
            rig.manager("load-stats\n").daemon("SUCCESS: deny\r\nSUCCESS: kill\r\nSUCCESS: nclients=0\r\n");
            if rig.core.connected {
                assert_eq!(rig.for_manager(), "SUCCESS: nclients=0\r\n");
            }
        }
    }

    #[test]
    fn a_client_that_renews_its_keys_goes_on() {
        let mut rig = Rig::new();
        rig.daemon(REAUTH).later(PATIENCE);
        assert_eq!(rig.for_daemon(), "client-pending-auth 5 3 \"\" 20\nclient-auth-nt 5 3\n");
    }

    #[test]
    fn engines_without_temporary_refusals_are_told_to_start_over() {
        let mut rig = Rig::new();
        rig.daemon(">CLIENT:CONNECT,5,1\r\n>CLIENT:ENV,IV_VER=2.4.12\r\n>CLIENT:ENV,END\r\n").later(PATIENCE);
        assert_eq!(rig.for_daemon(), "client-kill 5 \"RESTART,[NP]\"\n");
    }

    #[test]
    fn a_manager_that_returns_hears_what_is_still_open_and_no_answers_to_another() {
        let mut rig = Rig::with_manager();
        rig.daemon(">INFO:OpenVPN Management Interface\r\n>HOLD:Waiting\r\n").manager("status 3\n").daemon("TITLE\r\n");
        rig.core.manager_left();
        rig.daemon(CONNECT);
        rig.core.manager_came();
        let heard = format!(">INFO:OpenVPN Management Interface\r\n>HOLD:Waiting\r\n{CONNECT}");
        assert_eq!(rig.for_manager(), heard);
        rig.manager("load-stats\n").daemon("CLIENT_LIST\r\nEND\r\nSUCCESS: nclients=1\r\n");
        assert_eq!(rig.for_manager(), "SUCCESS: nclients=1\r\n");
        rig.daemon(GONE).manager("hold release\n").for_daemon();
        rig.core.manager_came();
        assert_eq!(rig.for_manager(), ">INFO:OpenVPN Management Interface\r\n");
    }

    #[test]
    fn an_answer_that_comes_too_late_is_refused_in_its_turn_until_the_client_is_gone() {
        let mut rig = Rig::with_manager();
        rig.daemon(CONNECT).later(PATIENCE);
        rig.for_daemon();
        rig.for_manager();
        rig.manager("load-stats\nclient-auth 5 1\nEND\nload-stats\n");
        assert_eq!(rig.for_daemon(), "load-stats\nload-stats\n");
        rig.daemon("SUCCESS: deny\r\nSUCCESS: kill\r\nSUCCESS: nclients=1\r\nSUCCESS: nclients=2\r\n");
        assert_eq!(
            rig.for_manager(),
            "SUCCESS: nclients=1\r\nERROR: client-auth: the relay has answered this client\r\nSUCCESS: nclients=2\r\n"
        );
        rig.daemon(GONE).manager("client-auth 5 1\nEND\n");
        assert_eq!(rig.for_daemon(), "client-auth 5 1\nEND\n", "the daemon knows best");
    }

    #[test]
    fn half_an_answer_is_none() {
        let mut rig = Rig::with_manager();
        rig.daemon(CONNECT).manager("client-pending-auth 5 1 \"\" 20\nclient-auth 5 1\npush \"ro");
        assert_eq!(rig.for_daemon(), "client-pending-auth 5 1 \"\" 20\n");
        rig.later(PATIENCE);
        assert_eq!(rig.for_daemon(), REFUSAL);
    }

    #[test]
    fn a_sign_in_that_was_begun_is_an_answer() {
        let mut rig = Rig::with_manager();
        rig.daemon(CONNECT)
            .manager("client-pending-auth 5 1 \"WEB_AUTH::https://vpn.example/c/1\" 120\n")
            .later(PATIENCE);
        assert!(!rig.for_daemon().contains("client-deny"));
    }

    #[test]
    fn a_client_that_left_is_not_answered() {
        let mut rig = Rig::new();
        rig.daemon(CONNECT).daemon(GONE).later(PATIENCE);
        assert_eq!((rig.for_daemon(), rig.core.due()), (String::new(), None));
    }

    #[test]
    fn a_manager_that_does_not_read_is_given_up_and_the_daemon_is_still_read() {
        let mut rig = Rig::with_manager();
        let line = format!(">LOG:{}\r\n", "x".repeat(1000));
        for _ in 0..5000 {
            rig.daemon(&line);
        }
        assert!(rig.core.must_dismiss() && rig.core.to_manager.len() <= MAX_BACKLOG);
        rig.core.manager_left();
        rig.daemon(CONNECT).later(PATIENCE);
        assert_eq!(rig.for_daemon(), REFUSAL);
    }

    #[test]
    fn the_managers_farewell_closes_its_own_connection_only() {
        let mut rig = Rig::with_manager();
        assert_eq!(rig.core.manager_said(b"exit\n"), Err(Dismiss));
        assert_eq!(rig.for_daemon(), "");
    }

    fn chunks() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
        let daemon = prop_oneof![
            Just(CONNECT.as_bytes().to_vec()),
            Just(REAUTH.as_bytes().to_vec()),
            Just(GONE.as_bytes().to_vec()),
            Just(b"SUCCESS: x\r\n".to_vec()),
            Just(b"END\r\n".to_vec()),
            Just(b">HOLD:x\r\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..20),
        ];
        let manager = prop_oneof![
            Just(b"client-auth 5 1\nEND\n".to_vec()),
            Just(b"client-kill 5\n".to_vec()),
            Just(b"status 3\n".to_vec()),
            Just(b"load-stats\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..20),
        ];
        let side = prop_oneof![daemon.prop_map(|bytes| (true, bytes)), manager.prop_map(|bytes| (false, bytes))];
        prop::collection::vec(side, 0..60)
    }

    proptest! {
        /// Whatever is said: the daemon gets whole lines, and no question stays open beyond its time.
        #[test]
        fn any_bytes_are_survived(chunks in chunks()) {
            let mut rig = Rig::with_manager();
            for (of_daemon, bytes) in chunks {
                if of_daemon {
                    rig.core.daemon_said(&bytes, rig.now);
                } else if rig.core.manager_said(&bytes).is_err() {
                    rig.core.manager_came();
                }
            }
            prop_assert!(rig.core.to_daemon.is_empty() || rig.core.to_daemon.ends_with(b"\n"));
            rig.later(PATIENCE);
            prop_assert_eq!(rig.core.due(), None);
        }

        /// It makes no difference where the bytes are cut.
        #[test]
        fn cuts_change_nothing(cut in 0..200_usize) {
            let said = format!("{CONNECT}SUCCESS: a\r\n{GONE}>HOLD:x\r\n");
            let asked = "load-stats\nclient-auth 7 1\npush \"x\"\nEND\nstatus 3\n";
            let run = |cut: usize| {
                let mut rig = Rig::with_manager();
                let (first, second) = asked.split_at(cut.min(asked.len()));
                rig.manager(first).manager(second);
                let (first, second) = said.split_at(cut.min(said.len()));
                rig.daemon(first).daemon(second);
                (rig.for_daemon(), rig.for_manager())
            };
            prop_assert_eq!(run(cut), run(0));
        }
    }
}
