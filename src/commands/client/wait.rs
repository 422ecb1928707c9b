//! Waiting for what hosts do on their own time.

use std::time::{Duration, Instant};

use super::Client;
use super::api::Ask;
use super::error::{ClientError, exit};
use super::options::time;
use super::output::at;
use crate::commands::progress::Progress;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// How long whoever was moved may take to be seen on another host: OpenVPN 3 needs about 2 s, a client that finds the first
/// of its hosts dead a few more.
const ARRIVAL: Duration = Duration::from_secs(15);

/// Whether to wait, and for how long.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Wait {
    /// Wait until it is so, 5m at most unless another time is given as --wait=TIME.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "5m", value_parser = time)]
    wait: Option<Duration>,
}

impl Wait {
    /// Waits until the daemon of an attachment runs.
    pub(super) fn until_running(&self, client: &Client, attachment: &str) -> Result<(), ClientError> {
        let Some(most) = self.wait.filter(|_| !client.api.dry_run) else { return Ok(()) };
        let Some((list, host)) = attachment.rsplit_once('/') else { return Ok(()) };
        let progress = Progress::spinner();
        let began = Instant::now();
        loop {
            let body = client.api.send(&Ask::get(list))?.json()?;
            let items = at(&body, "items").as_array();
            let found = items.into_iter().flatten().find(|item| at(item, "host_id") == host);
            let Some(found) = found else {
                return Err(ClientError::new(exit::CONFLICT, "the host was detached meanwhile"));
            };
            let state = at(found, "state").as_str().unwrap_or_default();
            let detail = at(found, "detail").as_str().unwrap_or_default();
            progress.tell(state);
            match state {
                "running" => return Ok(()),
                "failed" => return Err(ClientError::new(exit::FAILED, format!("the daemon failed: {detail}"))),
                _ if began.elapsed() > most => {
                    let sentence = format!("it is still {state} after {} seconds {detail}", most.as_secs());
                    return Err(ClientError::new(exit::UNREACHABLE, sentence.trim_end().to_owned())
                        .with(["the host goes on by itself; `postern server hosts` tells how it fares".to_owned()]));
                }
                _ => std::thread::sleep(PAUSE),
            }
        }
    }
}

impl Wait {
    /// Waits until a host that is to leave service carries no session any more, and its people have been seen on other
    /// hosts or had the time for it. Says how many were.
    pub(super) fn until_drained(&self, client: &Client, host: &str) -> Result<(), ClientError> {
        let Some(most) = self.wait else { return Ok(()) };
        let progress = Progress::counting("{pos} of {len} sessions");
        let began = Instant::now();
        let mut drained = None;
        loop {
            let body = client.api.send(&Ask::get(host))?.json()?;
            let drain = at(&body, "drain");
            let count = |field| at(drain, field).as_u64().unwrap_or(0);
            match at(drain, "state").as_str() {
                None => return Err(ClientError::new(exit::CONFLICT, "the host was taken back into service meanwhile")),
                Some("drained") => {
                    let drained = drained.get_or_insert_with(Instant::now);
                    let (moved, cut_off) = (count("moved"), count("cut_off"));
                    if cut_off == 0 || drained.elapsed() >= ARRIVAL {
                        client.out.remark(&format!("moved {moved}, cut off {cut_off}"));
                        return Ok(());
                    }
                }
                Some(state) if began.elapsed() > most => {
                    let sentence = format!(
                        "it is still {state} after {} seconds, with {} sessions",
                        most.as_secs(),
                        count("waiting")
                    );
                    return Err(ClientError::new(exit::UNREACHABLE, sentence)
                        .with(["the host goes on by itself; `postern host show` tells how it fares".to_owned()]));
                }
                // A host that has not taken the order up yet has nothing to tell.
                Some("waiting") => {}
                Some(_) => progress.reach(count("moved"), count("moved") + count("cut_off") + count("waiting")),
            }
            std::thread::sleep(PAUSE);
        }
    }
}
