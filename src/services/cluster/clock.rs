//! Time, as all processes of the cluster agree about it: the database's.
//!
//! A process looks at the database's clock before it writes anything, and with each heartbeat. What it stores for others
//! to compare bears that time; its own clock is only compared with it, so that a wrong one is told of.

use std::time::Duration;

use jiff::Timestamp;

use crate::{Cluster, SOON, ServiceError};
use domain::clock::{SET_CLOCKS, TOLERANCE, apart};
use domain::presence::{ClockReading, Moment};
use domain::problem::ProblemCode;
use metrics::catalogue::HOST_CLOCK_OFFSET;

/// An answer that took longer says too little about the present.
const PROMPT: Duration = Duration::from_secs(2);

/// The clocks of this machine when the database was asked for its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalClocks {
    machine: Timestamp,
    uptime: Duration,
}

impl Cluster<'_> {
    /// The present by this machine's clock, for what only this machine compares.
    pub fn machine_now(self) -> Timestamp {
        self.clock.machine()
    }

    /// How long the machine has been running: a count that never steps.
    pub fn uptime(self) -> Duration {
        self.clock.uptime()
    }

    /// Which run of the machine this is.
    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    /// The moment of something that happened no longer than `age` ago; at an unknown time without one.
    pub fn moment(self, age: Option<Duration>) -> Moment {
        let latest = self.uptime();
        let earliest = age.map(|age| latest.saturating_sub(age));
        let known = self.clock.learned_by(earliest.unwrap_or(latest));
        Moment::new(self.boot(), earliest, latest, known.as_ref())
    }

    /// Reads the database's clock. To be done before anything is written that others compare.
    pub async fn measure_clock(self) -> Result<(), ServiceError> {
        let asked = self.asking();
        let at = self.store().deadline(SOON, self.store().time()).await?;
        self.note_clock(asked, at);
        Ok(())
    }

    /// One look at the database's clock.
    pub(crate) async fn read_clock(self) -> Result<ClockReading, ServiceError> {
        let asked = self.uptime();
        let at = self.store().time().await?;
        Ok(ClockReading { at, asked, answered: self.uptime() })
    }

    /// To be called right before the database is asked for something that tells its time.
    pub(crate) fn asking(self) -> LocalClocks {
        LocalClocks { machine: self.machine_now(), uptime: self.uptime() }
    }

    /// Takes notice of the database's time, and tells of a clock of this machine that is off.
    pub(crate) fn note_clock(self, asked: LocalClocks, at: Timestamp) {
        let reading = ClockReading { at, asked: asked.uptime, answered: self.uptime() };
        if reading.answered.saturating_sub(reading.asked) > PROMPT && self.clock.learned().is_some() {
            return;
        }
        // The database looked at its clock somewhere on the way; half-way is the best guess.
        let ours = asked.machine + self.machine_now().duration_since(asked.machine) / 2;
        let offset = at.duration_since(ours);
        self.clock.learn(reading);
        self.metrics().set(&HOST_CLOCK_OFFSET, [], -offset.as_secs_f64());
        let detail = (offset.abs() > TOLERANCE).then(|| format!("{}; {SET_CLOCKS}", apart("database", offset)));
        self.problems().set(ProblemCode::Clock, None, detail, self.now());
    }
}
