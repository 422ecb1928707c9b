//! Archives: `mongodump --archive`.
//!
//! ```text
//! archive  = magic 6d e2 99 81, header document, metadata document *, ff ff ff ff, block *
//! block    = { db, collection, EOF: false, CRC: 0 }, document *, ff ff ff ff
//!          | { db, collection, EOF: true, CRC: i64 }, ff ff ff ff
//! ```
//!
//! Blocks of several collections may alternate. A collection ends with its `EOF`, whose `CRC` is the CRC-64/XZ of all
//! bytes of its documents. An archive is whole when every collection of its prelude has ended.

use std::collections::HashMap;
use std::io::{Read, Write};

use crc::{CRC_64_XZ, Crc, Digest};
use mongodb::bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};

use crate::dump::{DumpError, MOST, Metadata, Namespace, Piece, piece, unreadable};

const MAGIC: [u8; 4] = [0x6d, 0xe2, 0x99, 0x81];
const TERMINATOR: [u8; 4] = [0xff; 4];
static CRC: Crc<u64> = Crc::<u64>::new(&CRC_64_XZ);

pub(super) struct ArchiveReader<R> {
    source: R,
    places: HashMap<(String, String), usize>,
    streams: Vec<Stream>,
    current: Option<usize>,
}

struct Stream {
    digest: Digest<'static, u64>,
    ended: bool,
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the prelude.
    pub(super) fn open(mut source: R) -> Result<(Vec<Namespace>, Self), DumpError> {
        let prelude = || "its prelude".to_owned();
        let mut magic = Vec::with_capacity(4);
        source.by_ref().take(4).read_to_end(&mut magic)?;
        if magic != MAGIC {
            return Err(DumpError::NotADump("the file does not begin as an archive of mongodump does".into()));
        }
        let Piece::Document(_header) = piece(&mut source, prelude)? else { return Err(truncated("its header")) };
        let mut namespaces = Vec::new();
        loop {
            match piece(&mut source, prelude)? {
                Piece::Terminator => break,
                Piece::End => return Err(truncated("its prelude")),
                Piece::Document(_) if namespaces.len() == MOST => {
                    return Err(DumpError::Damaged(format!("more than {MOST} collections")));
                }
                Piece::Document(metadata) => namespaces.extend(namespace(&metadata)?),
            }
        }
        let places = namespaces.iter().enumerate();
        let places = places.map(|(at, space)| ((space.database.clone(), space.collection.clone()), at)).collect();
        let streams = namespaces.iter().map(|_| Stream { digest: CRC.digest(), ended: false }).collect();
        Ok((namespaces, Self { source, places, streams, current: None }))
    }

    pub(super) fn next_document(
        &mut self,
        namespaces: &[Namespace],
    ) -> Result<Option<(usize, RawDocumentBuf)>, DumpError> {
        loop {
            let at = self.current;
            let shown = || at.and_then(|at| namespaces.get(at)).map_or_else(|| "a block".to_owned(), Namespace::shown);
            match (at, piece(&mut self.source, shown)?) {
                (Some(at), Piece::Document(document)) => {
                    if let Some(stream) = self.streams.get_mut(at) {
                        stream.digest.update(document.as_bytes());
                    }
                    return Ok(Some((at, document)));
                }
                (Some(_), Piece::Terminator) => self.current = None,
                (None, Piece::Document(header)) => self.begin(&header)?,
                (None, Piece::End) => return self.end(namespaces).map(|()| None),
                (None, Piece::Terminator) => return Err(DumpError::Damaged("a terminator without a block".into())),
                (Some(_), Piece::End) => return Err(truncated(&shown())),
            }
        }
    }

    /// The header of a block, or the end of a collection.
    fn begin(&mut self, header: &RawDocument) -> Result<(), DumpError> {
        let damaged = |what: &str| DumpError::Damaged(what.to_owned());
        let text = |field| header.get_str(field).map_err(|why| unreadable("the header of a block", why));
        let (database, collection) = (text("db")?.to_owned(), text("collection")?.to_owned());
        if database.is_empty() && collection == "oplog" {
            return Err(DumpError::Oplog);
        }
        let place = self.places.get(&(database, collection)).copied();
        let place = place.ok_or_else(|| damaged("a block of a collection that the prelude does not name"))?;
        let stream = self.streams.get_mut(place).ok_or_else(|| damaged("a block"))?;
        if stream.ended {
            return Err(damaged("a block of a collection that has ended"));
        }
        if !header.get_bool("EOF").map_err(|why| unreadable("the header of a block", why))? {
            self.current = Some(place);
            return Ok(());
        }
        let wanted = header.get_i64("CRC").map_err(|why| unreadable("the checksum of a collection", why))?;
        if stream.digest.clone().finalize().cast_signed() != wanted {
            return Err(damaged("the checksum of a collection does not fit its documents"));
        }
        stream.ended = true;
        match piece(&mut self.source, || "the end of a collection".to_owned())? {
            Piece::Terminator => Ok(()),
            _ => Err(truncated("the end of a collection")),
        }
    }

