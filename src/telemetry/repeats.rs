//! Keeps a loop that fails from filling the disk: of what the same place says again and again, so many lines are written
//! in a while, and then one that tells how many there would have been: before the next event, or once the while is over.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::line::Line;

/// So many lines of one place are written in a window.
const BURST: u32 = 20;
/// How long a window lasts.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// What each place, known by a `K`, said lately.
#[derive(Debug)]
pub(super) struct Repeats<K>(HashMap<K, Window>);

#[derive(Debug)]
struct Window {
    began: Instant,
    written: u32,
    /// The last line that was left out, and how many were.
    left_out: Option<(Line, u64)>,
}

impl Window {
    fn sum(self) -> Option<Line> {
        let (mut line, count) = self.left_out?;
        line.message = format!("{} (…and {count} more)", line.message);
        Some(line)
    }
}

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq> Repeats<K> {
    /// The lines to write now that `place` says `line`: what is owed from windows that are over, and the line itself unless
    /// it is one too many.
    pub(super) fn pass(&mut self, place: K, line: Line, now: Instant) -> Vec<Line> {
        let mut lines = self.owed(now);
        let window = self.0.entry(place).or_insert(Window { began: now, written: 0, left_out: None });
        if window.written < BURST {
            window.written += 1;
            lines.push(line);
        } else {
            let before = window.left_out.take().map_or(0, |(_, count)| count);
            window.left_out = Some((line, before + 1));
        }
        lines
    }

    /// The lines that sum up what windows left out that are over.
    pub(super) fn owed(&mut self, now: Instant) -> Vec<Line> {
        let is_over = |window: &mut Window| now.duration_since(window.began) >= WINDOW;
        self.0.extract_if(|_, window| is_over(window)).filter_map(|(_, window)| window.sum()).collect()
    }

    /// The lines that sum up what was left out until now.
    pub(super) fn all_owed(&mut self) -> Vec<Line> {
        self.0.drain().filter_map(|(_, window)| window.sum()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.message.as_str()).collect()
    }

    #[test]
    fn a_loop_is_told_in_part_and_then_counted() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        let mut written = 0;
        for n in 0..432 {
            let lines = repeats.pass("loop", Line::saying(&format!("failed {n}")), start);
            written += lines.len();
        }
        assert_eq!(written, 20);
        assert_eq!(said(&repeats.pass("other", Line::saying("fine"), start)), ["fine"]);
        let later = start + WINDOW;
        let lines = repeats.pass("other", Line::saying("still fine"), later);
        assert_eq!(said(&lines), ["failed 431 (…and 412 more)", "still fine"]);
        assert_eq!(said(&repeats.pass("loop", Line::saying("failed again"), later)), ["failed again"]);
    }

    #[test]
    fn what_was_left_out_is_summed_once_without_another_event() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        for n in 0..25 {
            repeats.pass("loop", Line::saying(&format!("failed {n}")), start);
        }
        assert_eq!(said(&repeats.owed(start + WINDOW / 2)), Vec::<&str>::new());
        assert_eq!(said(&repeats.owed(start + WINDOW)), ["failed 24 (…and 5 more)"]);
        assert_eq!(said(&repeats.owed(start + 2 * WINDOW)), Vec::<&str>::new());
    }

    #[test]
    fn at_the_end_of_the_process_nothing_stays_unsaid() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        for n in 0..23 {
            repeats.pass("loop", Line::saying(&format!("failed {n}")), start);
        }
        assert_eq!(said(&repeats.all_owed()), ["failed 22 (…and 3 more)"]);
        assert_eq!(said(&repeats.all_owed()), Vec::<&str>::new());
    }
}
