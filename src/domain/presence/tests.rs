use jiff::ToSpan as _;
use proptest::prelude::*;

use super::*;
use crate::ids::Id as _;

const BEGAN: i64 = 1_796_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(BEGAN + seconds).unwrap()
}

fn span(earliest: i64, latest: i64) -> Span {
    Span { earliest: Some(at(earliest)), latest: at(latest) }
}

fn session(n: u128) -> SessionId {
    SessionId::from_parts(at(0), n)
}

#[test]
fn only_what_lies_wholly_after_is_newer() {
    let before = span(0, 10);
    assert!(span(13, 14).is_surely_after(&before));
    for not in [span(12, 14), span(9, 90), span(-5, 5), Span { earliest: None, latest: at(90) }] {
        assert!(!not.is_surely_after(&before), "{not:?}");
    }
}

#[test]
fn the_newest_connection_wins_and_the_one_before_ends() {
    let present = Present::Placed(session(1), span(0, 1));
    let newer = outcome(&present, session(2), &span(30, 31), at(31));
    assert_eq!(newer, Outcome::Newest { older: Some(session(1)) });
    assert_eq!(outcome(&present, session(2), &span(-30, -29), at(31)), Outcome::Older);
    assert_eq!(outcome(&Present::Nobody, session(2), &span(30, 31), at(31)), Outcome::Newest { older: None });
    // Repeated after an answer that was lost.
    assert_eq!(outcome(&present, session(1), &span(0, 1), at(40)), Outcome::Newest { older: None });
}

#[test]
fn where_it_is_not_clear_nobody_ends() {
    let present = Present::Placed(session(1), span(0, 20));
    assert_eq!(outcome(&present, session(2), &span(10, 30), at(30)), Outcome::Newest { older: None });
    assert_eq!(outcome(&present, session(2), &span(10, 15), at(30)), Outcome::Unclear);
    let unknown = Span { earliest: None, latest: at(300) };
    assert_eq!(outcome(&present, session(2), &unknown, at(300)), Outcome::Newest { older: None });
    assert!(!Present::Placed(session(2), unknown).supersedes(session(1), &span(0, 20)));
}

#[test]
fn a_host_of_the_previous_release_ends_nobody_and_is_not_ended() {
    let present = Present::Unplaced(session(1));
    assert_eq!(outcome(&present, session(2), &span(0, 1), at(3)), Outcome::Newest { older: None });
    assert_eq!(outcome(&present, session(2), &span(0, 1), at(300)), Outcome::Unclear, "it waited in a spool");
    assert!(!present.supersedes(session(2), &span(0, 1)));
}

#[test]
fn no_time_in_the_future_is_believed() {
    assert_eq!(Present::placed(session(1), span(600, 601), at(0)), Present::Unplaced(session(1)));
    assert_eq!(Present::placed(session(1), span(0, 1), at(0)), Present::Placed(session(1), span(0, 1)));
}

#[test]
fn a_pause_of_the_machine_makes_a_moment_vague_and_never_late() {
    let uptime = Duration::from_secs;
    let known = ClockReading { at: at(0), asked: uptime(100), answered: uptime(100) };
    let moment = Moment::new("a", Some(uptime(110)), uptime(111), Some(&known));
    assert_eq!(moment.guess, Some(span(10, 11)));
    let later = ClockReading { at: at(30), asked: uptime(130), answered: uptime(130) };
    assert_eq!(moment.span("a", &later), span(10, 11));
    // The hypervisor stopped it for five minutes: the count did not go on.
    let paused = ClockReading { at: at(330), asked: uptime(130), answered: uptime(130) };
    assert_eq!(moment.span("a", &paused), span(10, 311));
    // Another run of the machine: it was before this one began.
    let restarted = ClockReading { at: at(330), asked: uptime(20), answered: uptime(21) };
    assert_eq!(moment.span("b", &restarted), Span { earliest: None, latest: at(310) });
}

#[test]
fn a_slow_answer_of_the_database_widens_the_span() {
    let uptime = Duration::from_secs;
    let known = ClockReading { at: at(36), asked: uptime(98), answered: uptime(98) };
    let moment = Moment::new("a", Some(uptime(100)), uptime(101), Some(&known));
    let slow = ClockReading { at: at(50), asked: uptime(110), answered: uptime(114) };
    assert_eq!(moment.span("a", &slow), span(36, 41));
}

#[test]
fn without_an_earlier_look_at_the_clock_a_moment_is_newer_than_nothing() {
    let uptime = Duration::from_secs;
    let moment = Moment::new("a", Some(uptime(100)), uptime(101), None);
    let reading = ClockReading { at: at(50), asked: uptime(110), answered: uptime(110) };
    assert_eq!(moment.span("a", &reading), Span { earliest: None, latest: at(41) });
}

/// One host: its machine's uptime, and what it knows of the database's clock.
#[derive(Debug, Clone)]
struct Machine {
    /// The true second at which it was started, before anything happens.
    started: i64,
    /// It stands still from the first second to the second, unnoticed.
    pause: (i64, i64),
    /// Restarted at this second, if ever.
    restart: Option<i64>,
}

impl Machine {
    fn boot(&self, now: i64) -> (&'static str, i64) {
        match self.restart {
            Some(restart) if now >= restart => ("second", restart),
            _ => ("first", self.started),
        }
    }

    /// The first second from this one on at which it does not stand still: nothing happens on it before.
    fn awake(&self, at: i64) -> i64 {
        if (self.pause.0..self.pause.1).contains(&at) { self.pause.1 } else { at }
    }

