//! Rules of others that drop what ours let pass.
//!
//! A packet that our table accepts still passes the tables of others, and any of them can drop it: Docker, for one,
//! sets the policy of the forward chain of `ip filter` to drop. Each such chain is walked through with two packets for
//! each server: one that a client sends on a new connection, and its answer. A condition about our device or network
//! that holds is taken as meant for us: what is accepted under it counts as let through, whatever else it asks for. A
//! condition that cannot be told (a port, a mark, a match of iptables' own) is taken as not met otherwise. The one
//! exception is iptables' match of the connection's state: what is accepted by it alone are answers.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;

use super::ruleset::{Chain, Place};
use super::{DEVICE_PREFIX, Ruleset, ServerRules, TABLE};

/// Chains that call each other more deeply than this are no real ones.
const DEPTH: usize = 16;
/// Where Docker wants the rules of others.
const DOCKER: &str = "DOCKER-USER";

/// A place where packets of clients end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blockage {
    /// The device of the server.
    pub device: String,
    /// The family, table and chain.
    pub chain: (String, String, String),
    /// Whether it is the packets that clients send, rather than the answers to them.
    pub from_clients: bool,
    /// The chain at which packets enter that table.
    base: String,
    is_docker: bool,
}

impl Blockage {
    /// What is wrong.
    pub fn cause(&self) -> String {
        let (family, table, chain) = &self.chain;
        let what = if self.from_clients { "what clients send" } else { "the answers to clients" };
        let whose = if self.is_docker { ", as Docker sets it," } else { "" };
        format!("chain {chain} of table {family} {table}{whose} drops {what}")
    }

    /// The command that lets the packets of all servers through.
    pub fn command(&self) -> String {
        let Self { chain: (family, table, _), base, .. } = self;
        if family == "ip" && table == "filter" && (self.is_docker || base == "FORWARD") {
            return iptables("iptables", if self.is_docker { DOCKER } else { base });
        }
        format!(
            "nft insert rule {family} {table} {base} iifname '\"{DEVICE_PREFIX}*\"' accept && \
             nft insert rule {family} {table} {base} oifname '\"{DEVICE_PREFIX}*\"' ct state established,related accept"
        )
    }
}

fn iptables(program: &str, chain: &str) -> String {
    format!(
        "{program} -I {chain} -i {DEVICE_PREFIX}+ -j ACCEPT && \
         {program} -I {chain} -o {DEVICE_PREFIX}+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    )
}

/// What is wrong where packets vanish on their way through this host, and no chain that `nft` shows drops them.
pub fn unseen_blockage() -> String {
    format!(
        "what clients send is let through by table inet {TABLE} and never leaves this host: a firewall that nft does not \
         show drops it, as tables of iptables-legacy do (iptables-legacy -S FORWARD); let it through: {}",
        legacy_command()
    )
}

/// The command that lets the packets of all servers through the tables of iptables-legacy.
pub fn legacy_command() -> String {
    iptables("iptables-legacy", "FORWARD")
}

/// Whether the policy of the rules of `iptables-legacy -S FORWARD` drops what goes through, and none is about our
/// devices.
pub(super) fn is_legacy_drop(rules: &str) -> bool {
    let drops = rules.lines().any(|line| line.trim() == "-P FORWARD DROP");
    drops && !rules.lines().any(|line| line.contains(DEVICE_PREFIX) && line.ends_with("-j ACCEPT"))
}

impl fmt::Display for Blockage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; let it through: {}", self.cause(), self.command())
    }
}

/// What a walk through a chain comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// Let through; `true` if by a rule that is meant for us.
    Accept(bool),
    /// Dropped, in this chain.
    Drop(Place),
    /// Neither.
    Open,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    Yes,
    /// It holds, and it is about our device or network.
    Ours,
    No,
    Unknown,
}

struct Packet<'a> {
    server: &'a ServerRules,
    destinations: Vec<Ipv4Net>,
    from_client: bool,
}

impl Ruleset {
    /// The first place where packets of a server's clients are dropped by rules of other tables, if there is one.
    pub fn blockage(&self, server: &ServerRules) -> Option<Blockage> {
        let mut hooked: Vec<(&Place, &Chain)> =
            self.others.iter().filter(|((family, ..), chain)| is_on_the_way(family, chain)).collect();
        hooked.sort_by_key(|(_, chain)| chain.priority);
        [true, false].into_iter().find_map(|from_client| {
            let packet = Packet { server, destinations: server.destinations().collect(), from_client };
            hooked.iter().find_map(|(place, base)| {
                let chain = match self.walk(place, base, &packet, 0) {
                    Outcome::Drop(chain) => chain,
                    Outcome::Open if base.drops => Place::clone(place),
                    Outcome::Accept(_) | Outcome::Open => return None,
                };
                let docker = (place.0.clone(), place.1.clone(), DOCKER.to_owned());
                Some(Blockage {
                    device: server.device.clone(),
                    is_docker: self.others.contains_key(&docker),
                    chain,
                    from_clients: from_client,
                    base: place.2.clone(),
                })
            })
        })
    }

