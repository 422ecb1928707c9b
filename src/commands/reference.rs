//! What the command line says of itself elsewhere: completions for shells, man pages, and the reference in
//! `docs/cli.md`. All three come from the one definition of the arguments, so they cannot disagree with it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::builder::PossibleValue;
use clap::{Arg, Command, CommandFactory as _};
use clap_complete::Shell;

use super::{Arguments, print};
use crate::services::refusal::entries;

/// Prints a completion script.
pub(super) fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "postern", &mut script);
    print(String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}

/// Writes a man page for each command into a folder.
pub(super) fn man(folder: &PathBuf) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    clap_mangen::generate_to(Arguments::command(), folder)
        .with_context(|| format!("the man pages cannot be written to {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The reference of all commands, as `docs/cli.md` has it.
pub(super) fn reference() -> String {
    let mut text = String::from(HEAD);
    let mut root = Arguments::command();
    root.build();
    let client = root.get_subcommands().find_map(|noun| {
        let options: Vec<_> = noun.get_arguments().filter(|arg| arg.get_help_heading().is_some()).collect();
        (!options.is_empty()).then_some(options)
    });
    text.push_str("\n## Client options\n\nThe nouns that ask the API take these, before or after the verb.\n\n");
    for arg in client.into_iter().flatten() {
        argument(&mut text, arg);
    }
    for command in visible(&root) {
        describe(&mut text, command, "postern", 2);
    }
    text
}

/// The reasons for which the API refuses, as `docs/refusals.md` has them.
pub(super) fn refusals() -> String {
    let mut text = String::from(REASONS);
    for (status, entry) in entries() {
        let field = entry.field.map(|field| format!("`/{field}`")).unwrap_or_default();
        let field = if status == 422 { "in the answer".to_owned() } else { field };
        let parameters: Vec<_> = entry.parameters.iter().map(|name| format!("`{name}`")).collect();
        let about: String = entry.about.concat();
        let _ =
            writeln!(text, "| `{}` | {status} | {field} | {} | {} |", entry.code, parameters.join(", "), about.trim());
    }
    text
}

const REASONS: &str = "\
# Reasons of refusals

<!-- Made from the program by `make refusals`; a test fails if it differs. -->

Where the API refuses a request that it could read, the problem document (RFC 9457) has the member `reason`: one of the
words below, which never changes its meaning. Releases to come have others, so a program treats one that it does not know
by the `code` and the status. `parameters` holds what the reason depends on, `errors` the field that it is about, and
`detail` words for people, which may be improved at any time.

| Reason | Status | Field | Parameters | Given when |
|---|---|---|---|---|
";

const HEAD: &str = "\
# The command line

<!-- Made from the program by `make reference`; a test fails if it differs. -->

`postern <noun> <verb>`. Results go to standard output, everything else to standard error. Names and e-mail addresses are
accepted where ids are, as long as only one thing is called so.

| Exit code | Means |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | usage: an argument or a value in it is wrong |
| 3 | not found |
| 4 | conflict, or a precondition is not met |
| 5 | not signed in, or not allowed |
| 6 | unreachable or timed out; the same command may work later |
| 7 | partly done |
| 8 | differences found (`plan`, `diff`, `verify`, warnings of `doctor`) |
| 130 | interrupted |
";

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help")
}

fn describe(text: &mut String, command: &Command, before: &str, level: usize) {
    let path = format!("{before} {}", command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "\n{} {path}\n\n{}\n", "#".repeat(level.min(3)), sentence(&about));
    let shown: Vec<_> = command.get_arguments().filter(|arg| !is_common(arg)).collect();
    if command.get_subcommands().next().is_none() {
        let positional = shown.iter().filter(|arg| arg.is_positional()).map(|arg| format!(" {arg}"));
        let options = if shown.iter().any(|arg| !arg.is_positional()) { " [OPTIONS]" } else { "" };
        let _ = write!(text, "\n    {path}{options}{}\n", positional.collect::<String>());
    }
    if !shown.is_empty() {
        text.push('\n');
        for arg in shown {
            argument(text, arg);
        }
    }
    if let Some(example) = command.get_after_help() {
        let _ = write!(text, "\n{}\n", example.to_string().replace("Example:\n  ", "Example:\n\n    "));
    }
    for inner in visible(command) {
        describe(text, inner, &path, level + 1);
    }
}

/// What every command has, or is told of once for all of them.
fn is_common(arg: &Arg) -> bool {
    arg.is_hide_set() || arg.get_help_heading().is_some() || matches!(arg.get_id().as_str(), "help" | "version")
}

fn argument(text: &mut String, arg: &Arg) {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let _ = write!(
        text,
        "- {short}`{}`: {}",
        arg.to_string().trim_end_matches("..."),
        sentence(&help).replace("\n\n", " ")
    );
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let values = arg.get_possible_values();
    let values: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).map(PossibleValue::get_name).collect();
    if !values.is_empty() && arg.get_action().takes_values() {
        let _ = write!(text, " One of {}.", values.join(", "));
    }
    if !defaults.is_empty() && arg.get_action().takes_values() {
        let _ = write!(text, " Default: {}.", defaults.join(", "));
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(text, " Environment: `{}`.", variable.to_string_lossy());
    }
    text.push('\n');
}

/// With the full stop that the parser of arguments takes off.
fn sentence(text: &str) -> String {
    if text.is_empty() || text.ends_with(['.', ':', '!']) { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_list_of_reasons_is_that_of_the_program() {
        let written = include_str!("../../docs/refusals.md");
        assert!(written == refusals(), "docs/refusals.md is not up to date: `make refusals` writes it anew");
    }

    #[test]
    fn the_reference_is_what_the_program_says() {
        let written = include_str!("../../docs/cli.md");
        let told = reference();
        let differs = written.lines().zip(told.lines()).find(|(written, told)| written != told);
        assert_eq!(differs, None, "docs/cli.md is not up to date: `make reference` writes it anew");
        assert!(written == told, "docs/cli.md has not the length it should have: `make reference` writes it anew");
    }
}
