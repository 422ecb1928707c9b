//! How often things may be done. Per address: in this process's memory, bounded. Per account: in the database, so that
//! it holds over all hosts; while that is away, in memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{Cluster, SOON, ServiceError};
use domain::ids::{HostId, TokenId};
use domain::limits::Bucket;
pub use domain::limits::{Allowance, Limit};

/// How many buckets a generation holds. A flood from more addresses than this makes room by forgetting the buckets
/// that were not touched for the longest, which are nearly full again.
const GENERATION: usize = 16_384;

/// The buckets in memory, in two generations: when the younger is full, it becomes the older, which is forgotten.
pub(crate) struct Buckets<K> {
    began: Instant,
    generations: Mutex<[HashMap<K, Bucket>; 2]>,
    size: usize,
}

impl<K: Hash + Eq> Buckets<K> {
    fn with_size(size: usize) -> Self {
        Self { began: Instant::now(), generations: Mutex::default(), size }
    }

    fn spend(&self, limit: Limit, key: K, at: Duration) -> Result<Allowance, Duration> {
        let rate = limit.rate();
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut *generations;
        if young.len() >= self.size && !young.contains_key(&key) {
            *old = std::mem::take(young);
        }
        let known = old.remove(&key);
        let bucket = young.entry(key).or_insert_with(|| known.unwrap_or_else(|| Bucket::full(rate, at)));
        bucket.spend(rate, at)?;
        let (left, full_in) = bucket.left(rate);
        Ok(Allowance { limit, left, full_in })
    }
}

impl<K: Hash + Eq> Default for Buckets<K> {
    fn default() -> Self {
        Self::with_size(GENERATION)
    }
}

/// Whose bucket it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    /// An address; of IPv6 the network of one household, since a client has as many addresses as it likes.
    Address(Limit, IpAddr),
    /// An API token.
    Token(TokenId),
    /// A host.
    Host(HostId),
    /// An account, while the database is away.
    Account(Limit, Box<str>),
    /// All addresses.
    Everybody(Limit),
}

fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Cluster<'_> {
    /// Counts something that an address does.
    ///
    /// # Errors
    /// [`ServiceError::TooMany`].
    pub fn limit_address(self, limit: Limit, address: IpAddr) -> Result<(), ServiceError> {
        self.limit_here(limit, Whose::Address(limit, household(address))).map(drop)
    }

    /// Counts a certificate that a host is given, in this process.
    ///
    /// # Errors
    /// [`ServiceError::TooMany`].
    pub(crate) fn limit_certificates(self, host: HostId) -> Result<(), ServiceError> {
        self.limit_here(Limit::Certificate, Whose::Host(host)).map(drop)
    }

    /// Counts something that anybody does.
    ///
    /// # Errors
    /// [`ServiceError::TooMany`].
    pub fn limit_everybody(self, limit: Limit) -> Result<(), ServiceError> {
        self.limit_here(limit, Whose::Everybody(limit)).map(drop)
    }

    /// Counts a request of a token, in this process: a look into the database for each would cost more than it spares.
    ///
    /// # Errors
    /// [`ServiceError::TooMany`].
    pub fn limit_token(self, token: TokenId) -> Result<Allowance, ServiceError> {
        self.limit_here(Limit::Api, Whose::Token(token))
    }

    fn limit_here(self, limit: Limit, whose: Whose) -> Result<Allowance, ServiceError> {
        let buckets = &self.buckets;
        let spent = buckets.spend(limit, whose, buckets.began.elapsed());
        spent.map_err(|after| ServiceError::TooMany { limit, after })
    }

    /// Counts something that an account does; `account` is the id of a user.
    ///
    /// # Errors
    /// [`ServiceError::TooMany`].
    pub async fn limit_account(self, limit: Limit, account: &str) -> Result<(), ServiceError> {
        let key = format!("{}:{account}", limit.as_str());
        match self.store().write(SOON, self.store().cluster().spend_token(&key, limit.rate())).await {
            Ok(None) => Ok(()),
            Ok(Some(after)) => Err(ServiceError::TooMany { limit, after }),
            Err(error) if error.is_unavailable() => {
                self.limit_here(limit, Whose::Account(limit, account.into())).map(drop)
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_a_bucket_of_its_own() {
        let buckets = Buckets::with_size(8);
        for key in 0..2 {
            for _ in 0..Limit::Callback.rate().most {
                buckets.spend(Limit::Callback, key, Duration::ZERO).unwrap();
            }
            assert!(buckets.spend(Limit::Callback, key, Duration::ZERO).is_err());
        }
        assert!(buckets.spend(Limit::Callback, 0, Duration::from_mins(1)).is_ok());
    }

    #[test]
    fn a_flood_of_keys_takes_no_more_memory() {
        let buckets = Buckets::with_size(8);
        for key in 0..10_000 {
            buckets.spend(Limit::Callback, key, Duration::ZERO).unwrap();
            let kept: usize = buckets.generations.lock().unwrap().iter().map(HashMap::len).sum();
            assert!(kept <= 16, "{kept}");
        }
    }

    #[test]
    fn a_bucket_that_grew_old_is_still_known() {
        let buckets = Buckets::with_size(2);
        for _ in 0..Limit::Callback.rate().most {
            buckets.spend(Limit::Callback, 0, Duration::ZERO).unwrap();
        }
        for key in 1..3 {
            buckets.spend(Limit::Callback, key, Duration::ZERO).unwrap();
        }
        assert!(buckets.spend(Limit::Callback, 0, Duration::ZERO).is_err());
    }

    #[test]
    fn addresses_of_one_household_share_a_bucket() {
        let same = |a: &str, b: &str| household(a.parse().unwrap()) == household(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:2"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
    }
}
