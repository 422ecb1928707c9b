//! Brings the collections into the shape of this release.
//!
//! A migration is a file in `migrations/`: a JSON array (extended JSON) of database commands, run in order. Files are
//! only ever added, and each must leave the database usable by the previous release, because hosts are upgraded one by
//! one. What was applied stands in the collection `migrations` with the SHA-256 of the file.
//!
//! # Theory of operation
//! [`apply`] works under the lease `migrate`, so that of two at once one waits. Every command can be repeated, so a
//! run that died in the middle is simply run again: `createIndexes` and `collMod` are so by themselves; `create`
//! accepts a collection that exists with the same options; `insert` accepts documents that exist; `dropIndexes` accepts
//! that its indices, which go all at once, are gone. That is also why a lease which runs out during a long index build
//! does no harm.
//!
//! A database with migrations that this binary does not know belongs to a newer release, and is allowed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mongodb::bson::{Bson, DateTime, Document, doc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::bus::events::random_hex;
use crate::bus::lease::Lease;
use crate::connect::{BACKGROUND, REQUEST};
use crate::entity::timestamp;
use crate::error::code;
use crate::{Store, StoreError};

const LEASE: &str = "migrate";
const LEASE_TTL: Duration = Duration::from_mins(1);
const PATIENCE: Duration = Duration::from_mins(5);
const NAMESPACE_EXISTS: i32 = 48;
const INDEX_NOT_FOUND: i32 = 27;

/// One file of `migrations/`.
struct Migration {
    number: u32,
    name: &'static str,
    text: &'static str,
}

macro_rules! migrations {
    ($($number:literal $name:literal;)*) => {
        &[$(Migration {
            number: $number,
            name: $name,
            text: include_str!(concat!("../../migrations/", $name, ".json")),
        }),*]
    };
}

const MIGRATIONS: &[Migration] = migrations! {
    1 "0001-first";
    2 "0002-self-service";
    3 "0003-console";
    4 "0004-removal";
    5 "0005-usage";
    6 "0006-audit-and-jobs";
    7 "0007-retention";
    8 "0008-people";
    9 "0009-replies";
    10 "0010-lookups";
    11 "0011-looks";
    12 "0012-order";
    13 "0013-redundant";
    14 "0014-hosts";
};

/// A migration that the database lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its place in the order, from 1.
    pub number: u32,
    /// The name of its file without the ending.
    pub name: &'static str,
    /// How many database commands it runs.
    pub commands: usize,
}

/// A migration, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Its place in the order, from 1.
    pub number: u32,
    /// The name of its file without the ending.
    pub name: String,
    /// When it was applied; `None` if the database lacks it.
    pub applied_at: Option<jiff::Timestamp>,
    /// Whether it belongs to a newer release than this binary.
    pub newer: bool,
}

/// What is written down about an applied migration.
#[derive(Debug, Serialize, Deserialize)]
struct AppliedDoc {
    #[serde(rename = "_id")]
    number: u32,
    name: String,
    sha256: String,
    at: DateTime,
}

impl Migration {
    fn commands(&self) -> Result<Vec<Document>, StoreError> {
        serde_json::from_str(self.text).map_err(StoreError::unexpected)
    }

