//! What makes the audit log hard to rewrite: entries in chains, and signed statements about the chains.
//!
//! # The format
//! Each process links what it records into a chain of its own. An entry's [`Link`] names the chain, the place in it
//! (`seq`, from 1), the hash of the entry before (`prev`, zeros for the first) and the entry's own `hash`: SHA-256 over
//! the **canonical bytes** of the entry without `link.hash`.
//!
//! Canonical bytes are the entry as the API shows it, as JSON in UTF-8: the keys of every object in the order of their
//! bytes, no spaces, strings with the escapes that JSON demands and no others (`\"`, `\\`, `\b`, `\f`, `\n`, `\r`, `\t`,
//! else `\u00xx` below a space), numbers in their shortest form. Moments are RFC 3339 in UTC, at most whole
//! milliseconds. It is what `jq -cS 'del(.link.hash)'` prints, without the newline.
//!
//! A [`Statement`] is signed by the cluster's audit key (Ed25519, RFC 8032) over `postern audit statement 1`, a newline,
//! and its canonical bytes. Statements form a chain too: `prev` is the SHA-256 of those signed bytes of the one before.
//! A statement names the `heads` of all chains that have grown since the one before it (a *checkpoint*), and the `cuts`
//! that retention made: up to which place a chain was deleted, how many entries that were, and the hash of the last.
//!
//! So a holder of the public key can tell from an export ([`lines::Line`]) whether anything that a statement knew of
//! was changed, removed, added or moved. What came after the last statement is chained, and not yet signed for; who
//! keeps statements elsewhere (the log has them) also sees when the last ones were removed.

pub mod lines;
pub mod link;
pub mod verify;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub use link::{Hash, Hex, Link, NOTHING, Signature};

use super::audit::AuditEntry;
use super::ids::ChainId;

/// The newest entry of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which chain.
    pub chain: ChainId,
    /// Its place.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// The beginning of a chain, or of what is older than chains, as it was deleted at its age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Which chain; none for entries from before there were chains.
    pub chain: Option<ChainId>,
    /// The last place that was deleted; zero where there are no places.
    pub through: u64,
    /// The hash of the entry there.
    pub hash: Hash,
    /// How many entries this cut removed.
    pub count: u64,
    /// When the oldest of them was recorded.
    pub from: Timestamp,
    /// When the newest of them was recorded.
    pub to: Timestamp,
}

/// What the audit key signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Its place among the statements, from 1.
    pub seq: u64,
    /// When it was made; whole milliseconds.
    pub at: Timestamp,
    /// The hash of the statement before; zeros for the first.
    pub prev: Hash,
    /// Which key signs.
    pub key: String,
    /// The heads of the chains that have grown since the statement before.
    pub heads: Vec<Head>,
    /// What retention deleted.
    pub cuts: Vec<Cut>,
}

/// A statement with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// What is signed.
    pub statement: Statement,
    /// By the audit key.
    pub signature: Signature,
}

impl Statement {
    /// What is signed, and what the next statement's `prev` is the hash of.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = b"postern audit statement 1\n".to_vec();
        bytes.extend_from_slice(canonical(&serde_json::to_value(self).unwrap_or_default()).as_bytes());
        bytes
    }

    /// Its hash.
    pub fn hash(&self) -> Hash {
        sha256(&self.to_bytes())
    }
}

/// A link for `entry` behind `before`, in `chain`.
pub fn link(entry: &AuditEntry, chain: ChainId, before: Option<&Head>) -> Link {
    let seq = before.map_or(0, |head| head.seq) + 1;
    let prev = before.map_or(NOTHING, |head| head.hash);
    let link = Link { chain, seq, prev, hash: NOTHING };
    Link { hash: hash(entry, &link), ..link }
}

/// The hash that an entry has at a place.
pub fn hash(entry: &AuditEntry, place: &Link) -> Hash {
    let mut value = serde_json::to_value(AuditEntry { link: Some(*place), ..entry.clone() }).unwrap_or_default();
    if let Some(link) = value.get_mut("link").and_then(Value::as_object_mut) {
        link.remove("hash");
    }
    sha256(canonical(&value).as_bytes())
}

fn sha256(bytes: &[u8]) -> Hash {
    Hex(Sha256::digest(bytes).into())
}

/// One text for one value.
fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            // Whether the map keeps its keys sorted is decided by a feature that any crate can switch on.
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            text.push('{');
            for (at, (key, value)) in fields.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(&Value::String(key.clone()), text);
                text.push(':');
                write(value, text);
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(value, text);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::{AuditId, Id};

    fn entry() -> AuditEntry {
        AuditEntry {
            id: AuditId::from_parts(Timestamp::from_millisecond(1_764_000_000_000).unwrap(), 7),
            at: Timestamp::from_millisecond(1_764_000_000_120).unwrap(),
            actor: "shell:pause".to_owned(),
            action: "cluster.pause".to_owned(),
            object: "cluster".to_owned(),
            outcome: "success".to_owned(),
            request_id: None,
            changes: json!({ "b": [null, "Ana \u{1f4f1} \"x\"\n"], "a": [1, 2.5] }),
            link: None,
        }
    }

    #[test]
    fn canonical_bytes_are_what_the_documentation_says() {
        let chain = ChainId::from_parts(Timestamp::from_millisecond(1_764_000_000_000).unwrap(), 9);
        let first = link(&entry(), chain, None);
        let text = concat!(
            r#"{"action":"cluster.pause","actor":"shell:pause","at":"2025-11-24T16:00:00.12Z","#,
            r#""changes":{"a":[1,2.5],"b":[null,"Ana 📱 \"x\"\n"]},"id":"ENTRY","#,
            r#""link":{"chain":"CHAIN","#,
            r#""prev":"0000000000000000000000000000000000000000000000000000000000000000","seq":1},"#,
            r#""object":"cluster","outcome":"success","request_id":null}"#
        );
        let text = text.replace("ENTRY", &entry().id.to_string()).replace("CHAIN", &chain.to_string());
        assert_eq!(first.hash, sha256(text.as_bytes()));
        let second = link(&entry(), chain, Some(&Head { chain, seq: 1, hash: first.hash }));
        assert_eq!((second.seq, second.prev), (2, first.hash));
        assert_ne!(second.hash, first.hash, "the place is part of what is hashed");
    }

    #[test]
    fn hexadecimal_has_one_spelling() {
        let hash: Hash = serde_json::from_value(json!("0a".repeat(32))).unwrap();
        assert_eq!(json!(hash), json!("0a".repeat(32)));
        for bad in ["0A".repeat(32), "0a".repeat(31), "zz".repeat(32)] {
            assert!(serde_json::from_value::<Hash>(json!(bad)).is_err(), "{bad}");
        }
    }
}
