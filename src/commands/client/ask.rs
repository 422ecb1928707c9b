//! Asking back before something that cannot be undone, or that people notice.

use std::io::{IsTerminal as _, Write as _};

use serde_json::Value;

use super::Client;
use super::api::Ask;
use super::error::{ClientError, exit};
use super::output::{at, person};
use super::table::written_out;

impl Client {
    /// Goes on only if the caller meant it: said so beforehand, or says so now.
    pub(super) fn confirm(&self, what: &str) -> Result<(), ClientError> {
        if self.yes {
            return Ok(());
        }
        if !can_be_asked() {
            return Err(ClientError::usage(format!("to {what} needs --yes where nobody can be asked")));
        }
        let mut err = std::io::stderr().lock();
        write!(err, "Really {}? [y/N] ", written_out(what))?;
        err.flush()?;
        let mut reply = String::new();
        std::io::stdin().read_line(&mut reply)?;
        if matches!(reply.trim().to_lowercase().as_str(), "y" | "yes") {
            return Ok(());
        }
        Err(ClientError::new(exit::FAILED, "nothing was changed"))
    }

    /// Goes on only if the caller meant it, knowing what it does to people.
    pub(super) fn confirm_effect(&self, what: &str, ask: &Ask<'_>) -> Result<(), ClientError> {
        if self.yes {
            return Ok(());
        }
        match in_words(&self.foresee(ask)?) {
            Some(effect) => self.confirm(&format!("{what}: {effect}")),
            None => self.confirm(what),
        }
    }

    /// Says what a request does to people, and at a terminal asks whether that is meant; goes on by itself where people
    /// notice nothing. For what can be taken back: a script is told, and not held up.
    pub(super) fn announce_effect(&self, what: &str, ask: &Ask<'_>) -> Result<(), ClientError> {
        if self.yes {
            return Ok(());
        }
        match in_words(&self.foresee(ask)?) {
            Some(effect) if can_be_asked() => self.confirm(&format!("{what}: {effect}")),
            Some(effect) => {
                self.out.remark(&effect);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn foresee(&self, ask: &Ask<'_>) -> Result<Value, ClientError> {
        self.api.send(&ask.foreseen())?.json()
    }
}

fn can_be_asked() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// What people notice of a change; nothing if they notice nothing.
fn in_words(effect: &Value) -> Option<String> {
    let count = |field: &str| at(effect, field).as_u64().unwrap_or(0);
    let cut_off = count("sessions_cut_off");
    let named: Vec<String> = at(effect, "cut_off").as_array().into_iter().flatten().map(person).collect();
    let more = cut_off.saturating_sub(named.len() as u64);
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let told = [
        (count("users_losing_access"), "1 user loses access", "users lose access", String::new()),
        (count("sessions_ending").saturating_sub(cut_off), "1 session ends", "sessions end", String::new()),
        (cut_off, "1 session is cut off", "sessions are cut off", format!(" ({}{and_more})", named.join(", "))),
        (count("sessions_moving"), "1 session reconnects", "sessions reconnect", String::new()),
        (count("profiles_ending"), "1 profile ends", "profiles end", String::new()),
        (count("profiles_cut_off"), "1 profile names no other host", "profiles name no other host", String::new()),
    ];
    let told = told.into_iter().filter(|(count, ..)| *count > 0).map(|(count, one, many, who)| match count {
        1 => format!("{one}{who}"),
        _ => format!("{count} {many}{who}"),
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_are_counted_and_whoever_is_cut_off_is_named() {
        assert_eq!(in_words(&json!({ "daemons_stopping": 1, "sessions_moving": 0 })), None);
        let effect = json!({
            "sessions_moving": 2, "sessions_ending": 4, "sessions_cut_off": 3,
            "cut_off": [{ "user": "Ana", "profile": "laptop" }, { "user": "Bo", "profile": "phone" }],
        });
        let words =
            "1 session ends, 3 sessions are cut off (Ana (laptop), Bo (phone) and 1 more), 2 sessions reconnect";
        assert_eq!(in_words(&effect).as_deref(), Some(words));
    }
}