    fn sha256(&self) -> String {
        use std::fmt::Write as _;
        Sha256::digest(self.text).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// What [`apply`] would do, in order.
///
/// # Errors
/// [`StoreError::Misconfigured`] when an applied migration is not the one this binary has.
pub async fn plan(store: &Store) -> Result<Vec<Pending>, StoreError> {
    let applied = applied(store).await?;
    missing(&applied)?
        .into_iter()
        .map(|migration| {
            let commands = migration.commands()?.len();
            Ok(Pending { number: migration.number, name: migration.name, commands })
        })
        .collect()
}

/// All migrations that this binary or the database knows, in order.
///
/// # Errors
/// As [`plan`].
pub async fn overview(store: &Store) -> Result<Vec<MigrationStatus>, StoreError> {
    let applied = applied(store).await?;
    let lacking = missing(&applied)?;
    let is_ours = |number: u32| MIGRATIONS.iter().any(|migration| migration.number == number);
    let done = applied.into_values().map(|doc| MigrationStatus {
        number: doc.number,
        newer: !is_ours(doc.number),
        applied_at: timestamp(doc.at),
        name: doc.name,
    });
    let pending = lacking.into_iter().map(|migration| MigrationStatus {
        number: migration.number,
        name: migration.name.to_owned(),
        applied_at: None,
        newer: false,
    });
    let mut known: Vec<_> = done.chain(pending).collect();
    known.sort_by_key(|migration| migration.number);
    Ok(known)
}

/// Runs what is missing and answers what it ran. Safe to run anywhere, at any time, by many at once.
///
/// # Errors
/// As [`plan`]; [`StoreError::Misconfigured`] also when a collection of one of our names exists with other options.
pub async fn apply(store: &Store) -> Result<Vec<Pending>, StoreError> {
    let me = random_hex()?;
    let lease = wait_for_lease(store, &me).await?;
    let outcome = apply_missing(store, &me, lease).await;
    store.release_lease(LEASE, &me).await?;
    outcome
}

/// Refuses a database that lacks a migration. Answers the names of those which only a newer release knows.
///
/// # Errors
/// [`StoreError::Misconfigured`] names the command that helps.
pub async fn is_current(store: &Store) -> Result<Vec<String>, StoreError> {
    let applied = applied(store).await?;
    let missing: Vec<_> = missing(&applied)?.iter().map(|migration| migration.name).collect();
    if !missing.is_empty() {
        return Err(StoreError::mendable(
            format!("the database lacks {}", missing.join(", ")),
            "run `postern migrate apply`",
        ));
    }
    let known = |number: &u32| MIGRATIONS.iter().any(|migration| migration.number == *number);
    let mut newer: Vec<_> = applied.into_iter().filter(|(number, _)| !known(number)).collect();
    newer.sort_by_key(|(number, _)| *number);
    Ok(newer.into_iter().map(|(_, doc)| doc.name).collect())
}

async fn applied(store: &Store) -> Result<HashMap<u32, AppliedDoc>, StoreError> {
    use futures_util::TryStreamExt as _;
    if store.is_half_restored().await? {
        return Err(StoreError::mendable(
            "a restore of this database was interrupted",
            "run `postern backup restore` again",
        ));
    }
    let migrations = store.rows::<AppliedDoc>("migrations");
    let documents: Vec<AppliedDoc> =
        store.deadline(REQUEST, async { migrations.find(doc! {}).await?.try_collect::<Vec<_>>().await }).await?;
    Ok(documents.into_iter().map(|document| (document.number, document)).collect())
}

fn missing(applied: &HashMap<u32, AppliedDoc>) -> Result<Vec<&'static Migration>, StoreError> {
    let mut missing = Vec::new();
    for migration in MIGRATIONS {
        match applied.get(&migration.number) {
            None => missing.push(migration),
            Some(document) if document.sha256 == migration.sha256() => {}
            Some(document) => {
                return Err(StoreError::mendable(
                    format!(
                        "migration {} was applied to this database from another file ({}) than this binary's {}",
                        migration.number, document.name, migration.name
                    ),
                    "use the release that made the database",
                ));
            }
        }
    }
    Ok(missing)
}

async fn wait_for_lease(store: &Store, me: &str) -> Result<Lease, StoreError> {
    let waiting = async {
        loop {
            if let Some(lease) = store.take_lease(LEASE, me, LEASE_TTL).await? {
                return Ok::<_, StoreError>(lease);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    store.deadline(PATIENCE, waiting).await
}

async fn apply_missing(store: &Store, me: &str, mut lease: Lease) -> Result<Vec<Pending>, StoreError> {
    let mut done = Vec::new();
    for migration in missing(&applied(store).await?)? {
        let commands = migration.commands()?;
        for command in &commands {
            run(store, command).await?;
            if lease.valid_until < Instant::now() + LEASE_TTL / 2 {
                lease = store.take_lease(LEASE, me, LEASE_TTL).await?.unwrap_or(lease);
            }
        }
        record(store, migration).await?;
        done.push(Pending { number: migration.number, name: migration.name, commands: commands.len() });
    }
    ensure_cluster(store).await?;
    Ok(done)
}

/// Runs one command so that having run it before is success.
async fn run(store: &Store, command: &Document) -> Result<(), StoreError> {
    let mut request = command.clone();
    request.insert("writeConcern", doc! { "w": "majority" });
    // An index build on a large collection takes what it takes.
    let answer = store.deadline(PATIENCE, async { Ok::<_, StoreError>(store.database().run_command(request).await) });
    match answer.await? {
        Ok(reply) => refused_documents(&reply),
        Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => same_options(store, command).await,
        Err(error) if code(&error) == Some(INDEX_NOT_FOUND) && command.contains_key("dropIndexes") => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `insert` says what it refused in an answer that counts as success.
fn refused_documents(reply: &Document) -> Result<(), StoreError> {
    let errors = reply.get_array("writeErrors").map(Vec::as_slice).unwrap_or_default();
    let other = errors.iter().find(|error| {
        error.as_document().and_then(|error| error.get_i32("code").ok()) != Some(crate::error::DUPLICATE_KEY)
    });
    match other {
        None => Ok(()),
        Some(error) => Err(StoreError::unexpected(format!("a migration's document was refused: {error}"))),
    }
}

/// Compares the options of an existing collection with those that `command` wanted.
async fn same_options(store: &Store, command: &Document) -> Result<(), StoreError> {
    use futures_util::TryStreamExt as _;
    let name = command.get_str("create").map_err(StoreError::unexpected)?;
    let listing = store.database().list_collections().filter(doc! { "name": name });
    let found = store.deadline(BACKGROUND, async { listing.await?.try_next().await }).await?;
    let found = found.map(|specification| mongodb::bson::serialize_to_document(&specification.options));
    let found = found.transpose().map_err(StoreError::unexpected)?.unwrap_or_default();
    let differing = command.iter().find(|(key, wanted)| {
        key.as_str() != "create" && !found.get(key.as_str()).is_some_and(|value| alike(value, wanted))
    });
    match differing {
        None => Ok(()),
        Some((option, _)) => Err(StoreError::mendable(
            format!("the collection {name} exists already, with another `{option}` than Postern needs"),
            "rename or drop it and run `postern migrate apply`",
        )),
    }
}

/// Equal, whatever the width of the numbers: the server may store another one than was sent.
fn alike(a: &Bson, b: &Bson) -> bool {
    let number = |value: &Bson| value.as_i64().or_else(|| value.as_i32().map(i64::from));
    match (a, b) {
        (Bson::Document(a), Bson::Document(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| alike(value, other)))
        }
        (Bson::Array(a), Bson::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        _ => a == b || (number(a).is_some() && number(a) == number(b)),
    }
}

async fn record(store: &Store, migration: &Migration) -> Result<(), StoreError> {
    let set = doc! { "name": migration.name, "sha256": migration.sha256(), "at": "$$NOW" };
    let migrations = store.rows::<Document>("migrations");
    let upsert = migrations.update_one(doc! { "_id": i64::from(migration.number) }, vec![doc! { "$set": set }]);
    store.write(REQUEST, upsert.upsert(true)).await?;
    Ok(())
}

/// The one document of `cluster`: made once, with an id of its own; later only its `schema` grows.
async fn ensure_cluster(store: &Store) -> Result<(), StoreError> {
    let schema = MIGRATIONS.iter().map(|migration| i64::from(migration.number)).max().unwrap_or(0);
    let update = doc! {
        "$setOnInsert": { "id": random_hex()?, "revision": Bson::Int64(0) },
        "$max": { "schema": schema },
    };
    let cluster = store.rows::<Document>("cluster");
    store.write(REQUEST, cluster.update_one(doc! { "_id": "cluster" }, update).upsert(true)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_in_the_list_in_order() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let listed: Vec<_> = MIGRATIONS.iter().map(|migration| format!("{}.json", migration.name)).collect();
        assert_eq!(files, listed);
        for (migration, number) in MIGRATIONS.iter().zip(1..) {
            assert_eq!(migration.number, number);
            assert!(migration.name.starts_with(&format!("{number:04}-")));
        }
    }

    #[test]
    fn every_file_holds_commands_that_can_be_repeated() {
        for migration in MIGRATIONS {
            for command in migration.commands().unwrap() {
                let verb = command.keys().next().unwrap();
                let repeatable = ["create", "createIndexes", "collMod", "insert", "dropIndexes"];
                assert!(repeatable.contains(&verb.as_str()), "{verb}");
            }
        }
    }
}