    fn uptime(&self, now: i64) -> Duration {
        let (_, since) = self.boot(now);
        let (from, to) = (self.pause.0.max(since), self.pause.1.min(now).max(self.pause.0.max(since)));
        Duration::from_secs((now - since - (to - from).max(0)).max(0).unsigned_abs())
    }

    fn reading(&self, now: i64, took: i64, error: i64) -> ClockReading {
        let at = at(now) + error.milliseconds();
        ClockReading {
            at,
            asked: self.uptime(now),
            answered: self.uptime(now) + Duration::from_secs(took.unsigned_abs()),
        }
    }
}

/// One connection: on which host, when it dialled, was up and came to the database, all in true seconds.
#[derive(Debug, Clone, Copy)]
struct Connection {
    host: usize,
    dialled: i64,
    up_after: i64,
    heard_after: i64,
    written_after: i64,
    /// How long before the dial its host had looked at the database's clock, if at all.
    known_before: Option<i64>,
    answer_took: i64,
    /// By how many milliseconds the member that told the time was wrong.
    member: i64,
    /// Whether it is of a host of the previous release.
    previous_release: bool,
}

fn machine() -> impl Strategy<Value = Machine> {
    (-5_000_i64..-100, 0_i64..2_000, 0_i64..600, proptest::option::of(0_i64..2_000))
        .prop_map(|(started, from, length, restart)| Machine { started, pause: (from, from + length), restart })
}

fn connection() -> impl Strategy<Value = Connection> {
    let times = (0_i64..2_000, 0_i64..8, prop_oneof![Just(0_i64), 0_i64..400], prop_oneof![Just(0_i64), 0_i64..1_500]);
    let knowledge = (proptest::option::of(1_i64..400), 0_i64..4, -500_i64..500, proptest::bool::weighted(0.1));
    (0_usize..3, times, knowledge).prop_map(|(host, (dialled, up_after, heard_after, written_after), known)| {
        let (known_before, answer_took, member, previous_release) = known;
        Connection {
            host,
            dialled,
            up_after,
            heard_after,
            written_after,
            known_before,
            answer_took,
            member,
            previous_release,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever the hosts' clocks, pauses, restarts and delays, and in whatever order the records come: the connection
    /// that was made last is never asked to end. A client dials one host after the other, so what was dialled later was
    /// up later.
    #[test]
    fn the_truly_newest_connection_never_ends(
        machines in proptest::collection::vec(machine(), 3),
        mut connections in proptest::collection::vec(connection(), 2..7),
    ) {
        connections.sort_by_key(|connection| connection.dialled);
        // When each dialled, was up, was heard of by its host and came to the database.
        let mut courses: Vec<[i64; 4]> = Vec::new();
        for connection in &connections {
            let machine = &machines[connection.host];
            let before = courses.last().map_or(0, |[_, up, ..]| *up);
            let dialled = machine.awake(connection.dialled.max(before));
            let up = machine.awake(dialled + connection.up_after);
            let heard = machine.awake(up + connection.heard_after);
            courses.push([dialled, up, heard, machine.awake(heard + connection.written_after)]);
        }
        let newest = connections.len() - 1;
        let mut arrivals: Vec<(i64, usize)> =
            courses.iter().enumerate().map(|(index, [.., written])| (*written, index)).collect();
        arrivals.sort_unstable();
        let id = |index: usize| session(index as u128);
        let (mut present, mut written) = (None::<(SessionId, Option<Span>)>, std::collections::BTreeMap::new());
        for (now, index) in arrivals {
            let Connection { host, known_before, answer_took, member, previous_release, .. } = connections[index];
            let [dialled, _, heard, _] = courses[index];
            if previous_release {
                // It takes the place, whatever stands there; what it asks for is not believed.
                present = Some((id(index), None));
                continue;
            }
            let machine = &machines[host];
            let (boot, since) = machine.boot(heard);
            // What it learned of the database's clock after the dial is not used.
            let known = known_before.map(|before| machine.awake(dialled - before));
            let known = known.filter(|then| *then >= since);
            let known = known.map(|then| machine.reading(then, 0, -member));
            // How long ago it dialled, the daemon tells, unless it was started since.
            let earliest = (dialled >= since).then(|| machine.uptime(dialled).saturating_sub(Duration::from_secs(1)));
            let moment = Moment::new(boot, earliest, machine.uptime(heard), known.as_ref());
            let reading = machine.reading(now, answer_took, member);
            let span = moment.span(machine.boot(now).0, &reading);
            let seen = match present {
                None => Present::Nobody,
                Some((other, None)) => Present::Unplaced(other),
                Some((other, Some(theirs))) => Present::placed(other, theirs, reading.at),
            };
            written.insert(index, span);
            match outcome(&seen, id(index), &span, reading.at) {
                Outcome::Newest { older } => {
                    prop_assert_ne!(older, Some(id(newest)));
                    present = Some((id(index), Some(span)));
                }
                Outcome::Unclear => {}
                Outcome::Older => prop_assert_ne!(index, newest),
            }
            // Each host looks at its own sessions from time to time.
            let seen = match present {
                Some((other, Some(theirs))) => Present::placed(other, theirs, reading.at),
                Some((other, None)) => Present::Unplaced(other),
                None => Present::Nobody,
            };
            if let Some(span) = written.get(&newest) {
                prop_assert!(!seen.supersedes(id(newest), span), "{:?} ends {:?}", seen, span);
            }
        }
    }
}