    fn walk(&self, place: &Place, chain: &Chain, packet: &Packet<'_>, depth: usize) -> Outcome {
        for rule in &chain.rules {
            match self.rule(place, rule, packet, depth) {
                Some(Step::Out(outcome)) => return outcome,
                Some(Step::Back) => return Outcome::Open,
                None => {}
            }
        }
        Outcome::Open
    }

    /// What a rule decides, if it does.
    fn rule(&self, place: &Place, rule: &[Value], packet: &Packet<'_>, depth: usize) -> Option<Step> {
        let (mut certain, mut by_state, mut ours) = (true, false, false);
        for statement in rule {
            let (kind, body) = statement.as_object()?.iter().next()?;
            let holds = match kind.as_str() {
                "match" => self.holds(place, body, packet),
                "limit" | "quota" => Truth::Unknown,
                "xt" if is_state(body) => {
                    by_state = true;
                    Truth::Yes
                }
                "xt" if body.get("type").and_then(Value::as_str) != Some("target") => Truth::Unknown,
                _ => Truth::Yes,
            };
            match holds {
                Truth::No => return None,
                Truth::Unknown => certain = false,
                Truth::Ours => ours = true,
                Truth::Yes => {}
            }
            let step = if kind == "vmap" {
                self.mapped(place, body, packet).and_then(|(verdict, is_ours)| {
                    ours |= is_ours;
                    let (kind, body) = verdict.as_object()?.iter().next()?;
                    self.verdict(place, kind, body, packet, depth)
                })
            } else {
                self.verdict(place, kind, body, packet, depth)
            };
            match step {
                None => {}
                Some(Step::Out(Outcome::Accept(meant)))
                    if ours || meant || (certain && !(by_state && packet.from_client)) =>
                {
                    return Some(Step::Out(Outcome::Accept(ours || meant)));
                }
                Some(step @ (Step::Out(Outcome::Drop(_) | Outcome::Open) | Step::Back)) if certain && !by_state => {
                    return Some(step);
                }
                Some(_) => return None,
            }
        }
        None
    }

    fn verdict(&self, place: &Place, kind: &str, body: &Value, packet: &Packet<'_>, depth: usize) -> Option<Step> {
        match kind {
            "accept" | "queue" => Some(Step::Out(Outcome::Accept(false))),
            "drop" | "reject" => Some(Step::Out(Outcome::Drop(place.clone()))),
            "xt" if body.get("name").and_then(Value::as_str) == Some("REJECT") => {
                Some(Step::Out(Outcome::Drop(place.clone())))
            }
            "return" => Some(Step::Back),
            "jump" | "goto" if depth < DEPTH => {
                let target = body.get("target")?.as_str()?.to_owned();
                let target = (place.0.clone(), place.1.clone(), target);
                match self.walk(&target, self.others.get(&target)?, packet, depth + 1) {
                    Outcome::Open if kind == "jump" => None,
                    Outcome::Open => Some(Step::Back),
                    outcome => Some(Step::Out(outcome)),
                }
            }
            _ => None,
        }
    }

