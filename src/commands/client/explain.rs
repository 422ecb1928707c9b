//! `postern explain`.

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::Client;
use super::api::Ask;
use super::error::ClientError;
use super::output::at;
use super::refs::NounKind;
use super::table::{Cell, lines};
use crate::domain::explain::Target;
use crate::domain::ids::ProfileId;

/// Who wants to get where.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  postern explain ana@example.com 10.8.0.5")]
pub(in super::super) struct Question {
    /// A user: id, name or e-mail address; or the id of a profile.
    user: String,
    /// An IPv4 address or a network.
    destination: Target,
    /// As of when, for what expires, such as 2027-01-01T00:00:00Z; now if absent.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

impl Question {
    /// Asks, and shows the answer.
    pub(super) fn run(self, client: &Client) -> Result<(), ClientError> {
        let who = if self.user.parse::<ProfileId>().is_ok() {
            ("profile_id", self.user)
        } else {
            ("user_id", client.find(NounKind::User, &self.user)?)
        };
        let mut query = vec![who, ("destination", self.destination.to_string())];
        query.extend(self.at.map(|at| ("at", at.to_string())));
        let answer = client.api.send(&Ask::get("/explain").query(&query))?.json()?;
        if client.out.is_for_people() { client.out.text(told(&answer).as_bytes()) } else { client.out.json(&answer) }
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    at(value, field).as_str().unwrap_or_default()
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    at(value, field).as_array().into_iter().flatten()
}

/// The answer for people.
fn told(answer: &Value) -> String {
    let word = |allowed: &Value| if allowed == true { "allowed" } else { "denied" };
    let mut told = format!("{}: {}\n", text(answer, "destination"), word(at(answer, "allowed")));
    for way in items(answer, "ways") {
        let rows: Vec<_> = items(way, "links")
            .map(|link| {
                let mark = if at(link, "holds") == true { "  yes" } else { "  no" };
                [mark, text(link, "kind"), text(link, "says")].map(Cell::new).to_vec()
            })
            .collect();
        let head = format!("\nby server {}: {}", text(way, "server"), word(at(way, "allowed")));
        let head = lines(&[vec![Cell::new(head.trim_start())]], None);
        told = format!("{told}\n{head}{}", lines(&rows, None));
    }
    let changes: Vec<_> = items(answer, "changes")
        .filter_map(Value::as_str)
        .map(|change| vec![Cell::new(&format!("  {change}"))])
        .collect();
    if !changes.is_empty() {
        told = format!("{told}\nwhat would have to change:\n{}", lines(&changes, None));
    }
    told
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_read_the_verdict_the_chain_and_what_would_have_to_change() {
        let link = |kind: &str, holds: bool, says: &str| json!({ "kind": kind, "holds": holds, "says": says });
        let answer = json!({
            "destination": "10.8.0.5", "allowed": false, "changes": ["Enable Ana."],
            "ways": [{ "server": "main", "allowed": false, "links": [
                link("user", false, "Ana is disabled."), link("host", true, "These hosts take connections: vpn-1."),
            ]}],
        });
        let expected = "10.8.0.5: denied\n\nby server main: denied\n  no   user  Ana is disabled.\n  yes  host  These hosts take \
            connections: vpn-1.\n\nwhat would have to change:\n  Enable Ana.\n";
        assert_eq!(told(&answer), expected);
    }
}
