//! What a check found, and how it is told.

use std::fmt;

use serde::Serialize;

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

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::commands) struct Finding {
    /// What was looked at; a word that does not change.
    pub check: &'static str,
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
        Self { check, result: Verdict::Ok, detail: Some(detail.into()), cause: None, fix: None }
    }

    /// It works, but.
    pub(in crate::commands) fn warn(check: &'static str, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { result: Verdict::Warn, ..Self::fail(check, cause, fix) }
    }

    /// It does not work.
    pub(in crate::commands) fn fail(check: &'static str, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, result: Verdict::Fail, detail: None, cause: Some(cause.into()), fix: Some(fix.into()) }
    }

    /// It does not work, in a sentence of ours: what is wrong, then after a semicolon or colon what to do.
    pub(in crate::commands) fn sentence(check: &'static str, sentence: &str) -> Self {
        match sentence.split_once("; ").or_else(|| sentence.split_once(": ")) {
            Some((cause, fix)) => Self::fail(check, cause, fix),
            None => Self { fix: None, ..Self::fail(check, sentence, "") },
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
    fn a_sentence_is_taken_apart_where_the_advice_begins() {
        let finding = Finding::sentence("migrations", "the database lacks 0001; run `postern migrate apply`");
        assert_eq!(finding.cause.as_deref(), Some("the database lacks 0001"));
        assert_eq!(finding.fix.as_deref(), Some("run `postern migrate apply`"));
        assert_eq!(Finding::sentence("tun", "nothing to add").fix, None);
    }

    #[test]
    fn a_failure_outweighs_a_warning_and_a_warning_what_is_in_order() {
        let [ok, warn, fail] = [Finding::ok("a", ""), Finding::warn("b", "", ""), Finding::fail("c", "", "")];
        assert_eq!(worst(&[]), Verdict::Ok);
        assert_eq!(worst(&[warn.clone(), ok.clone()]), Verdict::Warn);
        assert_eq!(worst(&[fail, warn, ok]), Verdict::Fail);
    }
}
