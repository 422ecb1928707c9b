//! A value that must not leak by accident.
//!
//! [`Secret`] has no `Display` and no `Serialize`, its `Debug` is masked and its memory is overwritten when it is
//! dropped. Reading it takes the word [`expose`](Secret::expose), which is easy to find in a review. It sits on the
//! ground floor because `keys` and `pki` both hand out secrets and must not know each other.

use std::fmt;

use zeroize::Zeroize;

/// Holds a secret of type `T`: masked in `Debug`, overwritten on drop, without a serialisable form.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself; copies made of it are the caller's to overwrite.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_masked() {
        let secret = Secret::new(String::from("hunter2"));
        assert_eq!(format!("{secret:?} {:#?}", Some(&secret)), "Secret(…) Some(\n    Secret(…),\n)");
        assert_eq!(secret.expose(), "hunter2");
    }
}
