//! The kernel's tables, as `nft --json list ruleset` tells them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{FirewallError, Generation, TABLE, rules};

/// All tables of the kernel at one moment.
#[derive(Debug, Clone, Default)]
pub struct Ruleset {
    /// Ours, if it is there.
    pub(super) own: Option<Table>,
    /// What became of the packets of clients since our table was put in place, by their device.
    pub(super) passages: BTreeMap<String, Passage>,
    /// The chains of others.
    pub(super) others: BTreeMap<Place, Chain>,
    /// Elements of the sets and maps of others, by family, table and name.
    pub(super) sets: BTreeMap<Place, Vec<Value>>,
}

/// Where something is: family, table, name.
pub(super) type Place = (String, String, String);

/// A chain of another table.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    pub(super) hook: Option<String>,
    pub(super) priority: i64,
    /// Whether it drops what none of its rules decides about.
    pub(super) drops: bool,
    /// The statements of each rule.
    pub(super) rules: Vec<Vec<Value>>,
}

/// Our table: everything in it, apart from the numbers that the kernel gives and counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table(BTreeMap<(String, String), Vec<Value>>);

/// How many packets of clients this host let pass, and how many of them left it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) accepted: u64,
    pub(super) left: u64,
}

impl Table {
    /// Which generation it is, if it still says so.
    pub(super) fn generation(&self) -> Option<Generation> {
        self.0.keys().find_map(|(kind, name)| Generation::of_chain(name).filter(|_| kind == "chain"))
    }

    /// How many rules it has.
    pub(super) fn rules(&self) -> usize {
        self.0.iter().filter(|((kind, _), _)| kind == "rule").map(|(_, rules)| rules.len()).sum()
    }
}

impl Ruleset {
    pub(super) fn parse(json: &[u8]) -> Result<Self, FirewallError> {
        #[derive(serde::Deserialize)]
        struct Listing {
            nftables: Vec<BTreeMap<String, Value>>,
        }
        let listing: Listing = serde_json::from_slice(json).map_err(FirewallError::Unreadable)?;
        let mut found = Self::default();
        for (kind, object) in listing.nftables.into_iter().flatten() {
            let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let family = text("family");
            let table = if kind == "table" { text("name") } else { text("table") };
            if (family.as_str(), table.as_str()) == ("inet", TABLE) {
                let name = if kind == "rule" { text("chain") } else { text("name") };
                found.count(&name, &object);
                let own = found.own.get_or_insert_default();
                own.0.entry((kind, name)).or_default().push(without_numbers(object));
                continue;
            }
            match kind.as_str() {
                "chain" => {
                    let chain = found.others.entry((family, table, text("name"))).or_default();
                    chain.hook = object.get("hook").and_then(Value::as_str).map(str::to_owned);
                    chain.priority = object.get("prio").and_then(Value::as_i64).unwrap_or_default();
                    chain.drops = text("policy") == "drop";
                }
                "rule" => {
                    let chain = found.others.entry((family, table, text("chain"))).or_default();
                    chain.rules.push(object.get("expr").and_then(Value::as_array).cloned().unwrap_or_default());
                }
                "set" | "map" => {
                    let elements = object.get("elem").and_then(Value::as_array).cloned().unwrap_or_default();
                    found.sets.insert((family, table, text("name")), elements);
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Whether our table is among them.
    pub fn has_own(&self) -> bool {
        self.own.is_some()
    }

    /// Takes down what a rule of ours has counted.
    fn count(&mut self, chain: &str, rule: &Value) {
        let statements = rule.get("expr").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let counted = statements.iter().find_map(|statement| statement.pointer("/counter/packets")?.as_u64());
        let Some(packets) = counted else { return };
        if let Some(device) = chain.strip_prefix(rules::FROM).and_then(|rest| rest.strip_prefix('-')) {
            self.passages.entry(device.to_owned()).or_default().accepted += packets;
        } else if chain == rules::LEAVING
            && let Some(device) = statements.iter().find_map(|statement| statement.pointer("/match/right")?.as_str())
        {
            self.passages.entry(device.to_owned()).or_default().left += packets;
        }
    }
}

/// The object without what the kernel numbers and counts; sets in one order.
fn without_numbers(mut object: Value) -> Value {
    strip(&mut object);
    object
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("handle");
            if let Some(Value::Object(counter)) = fields.get_mut("counter") {
                counter.clear();
            }
            for (key, inner) in fields.iter_mut() {
                strip(inner);
                if key == "set"
                    && let Value::Array(elements) = inner
                {
                    elements.sort_by_cached_key(Value::to_string);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}
