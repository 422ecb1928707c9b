//! An export of the audit log: JSON Lines, of which each says what it is.
//!
//! First one `export`, then each `statement`, then each `entry` (chain by chain, those without a chain first), then one
//! `end`. An export by a filter holds no statements, since what is missing from it is missing on purpose.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Signed;
use crate::audit::AuditEntry;

/// The format of this release.
pub const FORMAT: u32 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// What this is.
    Export(Beginning),
    /// A signed statement.
    Statement(Signed),
    /// An entry of the audit log.
    Entry(Box<AuditEntry>),
    /// Nothing is missing at the end.
    End(Ending),
}

/// How an export begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beginning {
    /// [`FORMAT`].
    pub format: u32,
    /// The id of the cluster.
    pub cluster: String,
    /// As of when.
    pub at: Timestamp,
    /// What was asked for; all if empty.
    pub filter: BTreeMap<String, String>,
}

/// How an export ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// How many statements were written.
    pub statements: u64,
    /// How many entries.
    pub entries: u64,
}
