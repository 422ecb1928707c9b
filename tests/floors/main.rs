//! The floors, enforced: which crate of the workspace may use which, which foreign crate only some may use, and what
//! only some files may name.
//!
//! Who uses what stands in the manifests, so the compiler refuses the rest; this test reads the manifests. (What tests of
//! a crate use is their business.) For the rules about files the sources are read as text: comments and literals are
//! blanked, `use` groups are expanded, and what is under `#[cfg(test)]` is left out.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends at the first surprise")]

mod circles;
mod source;

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use source::{blank, imports, is_word, tokens, without_tests};

/// The crates under `src/`, and those of the workspace that each may use. Floors from the ground up.
const FLOORS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("runtime", &[]),
    ("metrics", &[]),
    ("store", GROUND),
    ("pki", GROUND),
    ("keys", GROUND),
    ("openvpn", GROUND),
    ("firewall", GROUND),
    ("oidc", GROUND),
    ("services", &["domain", "runtime", "metrics", "store", "pki", "keys", "openvpn", "firewall", "oidc"]),
    ("web", &["domain", "runtime", "metrics", "services"]),
    ("daemon", &["domain", "runtime", "metrics", "services", "openvpn", "firewall"]),
];
const GROUND: &[&str] = &["domain", "runtime", "metrics"];

/// Foreign crates, and the only crates that may use them.
const USED_BY: &[(&str, &[&str])] = &[
    ("mongodb", &["store"]),
    ("prometheus-client", &["metrics"]),
    ("rcgen", &["pki"]),
    ("openidconnect", &["oidc"]),
    ("oauth2", &["oidc"]),
    ("axum", &["web"]),
    ("anyhow", &["postern"]),
    ("ureq", &["postern"]),
];

/// Foreign paths, and the only places under `src/` that may name them.
const NAMED_BY: &[(&str, &[&str])] = &[
    ("ureq", &["commands/client"]),
    ("std::process::Command", SPAWNERS),
    ("std::process::Child", SPAWNERS),
    ("tokio::process", SPAWNERS),
    ("tokio::time::interval", TIMED_CONNECTIONS),
    ("tokio::time::interval_at", TIMED_CONNECTIONS),
];
const SPAWNERS: &[&str] = &["openvpn", "firewall", "store/private", "commands/join/unit"];
/// What recurs is a task (`runtime/reconcile`), unless it belongs to one connection.
const TIMED_CONNECTIONS: &[&str] = &["openvpn/management/link", "web/http/sse"];

/// Beyond this, a file is two.
const LINES: usize = 600;

/// Beyond this, a type is two: so many public methods in all its `impl` blocks.
const METHODS: usize = 40;

/// A broken rule, for people.
#[derive(Debug, PartialEq, Eq)]
struct Offence {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.file, self.line, self.what)
    }
}

#[test]
fn the_crates_keep_their_floors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let mut crates = vec![("postern".to_owned(), read(&root.join("Cargo.toml")))];
    for entry in fs::read_dir(root.join("src")).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        if manifest.exists() {
            let folder = manifest.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
            crates.push((folder, read(&manifest)));
        }
    }
    assert_eq!(crates.len(), FLOORS.len() + 1, "one crate for each floor's folder, and the program");
    let broken: Vec<_> = crates.iter().flat_map(|(name, manifest)| misused(name, manifest)).collect();
    assert!(broken.is_empty(), "the floors (tests/floors.rs, ARCHITECTURE.md) are broken:\n{}", broken.join("\n"));
}

