//! The one place that draws randomness from the operating system.
//!
//! It sits on the ground floor because both `keys` and `pki` need it and must not know each other.

/// `N` unpredictable bytes.
///
/// # Panics
/// When the operating system has no randomness to give. On Linux `getrandom(2)` can only fail where the system call
/// is forbidden, and a process that went on without it would hand out guessable keys.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// 128 random bits, for ids and seeds.
pub fn u128() -> u128 {
    u128::from_ne_bytes(bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_draws_differ() {
        assert_ne!(super::bytes::<32>(), super::bytes::<32>());
        assert_ne!(super::u128(), super::u128());
    }
}
