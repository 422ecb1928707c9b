//! The commands that work on a machine: which program, and which configuration it has to be told. Pages show them, so
//! that nobody has to find out why the short form fails here.

use std::path::Path;

/// How `postern` is called on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    program: String,
    config: Option<String>,
    /// Whether only root may read what the command needs.
    pub needs_root: bool,
}

impl Default for CommandLine {
    /// A program on the path, with the configuration at its usual place.
    fn default() -> Self {
        Self { program: "postern".to_owned(), config: None, needs_root: false }
    }
}

/// Folders that are on everybody's path.
const ON_THE_PATH: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/bin"];

impl CommandLine {
    /// That of the program at `program`, with the configuration at `config`, unless that is where it is found untold.
    pub fn new(program: &Path, config: Option<&Path>, needs_root: bool) -> Self {
        let folder = program.parent().and_then(Path::to_str).unwrap_or_default();
        let name = program.file_name().filter(|_| ON_THE_PATH.contains(&folder));
        let program = name.map_or(program, Path::new);
        Self { program: quoted(program), config: config.map(quoted), needs_root }
    }

    /// The command `words`, such as `owner-link`, as it is typed into a shell.
    pub fn of(&self, words: &str) -> String {
        let Self { program, config, .. } = self;
        let config = config.as_ref().map(|config| format!(" --config {config}")).unwrap_or_default();
        format!("{program} {words}{config}")
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if text.chars().all(is_plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_what_a_shell_would_not_find() {
        let of = |program: &str, config: Option<&str>| {
            CommandLine::new(Path::new(program), config.map(Path::new), false).of("owner-link")
        };
        assert_eq!(CommandLine::default().of("owner-link"), "postern owner-link");
        assert_eq!(of("/usr/bin/postern", None), "postern owner-link");
        assert_eq!(
            of("/usr/bin/postern", Some("/etc/postern/web.toml")),
            "postern owner-link --config /etc/postern/web.toml"
        );
        assert_eq!(
            of("/home/ana/my postern/target/release/postern", Some("/home/ana/it's/postern.toml")),
            r"'/home/ana/my postern/target/release/postern' owner-link --config '/home/ana/it'\''s/postern.toml'"
        );
    }
}
