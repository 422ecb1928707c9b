//! Archives and folders, sound and hostile.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use mongodb::bson::{Document, doc};
use proptest::prelude::*;

use crate::dump::*;

type Contents = (Vec<Namespace>, Vec<(usize, Document)>);

fn namespace(collection: &str) -> Namespace {
    Namespace {
        database: "vpn".into(),
        collection: collection.into(),
        options: doc! { "capped": true, "size": 4096 },
        // In this order, which JSON has no word for.
        indexes: vec![doc! { "v": 2, "key": { "z": 1, "a": -1 }, "name": "z_1_a_-1", "unique": true }],
    }
}

fn archive() -> Vec<u8> {
    let mut writer = ArchiveWriter::begin(Vec::new(), "6.0.5", vec![namespace("users"), namespace("none")]).unwrap();
    for n in 0..3 {
        let document = RawDocumentBuf::try_from(&doc! { "_id": n, "name": "é".repeat(20) }).unwrap();
        writer.document(&document).unwrap();
    }
    writer.end_collection().unwrap();
    writer.end_collection().unwrap();
    assert!(writer.current().is_none());
    writer.into_inner()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn all(mut dump: Dump) -> Result<Contents, DumpError> {
    let mut documents = Vec::new();
    while let Some((at, document)) = dump.next_document()? {
        let document = Document::try_from(&*document).map_err(|error| DumpError::Damaged(error.to_string()))?;
        documents.push((at, document));
    }
    Ok((dump.namespaces, documents))
}

fn read(bytes: Vec<u8>) -> Result<Contents, DumpError> {
    all(Dump::read(Cursor::new(bytes))?)
}

#[test]
fn an_archive_comes_back_with_the_order_of_its_keys() {
    for bytes in [archive(), gzipped(&archive())] {
        let (namespaces, documents) = read(bytes).unwrap();
        assert_eq!(namespaces, [namespace("users"), namespace("none")]);
        assert_eq!(documents.len(), 3);
        assert_eq!(documents[2].1.get_i32("_id").unwrap(), 2);
    }
}

#[test]
fn blocks_of_several_collections_may_alternate() {
    // As mongodump writes them with several collections at once: by hand, from the description of the format.
    let mut bytes = vec![0x6d, 0xe2, 0x99, 0x81];
    let mut put = |document: Document| bytes.extend(document.to_vec().unwrap());
    put(doc! { "concurrent_collections": 4, "version": "0.1", "server_version": "4.4.0", "tool_version": "100.9" });
    for collection in ["a", "b"] {
        let metadata = r#"{"options":{},"indexes":[{"v":{"$numberInt":"2"},"key":{"_id":{"$numberInt":"1"}},"name":"_id_"}],"uuid":"00"}"#;
        put(doc! { "db": "d", "collection": collection, "metadata": metadata, "size": 0, "type": "" });
    }
    put(doc! { "db": "d", "collection": "v", "metadata": "{}", "size": 0, "type": "view" });
    bytes.extend([0xff; 4]);
    let header = |collection: &str, end: bool, crc: i64| {
        doc! { "db": "d", "collection": collection, "EOF": end, "CRC": crc }.to_vec().unwrap()
    };
    let mut block = |collection: &str, n: i32| {
        bytes.extend(header(collection, false, 0));
        bytes.extend(doc! { "_id": n }.to_vec().unwrap());
        bytes.extend([0xff; 4]);
    };
    for (collection, n) in [("a", 1), ("b", 2), ("a", 3)] {
        block(collection, n);
    }
    // CRC-64/XZ of the documents, computed bit by bit from the polynomial: of {_id: 1}{_id: 3}, and of {_id: 2}.
    for (collection, crc) in [("a", CRC_OF_A), ("b", CRC_OF_B)] {
        bytes.extend(header(collection, true, crc));
        bytes.extend([0xff; 4]);
    }
    let (namespaces, documents) = read(bytes).unwrap();
    assert_eq!(namespaces.len(), 2, "a view has no documents");
    assert_eq!(namespaces[0].indexes[0].get_document("key").unwrap(), &doc! { "_id": 1 });
    assert_eq!(documents, [(0, doc! { "_id": 1 }), (1, doc! { "_id": 2 }), (0, doc! { "_id": 3 })]);
}

const CRC_OF_A: i64 = 6_015_870_414_199_197_219;
const CRC_OF_B: i64 = 1_701_789_889_097_906_460;

/// A folder as `mongodump` writes it.
fn folder(at: &Path, zip: bool) {
    let database = at.join("vpn");
    fs::create_dir_all(at.join("admin")).unwrap();
    fs::create_dir_all(&database).unwrap();
    let put = |path: &Path, name: &str, bytes: &[u8]| {
        let (name, bytes) =
            if zip { (format!("{name}.gz"), gzipped(bytes)) } else { (name.to_owned(), bytes.to_vec()) };
        fs::write(path.join(name), bytes).unwrap();
    };
    let two = [doc! { "_id": 1 }.to_vec().unwrap(), doc! { "_id": 2 }.to_vec().unwrap()].concat();
    put(at, "prelude.json", br#"{"ServerVersion":"6.0.5","ToolVersion":"100.9.4"}"#);
    put(&at.join("admin"), "system.version.bson", &two);
    put(&database, "users.bson", &two);
    put(
        &database,
        "users.metadata.json",
        br#"{"options":{},"indexes":[{"v":{"$numberInt":"2"},"key":{"z":{"$numberInt":"1"},"a":{"$numberInt":"1"}},"name":"i"}],"collectionName":"users","type":"collection"}"#,
    );
    put(&database, "a%2Fb.bson", b"");
    put(&database, "system.js.bson", &two);
    put(&database, "view.metadata.json", br#"{"options":{"viewOn":"users"},"indexes":[],"type":"view"}"#);
}

#[test]
fn a_folder_is_read_from_its_root_and_from_its_database() {
    for zip in [false, true] {
        let place = tempfile::tempdir().unwrap();
        folder(place.path(), zip);
        for path in [place.path().to_owned(), place.path().join("vpn")] {
            let (namespaces, documents) = all(Dump::open(&path).unwrap()).unwrap();
            let names: Vec<_> = namespaces.iter().map(Namespace::shown).collect();
            assert_eq!(names, ["vpn.a/b", "vpn.users"]);
            let keys: Vec<_> = namespaces[1].indexes[0].get_document("key").unwrap().keys().collect();
            assert_eq!(keys, ["z", "a"]);
            assert_eq!(documents, [(1, doc! { "_id": 1 }), (1, doc! { "_id": 2 })]);
        }
    }
}

#[test]
fn what_is_no_dump_is_refused_in_words() {
    let place = tempfile::tempdir().unwrap();
    assert!(matches!(Dump::open(place.path()), Err(DumpError::NotADump(_))));
    assert!(matches!(Dump::open(&place.path().join("nothing")), Err(DumpError::File { .. })));
    assert!(matches!(read(b"PK\x03\x04".to_vec()), Err(DumpError::NotADump(_))));
    assert!(matches!(read(Vec::new()), Err(DumpError::NotADump(_))));
    fs::write(place.path().join("oplog.bson"), "").unwrap();
    assert!(matches!(Dump::open(place.path()), Err(DumpError::Oplog)));
}

#[test]
fn a_torn_file_of_a_folder_is_told_of() {
    let place = tempfile::tempdir().unwrap();
    folder(place.path(), false);
    let path = place.path().join("vpn/users.bson");
    let whole = fs::read(&path).unwrap();
    for length in 1..whole.len() {
        if length == whole.len() / 2 {
            continue; // one document less: a folder has no checksums
        }
        fs::write(&path, &whole[..length]).unwrap();
        let outcome = all(Dump::open(place.path()).unwrap());
        assert!(matches!(outcome, Err(DumpError::Truncated(_))), "{length}: {outcome:?}");
    }
}

#[test]
fn an_archive_that_ends_anywhere_is_refused() {
    let whole = archive();
    for length in 0..whole.len() {
        let outcome = read(whole[..length].to_vec());
        assert!(outcome.is_err(), "{length} of {} bytes were taken for a whole archive", whole.len());
    }
}

#[test]
fn an_announced_length_costs_no_memory() {
    let mut bytes = archive();
    let after_prelude = bytes.windows(4).position(|four| four == [0xff; 4]).unwrap() + 4;
    bytes.truncate(after_prelude);
    for length in [i32::MAX, i32::MIN, -2, 0, 4, 17 * 1024 * 1024] {
        let hostile = [&bytes[..], &length.to_le_bytes()].concat();
        assert!(matches!(read(hostile), Err(DumpError::Damaged(_))), "{length}");
    }
    let promised = [&bytes[..], &(16 * 1024 * 1024_i32).to_le_bytes()].concat();
    assert!(matches!(read(promised), Err(DumpError::Truncated(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_changed_archive_is_refused_or_reads_on_without_a_panic(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = archive();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok((_, documents)) = read(bytes) {
            // The checksum covers the documents; the prelude has none.
            prop_assert_eq!(documents.len(), 3);
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_archive(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read([&[0x6d, 0xe2, 0x99, 0x81][..], &tail].concat()).is_err());
    }
}
