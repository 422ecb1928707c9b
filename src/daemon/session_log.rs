//! What happens to sessions, on its way to the database: in order, nothing lost, nothing twice.
//!
//! Whoever reports a step puts it into a bounded queue and goes on; one task writes from its front. A step stays in the
//! queue until the database has acknowledged it, and every step may be repeated, so an unknown outcome is met by trying
//! again. While the database is away the queue is also appended to a sealed file (mode 0600), which the next Postern
//! reads first. Of a session that began and ended while nothing could be written, only the end is kept: it holds all that is
//! worth knowing. How late a beginning comes, its moment tells: by the machine's uptime, since its clock may be wrong.

use std::collections::VecDeque;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{Here, Unanswered, within};
use domain::ids::SessionId;
use runtime::reconcile::{Done, Failure, Outcome, Reconciler, Task, Work};
use services::access::sessions::SessionRecord;
use services::{HostKey, ServiceError};

const TASK: Task = Task::new("session-log", "Writes down what happens to sessions.", Duration::from_secs(30))
    .retry(Duration::from_millis(200), Duration::from_secs(5))
    .closing(LAST_CALL.saturating_mul(2));
/// How long a run goes on while there is something to write.
const RUN: Duration = Duration::from_secs(10);
/// The most steps that are kept, in memory and in the file.
const CAPACITY: usize = 50_000;
/// The limit of one write.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// Time to write what is left when Postern stops.
const LAST_CALL: Duration = Duration::from_secs(2);

/// The queue; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct SessionLog(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    news: Notify,
    dropped: AtomicU64,
    untidy: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    records: VecDeque<SessionRecord>,
    /// The front one is being written: it must stay where it is.
    writing: bool,
    /// So many from the front are in the file.
    filed: usize,
}

fn session_of(record: &SessionRecord) -> SessionId {
    record.session().id
}

impl Queue {
    /// Appends; answers how many steps were lost by it.
    fn push(&mut self, record: SessionRecord) -> u64 {
        if matches!(record, SessionRecord::Ended { .. }) {
            let firm = usize::from(self.writing);
            let id = session_of(&record);
            let began = self.records.iter().skip(firm).position(|earlier| session_of(earlier) == id);
            if let Some(index) = began.map(|index| index + firm) {
                self.remove(index);
            }
        }
        self.records.push_back(record);
        if self.records.len() <= CAPACITY {
            return 0;
        }
        self.remove(usize::from(self.writing));
        1
    }

    fn remove(&mut self, index: usize) {
        if self.records.remove(index).is_some() && index < self.filed {
            self.filed -= 1;
        }
    }
}

impl SessionLog {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a step to be written down; never waits.
    pub(super) fn record(&self, record: SessionRecord) {
        let lost = self.queue().push(record);
        if lost > 0 && self.0.dropped.fetch_add(lost, Ordering::Relaxed) == 0 {
            tracing::error!(event = "spool.full", "the session log is full; its oldest entries are lost");
        }
        self.0.news.notify_one();
    }

    /// Has the records of sessions closed that this host no longer carries, once all earlier steps are written. In the
    /// order of the steps, so that none that begins meanwhile is mistaken for one of them.
    pub(super) fn tidy(&self) {
        self.0.untidy.store(true, Ordering::Release);
        self.0.news.notify_one();
    }

    /// How many steps were lost.
    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// How many steps wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue().records.len()
    }

    /// When the step that waits longest took place.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.queue().records.front().map(|record| match record {
            SessionRecord::Began(beginning) => beginning.session.connected_at,
            SessionRecord::Ended { at, .. } => *at,
        })
    }

    /// Whether the database may be writing a step at this moment.
    pub(super) fn is_writing(&self) -> bool {
        self.queue().writing
    }

    fn front(&self) -> Option<SessionRecord> {
        let mut queue = self.queue();
        let front = queue.records.front().cloned();
        queue.writing = front.is_some();
        front
    }

    fn settle(&self, written: bool) {
        let mut queue = self.queue();
        queue.writing = false;
        if written {
            queue.remove(0);
        }
    }
}

/// Starts the task that writes.
pub(super) fn start(here: &Arc<Here>, tasks: &Reconciler) {
    let session_log = here.session_log.clone();
    let task = tasks.start(TASK, Writer::new(Arc::clone(here)));
    task.wake_on_change(here.admission.watch_paused()).wake_by(async move |nudge| {
        loop {
            session_log.0.news.notified().await;
            nudge.now();
        }
    });
}

