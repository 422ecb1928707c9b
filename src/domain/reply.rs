//! A reply of the API that is kept, for the same request when it comes again.

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Where what was made is.
    pub location: Option<String>,
    /// The validator of what was shown.
    pub etag: Option<String>,
    /// The JSON in it; `None` if it held a secret, which is kept nowhere.
    pub body: Option<Vec<u8>>,
}
