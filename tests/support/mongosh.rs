//! The database users of `deploy/mongodb`, made as an administrator of a database makes them: by `mongosh`, from the very
//! file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The password of the user of web processes.
pub(crate) const WEB_PASSWORD: &str = "web";
/// The password of the user that hosts share.
pub(crate) const HOST_PASSWORD: &str = "host";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The shell.
///
/// # Panics
/// When it has not been fetched: a missing tool is a failure, not a skip.
pub(crate) fn program() -> PathBuf {
    let program = repository("tests/support/mongosh/node_modules/.bin/mongosh");
    assert!(program.exists(), "there is no mongosh: run deploy/dev/setup.sh test");
    program
}

/// Runs `apply.js` for a database, as the administrator whom `uri` names. `shell` is [`program`], wherever it is to run.
///
/// # Panics
/// When it fails.
#[track_caller]
pub(crate) fn apply(mut shell: Command, uri: &str, database: &str) {
    let home = tempfile::tempdir().unwrap();
    shell.args([uri, "--quiet"]).arg(repository("deploy/mongodb/apply.js")).env("HOME", home.path());
    shell.envs([("DATABASE", database), ("WEB_PASSWORD", WEB_PASSWORD), ("HOST_PASSWORD", HOST_PASSWORD)]);
    let output = shell.stdin(Stdio::null()).output().unwrap();
    let said = [&output.stdout[..], &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    assert!(output.status.success() && said.contains("are in place"), "apply.js: {}: {said}", output.status);
}

/// The connection string of another user of a database: that of the administrator, with other credentials.
pub(crate) fn uri_of(administrator: &str, user: &str, password: &str, database: &str) -> String {
    let (_, servers) = administrator.split_once('@').expect("the administrator shows credentials");
    let source = format!("authSource={database}");
    format!("mongodb://{user}:{password}@{}", servers.replace("authSource=admin", &source))
}
