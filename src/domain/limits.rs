//! How often something may be done: the one table of limits, and the token bucket behind it.
//!
//! A bucket holds as many tokens as may be spent at once, and fills evenly over the period. The arithmetic is here;
//! where the buckets rest (memory, database) is decided by whom they count.

use std::time::Duration;

/// Something that is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Starting a sign-in, per address.
    SignInStart,
    /// Coming back from the identity provider, per address.
    Callback,
    /// Looking at and redeeming one-time links, per address.
    Ticket,
    /// Issuing profiles, tickets included, per user.
    ProfileIssue,
    /// Showing join tokens, per address.
    Join,
    /// Refused requests that are recorded, per address: more of them are refused all the same.
    Refusal,
    /// The same, of all addresses together.
    AllRefusals,
    /// Certificates of daemons, per host.
    Certificate,
    /// Using the API, per token.
    Api,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::SignInStart,
        Self::Callback,
        Self::Ticket,
        Self::ProfileIssue,
        Self::Join,
        Self::Refusal,
        Self::AllRefusals,
        Self::Certificate,
        Self::Api,
    ];

    /// The table: how many, in which time.
    pub fn rate(self) -> Rate {
        const MINUTE: Duration = Duration::from_mins(1);
        const TEN_MINUTES: Duration = Duration::from_mins(10);
        const HOUR: Duration = Duration::from_hours(1);
        match self {
            Self::SignInStart | Self::Ticket | Self::Refusal => Rate { most: 10, per: MINUTE },
            Self::Callback | Self::Join | Self::Certificate => Rate { most: 20, per: MINUTE },
            Self::ProfileIssue => Rate { most: 10, per: HOUR },
            Self::AllRefusals => Rate { most: 60, per: MINUTE },
            // 600 a minute, of which a program that has been quiet may use those of ten minutes at once.
            Self::Api => Rate { most: 6000, per: TEN_MINUTES },
        }
    }

    /// The word in the database and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignInStart => "sign_in_start",
            Self::Callback => "callback",
            Self::Ticket => "ticket",
            Self::ProfileIssue => "profile_issue",
            Self::Join => "join",
            Self::Refusal => "refusal",
            Self::AllRefusals => "all_refusals",
            Self::Certificate => "certificate",
            Self::Api => "api",
        }
    }
}

/// So many in such a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many may be done at once, and in the period.
    pub most: u32,
    /// The period.
    pub per: Duration,
}

impl Rate {
    /// Tokens that come back in a millisecond.
    pub fn per_millisecond(self) -> f64 {
        f64::from(self.most) / (self.per.as_secs_f64() * 1000.0)
    }

    /// How long until a bucket with `tokens` holds a whole one again.
    pub fn wait(self, tokens: f64) -> Duration {
        let missing = (1.0 - tokens).clamp(0.0, 1.0);
        self.per.mul_f64(missing / f64::from(self.most))
    }
}

/// How much of a limit is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Which limit.
    pub limit: Limit,
    /// So many more may be done at once.
    pub left: u32,
    /// In this time all may again.
    pub full_in: Duration,
}

/// A bucket in memory.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    /// A full one, at a moment of some monotonic clock.
    pub fn full(rate: Rate, at: Duration) -> Self {
        Self { tokens: f64::from(rate.most), at }
    }

    /// How many whole tokens are in it, and when it is full again.
    pub fn left(&self, rate: Rate) -> (u32, Duration) {
        let missing = (f64::from(rate.most) - self.tokens).max(0.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between nothing and `most`")]
        let whole = self.tokens.clamp(0.0, f64::from(rate.most)) as u32;
        (whole, rate.per.mul_f64(missing / f64::from(rate.most)))
    }

    /// Spends a token.
    ///
    /// # Errors
    /// How long to wait for one.
    pub fn spend(&mut self, rate: Rate, at: Duration) -> Result<(), Duration> {
        let passed = at.saturating_sub(self.at);
        self.at = self.at.max(at);
        self.tokens = (self.tokens + passed.as_secs_f64() * 1000.0 * rate.per_millisecond()).min(f64::from(rate.most));
        if self.tokens < 1.0 {
            return Err(rate.wait(self.tokens));
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_number_at_once_and_then_one_by_one() {
        for limit in Limit::ALL {
            let rate = limit.rate();
            let mut bucket = Bucket::full(rate, Duration::ZERO);
            for _ in 0..rate.most {
                bucket.spend(rate, Duration::ZERO).unwrap();
            }
            let wait = bucket.spend(rate, Duration::ZERO).unwrap_err();
            assert!(wait <= rate.per / rate.most + Duration::from_millis(1), "{wait:?}");
            let later = wait + Duration::from_millis(1);
            bucket.spend(rate, later).unwrap();
            assert!(bucket.spend(rate, later).is_err());
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_tokens() {
        let rate = Limit::Callback.rate();
        let mut bucket = Bucket::full(rate, Duration::from_mins(1));
        for _ in 0..rate.most {
            bucket.spend(rate, Duration::from_mins(1)).unwrap();
        }
        assert!(bucket.spend(rate, Duration::ZERO).is_err());
        assert!(bucket.spend(rate, Duration::from_mins(1)).is_err());
    }
}
