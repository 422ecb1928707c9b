//! What the hosts carry over time, in counts alone: no person, no address.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::ids::HostId;

/// How long the span of one sample is, in seconds.
pub const SLOT: i64 = 300;

/// A report shows no more points than this (UX-45).
pub const MOST_POINTS: i64 = 200;

/// What one host carried within one span of five minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageSample {
    /// Which host.
    pub host_id: HostId,
    /// When the span began.
    pub at: Timestamp,
    /// The most sessions at once.
    pub sessions: u64,
    /// Bytes from clients within the span.
    pub bytes_received: u64,
    /// Bytes to clients within the span.
    pub bytes_sent: u64,
}

/// The beginning of the span that a moment is in.
pub fn slot_of(at: Timestamp) -> Timestamp {
    floor(at, SLOT)
}

fn floor(at: Timestamp, step: i64) -> Timestamp {
    let seconds = at.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(step)).unwrap_or(at)
}

/// How busy the cluster was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Usage {
    /// When the first step begins.
    pub from: Timestamp,
    /// How long a step is.
    #[schema(example = 600)]
    pub step_seconds: i64,
    /// The steps, the oldest first; at most 200.
    pub steps: Vec<UsageStep>,
    /// What each host carried in all of them; hosts of which nothing is known are absent.
    pub hosts: Vec<HostTraffic>,
}

/// One step of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct UsageStep {
    /// When it begins.
    pub at: Timestamp,
    /// The most sessions at once, over all hosts; `null` where no host said anything.
    pub sessions: Option<u64>,
}

/// The traffic of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct HostTraffic {
    /// Which.
    pub host_id: HostId,
    /// Bytes from clients.
    pub bytes_received: u64,
    /// Bytes to clients.
    pub bytes_sent: u64,
}

impl Usage {
    /// When the first step of a report of the `hours` up to `now` begins, and how long its steps are: whole spans, as
    /// few as fit.
    pub fn span(hours: u32, now: Timestamp) -> (Timestamp, i64) {
        let seconds = i64::from(hours) * 3600;
        let step = SLOT * (seconds + SLOT * MOST_POINTS - 1).div_euclid(SLOT * MOST_POINTS).max(1);
        let last = floor(now, step);
        (Timestamp::from_second(last.as_second() - (seconds / step - 1) * step).unwrap_or(last), step)
    }

    /// The report of the `hours` up to `now`.
    pub fn of(samples: &[UsageSample], hours: u32, now: Timestamp) -> Self {
        let (from, step) = Self::span(hours, now);
        let at = |n: i64| Timestamp::from_second(from.as_second() + n * step).ok();
        let count = (floor(now, step).as_second() - from.as_second()) / step + 1;
        // Of each host the busiest span of a step, so that a step is no sum over time.
        let mut busiest = std::collections::BTreeMap::<(Timestamp, HostId), u64>::new();
        let mut hosts = std::collections::BTreeMap::<HostId, HostTraffic>::new();
        for sample in samples.iter().filter(|sample| sample.at >= from && sample.at <= now) {
            let most = busiest.entry((floor(sample.at, step), sample.host_id)).or_default();
            *most = sample.sessions.max(*most);
            let UsageSample { host_id, .. } = *sample;
            let traffic = hosts.entry(host_id).or_insert(HostTraffic { host_id, bytes_received: 0, bytes_sent: 0 });
            traffic.bytes_received = traffic.bytes_received.saturating_add(sample.bytes_received);
            traffic.bytes_sent = traffic.bytes_sent.saturating_add(sample.bytes_sent);
        }
        let sessions = |at: Timestamp| {
            let mut said = busiest.iter().filter(|((of, _), _)| *of == at).map(|(_, most)| *most).peekable();
            said.peek().is_some().then(|| said.sum())
        };
        let steps = (0..count).filter_map(at).map(|at| UsageStep { at, sessions: sessions(at) });
        Self { from, step_seconds: step, steps: steps.collect(), hosts: hosts.into_values().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id;

    fn sample(host: u128, at: &str, sessions: u64, bytes: u64) -> UsageSample {
        let host_id = HostId::from_parts(Timestamp::UNIX_EPOCH, host);
        UsageSample { host_id, at: at.parse().unwrap(), sessions, bytes_received: bytes, bytes_sent: 2 * bytes }
    }

    #[test]
    fn a_report_has_whole_steps_up_to_now_and_never_too_many() {
        let now = "2026-11-27T13:47:31Z".parse().unwrap();
        for hours in [1, 2, 24, 25, 168] {
            let usage = Usage::of(&[], hours, now);
            let count = i64::try_from(usage.steps.len()).unwrap();
            assert!((1..=MOST_POINTS).contains(&count) && usage.step_seconds % SLOT == 0, "{hours}: {count}");
            assert!(usage.steps.last().unwrap().at <= now && usage.steps[0].at == usage.from, "{hours}");
            assert!(usage.steps.iter().all(|step| step.sessions.is_none()));
        }
        let day = Usage::of(&[], 24, now);
        assert_eq!((day.step_seconds, day.steps.len()), (600, 144));
        assert_eq!(day.steps.last().unwrap().at, "2026-11-27T13:40:00Z".parse().unwrap());
    }

    #[test]
    fn hosts_are_added_up_and_spans_are_not() {
        let now = "2026-11-27T13:47:31Z".parse().unwrap();
        let samples = [
            sample(1, "2026-11-27T13:40:00Z", 5, 100),
            sample(1, "2026-11-27T13:45:00Z", 7, 50),
            sample(2, "2026-11-27T13:45:00Z", 3, 1),
            sample(2, "2026-11-27T13:20:00Z", 0, 0),
            sample(2, "2026-11-25T13:20:00Z", 99, 99),
        ];
        let usage = Usage::of(&samples, 24, now);
        let at = |time: &str| usage.steps.iter().find(|step| step.at == time.parse().unwrap()).unwrap().sessions;
        assert_eq!(at("2026-11-27T13:40:00Z"), Some(10));
        assert_eq!((at("2026-11-27T13:20:00Z"), at("2026-11-27T13:30:00Z")), (Some(0), None));
        let traffic: Vec<_> = usage.hosts.iter().map(|host| (host.bytes_received, host.bytes_sent)).collect();
        assert_eq!(traffic, [(150, 300), (1, 2)]);
    }
}