    fn mapped<'a>(&'a self, place: &Place, body: &'a Value, packet: &Packet<'_>) -> Option<(&'a Value, bool)> {
        let data = body.get("data")?;
        let pairs = match data.as_str() {
            Some(name) => self.named(place, name)?,
            None => data.get("set")?.as_array()?.as_slice(),
        };
        pairs.iter().find_map(|pair| {
            let [key, verdict] = pair.as_array()?.as_slice() else { return None };
            let holds = self.compare(place, body.get("key")?, key, packet);
            matches!(holds, Truth::Yes | Truth::Ours).then_some((verdict, holds == Truth::Ours))
        })
    }

    fn named(&self, place: &Place, name: &str) -> Option<&[Value]> {
        let name = name.strip_prefix('@')?.to_owned();
        self.sets.get(&(place.0.clone(), place.1.clone(), name)).map(Vec::as_slice)
    }

    fn holds(&self, place: &Place, condition: &Value, packet: &Packet<'_>) -> Truth {
        let (Some(left), Some(right)) = (condition.get("left"), condition.get("right")) else { return Truth::Unknown };
        match (condition.get("op").and_then(Value::as_str), self.compare(place, left, right, packet)) {
            (Some("==" | "in"), truth) => truth,
            (Some("!="), Truth::Yes | Truth::Ours) => Truth::No,
            (Some("!="), Truth::No) => Truth::Yes,
            _ => Truth::Unknown,
        }
    }

    /// Whether what `left` says of the packet is `right`, or one of it.
    fn compare(&self, place: &Place, left: &Value, right: &Value, packet: &Packet<'_>) -> Truth {
        let choices = match right {
            Value::String(name) if name.starts_with('@') => match self.named(place, name) {
                Some(elements) => elements,
                None => return Truth::Unknown,
            },
            Value::Array(choices) => choices,
            other => match other.get("set").and_then(Value::as_array) {
                Some(choices) => choices,
                None => std::slice::from_ref(other),
            },
        };
        let choices: Vec<&Value> = choices.iter().map(|one| one.pointer("/elem/val").unwrap_or(one)).collect();
        let field = |pointer: &str| left.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        match (field("/meta/key"), field("/ct/key"), field("/payload/protocol"), field("/payload/field")) {
            ("iifname" | "iif", ..) => packet.passes(packet.from_client, &choices),
            ("oifname" | "oif", ..) => packet.passes(!packet.from_client, &choices),
            ("nfproto", ..) => is_among(&choices, &["ipv4"]),
            ("protocol", ..) => is_among(&choices, &["ip"]),
            (_, "state", ..) => is_among(&choices, &[if packet.from_client { "new" } else { "established" }]),
            (_, "direction", ..) => is_among(&choices, &[if packet.from_client { "original" } else { "reply" }]),
            (.., "ip", "saddr") => packet.lies(packet.from_client, &choices),
            (.., "ip", "daddr") => packet.lies(!packet.from_client, &choices),
            (.., "ip6", _) => Truth::No,
            _ => Truth::Unknown,
        }
    }
}

/// What a rule makes of the walk.
enum Step {
    /// It is over.
    Out(Outcome),
    /// Back to where this chain was called.
    Back,
}

/// Whether a match is iptables' of the connection's state. What it asks for, nft does not tell.
fn is_state(xt: &Value) -> bool {
    xt.is_null() || matches!(xt.get("name").and_then(Value::as_str), Some("conntrack" | "state"))
}

fn is_on_the_way(family: &str, chain: &Chain) -> bool {
    matches!(family, "ip" | "inet") && chain.hook.as_deref() == Some("forward")
}

fn is_among(choices: &[&Value], words: &[&str]) -> Truth {
    let is = |choice: &&Value| choice.as_str().is_some_and(|choice| words.contains(&choice));
    if choices.iter().any(is) { Truth::Yes } else { Truth::No }
}

impl Packet<'_> {
    /// Whether an interface is one of these: ours at this end, or any other at the other end.
    fn passes(&self, is_ours: bool, names: &[&Value]) -> Truth {
        let matches = |name: &&Value| {
            let Some(name) = name.as_str() else { return false };
            match name.strip_suffix('*') {
                Some(prefix) => self.server.device.starts_with(prefix),
                None => name == self.server.device,
            }
        };
        match (is_ours, names.iter().any(matches)) {
            (true, true) => Truth::Ours,
            (true, false) | (false, true) => Truth::No,
            (false, false) => Truth::Unknown,
        }
    }

    /// Whether an address lies in one of these: a client's at this end, a destination's at the other.
    fn lies(&self, is_ours: bool, choices: &[&Value]) -> Truth {
        let Some(networks) = choices.iter().map(|choice| networks(choice)).collect::<Option<Vec<_>>>() else {
            return Truth::Unknown;
        };
        let networks = networks.concat();
        let ours = [self.server.network];
        let asked = if is_ours { &ours } else { self.destinations.as_slice() };
        let inside = |one: &Ipv4Net| networks.iter().any(|network| network.contains(one));
        let touched = |one: &Ipv4Net| networks.iter().any(|network| network.contains(one) || one.contains(network));
        if !asked.iter().any(touched) {
            Truth::No
        } else if !asked.iter().all(inside) {
            Truth::Unknown
        } else if is_ours && networks.iter().all(|network| network.prefix_len() > 0) {
            Truth::Ours
        } else {
            Truth::Yes
        }
    }
}

/// The networks of an element of a set.
fn networks(element: &Value) -> Option<Vec<Ipv4Net>> {
    if let Some(text) = element.as_str() {
        return Some(vec![text.parse::<Ipv4Addr>().ok()?.into()]);
    }
    if let Some([first, last]) = element.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        let (first, last) = (first.as_str()?.parse().ok()?, last.as_str()?.parse().ok()?);
        return Some(ipnet::Ipv4Subnets::new(first, last, 0).collect());
    }
    let address = element.pointer("/prefix/addr")?.as_str()?.parse().ok()?;
    let length = u8::try_from(element.pointer("/prefix/len")?.as_u64()?).ok()?;
    Some(vec![Ipv4Net::new(address, length).ok()?.trunc()])
}

#[cfg(test)]
#[path = "foreign_tests.rs"]
mod tests;
