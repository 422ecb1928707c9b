//! Requests that are sent again are done once (UX-73): a request that bears a key claims the key first, and the
//! reply is kept for a day. The claims rest in the database, so they hold over all hosts.
//!
//! A reply with a secret in it is never kept; whoever repeats such a request is told that it was done, and of what. A
//! request that ends without a certain answer, or whose process dies, keeps its key claimed: it is not done a second
//! time by somebody who cannot know.

use std::time::Duration;

use jiff::SignedDuration;
use sha2::{Digest as _, Sha256};

use crate::{Cluster, SOON, ServiceError};
use domain::ids::TokenId;
use domain::reply::Reply;
use store::cluster::replies::Claimed;

/// How long a reply is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// No request takes longer; one that has no reply by then has an unknown outcome.
const LONGEST: SignedDuration = SignedDuration::from_mins(1);

/// When it is worth asking again for the reply of a request that is being done.
const AGAIN: Duration = Duration::from_secs(1);

/// A request that carries a key, as the bearer of a token sent it.
#[derive(Debug, Clone)]
pub struct Keyed {
    id: String,
    request: [u8; 32],
}

impl Keyed {
    /// The request with these parts: method, path and body.
    pub fn new(token: TokenId, key: &str, parts: &[&[u8]]) -> Self {
        Self {
            id: format!("{token}:{}", data_encoding::HEXLOWER.encode(&hash(&[key.as_bytes()]))),
            request: hash(parts),
        }
    }
}

/// The lengths keep the end of one part from being taken for the beginning of the next.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let add = |digest: Sha256, part: &&[u8]| digest.chain_update((part.len() as u64).to_be_bytes()).chain_update(part);
    parts.iter().fold(Sha256::new(), add).finalize().into()
}

/// What is to be done about a request that carries a key.
#[derive(Debug)]
pub enum Claim {
    /// Nobody has done it: do it, and say what came of it.
    Mine(Claimed),
    /// It was done, and this was the reply.
    Done(Reply),
    /// It is being done.
    Running(Duration),
    /// Another request had this key.
    Other,
    /// It was begun, and its outcome is unknown.
    Unknown,
}

impl Cluster<'_> {
    /// Claims the key of a request.
    pub async fn claim(self, keyed: &Keyed) -> Result<Claim, ServiceError> {
        let now = self.now();
        let claim = Claimed { request: keyed.request.to_vec(), since: now, expires_at: now + KEPT, reply: None };
        if self.store().write(SOON, self.store().cluster().claim_request(&keyed.id, &claim)).await? {
            return Ok(Claim::Mine(claim));
        }
        let Some(found) = self.store().deadline(SOON, self.store().cluster().claimed_request(&keyed.id)).await? else {
            // It was released between the two looks; the next attempt claims it.
            return Ok(Claim::Running(AGAIN));
        };
        if found.expires_at <= now {
            self.store().write(SOON, self.store().cluster().release_request(&keyed.id, &found)).await?;
            return Ok(Claim::Running(AGAIN));
        }
        Ok(match found.reply {
            _ if found.request != keyed.request => Claim::Other,
            Some(reply) => Claim::Done(reply),
            None if now.duration_since(found.since) < LONGEST => Claim::Running(AGAIN),
            None => Claim::Unknown,
        })
    }

    /// Keeps the reply to a request whose key was claimed. If that fails, its outcome counts as unknown from then on.
    pub async fn keep_reply(self, keyed: &Keyed, reply: &Reply) {
        if let Err(error) = self.store().write(SOON, self.store().cluster().keep_reply(&keyed.id, reply)).await {
            tracing::warn!(event = "api.reply_lost", %error, "the reply to a request with an idempotency key was not kept");
        }
    }

    /// Gives a key back whose request was refused: nothing was done.
    pub async fn release(self, keyed: &Keyed, claim: &Claimed) {
        if let Err(error) = self.store().write(SOON, self.store().cluster().release_request(&keyed.id, claim)).await {
            tracing::warn!(event = "api.key_kept", %error, "an idempotency key was not given back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_ne!(hash(&[b"a"]), hash(&[b"a", b""]));
    }
}
