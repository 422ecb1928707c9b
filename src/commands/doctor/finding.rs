//! What a check found, and how it is shown.

use std::error::Error;
use std::fmt;

use serde::Serialize;

use crate::domain::problem::{Problem, ProblemCode};
use crate::domain::text::Name;
use crate::runtime::causes::chain;
use crate::store::StoreError;

/// How a check went, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::commands) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and may not for long or not for everybody.
    Warn,
    /// It does not work.
    Fail,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

const REPORTED: &str = "reported";

/// The kind of problem that a check is about.
fn code_of(check: &str) -> Option<ProblemCode> {
    match check {
        "openvpn" | "tun" | "privileges" | "nftables" => Some(ProblemCode::Vpn),
        "forwarding" => Some(ProblemCode::Forwarding),
        "clock" => Some(ProblemCode::Clock),
        "database" => Some(ProblemCode::Mongo),
        // What parts of a host and this program look at alike has one word.
        other => ProblemCode::ALL.iter().find(|code| code.as_str() == other).copied(),
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::commands) struct Finding {
    /// What was looked at; a word that does not change.
    pub check: &'static str,
    /// What hosts, health pages and the API call a problem of this kind, where they know it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<ProblemCode>,
    /// How it went.
    pub result: Verdict,
    /// What was found, where it is in order.
    pub detail: Option<String>,
    /// What is wrong, where it is not.
    pub cause: Option<String>,
    /// What to do about it: the command to type, where there is one.
    pub fix: Option<String>,
}

impl Finding {
    /// It is in order.
    pub(in crate::commands) fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, code: code_of(check), result: Verdict::Ok, detail: Some(detail.into()), cause: None, fix: None }
    }

    /// It works, but.
    pub(in crate::commands) fn warn(check: &'static str, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { result: Verdict::Warn, ..Self::fail(check, cause, fix) }
    }

    /// It does not work.
    pub(in crate::commands) fn fail(check: &'static str, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            check,
            code: code_of(check),
            result: Verdict::Fail,
            detail: None,
            cause: Some(cause.into()),
            fix: Some(fix.into()),
        }
    }

    /// What a running host says is wrong with it; the words hold what helps.
    pub(in crate::commands) fn reported(problem: &Problem, server: Option<&Name>) -> Self {
        let cause = match server {
            Some(server) => format!("server {server}: {}", problem.detail),
            None => problem.detail.clone(),
        };
        let found = Self::fail(REPORTED, cause, "");
        let result = if problem.code.is_grave() { Verdict::Fail } else { Verdict::Warn };
        Self { code: Some(problem.code), result, fix: None, ..found }
    }

    /// The same as one of a kind that its check alone does not tell.
    #[must_use]
    pub(in crate::commands) fn coded(self, code: ProblemCode) -> Self {
        Self { code: Some(code), ..self }
    }

    /// Whether the running host says so, rather than this program.
    pub(super) fn is_reported(&self) -> bool {
        self.check == REPORTED
    }

    /// It does not work, for a reason that has no advice of its own.
    pub(in crate::commands) fn error(check: &'static str, error: &dyn Error) -> Self {
        Self { fix: None, ..Self::fail(check, chain(error), "") }
    }

    /// It does not work, by what the store says of it.
    pub(in crate::commands) fn store(check: &'static str, error: &StoreError) -> Self {
        match error {
            StoreError::Misconfigured { problem, advice } => {
                Self { fix: advice.clone(), ..Self::fail(check, problem, "") }
            }
            other => Self::error(check, other),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.detail.as_ref().or(self.cause.as_ref()).map_or("", String::as_str);
        write!(f, "{:<5} {:<15} {said}", self.result.word(), self.check)?;
        match &self.fix {
            Some(fix) => write!(f, "\n{:<21} fix: {fix}", ""),
            None => Ok(()),
        }
    }
}

/// The worst of them.
pub(in crate::commands) fn worst(findings: &[Finding]) -> Verdict {
    findings.iter().map(|finding| finding.result).max().unwrap_or(Verdict::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_and_what_to_do_are_told_apart() {
        let error = StoreError::mendable("the database lacks 0001", "run `postern migrate apply`");
        let finding = Finding::store("migrations", &error);
        assert_eq!(finding.cause.as_deref(), Some("the database lacks 0001"));
        assert_eq!(finding.fix.as_deref(), Some("run `postern migrate apply`"));
        assert_eq!(error.to_string(), "the database lacks 0001; run `postern migrate apply`");
        assert_eq!(Finding::store("tun", &StoreError::misconfigured("nothing: to add; or do")).fix, None);
    }

    #[test]
    fn a_failure_outweighs_a_warning_and_a_warning_what_is_in_order() {
        let [ok, warn, fail] = [Finding::ok("a", ""), Finding::warn("b", "", ""), Finding::fail("c", "", "")];
        assert_eq!(worst(&[]), Verdict::Ok);
        assert_eq!(worst(&[warn.clone(), ok.clone()]), Verdict::Warn);
        assert_eq!(worst(&[fail, warn, ok]), Verdict::Fail);
    }
}