/// Why a step waits.
enum Unwritten {
    /// The cluster is paused.
    Paused,
    /// The database is away, or late.
    Away(Failure),
}

struct Writer {
    here: Arc<Here>,
    session_log: SessionLog,
    file: LogFile,
}

impl Work for Writer {
    /// Writes what waits. One that the database does not take goes into the file, with all that follow.
    async fn run(&mut self) -> Outcome {
        let end = Instant::now() + RUN;
        while Instant::now() < end {
            let written = if let Some(record) = self.session_log.front() {
                let written = self.write(&record).await;
                self.session_log.settle(written.is_ok());
                written
            } else if self.session_log.0.untidy.load(Ordering::Acquire) {
                self.tidy().await.map_err(Unwritten::Away)
            } else {
                return Ok(Done::default());
            };
            if let Err(unwritten) = written {
                self.fill_file();
                return match unwritten {
                    Unwritten::Paused => {
                        Ok(Done::saying("The cluster is paused: what happens to sessions waits here."))
                    }
                    Unwritten::Away(failure) => Err(failure),
                };
            }
            self.clear_file();
        }
        Ok(Done::default().again_in(Duration::ZERO))
    }

    /// Writes what can still be written.
    async fn close(&mut self) {
        let _late = tokio::time::timeout(LAST_CALL, self.write_rest()).await;
        self.session_log.settle(false);
        self.clear_file();
        self.fill_file();
    }
}

impl Writer {
    /// Takes up what the file holds, before anything newer.
    fn new(here: Arc<Here>) -> Self {
        let file = LogFile::new(here.settings.data_dir.clone(), Arc::clone(&here.key));
        let mut writer = Self { session_log: here.session_log.clone(), here, file };
        match writer.file.load() {
            Ok(records) if records.is_empty() => {}
            Ok(records) => {
                tracing::info!(
                    event = "spool.found",
                    records = records.len(),
                    "session records of an earlier run wait to be written"
                );
                let mut queue = writer.session_log.queue();
                for record in records {
                    queue.push(record);
                }
                queue.filed = queue.records.len();
                drop(queue);
            }
            Err(error) => tracing::warn!(
                event = "spool.unreadable",
                error = &error as &dyn std::error::Error,
                "the session log on disk cannot be read"
            ),
        }
        writer
    }

    async fn tidy(&self) -> Result<(), Failure> {
        let carried: Vec<SessionId> = self.here.registry.sessions().into_iter().map(|(id, _)| id).collect();
        within(WRITE_LIMIT, self.here.services.access().close_other_sessions(self.here.host, &carried)).await?;
        self.session_log.0.untidy.store(false, Ordering::Release);
        Ok(())
    }

    async fn write_rest(&mut self) {
        while let Some(record) = self.session_log.front() {
            let written = self.write(&record).await.is_ok();
            self.session_log.settle(written);
            if !written {
                return;
            }
        }
    }

    /// Settles a step. One that the database refuses for good must not hold up the others.
    /// While the cluster is paused, none is settled. The front one is marked as being written before the pause is looked
    /// at, so that a reader of the pause reads the mark too.
    async fn write(&self, record: &SessionRecord) -> Result<(), Unwritten> {
        if self.here.admission.paused().is_some() {
            return Err(Unwritten::Paused);
        }
        let session = tracing::error_span!("session", session.id = %session_of(record));
        let writing = within(WRITE_LIMIT, self.here.services.access().record_session(record));
        match writing.instrument(session).await {
            Ok(()) => Ok(()),
            Err(error @ (Unanswered::Late | Unanswered::Refused(ServiceError::Unavailable(_)))) => {
                Err(Unwritten::Away(error.into()))
            }
            Err(error) => {
                self.session_log.0.dropped.fetch_add(1, Ordering::Relaxed);
                tracing::error!(event = "session.unwritten",
                    session.id = %session_of(record), error = &error as &dyn std::error::Error,
                    "a session could not be recorded");
                Ok(())
            }
        }
    }

    /// Appends what the file lacks.
    fn fill_file(&mut self) {
        let mut queue = self.session_log.queue();
        if queue.filed >= queue.records.len() {
            return;
        }
        match self.file.append(queue.records.iter().skip(queue.filed)) {
            Ok(()) => queue.filed = queue.records.len(),
            Err(error) => tracing::warn!(
                event = "spool.unwritten",
                error = &error as &dyn std::error::Error,
                "the session log on disk cannot be written"
            ),
        }
    }

