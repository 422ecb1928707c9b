//! Backups: a sealed copy of the cluster, checked without a database, and put back into an empty one.
//!
//! A backup is an archive in the format of `mongodump` within a sealed stream (`keys/stream.rs`) under the master key.
//! What it holds is sealed once more where it is secret; the outer seal keeps the rest from those who store it, and
//! proves that nothing was changed, left out or added.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Act, Cluster, Refusal, ServiceError};
use domain::Revision;
use domain::audit::Action;
use domain::ids::HostId;
use domain::role::Permission;
use keys::master::MasterKey;
use keys::stream::{Preface, StreamError};
use store::StoreError;
use store::dump::backup::{CopyError, Counts};
use store::dump::{Dump, DumpError};

/// What holds for a short while, and must not come back to life with an old copy.
const SHORT_LIVED: [&str; 2] = ["logins", "tickets"];
/// Fields that name a document of another collection, which must be there.
const REFERENCES: [(&str, &str, &str); 6] = [
    ("users", "organization_id", "organizations"),
    ("profiles", "user_id", "users"),
    ("profiles", "server_id", "servers"),
    ("attachments", "server_id", "servers"),
    ("attachments", "host_id", "hosts"),
    ("sessions", "server_id", "servers"),
];
/// How many dangling references are named.
const NAMED: usize = 10;

/// What a backup says of itself; readable without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// Of which cluster.
    pub cluster_id: String,
    /// When it was begun.
    pub made_at: Timestamp,
    /// By which release of Postern.
    pub release: String,
    /// Whether the cluster was paused, so that the copy is its last word.
    pub paused: bool,
}

/// The contents of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// What it says of itself.
    #[serde(flatten)]
    pub head: BackupHead,
    /// The master key that it was sealed under.
    pub sealed_by: String,
    /// The revision of the cluster then.
    pub revision: Revision,
    /// How many documents each collection has.
    pub documents: Counts,
    /// References that lead nowhere, in words; at most ten.
    pub dangling: Vec<String>,
}

/// Why a backup was not made, read or put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The cluster.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The wrong key, or a damaged file.
    #[error(transparent)]
    Sealed(StreamError),
    /// What it says of itself, before its sealed part, is not what Postern writes there.
    #[error("this is no backup of Postern that this release can read")]
    Head(#[source] serde_json::Error),
    /// What is inside is not as it should be.
    #[error(transparent)]
    Dump(DumpError),
    /// It could not be copied.
    #[error(transparent)]
    Copy(CopyError),
    /// It could not be written.
    #[error("the backup cannot be written")]
    Write(#[source] std::io::Error),
}

impl From<Refusal> for BackupError {
    fn from(refusal: Refusal) -> Self {
        Self::Service(refusal.into())
    }
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}

impl From<CopyError> for BackupError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Store(error) => error.into(),
            CopyError::Dump(error) => error.into(),
            CopyError::NotEmpty { collection } => Refusal::DatabaseNotEmpty { collection }.into(),
            other => Self::Copy(other),
        }
    }
}

impl From<DumpError> for BackupError {
    /// A sealed stream fails in the midst of what reads it.
    fn from(error: DumpError) -> Self {
        match error {
            DumpError::Io(error) if StreamError::of(&error).is_some() => {
                let inner = error.into_inner().and_then(|inner| inner.downcast::<StreamError>().ok());
                Self::Sealed(inner.map_or(StreamError::Cut, |inner| *inner))
            }
            other => Self::Dump(other),
        }
    }
}

/// A backup that opened, ready to be read.
#[derive(Debug)]
pub struct Backup {
    /// What it says of itself.
    pub head: BackupHead,
    sealed_by: String,
    dump: Dump,
}

impl Backup {
    /// Whether a file that begins so is a backup, rather than a plain dump.
    pub fn is_one(start: &[u8]) -> bool {
        Preface::is_of(start)
    }

    /// Opens a backup.
    ///
    /// # Errors
    /// [`Refusal::BackupKeyDiffers`] names the cluster and the key that is needed.
    pub fn open(key: &MasterKey, from: impl Read + Send + 'static) -> Result<Self, BackupError> {
        let (head, plain) = unsealed(key, from)?;
        let sealed_by = plain.preface().sealed_by.to_string();
        Ok(Self { head, sealed_by, dump: Dump::read(plain)? })
    }

    /// Reads all of it: every frame, checksum, document and reference.
    ///
    /// # Errors
    /// What is wrong with the file. Dangling references are no error but in the report.
    pub fn verify(mut self) -> Result<BackupReport, BackupError> {
        let names: Vec<String> = self.dump.namespaces().iter().map(|space| space.collection.clone()).collect();
        let mut documents: Counts = names.iter().map(|name| (name.clone(), 0)).collect();
        let mut references = References::default();
        let mut revision = Revision(0);
        while let Some((at, document)) = self.dump.next_document()? {
            let Some(name) = names.get(at) else { continue };
            *documents.entry(name.clone()).or_default() += 1;
            if name == "cluster" {
                revision = document.get_i64("revision").map_or(revision, Revision);
            }
            references.see(name, document.get_str("_id").unwrap_or_default(), |field| {
                document.get_str(field).ok().map(str::to_owned)
            });
        }
        Ok(BackupReport {
            head: self.head,
            sealed_by: self.sealed_by,
            revision,
            documents,
            dangling: references.dangling,
        })
    }
}