/// What a crate uses that it may not.
fn misused(name: &str, manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().unwrap();
    let uses: Vec<&str> = manifest["dependencies"].as_table().unwrap().keys().map(String::as_str).collect();
    let allowed = FLOORS.iter().find(|(floor, _)| *floor == name).map(|(_, allowed)| *allowed);
    let is_ours = |used: &str| FLOORS.iter().any(|(floor, _)| *floor == used);
    if name != "postern" && allowed.is_none() {
        return vec![format!("`{name}` is on no floor: give it one in tests/floors.rs")];
    }
    let above = uses.iter().filter(|used| is_ours(used) && allowed.is_some_and(|allowed| !allowed.contains(used)));
    let foreign = USED_BY.iter().filter(|(used, by)| uses.contains(used) && !by.contains(&name));
    let above = above.map(|used| format!("`{name}` may not use `{used}`"));
    above.chain(foreign.map(|(used, by)| format!("only {} may use `{used}`, not `{name}`", by.join(", ")))).collect()
}

/// What only tests compile: the feature `samples` is switched on under `[dev-dependencies]` and nowhere else, and no
/// crate has it by default. A build of the program alone does not take the features of those (resolver 3).
#[test]
fn the_program_holds_no_samples() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = FLOORS.iter().map(|(floor, _)| root.join("src").join(floor));
    for folder in folders.chain([root.to_path_buf()]) {
        let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
        let workspace = manifest.get("workspace").and_then(toml::Value::as_table);
        assert!(workspace.is_none_or(|workspace| workspace["resolver"].as_str() == Some("3")));
        let features = manifest.get("features").and_then(toml::Value::as_table);
        assert!(features.is_none_or(|features| !features.contains_key("default")), "{}", folder.display());
        for uses in [Some(&manifest), workspace].into_iter().flatten().filter_map(|table| table.get("dependencies")) {
            assert!(
                !uses.to_string().contains("\"samples\""),
                "{} compiles samples into the program",
                folder.display()
            );
        }
    }
    let web = fs::read_to_string(root.join("src/web/mod.rs")).unwrap();
    assert_eq!(web.matches("tests/samples").count(), 1);
    assert!(web.contains("#[cfg(any(test, feature = \"samples\"))]\n#[path = \"../../tests/samples/mod.rs\"]"));
}

#[test]
fn the_files_keep_their_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root);
    assert!(files.len() > 10, "found only {} files under src/", files.len());
    let offences: Vec<_> = files
        .iter()
        .flat_map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            check(&name, &fs::read_to_string(path).unwrap())
        })
        .collect();
    let report: Vec<_> = offences.iter().map(ToString::to_string).collect();
    assert!(report.is_empty(), "the rules for files (tests/floors.rs) are broken:\n{}", report.join("\n"));
}

#[test]
fn no_type_has_hundreds_of_methods() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut methods = std::collections::BTreeMap::<String, usize>::new();
    for path in sources(&root) {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let part = name.split('/').next().unwrap_or_default();
        for (of, count) in public_methods(&fs::read_to_string(&path).unwrap()) {
            *methods.entry(format!("{part}::{of}")).or_default() += count;
        }
    }
    assert!(methods["services::People"] > 10, "the areas of the services are seen: {methods:?}");
    let large: Vec<_> = methods.iter().filter(|(_, count)| **count > METHODS).collect();
    assert!(large.is_empty(), "past {METHODS} public methods, ask what a type is two of: {large:?}");
}

