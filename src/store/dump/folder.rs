//! Folders: `mongodump --out`, or one of the databases in such a folder.
//!
//! Each collection is a file of documents, `NAME.bson`, and one about it, `NAME.metadata.json`; with `--gzip` both end
//! in `.gz`. Names are form-encoded; one that became too long is cut and its true form stands in the metadata.

use std::fs;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use mongodb::bson::RawDocumentBuf;

use crate::dump::{DumpError, LONGEST, MOST, Metadata, Namespace, Piece, gunzipped, piece};

/// Databases that are the server's own.
const OWN: [&str; 3] = ["admin", "config", "local"];

pub(super) struct FolderReader {
    files: Vec<PathBuf>,
    at: usize,
    open: Option<Box<dyn Read + Send>>,
}

impl FolderReader {
    pub(super) fn open(folder: &Path) -> Result<(Vec<Namespace>, Self), DumpError> {
        let mut found = collections(folder)?;
        if found.is_empty() {
            for entry in listed(folder)?.into_iter().filter(|path| path.is_dir()) {
                if !OWN.contains(&name_of(&entry).as_str()) {
                    found.extend(collections(&entry)?);
                }
            }
        }
        if found.is_empty() {
            return Err(DumpError::NotADump("there is no .bson file in the folder".into()));
        }
        if found.len() > MOST {
            return Err(DumpError::Damaged(format!("more than {MOST} collections")));
        }
        let (namespaces, files) = found.into_iter().unzip();
        Ok((namespaces, Self { files, at: 0, open: None }))
    }

    pub(super) fn next_document(
        &mut self,
        namespaces: &[Namespace],
    ) -> Result<Option<(usize, RawDocumentBuf)>, DumpError> {
        while let Some(path) = self.files.get(self.at) {
            let source = match &mut self.open {
                Some(source) => source,
                closed => closed.insert(gunzipped(File::open(path).map_err(failed(path))?)?),
            };
            let shown = || namespaces.get(self.at).map_or_else(String::new, Namespace::shown);
            match piece(source, shown)? {
                Piece::Document(document) => return Ok(Some((self.at, document))),
                Piece::End => {
                    self.open = None;
                    self.at += 1;
                }
                Piece::Terminator => return Err(DumpError::Damaged(shown())),
            }
        }
        Ok(None)
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> DumpError + use<> {
    let path = path.to_owned();
    move |source| DumpError::File { path, source }
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, DumpError> {
    let entries = fs::read_dir(folder).map_err(failed(folder))?;
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The collections whose files lie in this very folder.
fn collections(folder: &Path) -> Result<Vec<(Namespace, PathBuf)>, DumpError> {
    let canonical = fs::canonicalize(folder).map_err(failed(folder))?;
    let database = name_of(&canonical);
    let mut found = Vec::new();
    for path in listed(folder)? {
        let name = name_of(&path);
        let Some((stem, zip)) = name
            .strip_suffix(".bson")
            .map(|stem| (stem, ""))
            .or_else(|| name.strip_suffix(".bson.gz").map(|stem| (stem, ".gz")))
        else {
            continue;
        };
        if stem == "oplog" && found.is_empty() && !folder.join(format!("{stem}.metadata.json{zip}")).exists() {
            return Err(DumpError::Oplog);
        }
        let metadata = metadata(&folder.join(format!("{stem}.metadata.json{zip}")), stem)?;
        let collection = metadata.collection.unwrap_or_else(|| unescaped(stem));
        if collection.starts_with("system.") {
            continue;
        }
        let namespace =
            Namespace { database: database.clone(), collection, options: metadata.options, indexes: metadata.indexes };
        found.push((namespace, path));
    }
    Ok(found)
}

/// What stands beside a collection; old tools leave it out where there is nothing to say.
fn metadata(path: &Path, of: &str) -> Result<Metadata, DumpError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Metadata::default()),
        file => file.map_err(failed(path))?,
    };
    let mut text = String::new();
    gunzipped(file)?.take(LONGEST as u64).read_to_string(&mut text).map_err(failed(path))?;
    Metadata::read(&text, of)
}

fn unescaped(stem: &str) -> String {
    let mut pairs = form_urlencoded::parse(stem.as_bytes());
    pairs.next().map_or_else(|| stem.to_owned(), |(name, _)| name.into_owned())
}