    /// Removes the file once all of it is in the database.
    fn clear_file(&mut self) {
        if self.file.in_use()
            && self.session_log.queue().filed == 0
            && let Err(error) = self.file.remove()
        {
            tracing::warn!(
                event = "spool.kept",
                error = &error as &dyn std::error::Error,
                "the session log on disk cannot be removed"
            );
        }
    }
}

/// The file: one record on each line, sealed under this host's key for its place in the file, so that whoever has the
/// disk reads nothing in it, and no line can be changed, moved or taken out unnoticed.
struct LogFile {
    name: &'static str,
    folder: PathBuf,
    key: Arc<HostKey>,
    /// How many lines it has.
    lines: u64,
}

impl LogFile {
    const NAME: &str = "session-log.sealed";
    /// While it is written anew.
    const NEW: &str = "session-log.new";
    /// The name in the previous release, which wrote JSON in the clear.
    const PREVIOUS: &str = "spool.jsonl";

    fn new(folder: PathBuf, key: Arc<HostKey>) -> Self {
        Self { name: Self::NAME, folder, key, lines: 0 }
    }

    fn in_use(&self) -> bool {
        self.lines > 0
    }

    fn path(&self) -> PathBuf {
        self.folder.join(self.name)
    }

    /// What an earlier run left. A last line that is torn, after a crash, is passed over; from one that is not what
    /// stood there, nothing more is believed.
    fn load(&mut self) -> io::Result<Vec<SessionRecord>> {
        let mut records = Vec::new();
        if let Some(text) = read_if_there(&self.folder.join(Self::PREVIOUS))? {
            records.extend(text.lines().filter_map(|line| serde_json::from_str(line).ok()));
        }
        let text = read_if_there(&self.path())?.unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        for (number, line) in (0_u64..).zip(whole) {
            let Some(record) = self.open(number, line.trim_end()) else {
                tracing::error!(
                    event = "spool.refused",
                    line = number,
                    "a line of the session log on disk is not what this host wrote there; it and those after it are ignored"
                );
                break;
            };
            records.push(record);
        }
        self.rewrite(&records)?;
        Ok(records)
    }

    /// Makes the file hold these records and no more. A crash leaves the whole file before or the whole one after, and at
    /// worst beside it what the previous release wrote, whose steps may be repeated.
    fn rewrite(&mut self, records: &[SessionRecord]) -> io::Result<()> {
        if records.is_empty() {
            return self.remove();
        }
        let mut new = Self { name: Self::NEW, folder: self.folder.clone(), key: Arc::clone(&self.key), lines: 0 };
        remove_if_there(&new.path())?;
        new.append(records.iter())?;
        fs::rename(new.path(), self.path())?;
        self.lines = new.lines;
        remove_if_there(&self.folder.join(Self::PREVIOUS))
    }

    fn open(&self, number: u64, line: &str) -> Option<SessionRecord> {
        serde_json::from_slice(&self.key.open_line(Self::NAME, number, line)?).ok()
    }

    fn append<'a>(&mut self, records: impl Iterator<Item = &'a SessionRecord>) -> io::Result<()> {
        let (mut lines, mut number) = (String::new(), self.lines);
        for record in records {
            lines.push_str(&self.key.seal_line(Self::NAME, number, &serde_json::to_vec(record)?));
            lines.push('\n');
            number += 1;
        }
        let mut file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(self.path())?;
        file.write_all(lines.as_bytes())?;
        file.sync_data()?;
        self.lines = number;
        Ok(())
    }

    fn remove(&mut self) -> io::Result<()> {
        for name in [Self::NAME, Self::PREVIOUS] {
            remove_if_there(&self.folder.join(name))?;
        }
        self.lines = 0;
        Ok(())
    }
}

fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::samples;
    use domain::session::EndReason;

    fn began(n: u128) -> SessionRecord {
        SessionRecord::began(samples::session(n), Some(samples::moment()))
    }

    fn ended(n: u128) -> SessionRecord {
        let session = samples::session(n);
        let (at, reason) = (Timestamp::UNIX_EPOCH, EndReason::Disconnected);
        SessionRecord::Ended { session, at, reason, moment: Some(samples::moment()) }
    }

    fn shape(queue: &Queue) -> Vec<(bool, SessionId)> {
        queue.records.iter().map(|r| (matches!(r, SessionRecord::Began(_)), session_of(r))).collect()
    }

    fn id(n: u128) -> SessionId {
        samples::session(n).id
    }

    #[test]
    fn an_end_swallows_the_beginning_that_was_not_written() {
        let mut queue = Queue::default();
        for record in [began(1), began(2), ended(1)] {
            queue.push(record);
        }
        assert_eq!(shape(&queue), [(true, id(2)), (false, id(1))]);
    }

    #[test]
    fn a_beginning_that_is_being_written_stays() {
        let mut queue = Queue { writing: true, ..Queue::default() };
        queue.push(began(1));
        queue.push(ended(1));
        assert_eq!(shape(&queue), [(true, id(1)), (false, id(1))]);
    }

    #[test]
    fn a_full_queue_loses_its_oldest_and_says_so() {
        let session_log = SessionLog::default();
        for n in 0..CAPACITY as u128 + 3 {
            session_log.record(began(n));
        }
        assert_eq!((session_log.waiting(), session_log.dropped()), (CAPACITY, 3));
        assert_eq!(session_log.front().map(|record| session_of(&record)), Some(id(3)));
    }

    fn file(folder: &Path) -> LogFile {
        LogFile::new(folder.to_owned(), Arc::new(HostKey::from_bytes(&[3; 32])))
    }

    #[test]
    fn the_file_survives_and_a_torn_line_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut written = file(dir.path());
        written.append([began(1), ended(2)].iter()).unwrap();
        let path = written.path();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"TG9zdCBpbiB0aGUgbWlkZGx").unwrap();
        let mut read = file(dir.path());
        assert_eq!(read.load().unwrap(), [began(1), ended(2)]);
        read.append([began(3)].iter()).unwrap();
        assert_eq!(file(dir.path()).load().unwrap(), [began(1), ended(2), began(3)], "it goes on in the same file");
        fs::write(dir.path().join(LogFile::NEW), "of a start that died").unwrap();
        assert_eq!(file(dir.path()).load().unwrap(), [began(1), ended(2), began(3)]);
        read.remove().unwrap();
        assert!(!path.exists());
    }

    /// SEC-RES-03: the file on disk is sealed, and its order is checked.
    #[test]
    fn a_file_shows_nothing_and_no_line_of_it_can_be_changed_moved_or_taken_from_another_host() {
        let written = || {
            let dir = tempfile::tempdir().unwrap();
            file(dir.path()).append([began(1), began(2), began(3)].iter()).unwrap();
            dir
        };
        let text = |folder: &Path| fs::read_to_string(file(folder).path()).unwrap();
        let whole = written();
        assert!(!text(whole.path()).contains("began") && !text(whole.path()).contains(&id(1).to_string()));
        let altered = |change: &dyn Fn(&mut Vec<String>)| {
            let dir = written();
            let mut lines: Vec<String> = text(dir.path()).lines().map(|line| format!("{line}\n")).collect();
            change(&mut lines);
            fs::write(file(dir.path()).path(), lines.concat()).unwrap();
            file(dir.path()).load().unwrap()
        };
        assert_eq!(altered(&|_| ()), [began(1), began(2), began(3)]);
        assert_eq!(altered(&|lines| lines.swap(1, 2)), [began(1)], "the order counts");
        assert_eq!(altered(&|lines| drop(lines.remove(0))), [], "none may be missing before another");
        assert_eq!(altered(&|lines| lines[1] = "e30=\n".to_owned()), [began(1)], "none of somebody else");
        let mut other = LogFile::new(whole.path().to_owned(), Arc::new(HostKey::from_bytes(&[4; 32])));
        assert_eq!(other.load().unwrap(), [], "another host reads nothing");
    }

    #[test]
    fn a_file_of_the_previous_release_is_read_and_says_nothing_of_moments() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.jsonl");
        let session = serde_json::to_value(samples::session(1)).unwrap();
        let ended = serde_json::json!({ "session": session, "at": Timestamp::UNIX_EPOCH, "reason": "disconnected" });
        let lines = [serde_json::json!({ "began": session }), serde_json::json!({ "ended": ended })];
        fs::write(&path, lines.map(|line| line.to_string() + "\n").concat()).unwrap();
        let records = file(dir.path()).load().unwrap();
        assert!(!path.exists(), "what was in the clear is sealed from now on");
        let (at, reason) = (Timestamp::UNIX_EPOCH, EndReason::Disconnected);
        let session = samples::session(1);
        let expected =
            [SessionRecord::began(session.clone(), None), SessionRecord::Ended { session, at, reason, moment: None }];
        assert_eq!(records, expected);
    }
}
