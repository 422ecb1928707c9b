//! The snapshot file: a sealed copy of the policy on a host's disk, so that a host that is restarted while the database
//! is away can admit clients.
//!
//! The access snapshot, the moment up to which it was known to be the newest, and who this host is: sealed under the
//! host's own key, written anew when policy has changed and once in a while. It is a copy, never a source. A start with
//! the database reads everything from there, and what is older than the cluster's `outage_admission_hours` admits nobody.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Services;
use crate::access::admission::Admission;
use domain::Revision;
use domain::access::{Change, Snapshot};
use domain::ids::{HostId, ProfileId};
use domain::profile::WrittenFor;
use keys::host::HostKey;
use keys::seal::{Context, Sealed};
use runtime::reconcile::{Done, Outcome, Reconciler, Task, Work};

const TASK: Task =
    Task::new("snapshot-file", "Writes the policy into a file, for a start without the database.", PERIOD)
        .closing(Duration::from_secs(5))
        .finish_at_stop();
/// How often the file is written.
const PERIOD: Duration = Duration::from_mins(1);

const PLACE: Context<'_> = Context { collection: "host", id: "memory", field: "snapshot" };

#[derive(Serialize, Deserialize)]
struct Written {
    host_id: HostId,
    confirmed_at: Timestamp,
    revision: Revision,
    changes: Vec<Change>,
    /// What files name, each once with the profiles that have it. Absent in what the previous release wrote: it is not
    /// known then what any file names.
    #[serde(default)]
    files: Vec<(WrittenFor, Vec<ProfileId>)>,
}

impl Written {
    fn new(host_id: HostId, confirmed_at: Timestamp, snapshot: &Snapshot) -> Self {
        let files = snapshot.files().into_iter().map(|(file, profiles)| (file.clone(), profiles)).collect();
        Self { host_id, confirmed_at, revision: snapshot.revision, changes: snapshot.to_changes(), files }
    }

    fn into_snapshot(self) -> Snapshot {
        let mut files = HashMap::new();
        for (file, profiles) in self.files {
            let file = Arc::new(file);
            files.extend(profiles.into_iter().map(|profile| (profile, Arc::clone(&file))));
        }
        let with_file = |change| match change {
            Change::Profile(mut profile) => {
                profile.file = files.get(&profile.id).cloned();
                Change::Profile(profile)
            }
            other => other,
        };
        Snapshot::default().with(self.revision, self.changes.into_iter().map(with_file))
    }
}

/// A snapshot that was read from the file.
#[derive(Debug)]
pub struct SavedSnapshot {
    /// Who this host is.
    pub host_id: HostId,
    /// How long ago the snapshot was known to be the newest.
    pub age: Duration,
    /// The snapshot.
    pub snapshot: Snapshot,
}

/// The file.
#[derive(Clone)]
pub struct SnapshotFile {
    path: PathBuf,
    key: Arc<HostKey>,
}

impl SnapshotFile {
    /// The snapshot file of the host with this key, in its data directory.
    pub fn new(data_dir: &Path, key: Arc<HostKey>) -> Self {
        Self { path: data_dir.join("snapshot.sealed"), key }
    }

    /// What was written last. Nothing if there is no file, or none that this host can open: then the database must be
    /// waited for, as at a first start.
    pub fn read(&self, now: Timestamp) -> Option<SavedSnapshot> {
        let sealed = std::fs::read(&self.path).ok()?;
        let opened = self.key.local_key().open(&PLACE, &Sealed::from(sealed));
        let written: Written = match opened {
            Ok(bytes) => serde_json::from_slice(&bytes).ok()?,
            Err(error) => {
                tracing::warn!(event = "snapshot_file.unreadable", %error,
                    "the snapshot file cannot be opened and is ignored");
                return None;
            }
        };
        // A clock that went back makes it as old as can be, not fresh.
        let age = Duration::try_from(now.duration_since(written.confirmed_at)).unwrap_or(Duration::MAX);
        Some(SavedSnapshot { host_id: written.host_id, age, snapshot: written.into_snapshot() })
    }

    fn write(&self, written: &Written) -> std::io::Result<()> {
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(written)?);
        let sealed = self.key.local_key().seal(&PLACE, &plain);
        let new = self.path.with_extension("new");
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(sealed.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(new, &self.path)
    }

    /// Forgets everything.
    pub fn forget(&self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(event = "snapshot_file.kept", %error, "the snapshot file could not be removed");
        }
    }

    /// Starts the task that keeps the file up to date. A host that was removed has none.
    pub fn start(self, tasks: &Reconciler, services: Services, admission: Admission, host_id: HostId) {
        tasks.start(TASK, SnapshotWriter { file: self, services, admission, host_id });
    }
}

