//! `postern token list` and `postern token revoke`.

use super::Client;
use super::api::Ask;
use super::error::ClientError;
use super::output::{Column, ColumnFormat, View};
use super::paging::Paging;
use super::refs::NounKind;

const VIEW: View = View {
    key: "id",
    columns: &[
        Column("ID", "id", ColumnFormat::Plain),
        Column("NAME", "name", ColumnFormat::Plain),
        Column("ROLE", "role", ColumnFormat::Plain),
        Column("OWNER", "owner_id", ColumnFormat::Plain),
        Column("MADE BY", "created_by", ColumnFormat::Plain),
        Column("EXPIRES", "expires_at", ColumnFormat::Plain),
        Column("LAST USED", "last_used_at", ColumnFormat::Plain),
    ],
};

impl Client {
    /// Lists the tokens.
    pub(in super::super) fn list_tokens(&self, paging: &Paging) -> Result<(), ClientError> {
        self.list("/tokens", &[], paging, &VIEW)
    }

    /// Revokes the token of an id or a name.
    pub(in super::super) fn revoke_token(&self, token: &str) -> Result<(), ClientError> {
        let path = format!("/tokens/{}", self.find(NounKind::Token, token)?);
        self.confirm(&format!("revoke API token {token}"))?;
        self.done(&Ask::delete(&path), &format!("revoked API token {token}")).map(drop)
    }
}
