//! Waiting for a fact: polling with a deadline, and never a fixed pause.

use std::time::{Duration, Instant};

/// How often a fact is looked at again.
const PERIOD: Duration = Duration::from_millis(25);

/// Polls until `fact` gives something; `what` completes "waited in vain for …".
///
/// # Panics
/// When the deadline has passed.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, deadline: Duration, mut fact: impl FnMut() -> Option<T>) -> T {
    let from = Instant::now();
    loop {
        if let Some(value) = fact() {
            return value;
        }
        assert!(from.elapsed() < deadline, "waited {deadline:?} in vain for: {what}");
        std::thread::sleep(PERIOD);
    }
}

/// Polls until `fact` is true.
///
/// # Panics
/// When the deadline has passed.
#[track_caller]
pub(crate) fn wait_until(what: &str, deadline: Duration, mut fact: impl FnMut() -> bool) {
    wait_for(what, deadline, || fact().then_some(()));
}

/// Checks that something stays true for a while: the proof that a thing does *not* happen has to last.
///
/// # Panics
/// As soon as it is false.
#[track_caller]
pub(crate) fn assert_stays(what: &str, during: Duration, mut fact: impl FnMut() -> bool) {
    let from = Instant::now();
    while from.elapsed() < during {
        assert!(fact(), "after {:?} no longer true: {what}", from.elapsed());
        std::thread::sleep(PERIOD);
    }
}