/// Writes the archive within a backup, for `mongorestore --archive`.
///
/// # Errors
/// As [`Backup::open`]; what was written until then is worth nothing.
pub fn extract(key: &MasterKey, from: impl Read + Send + 'static, to: &mut impl Write) -> Result<(), BackupError> {
    let (_head, mut plain) = unsealed(key, from)?;
    let copied = std::io::copy(&mut plain, to).and_then(|_bytes| to.flush());
    copied.map_err(|error| {
        if StreamError::of(&error).is_some() { DumpError::Io(error).into() } else { BackupError::Write(error) }
    })
}

fn unsealed<R: Read>(
    key: &MasterKey,
    from: R,
) -> Result<(BackupHead, keys::stream::Opener<std::io::BufReader<R>>), BackupError> {
    let mut from = std::io::BufReader::new(from);
    let preface = Preface::read(&mut from).map_err(BackupError::Sealed)?;
    let head: BackupHead = serde_json::from_slice(&preface.head).map_err(BackupError::Head)?;
    let (needed, ours) = (preface.sealed_by, key.fingerprint());
    if needed != ours {
        let (needed, ours) = (needed.to_string(), ours.to_string());
        return Err(Refusal::BackupKeyDiffers { cluster: head.cluster_id, needed, ours }.into());
    }
    let plain = key.open_stream(preface, from).map_err(BackupError::Sealed)?;
    Ok((head, plain))
}

/// Follows references between documents as they pass.
#[derive(Default)]
struct References {
    seen: HashMap<&'static str, HashSet<Box<str>>>,
    dangling: Vec<String>,
}

impl References {
    fn see(&mut self, collection: &str, id: &str, field: impl Fn(&str) -> Option<String>) {
        for (of, name, to) in REFERENCES {
            if to == collection {
                self.seen.entry(to).or_default().insert(id.into());
            }
            // The history of a server that is gone stays.
            if of != collection || of == "sessions" || self.dangling.len() == NAMED {
                continue;
            }
            let Some(target) = field(name) else { continue };
            if !self.seen.get(to).is_some_and(|seen| seen.contains(target.as_str())) {
                self.dangling.push(format!("{of} {id}: there is no {name} {target}"));
            }
        }
    }
}

impl Cluster<'_> {
    /// Writes a backup of the cluster as it is at one moment, while it runs.
    pub async fn create_backup<W: Write>(self, act: &Act, to: W) -> Result<(W, BackupReport), BackupError> {
        act.require(Permission::ManageSettings)?;
        let key = self.master_key()?;
        self.network().prove_master_key().await?;
        let cluster = self.store().cluster().cluster_facts().await?;
        let head = BackupHead {
            cluster_id: cluster.id,
            made_at: self.now(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            paused: cluster.paused.is_some(),
        };
        // Before the copy, so that it holds the audit log of its own making.
        let facts = serde_json::json!({ "made_at": [null, head.made_at] });
        let entry = &self.entry(act, Action::BackupCreate, &head.cluster_id, facts);
        self.upkeep(|tx| async move { tx.record(entry).await }).await?;
        let text = serde_json::to_vec(&head).map_err(|error| ServiceError::Internal(Box::new(error)))?;
        let sealer = key.seal_stream(&text, to).map_err(BackupError::Write)?;
        let (sealer, documents) = self.store().dump_to(sealer).await?;
        let to = sealer.finish().map_err(BackupError::Write)?;
        let sealed_by = key.fingerprint().to_string();
        Ok((to, BackupReport { head, sealed_by, revision: cluster.revision, documents, dangling: Vec::new() }))
    }

    /// Puts a backup into this database, which must be empty unless `replace` says that what it holds may go. Safe to
    /// repeat after an interruption.
    pub async fn restore_backup(self, act: &Act, backup: Backup, replace: bool) -> Result<Counts, BackupError> {
        let Backup { head, mut dump, .. } = backup;
        let facts = serde_json::json!({ "made_at": [null, head.made_at], "release": [null, head.release] });
        // While paused nothing ends and nothing is spent, so all that is there still holds.
        let without: &[&str] = if head.paused { &[] } else { &SHORT_LIVED };
        self.restore(act, &mut dump, without, replace, facts).await
    }

    /// The same with a plain dump, as `mongodump` makes it of a Postern database.
    pub async fn restore_dump(self, act: &Act, mut dump: Dump, replace: bool) -> Result<Counts, BackupError> {
        self.restore(act, &mut dump, &SHORT_LIVED, replace, serde_json::json!({ "made_at": [null, null] })).await
    }

    async fn restore(
        self,
        act: &Act,
        dump: &mut Dump,
        without: &[&str],
        replace: bool,
        facts: serde_json::Value,
    ) -> Result<Counts, BackupError> {
        act.require(Permission::ManageSettings)?;
        let running = self.running_hosts().await?;
        if !running.is_empty() {
            return Err(Refusal::HostsRunning { hosts: running }.into());
        }
        let counts = self.store().load_from(dump, without, replace).await?;
        let cluster = self.store().access().cluster_id().await?;
        let entry = &self.entry(act, Action::BackupRestore, &cluster, facts);
        self.upkeep(|tx| async move { tx.record(entry).await }).await?;
        Ok(counts)
    }

    async fn running_hosts(self) -> Result<Vec<String>, ServiceError> {
        let statuses = self.store().hosts().host_statuses(None).await?;
        let online: Vec<HostId> = statuses.iter().filter(|(_, status)| status.online).map(|(id, _)| *id).collect();
        let known = self.store().hosts().host_names(&online).await?;
        let name = |id: &HostId| known.get(id).map_or_else(|| id.to_string(), ToString::to_string);
        Ok(online.iter().map(name).collect())
    }
}