struct SnapshotWriter {
    file: SnapshotFile,
    services: Services,
    admission: Admission,
    host_id: HostId,
}

impl Work for SnapshotWriter {
    async fn run(&mut self) -> Outcome {
        let Some(age) = self.admission.age() else { return Ok(Done::default()) };
        let (file, host_id, snapshot) = (self.file.clone(), self.host_id, self.admission.snapshot());
        // By the machine's clock: it is read where the database's is not known.
        let confirmed_at = self.services.cluster().machine_now() - age;
        let write = move || {
            if snapshot.host(host_id).is_none() {
                file.forget();
                return Ok(());
            }
            file.write(&Written::new(host_id, confirmed_at, &snapshot))
        };
        tokio::task::spawn_blocking(write).await??;
        Ok(Done::default())
    }

    async fn close(&mut self) {
        if let Err(error) = self.run().await {
            tracing::warn!(event = "snapshot_file.unwritten", %error, "the snapshot file could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::access::{ProfileAccess, UserAccess};
    use domain::ids::Id;
    use domain::profile::{Fingerprint, ProfileState};

    fn written(at: Timestamp) -> Written {
        let user = UserAccess {
            id: Id::from_parts(at, 1),
            organization_id: Id::from_parts(at, 2),
            groups: Box::new(["ops".parse().unwrap()]),
            disabled: true,
        };
        let file = r#"{"port": 1194, "protocol": "udp", "hosts": [
            {"id": "hst_00000000000000000000000001", "name": "vpn-1", "addresses": ["203.0.113.1"]}]}"#;
        let profile = |n: u8, file| {
            Change::Profile(ProfileAccess {
                id: Id::from_parts(at, n.into()),
                user_id: user.id,
                server_id: Id::from_parts(at, 4),
                address: [10, 9, 0, n].into(),
                state: ProfileState::Active,
                expires_at: at,
                fingerprint: Fingerprint([n; 32]),
                file,
            })
        };
        let named = || Some(Arc::new(serde_json::from_str::<WrittenFor>(file).unwrap()));
        let changes = [profile(5, named()), profile(6, named()), profile(7, None)];
        let snapshot = Snapshot::default().with(Revision(7), changes.into_iter().chain([Change::User(user.clone())]));
        Written::new(Id::from_parts(at, 3), at, &snapshot)
    }

    #[test]
    fn what_was_written_comes_back_with_its_age() {
        let folder = tempfile::tempdir().unwrap();
        let file_on_disk = SnapshotFile::new(folder.path(), Arc::new(HostKey::from_bytes(&[1; 32])));
        let at = Timestamp::from_second(1_764_000_000).unwrap();
        assert!(file_on_disk.read(at).is_none());
        file_on_disk.write(&written(at)).unwrap();
        let back = file_on_disk.read(at + jiff::SignedDuration::from_mins(5)).unwrap();
        assert_eq!((back.age, back.snapshot.revision), (Duration::from_mins(5), Revision(7)));
        assert_eq!(back.snapshot.to_changes().len(), 5);
        let file = |n: u128| back.snapshot.profile(Id::from_parts(at, n)).unwrap().file.clone();
        assert!(Arc::ptr_eq(&file(5).unwrap(), &file(6).unwrap()));
        assert_eq!(file(7), None);
        assert_eq!(file_on_disk.read(at - jiff::SignedDuration::from_mins(5)).unwrap().age, Duration::MAX);
    }

    #[test]
    fn what_the_previous_release_wrote_is_read_without_files() {
        let at = Timestamp::from_second(1_764_000_000).unwrap();
        let mut before = serde_json::to_value(written(at)).unwrap();
        assert_eq!(before.as_object_mut().unwrap().remove("files").unwrap().as_array().unwrap().len(), 1);
        let read: Written = serde_json::from_value(before).unwrap();
        let snapshot = read.into_snapshot();
        assert_eq!(snapshot.profile_count(), 3);
        assert!(snapshot.profiles().all(|profile| profile.file.is_none()));
    }

    #[test]
    fn another_host_cannot_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let mine = SnapshotFile::new(folder.path(), Arc::new(HostKey::from_bytes(&[1; 32])));
        mine.write(&written(Timestamp::UNIX_EPOCH)).unwrap();
        let other = SnapshotFile::new(folder.path(), Arc::new(HostKey::from_bytes(&[2; 32])));
        assert!(other.read(Timestamp::UNIX_EPOCH).is_none());
        let raw = std::fs::read(folder.path().join("snapshot.sealed")).unwrap();
        assert!(!raw.windows(3).any(|window| window == b"ops"));
    }
}
