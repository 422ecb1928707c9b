//! The systemd service of a joined machine. Where the package has not brought it, the files that it would have brought
//! are written; a machine without systemd is told what to start.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::files;
use crate::config::DEFAULT_PATH;

const NAME: &str = "postern-vpn.service";

/// Where systemd says that it runs this machine (`sd_booted(3)`).
const BOOTED: &str = "/run/systemd/system";

/// The files of the package, and where they go on a machine that has none.
const FILES: [(&str, &str, &str); 4] = [
    (
        "usr/lib/systemd/system",
        "etc/systemd/system/postern-vpn.service",
        include_str!("../../../deploy/systemd/postern-vpn.service"),
    ),
    (
        "usr/lib/sysusers.d",
        "etc/sysusers.d/postern.conf",
        include_str!("../../../deploy/systemd/sysusers.d/postern.conf"),
    ),
    (
        "usr/lib/tmpfiles.d",
        "etc/tmpfiles.d/postern.conf",
        include_str!("../../../deploy/systemd/tmpfiles.d/postern.conf"),
    ),
    (
        "usr/lib/sysctl.d",
        "etc/sysctl.d/60-postern.conf",
        include_str!("../../../deploy/systemd/sysctl.d/60-postern.conf"),
    ),
];

/// The program as the unit names it.
const PROGRAM: &str = "/usr/bin/postern";

/// What is to be done so that the host runs: nothing more, or what to start.
pub(super) fn enable(config: &Path) -> anyhow::Result<Option<String>> {
    let program = std::env::current_exe().unwrap_or_else(|_unknown| PathBuf::from(PROGRAM));
    if !Path::new(BOOTED).is_dir() || config != Path::new(DEFAULT_PATH) {
        return Ok(Some(format!("{} serve --config {}", program.display(), config.display())));
    }
    install(Path::new("/"), &program)?;
    run("systemd-sysusers", &[])?;
    run("systemd-tmpfiles", &["--create", "postern.conf"])?;
    run("systemctl", &["daemon-reload"])?;
    run("systemctl", &["enable", "--quiet", NAME])?;
    // Not `start`: a service that runs with an earlier configuration has to read this one. Its daemons go on.
    run("systemctl", &["restart", NAME])?;
    Ok(None)
}

/// Writes the files that the package has not brought, below `root`.
fn install(root: &Path, program: &Path) -> anyhow::Result<()> {
    for (packaged, place, text) in FILES {
        let place = root.join(place);
        let name = place.file_name().context("the place of a file has a name")?;
        if root.join(packaged).join(name).exists() {
            continue;
        }
        let text = text.replace(PROGRAM, program.to_str().context("the path of this program is no text")?);
        files::write(&place, &text, 0o644)?;
    }
    Ok(())
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{program} cannot be run"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {} failed: {}", arguments.join(" "), said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_the_package_gets_its_files_with_the_program_that_joined() {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), Path::new("/opt/postern")).unwrap();
        let unit = std::fs::read_to_string(root.path().join("etc/systemd/system").join(NAME)).unwrap();
        assert!(unit.contains("ExecStart=/opt/postern serve"), "{unit}");
        for (_, place, _) in FILES {
            assert!(root.path().join(place).is_file(), "{place}");
        }
    }

    #[test]
    fn what_the_package_brought_stays() {
        let root = tempfile::tempdir().unwrap();
        for (packaged, place, _) in FILES {
            let folder = root.path().join(packaged);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(Path::new(place).file_name().unwrap()), "").unwrap();
        }
        install(root.path(), Path::new("/usr/bin/postern")).unwrap();
        assert!(!root.path().join("etc").exists());
    }
}
