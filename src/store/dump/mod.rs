//! The formats of `mongodump`: read in all of its forms, written in one.
//!
//! A dump is a folder of `.bson` and `.metadata.json` files or one archive, either of them gzipped or not; [`Dump`]
//! finds out which and gives one document after the other. Nothing is loaded as a whole, and no length that stands in
//! a file is believed before so many bytes have arrived, so a hostile dump costs no more memory than one document.
//!
//! Formats: BSON (bsonspec.org); folders as `mongodump --out` writes them; archives as described in `archive`.

mod archive;
mod folder;

use crate::error::Cause;
use std::fs::File;
use std::io;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use mongodb::bson::{Document, RawDocumentBuf};
use serde::Deserialize;

use archive::ArchiveReader;
pub use archive::ArchiveWriter;
use folder::FolderReader;

/// The server's limit of a document, 16 MiB, and what its tools add.
const LONGEST: usize = 16 * 1024 * 1024 + 16 * 1024;
/// More collections than this are no database of anybody's.
const MOST: usize = 10_000;

/// Why a dump cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The operating system, or the layer that deciphers, refused.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it is read from failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Neither a folder nor an archive of `mongodump`.
    #[error("it is no dump: {0}")]
    NotADump(String),
    /// It ends in its middle.
    #[error("the dump ends in the middle of {0}")]
    Truncated(String),
    /// It is not as `mongodump` writes it.
    #[error("the dump is damaged: {0}")]
    Damaged(String),
    /// A part of it is not what it must be there.
    #[error("the dump is damaged: {part} cannot be read")]
    Unreadable {
        /// Which part.
        part: String,
        /// What is wrong with it.
        source: Cause,
    },
    /// It was made with `--oplog`.
    #[error("the dump was made with --oplog, which only mongorestore can replay; make one without")]
    Oplog,
}

fn unreadable(part: impl Into<String>, source: impl Into<Cause>) -> DumpError {
    DumpError::Unreadable { part: part.into(), source: source.into() }
}

/// A collection of a dump.
#[derive(Debug, Clone, PartialEq)]
pub struct Namespace {
    /// Of which database.
    pub database: String,
    /// Its name.
    pub collection: String,
    /// The options of its `create` command, such as `capped` and `validator`.
    pub options: Document,
    /// Its indexes, that of `_id` included, as `createIndexes` takes them.
    pub indexes: Vec<Document>,
}

impl Namespace {
    fn shown(&self) -> String {
        format!("{}.{}", self.database, self.collection)
    }
}

/// The metadata of a collection: extended JSON, the same in folders and archives.
#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    options: Document,
    #[serde(default)]
    indexes: Vec<Document>,
    #[serde(default, rename = "collectionName")]
    collection: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

impl Metadata {
    fn read(text: &str, of: &str) -> Result<Self, DumpError> {
        serde_json::from_str(text).map_err(|error| unreadable(format!("the metadata of {of}"), error))
    }
}

/// A dump that is being read.
pub struct Dump {
    namespaces: Vec<Namespace>,
    form: Form,
}

enum Form {
    Archive(Box<ArchiveReader<Box<dyn Read + Send>>>),
    Folder(FolderReader),
}

impl std::fmt::Debug for Dump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dump").field("namespaces", &self.namespaces.len()).finish_non_exhaustive()
    }
}

impl Dump {
    /// Opens a dump folder (of one database or of several) or an archive, gzipped or not.
    ///
    /// # Errors
    /// [`DumpError::NotADump`] when it is neither.
    pub fn open(path: &Path) -> Result<Self, DumpError> {
        let failed = |source| DumpError::File { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(failed)?.is_dir() {
            let (namespaces, reader) = FolderReader::open(path)?;
            return Ok(Self { namespaces, form: Form::Folder(reader) });
        }
        Self::read(File::open(path).map_err(failed)?)
    }

    /// Reads an archive, gzipped or not.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read(source: impl Read + Send + 'static) -> Result<Self, DumpError> {
        let (namespaces, reader) = ArchiveReader::open(gunzipped(source)?)?;
        Ok(Self { namespaces, form: Form::Archive(Box::new(reader)) })
    }

    /// Its collections. Views and the server's own (`system.…`) are left out.
    pub fn namespaces(&self) -> &[Namespace] {
        &self.namespaces
    }

    /// The next document and the place of its collection among [`Self::namespaces`]; `None` at the end, once all is
    /// proven to have been there.
    ///
    /// # Errors
    /// [`DumpError::Truncated`] and [`DumpError::Damaged`].
    pub fn next_document(&mut self) -> Result<Option<(usize, RawDocumentBuf)>, DumpError> {
        match &mut self.form {
            Form::Archive(reader) => reader.next_document(&self.namespaces),
            Form::Folder(reader) => reader.next_document(&self.namespaces),
        }
    }
}

/// Looks whether it is gzipped (RFC 1952, section 2.3.1), and undoes it.
fn gunzipped(mut source: impl Read + Send + 'static) -> Result<Box<dyn Read + Send>, DumpError> {
    let mut start = Vec::with_capacity(2);
    source.by_ref().take(2).read_to_end(&mut start)?;
    let zipped = start == [0x1f, 0x8b];
    let whole = BufReader::with_capacity(64 * 1024, io::Cursor::new(start).chain(source));
    Ok(if zipped { Box::new(BufReader::new(MultiGzDecoder::new(whole))) } else { Box::new(whole) })
}

/// What stands at a place of an archive where a document may.
#[derive(Debug)]
enum Piece {
    Document(RawDocumentBuf),
    /// Four bytes 0xff.
    Terminator,
    /// Nothing more.
    End,
}

/// Reads a document, bounded. `at` says where, for the error.
fn piece(source: &mut impl Read, at: impl Fn() -> String) -> Result<Piece, DumpError> {
    let mut bytes = Vec::with_capacity(1024);
    source.by_ref().take(4).read_to_end(&mut bytes)?;
    let length = match <[u8; 4]>::try_from(bytes.as_slice()).map(i32::from_le_bytes) {
        Err(_) if bytes.is_empty() => return Ok(Piece::End),
        Err(_) => return Err(DumpError::Truncated(at())),
        Ok(-1) => return Ok(Piece::Terminator),
        Ok(length) => length,
    };
    let length = usize::try_from(length).ok().filter(|length| (5..=LONGEST).contains(length));
    let length = length.ok_or_else(|| DumpError::Damaged(format!("a document of impossible length in {}", at())))?;
    // Grows with what arrives, not with what was announced.
    source.by_ref().take(length as u64 - 4).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(DumpError::Truncated(at()));
    }
    match RawDocumentBuf::from_bytes(bytes) {
        Ok(document) => Ok(Piece::Document(document)),
        Err(error) => Err(unreadable(format!("a document of {}", at()), error)),
    }
}

pub mod backup;
#[cfg(test)]
mod tests;
