//! Bytes to lines, in bounded memory.

/// The longest line that is kept, in bytes; the rest of a longer one is thrown away.
///
/// OpenVPN's own buffers are smaller, so a cut line is never one that matters.
pub(super) const MAX_LINE: usize = 8 * 1024;

/// Splits a byte stream at line feeds. Carriage returns before them are dropped.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes bytes and hands each finished line, without its end, to `each`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (head, tail) = bytes.split_at(end);
            self.keep(head);
            each(self.partial.strip_suffix(b"\r").unwrap_or(&self.partial));
            self.partial.clear();
            bytes = tail.get(1..).unwrap_or_default();
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.partial.len());
        self.partial.extend(bytes.iter().take(room));
    }

    /// The bytes that are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.partial.len()
    }
}
