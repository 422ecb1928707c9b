//! What every client command takes, and where it finds the API.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use jiff::SignedDuration;

use super::error::ClientError;
use crate::domain::secret::Secret;

/// Where the API is, who asks, and what the answer looks like.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Debug, Clone, clap::Args)]
pub(in super::super) struct Options {
    /// Where the API is, such as `https://vpn-admin.example.com`.
    #[arg(long, global = true, value_name = "URL", env = "POSTERN_URL", hide_env_values = true, help_heading = HEADING)]
    pub url: Option<String>,
    /// A file that holds the API token, `-` for standard input; without it the variable `POSTERN_TOKEN` is read.
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub token_file: Option<PathBuf>,
    /// Trust these certificate authorities (PEM) rather than those of this machine.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "POSTERN_CA_FILE",
        hide_env_values = true,
        help_heading = HEADING
    )]
    pub ca_file: Option<PathBuf>,
    /// How results are shown.
    #[arg(long, global = true, value_enum, default_value_t, help_heading = HEADING)]
    pub output: Format,
    /// Short for --output json: the body of the API's answer.
    #[arg(long, global = true, conflicts_with = "output", help_heading = HEADING)]
    pub json: bool,
    /// Show only these fields, named as in the JSON; `a.b` for what is inside.
    #[arg(long, global = true, value_name = "FIELD,…", value_delimiter = ',', help_heading = HEADING)]
    pub fields: Vec<String>,
    /// Print ids alone, and nothing but errors beside them.
    #[arg(long, short, global = true, help_heading = HEADING)]
    pub quiet: bool,
    /// Do not ask back. Needed for what cannot be undone where nobody can be asked.
    #[arg(long, short, global = true, help_heading = HEADING)]
    pub yes: bool,
    /// Change nothing, and show what the change would do to people, sessions and profiles.
    #[arg(long, global = true, help_heading = HEADING)]
    pub dry_run: bool,
    /// No colours.
    #[arg(long, global = true, help_heading = HEADING)]
    pub no_color: bool,
    /// How long one request may take, such as 30s or 2m.
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = time, help_heading = HEADING)]
    pub timeout: Duration,
}

const HEADING: &str = "Client options";

/// How results are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(in super::super) enum Format {
    /// For people.
    #[default]
    Table,
    /// The body of the API's answer.
    Json,
    /// One object of the list on each line.
    Jsonl,
    /// For spreadsheets; what a spreadsheet would take for a formula has an apostrophe in front.
    Csv,
}

impl Options {
    /// How results are shown.
    pub(super) fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }

    /// The address of the API, without a slash at its end.
    pub(super) fn base(&self) -> Result<String, ClientError> {
        let missing = "the address of the API is not known: give --url, or set POSTERN_URL";
        let given = self.url.as_deref().filter(|url| !url.is_empty()).ok_or_else(|| ClientError::usage(missing))?;
        let url = url::Url::parse(given).map_err(|error| ClientError::usage(format!("--url {given}: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(ClientError::usage(format!("--url {given}: must begin with https:// or http://")));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(ClientError::usage("--url: must be an address alone, without a password, `?` or `#`"));
        }
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }

    /// The token, from its file or the environment. Never from the arguments, which every user of a machine can read.
    pub(super) fn token(&self) -> Result<Secret<String>, ClientError> {
        let missing = "there is no token: give --token-file, or set POSTERN_TOKEN";
        let text = match &self.token_file {
            Some(file) => read_text(file, "--token-file")?,
            None => match std::env::var_os("POSTERN_TOKEN").map(std::ffi::OsString::into_string) {
                Some(Ok(token)) => Secret::new(token),
                Some(Err(_)) => return Err(ClientError::usage("POSTERN_TOKEN is not readable text")),
                None => return Err(ClientError::usage(missing)),
            },
        };
        let token = Secret::new(text.expose().trim().to_owned());
        if token.expose().is_empty() {
            return Err(ClientError::usage(missing));
        }
        if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientError::usage("what was given as the token is none: it must be one word"));
        }
        Ok(token)
    }
}

/// What a file holds, or standard input for `-`.
pub(super) fn read_text(file: &std::path::Path, argument: &str) -> Result<Secret<String>, ClientError> {
    let text =
        if file.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    text.map(Secret::new).map_err(|error| ClientError::usage(format!("{argument} {}: {error}", file.display())))
}

/// A span of time on the command line.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a time such as 30s, 5m or 1h".to_owned();
    let parsed: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(parsed).ok().filter(|time| !time.is_zero()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(time("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(time("5m"), Ok(Duration::from_mins(5)));
        for bad in ["", "30", "-1s", "0s", "soon"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