/// The types with inherent `impl` blocks in a file, and how many public functions each block has.
fn public_methods(source: &str) -> Vec<(String, usize)> {
    let tokens = without_tests(&tokens(&blank(source)));
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut found = Vec::new();
    let mut depth = 0_usize;
    for at in 0..tokens.len() {
        match text(at) {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            "impl" if depth == 0 => {
                let head: Vec<&str> =
                    (at + 1..tokens.len()).map(text).take_while(|token| *token != "{" && *token != ";").collect();
                // The name stands behind the parameters of the block, if it has some. A trait's block has none of ours.
                let mut open = 0_usize;
                let name = head.iter().find(|token| {
                    open += usize::from(**token == "<");
                    let outside = open == 0;
                    open -= usize::from(**token == ">").min(open);
                    outside && is_word(token)
                });
                let name = name.filter(|_| !head.contains(&"for")).map_or("", |name| *name);
                found.push((name.to_owned(), 0));
            }
            "fn" if depth == 1 => {
                let before: Vec<&str> = (at.saturating_sub(3)..at).map(text).collect();
                let public = match before.as_slice() {
                    [.., "pub"] | [.., "pub", "async" | "const"] | ["pub", "const", "async"] => 1,
                    _ => 0,
                };
                if let Some((name, count)) = found.last_mut()
                    && !name.is_empty()
                {
                    *count += public;
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn public_methods_are_counted() {
    let source = "impl<T: Into<X>> Area<'_> { pub fn a() { if x { } } pub async fn b() {} fn c() {} pub(crate) fn d() {} }\n\
                  impl fmt::Display for Area<'_> { fn fmt() {} }\nimpl Other { pub const fn e() {} }";
    let counted: Vec<_> = public_methods(source).into_iter().filter(|(name, _)| !name.is_empty()).collect();
    assert_eq!(counted, [("Area".to_owned(), 2), ("Other".to_owned(), 1)]);
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// All offences of one file; `name` is its path under `src/`.
fn check(name: &str, source: &str) -> Vec<Offence> {
    let offence = |line, what| Offence { file: name.to_owned(), line, what };
    let module = name.trim_end_matches(".rs").trim_end_matches("/mod");

    let mut offences = Vec::new();
    let lines = source.lines().count();
    if lines > LINES {
        offences.push(offence(LINES + 1, format!("{lines} lines; past {LINES}, ask what it is two of")));
    }
    if module.ends_with("/tests") {
        return offences;
    }
    offences.extend(nameless_events(source).into_iter().map(|line| {
        offence(line, "a line of the log begins with `event = \"…\"`, a word that stays what it is".to_owned())
    }));
    for import in imports(source) {
        for (foreign, places) in NAMED_BY {
            let begins = import.path.iter().map(String::as_str).take(foreign.split("::").count());
            let bare_module = import.is_use
                && import.path.len() < foreign.split("::").count()
                && foreign.split("::").zip(&import.path).all(|(want, is)| want == is)
                && import.path.len() > 1;
            let allowed = places.iter().any(|place| module == *place || module.starts_with(&format!("{place}/")));
            if (begins.eq(foreign.split("::")) || bare_module) && !allowed {
                offences.push(offence(import.line, format!("only {} may name `{foreign}`", places.join(", "))));
            }
        }
    }
    offences.dedup();
    offences
}

/// Where something is logged for people without a stable name; what is for debugging needs none.
fn nameless_events(source: &str) -> Vec<usize> {
    let tokens = without_tests(&tokens(&blank(source)));
    let begins = |at: usize, words: &[&str]| {
        tokens[at.min(tokens.len())..]
            .iter()
            .map(|token| token.text.as_str())
            .take(words.len())
            .eq(words.iter().copied())
    };
    let logs =
        |at: usize| ["info", "warn", "error"].iter().any(|level| begins(at, &["tracing", "::", level, "!", "("]));
    let named = |at: usize| {
        // The name of a target is a literal, and so blank here.
        let at = if begins(at, &["target", ":", ","]) { at + 3 } else { at };
        begins(at, &["event", "="])
    };
    (0..tokens.len()).filter(|at| logs(*at) && !named(*at + 5)).map(|at| tokens[at].line).collect()
}

/// What the checker says about a file, without the place.
fn offences(name: &str, source: &str) -> Vec<String> {
    check(name, source).into_iter().map(|offence| offence.what).collect()
}

#[test]
fn what_a_crate_may_not_use_is_found() {
    for (name, uses, expected) in [
        ("domain", "runtime.workspace = true", "`domain` may not use `runtime`"),
        ("store", "domain.workspace = true\npki.workspace = true", "`store` may not use `pki`"),
        ("web", "store = { path = \"../store\" }", "`web` may not use `store`"),
        ("services", "mongodb = \"3\"", "only store may use `mongodb`, not `services`"),
        ("postern", "axum.workspace = true", "only web may use `axum`, not `postern`"),
        ("attic", "", "`attic` is on no floor: give it one in tests/floors.rs"),
    ] {
        assert_eq!(misused(name, &format!("[dependencies]\n{uses}\n")), [expected], "{name}: {uses}");
    }
    for (name, uses) in [
        ("store", "domain.workspace = true\nmongodb.workspace = true"),
        ("web", "axum.workspace = true\n[dev-dependencies]\nstore.workspace = true"),
        ("postern", "web.workspace = true\nstore.workspace = true\nanyhow.workspace = true"),
    ] {
        assert_eq!(misused(name, &format!("[dependencies]\n{uses}\n")), [""; 0], "{name}: {uses}");
    }
}

#[test]
fn what_a_file_may_not_name_is_found() {
    let spawners = "only openvpn, firewall, store/private, commands/join/unit may name";
    for (name, source, expected) in [
        ("commands/serve.rs", "use ureq::Agent;", "only commands/client may name `ureq`".to_owned()),
        (
            "daemon/mod.rs",
            "use std::{fs, process::{Command, ExitCode}};",
            format!("{spawners} `std::process::Command`"),
        ),
        ("store/users.rs", "tokio::process::Command::new(x)", format!("{spawners} `tokio::process`")),
    ] {
        assert_eq!(offences(name, source), [expected], "{name}: {source}");
    }
    // A module in the place of the type would hide it.
    assert!(!offences("web/mod.rs", "use std::process;").is_empty());
}

#[test]
fn what_is_allowed_passes() {
    for (name, source) in [
        ("store/private.rs", "use tokio::process::Command;"),
        ("main.rs", "fn main() -> std::process::ExitCode { postern::commands::main() }"),
        ("domain/user.rs", "// use ureq::X;\n/* ureq::x /* nested */ */\nconst X: &str = \"ureq::x\";"),
        ("domain/user.rs", "const R: &str = r#\"ureq::x \"quoted\" \"#; const C: char = '\"'; fn f<'a>(x: &'a str) {}"),
        ("domain/user.rs", "#[cfg(test)]\nmod tests { fn f() { if x { ureq::x() } } }\nuse std::fmt;"),
        ("domain/user.rs", "fn f(ureq: u8) { self.ureq.x(); other::ureq::x(); }"),
    ] {
        assert_eq!(offences(name, source), [""; 0], "{name}: {source}");
    }
}

#[test]
fn code_behind_tests_is_still_checked_and_has_its_line() {
    let source = "#[cfg(test)]\nmod tests;\n\"a\nb\";\nuse ureq::Agent;\n";
    let found = check("domain/user.rs", source);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].to_string(), "src/domain/user.rs:5: only commands/client may name `ureq`");
}

#[test]
fn a_file_that_is_too_long_is_found() {
    assert_eq!(offences("domain/user.rs", &"\n".repeat(LINES)), [""; 0]);
    assert_eq!(offences("domain/user.rs", &"\n".repeat(LINES + 1)).len(), 1);
}

#[test]
fn a_log_line_without_a_stable_name_is_found() {
    let nameless = "fn f() { tracing::warn!(%error, \"it failed\"); tracing::debug!(\"x\"); }";
    assert_eq!(
        offences("jobs/mod.rs", nameless),
        ["a line of the log begins with `event = \"…\"`, a word that stays what it is"]
    );
    for named in [
        "fn f() { tracing::info!(event = \"a.b\", %error, \"it failed\"); }",
        "fn f() { tracing::info!(target: \"audit\", event = \"a.b\", \"it failed\"); }",
    ] {
        assert_eq!(offences("jobs/mod.rs", named), [""; 0], "{named}");
    }
}
