//! Progress of what takes its time, for whoever watches: a bar on a terminal; elsewhere a line for each tenth, for each
//! ten seconds where nobody knows how much there is, or for each change of a state.

use std::fs::File;
use std::io;
use std::io::{IsTerminal as _, Read, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is over within this time shows no progress.
const QUIET: Duration = Duration::from_secs(1);

/// Between two lines about something that has no measure.
const PACE: Duration = Duration::from_secs(10);

/// How far something has come.
pub(super) struct Progress {
    bar: ProgressBar,
    watched: bool,
    told: Mutex<String>,
}

impl Progress {
    /// Of something without a measure.
    pub(super) fn spinner() -> Self {
        Self::over(ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}")
    }

    /// Of something that can be counted; `shows` is a template of indicatif.
    pub(super) fn counting(shows: &str) -> Self {
        Self::over(ProgressBar::new(1), &format!("{{bar:30}} {shows} {{elapsed}}"))
    }

    fn over(bar: ProgressBar, template: &str) -> Self {
        let watched = io::stderr().is_terminal();
        if let (true, Ok(style)) = (watched, ProgressStyle::with_template(template)) {
            bar.set_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { bar, watched, told: Mutex::default() }
    }

    /// How it is now.
    pub(super) fn tell(&self, state: &str) {
        self.bar.set_message(state.to_owned());
        self.line(state);
    }

    /// So far it has come, of what there is to do by now.
    pub(super) fn reach(&self, position: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(position);
        self.line(&format!("{} %", position * 10 / total.max(1) * 10));
    }

    fn line(&self, text: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.watched && *told != text {
            text.clone_into(&mut told);
            // Nothing depends on a remark.
            drop(io::stderr().lock().write_all(format!("{text}\n").as_bytes()));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A file whose progress is shown as it is read or written.
pub(super) struct Measured {
    file: File,
    /// Its size in bytes, if it is known beforehand.
    total: Option<u64>,
    so_far: u64,
    began: Instant,
    told: Instant,
    progress: Option<Progress>,
}

impl Measured {
    /// One that is read from its beginning.
    pub(super) fn reading(file: File) -> Self {
        let total = file.metadata().ok().map(|about| about.len());
        Self { total, ..Self::writing(file) }
    }

    /// One that is written.
    pub(super) fn writing(file: File) -> Self {
        let now = Instant::now();
        Self { file, total: None, so_far: 0, began: now, told: now, progress: None }
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    fn count(&mut self, more: usize) {
        self.so_far += more as u64;
        if self.began.elapsed() < QUIET {
            return;
        }
        if let Some(total) = self.total {
            let bar = || Progress::counting("{binary_bytes} of {binary_total_bytes}, {eta} left,");
            self.progress.get_or_insert_with(bar).reach(self.so_far, total);
            return;
        }
        let spinner = self.progress.get_or_insert_with(Progress::spinner);
        if spinner.watched || self.told.elapsed() >= PACE {
            spinner.tell(&format!("{} so far", HumanBytes(self.so_far)));
            self.told = Instant::now();
        }
    }
}

impl Read for Measured {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.count(length);
        Ok(length)
    }
}

impl Write for Measured {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.file.write(buffer)?;
        self.count(length);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_ago() -> Instant {
        Instant::now().checked_sub(PACE).unwrap()
    }

    #[test]
    fn a_file_that_is_read_shows_how_much_of_it_was() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 300_000]).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let mut measured = Measured { began: long_ago(), ..Measured::reading(file) };
        let mut half = vec![0; 150_000];
        measured.read_exact(&mut half).unwrap();
        let bar = |measured: &Measured| {
            let bar = &measured.progress.as_ref().unwrap().bar;
            (bar.position(), bar.length())
        };
        assert_eq!(bar(&measured), (150_000, Some(300_000)));
        let mut rest = Vec::new();
        measured.read_to_end(&mut rest).unwrap();
        assert_eq!(bar(&measured), (300_000, Some(300_000)));
        assert_eq!([half, rest].concat(), vec![7; 300_000]);
    }

    #[test]
    fn what_is_over_at_once_shows_none() {
        let mut measured = Measured::writing(tempfile::tempfile().unwrap());
        measured.write_all(&[7; 1000]).unwrap();
        assert!(measured.progress.is_none());
        let mut slow = Measured { began: long_ago(), told: long_ago(), ..measured };
        slow.write_all(&[7; 24]).unwrap();
        assert_eq!(slow.progress.unwrap().bar.message(), "1.00 KiB so far");
    }
}
