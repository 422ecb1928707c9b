//! `postern backup create`, `verify` and `restore`.

use std::fs::File;
use std::io::{BufWriter, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;

use super::database::{Database, load, master_key};
use super::progress::Measured;
use super::{Machine, print, tell};
use crate::domain::audit::Actor;
use crate::keys::master::MasterKey;
use crate::services::Act;
use crate::services::cluster::backup::{Backup, BackupReport, extract};
use crate::store::dump::Dump;
use crate::store::dump::backup::Counts;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Write a sealed copy of the cluster as it is at this moment. Hosts go on meanwhile.
    ///
    /// The copy opens with the cluster's master key only, which is not in it: keep both, apart from each other.
    Create {
        #[command(flatten)]
        machine: Machine,
        /// Where to write it. The file must not exist.
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Read a backup from its first to its last byte and say what is in it. Needs the master key, and no database.
    ///
    /// Exit code 8 if references between documents lead nowhere.
    Verify {
        #[command(flatten)]
        machine: Machine,
        /// The backup.
        file: PathBuf,
        /// Also write the archive within, unsealed, for `mongorestore --archive=ARCHIVE`.
        #[arg(long, value_name = "ARCHIVE")]
        extract: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a backup into the database of the configuration, which must be empty. Repeat it if it was interrupted.
    ///
    /// What was revoked or ended after the backup is valid again: revoke it again. Logins and one-time links are
    /// restored only from a backup of a paused cluster.
    Restore {
        #[command(flatten)]
        machine: Machine,
        /// The backup; or a folder or archive of `mongodump`, gzipped or not, of a Postern database.
        file: PathBuf,
        /// Delete whatever the database holds.
        #[arg(long)]
        replace: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Create { machine, file, json } => create(&machine, &file, json).await,
        Verb::Verify { machine, file, extract, json } => verify(&machine, &file, extract.as_deref(), json),
        Verb::Restore { machine, file, replace, json } => restore(&machine, &file, replace, json).await,
    }
}

async fn create(machine: &Machine, path: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    if path.exists() {
        bail!("{} exists already; name a new file", path.display());
    }
    let database = Database::open(machine).await?;
    database.require_current().await?;
    let key = master_key(&load(machine)?)?;
    let services = database.services(key).await;
    // Under another name until it is whole, so that nothing in the place of a backup is less than one.
    let draft = Draft::beside(path);
    let file = draft.create().with_context(|| format!("{} cannot be written", draft.0.display()))?;
    let act = Act::of(Actor::Shell("backup create"));
    let (file, report) = services.cluster().create_backup(&act, BufWriter::new(Measured::writing(file))).await?;
    database.close().await;
    draft.keep(&file, path).with_context(|| format!("{} cannot be written", path.display()))?;
    show(&report, as_json);
    Ok(ExitCode::SUCCESS)
}

fn verify(machine: &Machine, path: &Path, to: Option<&Path>, as_json: bool) -> anyhow::Result<ExitCode> {
    let key = key_for_reading(machine)?;
    let report = Backup::open(&key, open(path)?).and_then(Backup::verify);
    let report = report.with_context(|| format!("{} is not in order", path.display()))?;
    if let Some(to) = to {
        let mut archive = new_file(to).with_context(|| format!("{} cannot be written", to.display()))?;
        extract(&key, open(path)?, &mut archive)?;
        archive.sync_all()?;
        tell(format_args!("{} is not sealed: keep it from others and delete it soon", to.display()));
    }
    show(&report, as_json);
    Ok(if report.dangling.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(8) })
}

async fn restore(machine: &Machine, path: &Path, replace: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let act = Act::of(Actor::Shell("backup restore"));
    let key = key_for_reading(machine)?;
    let sealed = is_sealed(path)?;
    if sealed {
        // All of it is looked at before the database is touched.
        let checked = Backup::open(&key, open(path)?).and_then(Backup::verify);
        checked.with_context(|| format!("{} is not in order", path.display()))?;
    }
    let backup = if sealed { Some(Backup::open(&key, open(path)?)?) } else { None };
    let database = Database::open(machine).await?;
    let services = database.services(Some(key)).await;
    let counts = if let Some(backup) = backup {
        services.cluster().restore_backup(&act, backup, replace).await?
    } else {
        let dump = Dump::open(path).with_context(|| path.display().to_string())?;
        services.cluster().restore_dump(&act, dump, replace).await?
    };
    let proven = services.network().prove_master_key().await;
    let paused = services.cluster().paused().await?.is_some();
    database.close().await;
    if as_json {
        print(json!({ "documents": counts, "paused": paused }));
    } else {
        print(format_args!("restored: {}", listed(&counts)));
        if paused {
            print(
                "the cluster is paused, as it was when the backup was made; when all hosts are here: `postern resume`",
            );
        }
    }
    proven.context("all is restored, but the master key here is not the one of this cluster")?;
    Ok(ExitCode::SUCCESS)
}

fn key_for_reading(machine: &Machine) -> anyhow::Result<MasterKey> {
    let config = load(machine)?;
    if config.database.uri.is_none() && config.keys.master_key_file.is_none() {
        // The key of a private database is made with it; in order to read, none is made.
        return Ok(MasterKey::load(&config.host.data_dir.join("master.key"))?);
    }
    master_key(&config)?.context("keys.master_key_file is not set: a backup opens with the cluster's master key only")
}

fn open(path: &Path) -> anyhow::Result<Measured> {
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Measured::reading(file))
}

fn is_sealed(path: &Path) -> anyhow::Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    let mut start = Vec::new();
    open(path)?.take(64).read_to_end(&mut start)?;
    Ok(Backup::is_one(&start))
}

fn new_file(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A file that is not whole yet; gone on drop.
struct Draft(PathBuf);

impl Draft {
    fn beside(path: &Path) -> Self {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        Self(name.into())
    }

    fn create(&self) -> io::Result<File> {
        new_file(&self.0)
    }

    /// Linked rather than renamed: it never takes the place of another file.
    fn keep(&self, file: &BufWriter<Measured>, path: &Path) -> io::Result<()> {
        file.get_ref().file().sync_all()?;
        fs::hard_link(&self.0, path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn show(report: &BackupReport, as_json: bool) {
    if as_json {
        return print(json!(report));
    }
    let BackupReport { head, sealed_by, revision, documents, dangling } = report;
    print(format_args!("backup of cluster {}, made at {} by Postern {}", head.cluster_id, head.made_at, head.release));
    print(format_args!("needs master key {sealed_by} of cluster {}", head.cluster_id));
    let state = if head.paused { "paused: nothing came after it" } else { "in use" };
    print(format_args!("revision {}, the cluster was {state}", revision.0));
    print(format_args!("documents: {}", listed(documents)));
    if dangling.is_empty() {
        print("every frame, checksum and reference is in order");
    }
    for reference in dangling {
        print(format_args!("dangling reference: {reference}"));
    }
}

fn listed(counts: &Counts) -> String {
    let some = counts.iter().filter(|(_, count)| **count > 0);
    some.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}
