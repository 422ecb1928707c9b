//! Lists, page by page.

use clap::Args;
use serde_json::{Value, json};

use super::Client;
use super::api::Ask;
use super::error::{ClientError, exit};
use super::output::{View, at};

/// The most that the API gives at once.
const PAGE: u32 = 200;

/// How much of a list.
#[derive(Debug, Default, Args)]
pub(in super::super) struct Paging {
    /// At most so many; all of them without it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Go on where a list ended: its `next_cursor`.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl Paging {
    /// At most `most` unless it was said how many.
    pub(super) fn or(self, most: u32) -> Self {
        Self { limit: self.limit.or(Some(most)), ..self }
    }
}

impl Client {
    /// Asks for a list and shows it. Its JSON is the body of the API's answer, with the items of all pages in one.
    pub(super) fn list(
        &self,
        path: &str,
        query: &[(&str, String)],
        paging: &Paging,
        view: &View,
    ) -> Result<(), ClientError> {
        let mut all = Vec::new();
        let mut first = true;
        let mut left_off = None;
        self.each_page(path, query, paging.limit, paging.cursor.as_deref(), |items, next| {
            left_off = next;
            if !self.out.streams() {
                all.extend(items);
                return Ok(());
            }
            let begins = std::mem::take(&mut first);
            self.out.rows(&items, view, begins, |_, id| id.to_owned())
        })?;
        if self.out.is_for_people() {
            self.out.rows(&all, view, true, |kind, id| self.name_of(kind, id))?;
            if left_off.is_some() {
                self.out.remark(&format!("these are the first {}; there are more: see --limit", all.len()));
            }
            Ok(())
        } else if self.out.streams() {
            Ok(())
        } else {
            self.out.json(&json!({ "items": all, "next_cursor": left_off }))
        }
    }

    /// Asks for a list that has no pages and shows it.
    pub(super) fn list_whole(&self, path: &str, view: &View) -> Result<(), ClientError> {
        let body = self.api.send(&Ask::get(path))?.json()?;
        if !self.out.streams() && !self.out.is_for_people() {
            return self.out.json(&body);
        }
        let items = at(&body, "items").as_array().map_or(&[][..], Vec::as_slice);
        self.out.rows(items, view, true, |kind, id| self.name_of(kind, id))
    }

    /// Hands over the items of a list page by page, with the cursor of what follows, up to `most` items.
    pub(super) fn each_page(
        &self,
        path: &str,
        query: &[(&str, String)],
        most: Option<u32>,
        cursor: Option<&str>,
        mut page: impl FnMut(Vec<Value>, Option<String>) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let mut left = most;
        let mut cursor = cursor.map(str::to_owned);
        loop {
            let mut query = query.to_vec();
            query.push(("limit", left.map_or(PAGE, |left| left.min(PAGE)).to_string()));
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let mut body = self.api.send(&Ask::get(path).query(&query))?.json()?;
            let Some(Value::Array(items)) = body.get_mut("items").map(Value::take) else {
                return Err(ClientError::new(exit::FAILED, "the answer of the API is no list"));
            };
            let next = at(&body, "next_cursor").as_str().map(str::to_owned);
            left = left.map(|left| left.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX)));
            page(items, next.clone())?;
            cursor = next;
            if cursor.is_none() || left == Some(0) {
                return Ok(());
            }
        }
    }
}
