//! The upkeep of the cluster that every process does which may: jobs, certificates, what removed hosts leave behind,
//! pauses. Any number of processes may do it at once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

use crate::access::admission::Admission;
use crate::{Bus, BusMessage, Nudge, ServiceError, Services};
use domain::Revision;
use domain::ids::HostId;
use domain::job::Job;
use runtime::reconcile::{Done, Outcome, Reconciler, Task, TaskHandle, Work};

/// How often open requests and jobs that are due are looked for without a nudge.
const PERIOD: Duration = Duration::from_secs(30);
const CERTIFICATES: Task = Task::new("certificates", "Answers the certificate requests of daemons.", PERIOD);
const REMOVED_HOSTS: Task =
    Task::new("removed-hosts", "Clears away what removed hosts leave behind.", Duration::from_secs(5));
const PAUSES: Task =
    Task::new("pause-confirmation", "Confirms a pause of the cluster, once this host records no sessions.", PERIOD)
        .deadline(Duration::from_secs(5))
        .retry(AGAIN, AGAIN)
        .quiet();
/// After how long a pause that could not be confirmed is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// Longer than any job takes. Its lease is renewed for as long as it runs, so one that hangs would keep others from it.
const LONGEST_JOB: Duration = Duration::from_hours(6);

/// Starts a task for each job: it runs by its period, and when a run is requested.
pub fn start_jobs(tasks: &Reconciler, services: &Services, bus: &Bus) {
    let mut started = BTreeMap::<Job, TaskHandle>::new();
    for job in Job::ALL {
        let before = job.follows().and_then(|before| started.get(&before));
        let handle = start_job(tasks, services, bus, *job, before);
        started.insert(*job, handle);
    }
}

/// Starts the task of one job, which waits for that of another.
pub fn start_job(
    tasks: &Reconciler,
    services: &Services,
    bus: &Bus,
    job: Job,
    before: Option<&TaskHandle>,
) -> TaskHandle {
    let description = "Runs the job of this name when it is due, unless another process does.";
    let task = Task::new(job.as_str(), description, PERIOD).deadline(LONGEST_JOB);
    let handle = tasks.start_after(before.as_slice(), task, DueJob { services: services.clone(), job });
    let heard = bus.subscribe();
    handle.wake_by(|nudge| heard.wake(nudge, move |message| wants(message, job)));
    handle
}

struct DueJob {
    services: Services,
    job: Job,
}

impl Work for DueJob {
    async fn run(&mut self) -> Outcome {
        unless_paused(self.services.cluster().run_due_job(self.job).await, |run| match run {
            None => Done::default(),
            // A run tells of itself, however it ended.
            Some(run) => Done::saying(run.detail),
        })
    }
}

/// What a run `did`; nothing while the cluster is paused, since who pauses it wants it to be still.
fn unless_paused<T>(did: Result<T, ServiceError>, done: impl FnOnce(T) -> Done) -> Outcome {
    match did {
        Err(ServiceError::Paused) => Ok(Done::saying("The cluster is paused.")),
        did => Ok(done(did?)),
    }
}

fn wants(message: &BusMessage, job: Job) -> bool {
    match message {
        BusMessage::Resync => true,
        BusMessage::Nudge(event) => match Nudge::read(event) {
            Some(Nudge::JobChange(changed)) => changed == job || Some(changed) == job.follows(),
            _ => false,
        },
    }
}

/// Starts the task that answers the certificate requests of daemons. Who comes second finds a request answered.
pub fn start_certificates(tasks: &Reconciler, services: Services, bus: &Bus) {
    let heard = bus.subscribe();
    tasks.start(CERTIFICATES, Certificates(services)).wake_by(|nudge| heard.wake(nudge, asks));
}

struct Certificates(Services);

impl Work for Certificates {
    async fn run(&mut self) -> Outcome {
        unless_paused(self.0.network().certify().await, |answered| {
            if answered == 0 {
                return Done::default();
            }
            tracing::info!(event = "job.certify", answered, "signed certificates of daemons");
            Done::saying(format!("Certificates of daemons that were signed: {answered}."))
        })
    }
}

fn asks(message: &BusMessage) -> bool {
    match message {
        BusMessage::Resync => true,
        BusMessage::Nudge(event) => matches!(Nudge::read(event), Some(Nudge::CertificateRequest(_))),
    }
}

/// Starts the task that clears away what removed hosts leave behind.
pub fn start_clearing(tasks: &Reconciler, services: Services) {
    tasks.start(REMOVED_HOSTS, RemovedHosts(services));
}

struct RemovedHosts(Services);

impl Work for RemovedHosts {
    async fn run(&mut self) -> Outcome {
        unless_paused(self.0.hosts().clear_removed_hosts().await, |cleared| {
            if cleared == 0 {
                return Done::default();
            }
            tracing::info!(
                event = "removed_hosts.cleared",
                cleared,
                "remains of removed hosts were deleted, with their database users"
            );
            Done::saying(format!("Removed hosts that are gone now: {cleared}."))
        })
    }
}

/// Starts the task that confirms each pause of the cluster for this host, once it is `quiet`.
pub fn start_confirming(
    tasks: &Reconciler,
    services: Services,
    host: HostId,
    admission: &Admission,
    quiet: impl Fn() -> bool + Send + 'static,
) {
    let paused = admission.watch_paused();
    let work = Pauses { services, host, paused: paused.clone(), quiet, confirmed: None };
    tasks.start(PAUSES, work).wake_on_change(paused);
}

struct Pauses<F> {
    services: Services,
    host: HostId,
    paused: watch::Receiver<Option<Revision>>,
    quiet: F,
    confirmed: Option<Revision>,
}

impl<F: Fn() -> bool + Send + 'static> Work for Pauses<F> {
    async fn run(&mut self) -> Outcome {
        let paused = *self.paused.borrow();
        let Some(pause) = paused.filter(|pause| self.confirmed != Some(*pause)) else { return Ok(Done::default()) };
        if !(self.quiet)() {
            return Ok(Done::saying("A step of a session is being written down.").again_in(AGAIN));
        }
        self.services.cluster().confirm_pause(self.host, pause).await?;
        self.confirmed = Some(pause);
        tracing::info!(event = "cluster.pause_confirmed", "the cluster is paused: session records wait on this host");
        Ok(Done::saying("The pause is confirmed."))
    }
}
