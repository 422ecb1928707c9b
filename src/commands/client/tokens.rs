//! `postern token list` and `postern token revoke`.

use super::Client;
use super::api::Ask;
use super::error::ClientError;
use super::output::{Column, Look, View};
use super::paging::Paging;
use super::refs::Kind;

const VIEW: View = View {
    key: "id",
    columns: &[
        Column("ID", "id", Look::Plain),
        Column("NAME", "name", Look::Plain),
        Column("ROLE", "role", Look::Plain),
        Column("MADE BY", "created_by", Look::Plain),
        Column("EXPIRES", "expires_at", Look::Plain),
        Column("LAST USED", "last_used_at", Look::Plain),
    ],
};

impl Client {
    /// Lists the tokens.
    pub(in super::super) fn list_tokens(&self, paging: &Paging) -> Result<(), ClientError> {
        self.list("/tokens", &[], paging, &VIEW)
    }

    /// Revokes the token of an id or a name.
    pub(in super::super) fn revoke_token(&self, token: &str) -> Result<(), ClientError> {
        let path = format!("/tokens/{}", self.find(Kind::Token, token)?);
        self.confirm(&format!("revoke API token {token}"))?;
        self.done(&Ask::delete(&path), &format!("revoked API token {token}")).map(drop)
    }
}