    fn end(&self, namespaces: &[Namespace]) -> Result<(), DumpError> {
        let open = self.streams.iter().zip(namespaces).find(|(stream, _)| !stream.ended);
        open.map_or(Ok(()), |(_, namespace)| Err(truncated(&namespace.shown())))
    }
}

fn truncated(what: &str) -> DumpError {
    DumpError::Truncated(what.to_owned())
}

/// One document of the prelude; nothing for views and what is the server's own.
fn namespace(document: &RawDocument) -> Result<Option<Namespace>, DumpError> {
    let text = |field| document.get_str(field).unwrap_or_default().to_owned();
    let (database, collection, kind) = (text("db"), text("collection"), text("type"));
    if database.is_empty() && collection == "oplog" {
        return Err(DumpError::Oplog);
    }
    if collection.is_empty() {
        return Err(DumpError::Damaged("a collection without a name".into()));
    }
    let metadata = document.get_str("metadata").unwrap_or_default();
    let metadata = if metadata.is_empty() { Metadata::default() } else { Metadata::read(metadata, &collection)? };
    if kind == "view" || metadata.kind.as_deref() == Some("view") {
        return Ok(None);
    }
    Ok(Some(Namespace { database, collection, options: metadata.options, indexes: metadata.indexes }))
}

/// Writes an archive, one collection after the other.
pub struct ArchiveWriter<W: Write> {
    to: W,
    namespaces: Vec<Namespace>,
    at: usize,
    begun: bool,
    digest: Digest<'static, u64>,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins an archive of these collections, which come in this order. `server_version` is what the database says
    /// of itself.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn begin(mut to: W, server_version: &str, namespaces: Vec<Namespace>) -> std::io::Result<Self> {
        to.write_all(&MAGIC)?;
        let header = doc! {
            "concurrent_collections": 1, "version": "0.1", "server_version": server_version,
            "tool_version": concat!("postern ", env!("CARGO_PKG_VERSION")),
        };
        to.write_all(&bytes(&header)?)?;
        for namespace in &namespaces {
            to.write_all(&bytes(&prelude(namespace)?)?)?;
        }
        to.write_all(&TERMINATOR)?;
        Ok(Self { to, namespaces, at: 0, begun: false, digest: CRC.digest() })
    }

    /// The collection whose documents are to be written now; `None` when all are.
    pub fn current(&self) -> Option<&Namespace> {
        self.namespaces.get(self.at)
    }

    /// Writes a document of the current collection.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn document(&mut self, document: &RawDocument) -> std::io::Result<()> {
        if !self.begun {
            let header = self.header(false, 0)?;
            self.to.write_all(&header)?;
            self.begun = true;
        }
        self.digest.update(document.as_bytes());
        self.to.write_all(document.as_bytes())
    }

    /// Ends the current collection.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn end_collection(&mut self) -> std::io::Result<()> {
        if std::mem::take(&mut self.begun) {
            self.to.write_all(&TERMINATOR)?;
        }
        let digest = std::mem::replace(&mut self.digest, CRC.digest());
        let header = self.header(true, digest.finalize().cast_signed())?;
        self.to.write_all(&header)?;
        self.to.write_all(&TERMINATOR)?;
        self.at += 1;
        Ok(())
    }

    /// What it was written to, when all collections have ended.
    pub fn into_inner(self) -> W {
        self.to
    }

    fn header(&self, end: bool, crc: i64) -> std::io::Result<Vec<u8>> {
        let (database, collection) =
            self.current().map_or(("", ""), |space| (space.database.as_str(), space.collection.as_str()));
        bytes(&doc! { "db": database, "collection": collection, "EOF": end, "CRC": crc })
    }
}

fn prelude(namespace: &Namespace) -> std::io::Result<Document> {
    let Namespace { database, collection, options, indexes } = namespace;
    let indexes: Vec<Bson> = indexes.iter().cloned().map(Bson::from).collect();
    let metadata =
        doc! { "options": options.clone(), "indexes": indexes, "collectionName": collection, "type": "collection" };
    // Written from the document itself: the keys of an index have an order, which a JSON object need not keep.
    let metadata = serde_json::to_string(&canonical(metadata.into())).map_err(std::io::Error::other)?;
    Ok(doc! { "db": database, "collection": collection, "metadata": metadata, "size": 0, "type": "collection" })
}

/// Numbers as canonical extended JSON has them; all else is written so anyway.
fn canonical(value: Bson) -> Bson {
    match value {
        Bson::Int32(number) => doc! { "$numberInt": number.to_string() }.into(),
        Bson::Int64(number) => doc! { "$numberLong": number.to_string() }.into(),
        Bson::Double(number) => doc! { "$numberDouble": number.to_string() }.into(),
        Bson::Array(values) => values.into_iter().map(canonical).collect::<Vec<_>>().into(),
        Bson::Document(fields) => {
            fields.into_iter().map(|(key, value)| (key, canonical(value))).collect::<Document>().into()
        }
        other => other,
    }
}

fn bytes(document: &Document) -> std::io::Result<Vec<u8>> {
    document.to_vec().map_err(std::io::Error::other)
}
