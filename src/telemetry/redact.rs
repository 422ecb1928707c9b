//! The net under the rule that secrets have types which do not print (`domain::secret`): what looks like one does not get
//! into a line, whichever part put it there.

use std::borrow::Cow;

/// What a secret of ours, or of OpenVPN's, begins with.
const PREFIXES: [&str; 4] = ["pst_", "psj_", "SESS_ID_AT_", "Bearer "];

/// Shorter words behind such a beginning are talk about secrets.
const SHORTEST: usize = 16;

/// The text without secrets: tokens lose all but their first letters, addresses their user and password.
pub(super) fn redact(text: &str) -> Cow<'_, str> {
    let suspicious = text.contains("://") || PREFIXES.iter().any(|prefix| text.contains(prefix));
    if !suspicious {
        return Cow::Borrowed(text);
    }
    let without_tokens = PREFIXES.iter().fold(text.to_owned(), |text, prefix| without_tokens(&text, prefix));
    Cow::Owned(without_credentials(&without_tokens))
}

fn without_tokens(text: &str, prefix: &str) -> String {
    let mut parts = text.split(prefix);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.' | '+' | '/' | '='));
        let (token, rest) = part.split_at(end.unwrap_or(part.len()));
        kept.push_str(prefix);
        kept.push_str(if token.len() < SHORTEST { token } else { "…" });
        kept.push_str(rest);
    }
    kept
}

/// `scheme://user:password@host` (RFC 3986, section 3.2.1).
fn without_credentials(text: &str) -> String {
    let mut parts = text.split("://");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str("://");
        let end = part.find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>'));
        let (authority, rest) = part.split_at(end.unwrap_or(part.len()));
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                kept.push_str("…@");
                kept.push_str(host);
            }
            None => kept.push_str(authority),
        }
        kept.push_str(rest);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_left_out() {
        for (text, told) in [
            ("nothing to see", "nothing to see"),
            ("begins with pst_, then an id", "begins with pst_, then an id"),
            ("token pst_tok_01JD3W9V3C0000000000000000_9f2c9f2c9f2c9f2c was refused", "token pst_… was refused"),
            ("psj_AbCdEfGhIjKlMnOpQr-_ and psj_ZZZZZZZZZZZZZZZZZZZZ", "psj_… and psj_…"),
            ("authorization: Bearer abcdefghijklmnopqrstuvwxyz", "authorization: Bearer …"),
            ("SESS_ID_AT_abcdefghijklmnop/q==", "SESS_ID_AT_…"),
            ("mongodb://web:p%40ss@db-1,db-2/?replicaSet=rs0 is away", "mongodb://…@db-1,db-2/?replicaSet=rs0 is away"),
            ("see https://vpn.example.com/a@b", "see https://vpn.example.com/a@b"),
        ] {
            assert_eq!(redact(text), told);
        }
    }
}
