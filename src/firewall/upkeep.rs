//! Keeps the kernel's table what the policy wants.

use super::ruleset::Table;
use super::{Firewall, FirewallError, Generation, Ruleset, ServerRules};

/// What was put in place last, to be compared with what is there.
#[derive(Debug, Default)]
pub struct Upkeep {
    applied: Option<Applied>,
    last: Option<Generation>,
}

#[derive(Debug)]
struct Applied {
    servers: Vec<ServerRules>,
    /// What the kernel made of it; none where no rules are wanted.
    table: Option<Table>,
}

/// How the kernel's table was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// As it should be.
    Same,
    /// The policy wants something else, which is in place now.
    Changed,
    /// Somebody removed it; it is in place again.
    Missing,
    /// Somebody changed it; it is as it should be again.
    Altered,
}

impl Settled {
    /// The word in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Altered => "altered",
        }
    }

    /// Whether what was in place had been lost.
    pub fn is_repair(self) -> bool {
        matches!(self, Self::Missing | Self::Altered)
    }
}

impl Upkeep {
    /// Compares the kernel's table with what `servers` want, and replaces it if they differ. Answers what was done, and
    /// all tables as they are now.
    ///
    /// # Errors
    /// The table cannot be read, or is not what it should be and could not be replaced.
    pub async fn settle(
        &mut self,
        firewall: &Firewall,
        servers: &[ServerRules],
    ) -> Result<(Settled, Ruleset), FirewallError> {
        let found = firewall.read().await?;
        let settled = match &self.applied {
            Some(applied) if applied.servers != servers => Settled::Changed,
            None => Settled::Changed,
            Some(applied) if applied.table == found.own => return Ok((Settled::Same, found)),
            Some(_) if found.own.is_none() => Settled::Missing,
            Some(_) => Settled::Altered,
        };
        let in_kernel = found.own.as_ref().and_then(Table::generation);
        let generation = Generation::after(in_kernel, self.last);
        firewall.replace(servers, generation).await?;
        self.last = Some(generation);
        let now = firewall.read().await?;
        // What is read back is what the kernel made of the rules, unless another program changed them at once.
        let sound = match &now.own {
            None => servers.is_empty(),
            Some(table) => table.generation() == Some(generation) && table.rules() == rules(servers, generation),
        };
        if !sound {
            self.applied = None;
            return Err(FirewallError::Contested);
        }
        self.applied = Some(Applied { servers: servers.to_vec(), table: now.own.clone() });
        Ok((settled, now))
    }

    /// Whether nothing of ours is in the kernel, as far as is known.
    pub fn is_bare(&self) -> bool {
        self.applied.as_ref().is_some_and(|applied| applied.servers.is_empty())
    }
}

/// How many rules the table of these servers has.
fn rules(servers: &[ServerRules], generation: Generation) -> usize {
    super::rules::ruleset(servers, generation).lines().filter(|line| is_rule(line)).count()
}

fn is_rule(line: &str) -> bool {
    line.starts_with("\t\t") && !line.starts_with("\t\ttype ")
}
