//! Waiting for what hosts do on their own time.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Client,
    api::Ask,
    error::{ClientError, exit},
    options::time,
    output::at,
};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

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
    /// Waits until a host that is to leave service carries no session any more.
    pub(super) fn until_drained(&self, client: &Client, host: &str) -> Result<(), ClientError> {
        let Some(most) = self.wait else { return Ok(()) };
        let progress = Progress::steps();
        let began = Instant::now();
        loop {
            let body = client.api.send(&Ask::get(host))?.json()?;
            let drain = at(&body, "drain");
            let count = |field| at(drain, field).as_u64().unwrap_or(0);
            match at(drain, "state").as_str() {
                None => return Err(ClientError::new(exit::CONFLICT, "the host was taken back into service meanwhile")),
                Some("drained") => return Ok(()),
                Some(state) if began.elapsed() > most => {
                    let sentence = format!(
                        "it is still {state} after {} seconds, with {} sessions",
                        most.as_secs(),
                        count("remaining")
                    );
                    return Err(ClientError::new(exit::UNREACHABLE, sentence)
                        .with(["the host goes on by itself; `postern host show` tells how it fares".to_owned()]));
                }
                // A host that has not taken the order up yet has nothing to tell.
                Some("waiting") => {}
                Some(_) => progress.reach(count("moved"), count("moved") + count("remaining")),
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Progress for whoever watches: a bar on a terminal; elsewhere a line for each tenth, or for each change.
pub(super) struct Progress {
    bar: ProgressBar,
    watched: bool,
    told: std::cell::RefCell<String>,
}

impl Progress {
    /// Of something without a measure.
    fn spinner() -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        Self::over(ProgressBar::new_spinner(), style)
    }

    /// Of something that can be counted.
    fn steps() -> Self {
        Self::over(ProgressBar::new(1), ProgressStyle::with_template("{bar:30} {pos} of {len} sessions {elapsed}"))
    }

    fn over(bar: ProgressBar, style: Result<ProgressStyle, indicatif::style::TemplateError>) -> Self {
        let watched = std::io::stderr().is_terminal();
        if let (true, Ok(style)) = (watched, style) {
            bar.set_style(style);
            bar.enable_steady_tick(Duration::from_millis(100));
        } else {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        Self { bar, watched, told: std::cell::RefCell::default() }
    }

    /// How it is now.
    fn tell(&self, state: &str) {
        self.bar.set_message(state.to_owned());
        self.line(state);
    }

    /// So far it has come, of what there is to do by now.
    fn reach(&self, position: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(position);
        self.line(&format!("{} %", position * 10 / total.max(1) * 10));
    }

    fn line(&self, text: &str) {
        if !self.watched && *self.told.borrow() != text {
            text.clone_into(&mut self.told.borrow_mut());
            // Nothing depends on a remark.
            drop(std::io::Write::write_all(&mut std::io::stderr().lock(), format!("{text}\n").as_bytes()));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
