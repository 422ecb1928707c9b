//! Charts, written by the server (UX-45): a picture with a title and a description, and the same values as a table beside
//! it. What surrounds the picture is text of the page, so that it keeps its size on any screen.

use std::fmt;
use std::fmt::{Display, Formatter, Write as _};

use askama::Template;
use askama::filters::HtmlSafe;

use crate::ui::parts::{When, bytes};
use domain::usage::{Usage, UsageStep};

/// The width and the height of the picture's own grid.
const WIDTH: u64 = 1000;
const HEIGHT: u64 = 100;

/// A line over time.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    title: String,
    about: String,
    path: String,
    area: String,
}

impl Display for Line {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { title, about, path, area } = self;
        write!(
            f,
            r#"<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{title}"><title>{title}</title><desc>{about}</desc><path class="grid" d="M0 0H{WIDTH}M0 50H{WIDTH}M0 {HEIGHT}H{WIDTH}"/><path class="area" d="{area}"/><path class="line" d="{path}"/></svg>"#
        )
    }
}

/// Words and numbers of ours only.
impl HtmlSafe for Line {}

/// The sessions of the last day.
#[derive(Template)]
#[template(path = "admin/chart_sessions.html")]
pub(crate) struct SessionChart {
    /// The picture.
    pub(crate) line: Line,
    top: u64,
    most: u64,
    first: When,
    last: When,
    values: Vec<(When, Option<u64>)>,
}

impl SessionChart {
    /// A chart; none where nothing is known.
    pub(crate) fn new(usage: &Usage) -> Option<Self> {
        let most = usage.steps.iter().filter_map(|step| step.sessions).max()?;
        let (first, last) = (usage.steps.first()?.at, usage.steps.last()?.at);
        let top = ceiling(most);
        let (path, area) = paths(&usage.steps, top);
        let title = "Sessions over the last 24 hours".to_owned();
        let about = format!("At most {most} at once, on a scale from 0 to {top}.");
        Some(Self {
            line: Line { title, about, path, area },
            top,
            most,
            first: When::clock(first),
            last: When::clock(last),
            values: usage.steps.iter().map(|step| (When::clock(step.at), step.sessions)).collect(),
        })
    }
}

impl HtmlSafe for SessionChart {}

/// The traffic of each host in the last day.
#[derive(Template)]
#[template(path = "admin/chart_traffic.html")]
pub(crate) struct TrafficChart {
    rows: Vec<TrafficRow>,
}

struct TrafficRow {
    name: String,
    /// Of the busiest host's traffic, in thousandths.
    received: u64,
    sent: u64,
    received_words: String,
    sent_words: String,
}

impl TrafficChart {
    /// A chart; none where nothing is known. `name` tells what a host is called; those that are gone have none.
    pub(crate) fn new(usage: &Usage, name: impl Fn(domain::ids::HostId) -> Option<String>) -> Option<Self> {
        let all = usage.hosts.iter().filter_map(|host| Some((name(host.host_id)?, host)));
        let mut all: Vec<_> = all.collect();
        let total = |host: &domain::usage::HostTraffic| host.bytes_received.saturating_add(host.bytes_sent);
        all.sort_by(|(a, first), (b, second)| total(second).cmp(&total(first)).then_with(|| a.cmp(b)));
        let most = all.iter().map(|(_, host)| total(host)).max()?.max(1);
        let share =
            |count: u64| u64::try_from(u128::from(count) * u128::from(WIDTH) / u128::from(most)).unwrap_or(WIDTH);
        let row = |(name, host): (String, &domain::usage::HostTraffic)| TrafficRow {
            name,
            received: share(host.bytes_received),
            sent: share(host.bytes_sent),
            received_words: bytes(host.bytes_received),
            sent_words: bytes(host.bytes_sent),
        };
        Some(Self { rows: all.into_iter().map(row).collect() })
    }
}

impl HtmlSafe for TrafficChart {}

/// The next round number: 1, 2 or 5 times a power of ten, and 4 at least, so that a half is a whole number of people.
fn ceiling(most: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for factor in [4, 10, 20] {
            let top = power.saturating_mul(factor);
            if top >= most || top == u64::MAX {
                return top;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// The line and the area under it. Where nothing is known, there is a gap.
fn paths(steps: &[UsageStep], top: u64) -> (String, String) {
    let (mut line, mut area) = (String::new(), String::new());
    let last = u64::try_from(steps.len().saturating_sub(1)).unwrap_or(1).max(1);
    let mut open: Option<u64> = None;
    for (n, step) in (0_u64..).zip(steps) {
        let x = n * WIDTH / last;
        match (step.sessions, open) {
            (Some(count), from) => {
                let y = HEIGHT - count.min(top) * HEIGHT / top.max(1);
                let verb = if from.is_some() { 'L' } else { 'M' };
                // Writing to a text cannot fail.
                let _ = write!(line, "{verb}{x} {y}");
                let _ = if from.is_some() { write!(area, "L{x} {y}") } else { write!(area, "M{x} {HEIGHT}L{x} {y}") };
                open = Some(x);
            }
            (None, Some(until)) => {
                let _ = write!(area, "L{until} {HEIGHT}Z");
                open = None;
            }
            (None, None) => {}
        }
    }
    if let Some(until) = open {
        let _ = write!(area, "L{until} {HEIGHT}Z");
    }
    (line, area)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn step(sessions: Option<u64>) -> UsageStep {
        UsageStep { at: Timestamp::UNIX_EPOCH, sessions }
    }

    #[test]
    fn a_line_has_gaps_where_nothing_is_known() {
        let steps = [Some(0), Some(4), None, None, Some(2)].map(step);
        let (line, area) = paths(&steps, 4);
        assert_eq!(line, "M0 100L250 0M1000 50");
        assert_eq!(area, "M0 100L0 100L250 0L250 100ZM1000 100L1000 50L1000 100Z");
        assert_eq!(paths(&[], 4), (String::new(), String::new()));
        assert_eq!(paths(&[step(Some(1))], 4).0, "M0 75");
    }

    #[test]
    fn scales_end_at_round_numbers() {
        let tops: Vec<_> = [0, 1, 4, 5, 10, 11, 21, 128, 999].into_iter().map(ceiling).collect();
        assert_eq!(tops, [4, 4, 4, 10, 10, 20, 40, 200, 1000]);
    }

    #[test]
    fn what_nobody_measured_is_no_chart() {
        let nothing = Usage::of(&[], 24, Timestamp::UNIX_EPOCH);
        assert!(SessionChart::new(&nothing).is_none() && TrafficChart::new(&nothing, |_| None).is_none());
        let now = "2026-11-27T13:47:31Z".parse().unwrap();
        let chart = SessionChart::new(&crate::samples::usage(now)).unwrap();
        assert_eq!((chart.most, chart.top), (192, 200));
        assert!(chart.values.len() <= 200);
    }
}
