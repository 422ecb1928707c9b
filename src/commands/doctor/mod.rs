//! `postern doctor`: can this machine be a host of its cluster, and if not, what is to be done.
//!
//! Safe at any time, beside a running `serve` too: nothing is changed on the machine, and what is tried in the
//! database is removed again. The checks of the machine ([`machine`]) stand by themselves, so that a machine can be
//! looked at before it joins.

mod cluster;
pub(super) mod finding;
pub(super) mod machine;
mod network;
mod ports;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::ExitCode;

use serde_json::json;

use self::finding::{Finding, Verdict, worst};
use super::database::{config_file, load};
use super::{Machine, print};
use crate::config::Config;

/// Looks at everything and prints what was found.
pub(super) async fn run(machine: Machine, as_json: bool) -> anyhow::Result<ExitCode> {
    let findings = match load(&machine) {
        Ok(config) => look(&machine, &config).await,
        Err(error) => vec![Finding::fail("configuration", format!("{error:#}"), "correct the file or the variable")],
    };
    let verdict = worst(&findings);
    if as_json {
        print(json!({ "result": verdict, "checks": findings }));
    } else {
        findings.iter().for_each(print);
        print(summary(&findings));
    }
    Ok(match verdict {
        Verdict::Ok => ExitCode::SUCCESS,
        Verdict::Warn => ExitCode::from(8),
        Verdict::Fail => ExitCode::FAILURE,
    })
}

async fn look(machine: &Machine, config: &Config) -> Vec<Finding> {
    let mut findings = vec![configuration(machine, config)];
    findings.extend(machine::look(config).await);
    findings.extend(cluster::look(config).await);
    told_once(findings)
}

/// What the running host reports is left out where this program has found the same itself.
fn told_once(mut findings: Vec<Finding>) -> Vec<Finding> {
    let found = findings.iter().filter(|finding| finding.result != Verdict::Ok && !finding.is_reported());
    let found: Vec<_> = found.filter_map(|finding| finding.code).collect();
    findings.retain(|finding| !finding.is_reported() || finding.code.is_none_or(|code| !found.contains(&code)));
    findings
}

/// It has been read; what is left is who else can.
fn configuration(machine: &Machine, config: &Config) -> Finding {
    const CHECK: &str = "configuration";
    let path = config_file(machine);
    let shown = path.display();
    let Ok(file) = fs::metadata(&path) else {
        return Finding::ok(CHECK, format!("there is no {shown}: all from the environment, or as it is by default"));
    };
    let secret = config.database.uri.as_ref().is_some_and(|uri| uri.contains('@'));
    if secret && file.mode() & 0o007 != 0 {
        let cause = format!("{shown} has mode {:04o} and may hold the database's password", file.mode() & 0o7777);
        return Finding::warn(CHECK, cause, format!("chmod o-rwx {shown}"));
    }
    Finding::ok(CHECK, format!("{shown} is sound"))
}

fn summary(findings: &[Finding]) -> String {
    let count = |result| findings.iter().filter(|finding| finding.result == result).count();
    match (count(Verdict::Fail), count(Verdict::Warn)) {
        (0, 0) => format!("all {} checks are ok", findings.len()),
        (failed, warned) => format!("{failed} failed, {warned} with a warning, {} ok", count(Verdict::Ok)),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::problem::{Problem, ProblemCode};

    #[test]
    fn what_the_host_reports_is_told_unless_it_was_found_here_too() {
        let reported = |code| {
            let detail = "it says so".to_owned();
            Finding::reported(&Problem { code, server_id: None, detail, since: Timestamp::UNIX_EPOCH }, None)
        };
        let findings = vec![
            Finding::warn("clock", "it is off", "set it"),
            Finding::ok("forwarding", "on"),
            reported(ProblemCode::Clock),
            reported(ProblemCode::Forwarding),
            reported(ProblemCode::DaemonFailed),
        ];
        let told: Vec<_> = told_once(findings).iter().map(|it| (it.is_reported(), it.code, it.result)).collect();
        assert_eq!(
            told,
            [
                (false, Some(ProblemCode::Clock), Verdict::Warn),
                (false, Some(ProblemCode::Forwarding), Verdict::Ok),
                (true, Some(ProblemCode::Forwarding), Verdict::Fail),
                (true, Some(ProblemCode::DaemonFailed), Verdict::Warn),
            ]
        );
    }
}
