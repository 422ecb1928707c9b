//! What a page shows and does, as commands for a terminal: with the command line and with `curl`. They are made of typed
//! values in one place, so that none of them can say to a shell what somebody wrote into a name.

use std::fmt::Display;

use serde_json::Value;

use crate::admin::context::Desk;
use domain::group::GroupId;
use domain::ids::{HostId, OrganizationId, ServerId, UserId};
use domain::search::quoted;
use domain::text::GroupName;

/// One thing to read or to do, in both ways.
pub(crate) struct Recipe {
    /// What it is.
    pub(crate) title: &'static str,
    /// With the command line.
    pub(crate) cli: String,
    /// With `curl`.
    pub(crate) curl: String,
}

/// The recipes of a page.
pub(crate) struct Recipes {
    origin: String,
    all: Vec<Recipe>,
}

/// What is asked of the API.
struct Request {
    method: &'static str,
    path: String,
    body: Option<Value>,
}

impl Request {
    fn get(path: String) -> Self {
        Self { method: "GET", path, body: None }
    }
}

impl Recipes {
    /// Those about a user; `switched` where who looks may let the user in or shut the user out: whether that is so now.
    pub(crate) fn of_user(desk: &Desk, id: UserId, switched: Option<bool>) -> Vec<Recipe> {
        let path = format!("/users/{id}");
        let mut recipes = Self::on(desk);
        recipes.add("Show this user", &["user", "show"], &id, &Request::get(path.clone()));
        if let Some(is_disabled) = switched {
            let (title, verb) =
                if is_disabled { ("Enable this user", "enable") } else { ("Disable this user", "disable") };
            let body = Some(serde_json::json!({ "disabled": !is_disabled }));
            recipes.add(title, &["user", verb], &id, &Request { method: "PATCH", path, body });
        }
        recipes.all
    }

    /// Those about a server; `switched` where who looks may switch it: whether it is on.
    pub(crate) fn of_server(desk: &Desk, id: ServerId, switched: Option<bool>) -> Vec<Recipe> {
        let path = format!("/servers/{id}");
        let mut recipes = Self::on(desk);
        recipes.add("Show this server", &["server", "show"], &id, &Request::get(path.clone()));
        recipes.add("Show its hosts", &["server", "hosts"], &id, &Request::get(format!("{path}/hosts")));
        if let Some(is_enabled) = switched {
            let (title, verb) =
                if is_enabled { ("Switch this server off", "disable") } else { ("Switch this server on", "enable") };
            let body = Some(serde_json::json!({ "enabled": !is_enabled }));
            recipes.add(title, &["server", verb], &id, &Request { method: "PATCH", path, body });
        }
        recipes.all
    }

    /// Those about a host; `draining` where who looks may take it out of service: whether it is to leave.
    pub(crate) fn of_host(desk: &Desk, id: HostId, draining: Option<bool>) -> Vec<Recipe> {
        let path = format!("/hosts/{id}");
        let mut recipes = Self::on(desk);
        recipes.add("Show this host", &["host", "show"], &id, &Request::get(path.clone()));
        match draining {
            None => {}
            Some(true) => {
                let request = Request { method: "POST", path: format!("{path}/resume"), body: None };
                recipes.add("Take it back into service", &["host", "resume"], &id, &request);
            }
            Some(false) => {
                let body = Some(serde_json::json!({ "budget_seconds": 60 }));
                let request = Request { method: "POST", path: format!("{path}/drain"), body };
                recipes.add("Drain this host", &["host", "drain"], &id, &request);
            }
        }
        recipes.all
    }

    /// Those about a group.
    pub(crate) fn of_group(desk: &Desk, name: &GroupName) -> Vec<Recipe> {
        let path = format!("/groups/{}", GroupId::from(name.clone()));
        let search = format!("group:{}", quoted(name.as_str()));
        let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("q", &search).finish();
        let mut recipes = Self::on(desk);
        recipes.add("Show this group", &["group", "show"], name, &Request::get(path));
        let users = Request::get(format!("/users?{query}"));
        recipes.add("List its users", &["user", "list", "--search"], &search, &users);
        recipes.all
    }

    /// Those about an organization.
    pub(crate) fn of_organization(desk: &Desk, id: OrganizationId) -> Vec<Recipe> {
        let mut recipes = Self::on(desk);
        recipes.add("Show this organization", &["org", "show"], &id, &Request::get(format!("/organizations/{id}")));
        let users = Request::get(format!("/users?organization_id={id}"));
        recipes.add("List its users", &["user", "list", "--org"], &id, &users);
        recipes.all
    }

    fn on(desk: &Desk) -> Self {
        Self { origin: desk.site.origin().to_owned(), all: Vec::new() }
    }

    fn add(&mut self, title: &'static str, words: &[&str], about: &impl Display, request: &Request) {
        let about = about.to_string();
        let mut cli = vec!["postern".to_owned()];
        cli.extend(words.iter().map(|word| (*word).to_owned()));
        // Where it is asked stands behind the noun, among what the verbs have in common.
        cli.splice(2..2, ["--url".to_owned(), shell(&self.origin)]);
        if about.starts_with('-') {
            cli.push("--".to_owned());
        }
        cli.push(shell(&about));

        let mut curl = vec!["curl -sS --fail-with-body".to_owned()];
        if request.method != "GET" {
            curl.push(format!("-X {}", request.method));
        }
        // The variable is for the shell to fill in.
        curl.push("-H \"Authorization: Bearer $POSTERN_TOKEN\"".to_owned());
        if let Some(body) = &request.body {
            curl.push(format!("-H {} -d {}", shell("Content-Type: application/json"), shell(&body.to_string())));
        }
        curl.push(shell(&format!("{}/api/v1{}", self.origin, request.path)));
        self.all.push(Recipe { title, cli: cli.join(" "), curl: curl.join(" ") });
    }
}

/// A text as one word of a POSIX shell.
fn shell(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_needs_no_quotes_has_none() {
        assert_eq!(shell("usr_01KAS00000000000000000000A"), "usr_01KAS00000000000000000000A");
        assert_eq!(shell("https://vpn.example.com:9443"), "https://vpn.example.com:9443");
        assert_eq!(shell(""), "''");
        assert_eq!(shell("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(shell("https://a/?q=x&y"), "'https://a/?q=x&y'");
    }

    proptest! {
        #[test]
        fn a_word_for_the_shell_is_one_word_and_means_itself(text in "[^\\x00]{0,40}") {
            let word = shell(&text);
            // What a shell makes of it: quotes fall away, and outside of them nothing is special.
            let mut meant = String::new();
            let mut rest = word.chars();
            let mut is_quoted = false;
            while let Some(c) = rest.next() {
                match c {
                    '\'' => is_quoted = !is_quoted,
                    '\\' if !is_quoted => meant.extend(rest.next()),
                    c => {
                        prop_assert!(is_quoted || c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c), "{word}");
                        meant.push(c);
                    }
                }
            }
            prop_assert!(!is_quoted);
            prop_assert_eq!(meant, text);
        }
    }
}
