//! An error and what caused it, in words.

use std::error::Error;

/// An error with everything that caused it, on one line, for the log. A cause whose words an error above it has taken
/// into its own is not told twice.
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !line.contains(&words) {
            line.push_str(": ");
            line.push_str(&words);
        }
        next = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::{fmt, io};

    use super::*;

    /// An error in words, and its cause.
    #[derive(Debug)]
    struct Outer(&'static str, Box<dyn Error>);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&*self.1)
        }
    }

    #[test]
    fn every_cause_is_told_once() {
        let told = Outer("on this disk: it burns", Box::new(io::Error::other("it burns")));
        let error = Outer("the file cannot be read", Box::new(told));
        assert_eq!(chain(&error), "the file cannot be read: on this disk: it burns");
        assert_eq!(chain(&io::Error::other("alone")), "alone");
    }
}
