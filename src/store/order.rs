//! In which order a list comes, and where in that order a page begins.
//!
//! A list is ordered by one value of its rows and, among equals, by their ids, so that every row has one place, and the
//! last row of a page says where the next one begins: by its id and by its value, whatever happens to the row meanwhile.
//! There is an index for every order that is offered.

use mongodb::bson::{Bson, DateTime, Document, doc};

/// What a list can be ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderBy {
    /// When a row came into being, which its id tells.
    Created,
    /// What it is called, in any case.
    Name,
    /// The mailbox.
    Email,
    /// When it ended.
    Ended,
}

/// In which order a list comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub by: OrderBy,
    /// Whether the greatest comes first.
    pub is_descending: bool,
}

impl Order {
    /// The oldest first.
    pub const OLDEST: Self = Self { by: OrderBy::Created, is_descending: false };

    /// The newest first.
    pub const NEWEST: Self = Self { by: OrderBy::Created, is_descending: true };

    /// By name.
    pub const NAME: Self = Self { by: OrderBy::Name, is_descending: false };

    /// What ended last comes first.
    pub const ENDED: Self = Self { by: OrderBy::Ended, is_descending: true };

    /// The same with the rows that have no such value, or another one, ordered by the field of this name.
    pub(super) fn by_field(self, field: &'static str) -> FieldOrder {
        FieldOrder { field, is_descending: self.is_descending }
    }
}

/// An order by a field of the rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldOrder {
    field: &'static str,
    is_descending: bool,
}

impl FieldOrder {
    /// In the words of the database.
    pub(super) fn sort(self) -> Document {
        let direction = if self.is_descending { -1 } else { 1 };
        if self.field == "_id" {
            doc! { "_id": direction }
        } else {
            doc! { self.field: direction, "_id": direction }
        }
    }

    /// `filter`, and of that only what stands behind a place.
    pub(super) fn behind(self, filter: Document, place: Option<&String>) -> Document {
        let Some(place) = place else { return filter };
        let beyond = if self.is_descending { "$lt" } else { "$gt" };
        let (id, value) = match place.split_once(' ') {
            Some((id, value)) => (id, self.value(value)),
            None => (place.as_str(), Bson::Null),
        };
        let behind = doc! { "_id": { beyond: id } };
        if self.field == "_id" {
            return doc! { "$and": [filter, behind] };
        }
        let mut equal = doc! { self.field: &value };
        equal.extend(behind);
        // Rows without a value come before all others; a comparison with something does not find them.
        let others = match (self.is_descending, &value) {
            (true, Bson::Null) => vec![equal],
            (true, _) => vec![doc! { self.field: { "$lt": value } }, equal, doc! { self.field: Bson::Null }],
            (false, Bson::Null) => vec![equal, doc! { self.field: { "$gt": "" } }],
            (false, _) => vec![equal, doc! { self.field: { "$gt": value } }],
        };
        doc! { "$and": [filter, { "$or": others }] }
    }

    /// Where a row stands.
    pub(super) fn place(self, row: &Document) -> String {
        let id = row.get_str("_id").unwrap_or_default();
        match row.get(self.field) {
            _ if self.field == "_id" => id.to_owned(),
            Some(Bson::String(text)) => format!("{id} {text}"),
            Some(Bson::DateTime(at)) => format!("{id} {}", at.timestamp_millis()),
            _ => id.to_owned(),
        }
    }

    /// A value as [`Self::place`] wrote it.
    fn value(self, text: &str) -> Bson {
        match text.parse() {
            Ok(millis) if self.field == ENDED_AT => Bson::DateTime(DateTime::from_millis(millis)),
            _ => Bson::String(text.to_owned()),
        }
    }
}

/// The one field that holds a date.
pub(super) const ENDED_AT: &str = "ended_at";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_id_and_the_value_and_is_read_back() {
        let by_name = Order::NAME.by_field("name");
        let place = by_name.place(&doc! { "_id": "a_1", "name": "Bo van Lind" });
        assert_eq!(place, "a_1 Bo van Lind");
        let equal = doc! { "name": "Bo van Lind", "_id": { "$gt": "a_1" } };
        let greater = doc! { "name": { "$gt": "Bo van Lind" } };
        let expected = doc! { "$and": [{ "x": 1 }, { "$or": [equal, greater] }] };
        assert_eq!(by_name.behind(doc! { "x": 1 }, Some(&place)), expected);
        assert_eq!(by_name.behind(doc! { "x": 1 }, None), doc! { "x": 1 });

        let ended = Order::ENDED.by_field(ENDED_AT);
        let at = DateTime::from_millis(1_700_000_000_123);
        let place = ended.place(&doc! { "_id": "a_1", "ended_at": at });
        let behind = ended.behind(doc! {}, Some(&place)).to_string();
        assert!(behind.contains("\"$lt\": DateTime"), "{behind}");
    }

    #[test]
    fn rows_without_a_value_come_first_and_are_left_behind_once() {
        let up = Order { by: OrderBy::Email, is_descending: false }.by_field("email");
        let down = FieldOrder { is_descending: true, ..up };
        let nothing = up.place(&doc! { "_id": "a_1" });
        assert_eq!(nothing, "a_1");
        assert!(up.behind(doc! {}, Some(&nothing)).to_string().contains("\"$gt\": \"\""));
        let last = down.behind(doc! {}, Some(&nothing));
        assert_eq!(last, doc! { "$and": [{}, { "$or": [{ "email": Bson::Null, "_id": { "$lt": "a_1" } }] }] });
    }
}
