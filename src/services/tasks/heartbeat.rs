//! This host's sign that it is alive, in periods and whenever something else is wrong with it.

use std::time::Duration;

use crate::{Refusal, ServiceError, Services};
use domain::ids::{HostId, ServerId};
use domain::problem::ProblemCode;
use runtime::reconcile::{Done, Outcome, Reconciler, Task, Work};

/// Three beats that are missed make a host offline. Problems that arise together are reported together.
const TASK: Task = Task::new(
    "heartbeat",
    "Says that this host is alive, how many sessions it carries and what is wrong with it.",
    Duration::from_secs(10),
)
.deadline(Duration::from_secs(5))
.gather(Duration::from_millis(200));

/// Starts the task. A host that stops without sessions says that too; one with sessions counts as offline a little later,
/// unless its next start comes first.
pub fn start(tasks: &Reconciler, services: Services, host: HostId, sessions: impl Fn() -> usize + Send + 'static) {
    let (changes, known) = (services.problems().watch(), services.clone());
    let told = kinds(&services);
    let work = Heartbeat { services, host, sessions, told, is_displaced: false };
    // In other words the same is no news: it waits for the period.
    tasks.start(TASK, work).wake_on_change_of(changes, move |()| kinds(&known));
}

/// What is wrong, without the words for it.
fn kinds(services: &Services) -> Vec<(ProblemCode, Option<ServerId>)> {
    services.problems().list().into_iter().map(|problem| (problem.code, problem.server_id)).collect()
}

struct Heartbeat<F> {
    services: Services,
    host: HostId,
    sessions: F,
    /// What the cluster was told is wrong.
    told: Vec<(ProblemCode, Option<ServerId>)>,
    /// Whether another machine is the host.
    is_displaced: bool,
}

impl<F: Fn() -> usize + Send + 'static> Work for Heartbeat<F> {
    async fn run(&mut self) -> Outcome {
        let (hosts, kinds) = (self.services.hosts(), kinds(&self.services));
        if let Err(error) = hosts.notice_unreached(self.host).await {
            tracing::debug!(%error, "whether other hosts reach this one could not be read");
        }
        let sessions = (self.sessions)();
        match hosts.beat(self.host, sessions).await {
            Ok(()) => {}
            Err(ServiceError::Conflict(why @ Refusal::HostCloned)) => {
                if !self.is_displaced {
                    tracing::error!(event = "host.displaced", "{why}; new clients are refused here meanwhile");
                }
                self.is_displaced = true;
                return Err(ServiceError::from(why).into());
            }
            Err(error) => return Err(error.into()),
        }
        if self.is_displaced {
            self.is_displaced = false;
            tracing::info!(
                event = "host.resumed",
                "the other machine with this host's key is silent: this one is the host again"
            );
        }
        if kinds != self.told {
            self.told = kinds;
            hosts.tell_of_host(self.host);
        }
        Ok(Done::default())
    }

    /// Unsaid, it is found out by silence.
    async fn close(&mut self) {
        let hosts = self.services.hosts();
        let sessions = (self.sessions)();
        let last = if sessions == 0 { hosts.beat_last(self.host).await } else { hosts.release_host(self.host).await };
        drop(last);
    }
}
