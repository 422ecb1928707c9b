//! A noun declared once: what it is, how it is made, how it is changed, and how it is kept.
//!
//! [`entity!`](crate::entity) takes one row for each field and makes four types of them: the noun, which is also the
//! object of the API; the new one that a request describes; the patch (RFC 7396) that changes one; and the stored form.
//! The rows stand in groups, in the order in which the fields are written:
//!
//! - `required`: a new one must have it.
//! - `defaulted`: a new one may lack it; the text after `=` is the path of the function that answers then.
//! - `optional`: it may be absent, and a patch removes it with `null`. Fields younger than the first release belong here, or
//!   say what an older document means.
//!
//! Two groups more may follow:
//!
//! - `removable`: an act of its own sets it, so a new one has none, and a patch removes it with `null`.
//! - `derived`: it follows from the others and stands in the stored form alone, for queries.
//!
//! `patch` is what the documentation says of the field in a patch. `since` names the release that a younger field came
//! with: documents of the releases before have no such field, which is read as absent, or as the function after `meaning`
//! answers. `as` and `example` stand for a type that has no schema of its own.

/// Declares a noun; see the [module](self).
macro_rules! entity {
    (
        $(#[$about:meta])* noun $noun:ident($id:ty);
        $(#[$about_new:meta])* new $new:ident;
        $(#[$about_patch:meta])* patch $patch:ident;
        $(#[$about_stored:meta])* stored $stored:ident;
        required {$(
            $(#[$required_about:meta])*
            $required:ident: $required_type:ty, patch $required_patch:literal;
        )*}
        defaulted {$(
            $(#[$defaulted_about:meta])*
            $defaulted:ident: $defaulted_type:ty = $default:literal
                $(, as $shown:ty, example $example:tt)?
                $(, since $defaulted_since:literal meaning $older:literal)?, patch $defaulted_patch:literal;
        )*}
        optional {$(
            $(#[$optional_about:meta])*
            $optional:ident: $optional_type:ty $(, since $since:literal)?, patch $optional_patch:literal;
        )*}
        $(removable {$(
            $(#[$removable_about:meta])*
            $removable:ident: $removable_type:ty, patch $removable_patch:literal;
        )*})?
        $(derived |$of:ident| {$(
            $(#[$derived_about:meta])*
            $derived:ident: $derived_type:ty = $derive:expr;
        )*})?
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        pub struct $noun {
            /// Its id.
            pub id: $id,
            $($(#[$required_about])* pub $required: $required_type,)*
            $(
                $(#[$defaulted_about])*
                $(#[schema(value_type = $shown, example = json!($example))])?
                $(#[doc = concat!("Since ", $defaulted_since, ".")] #[serde(default = $older)])?
                pub $defaulted: $defaulted_type,
            )*
            $($(#[$optional_about])* pub $optional: Option<$optional_type>,)*
            $($($(#[$removable_about])* pub $removable: Option<$removable_type>,)*)?
        }

        $(#[$about_new])*
        #[derive(Debug, Clone, serde::Deserialize, utoipa::ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $new {
            $($(#[$required_about])* pub $required: $required_type,)*
            $(
                $(#[$defaulted_about])*
                #[serde(default = $default)]
                $(#[schema(value_type = $shown, example = json!($example))])?
                pub $defaulted: $defaulted_type,
            )*
            $($(#[$optional_about])* pub $optional: Option<$optional_type>,)*
        }

        $(#[$about_patch])*
        #[derive(Debug, Clone, Default, serde::Deserialize, utoipa::ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $patch {
            $(
                #[doc = $required_patch]
                #[serde(default, deserialize_with = "crate::patch::given")]
                #[schema(nullable = false)]
                pub $required: Option<$required_type>,
            )*
            $(
                #[doc = $defaulted_patch]
                #[serde(default, deserialize_with = "crate::patch::given")]
                #[schema(nullable = false $(, value_type = Option<$shown>, example = json!($example))?)]
                pub $defaulted: Option<$defaulted_type>,
            )*
            $(
                #[doc = $optional_patch]
                #[serde(default)]
                #[schema(value_type = Option<$optional_type>)]
                pub $optional: crate::patch::Removable<$optional_type>,
            )*
            $($(
                #[doc = $removable_patch]
                #[serde(default)]
                #[schema(value_type = Option<String>)]
                pub $removable: crate::patch::Removable<crate::patch::Never>,
            )*)?
        }

        $(#[$about_stored])*
        #[derive(serde::Serialize, serde::Deserialize)]
        pub struct $stored {
            #[serde(rename = "_id")]
            id: $id,
            rev: i64,
            $($required: $required_type,)*
            $($(#[serde(default = $older)])? $defaulted: $defaulted_type,)*
            $(
                $(#[doc = concat!("Since ", $since, "; absent before that.")])?
                #[serde(default, skip_serializing_if = "Option::is_none")]
                $optional: Option<$optional_type>,
            )*
            $($(
                #[serde(default, skip_serializing_if = "Option::is_none")]
                $removable: Option<$removable_type>,
            )*)?
            $($(
                $(#[$derived_about])*
                #[serde(default)]
                $derived: $derived_type,
            )*)?
        }

        impl $noun {
            /// The noun that a request describes, under the id that it gets.
            pub fn new(id: $id, new: $new) -> Self {
                let $new { $($required,)* $($defaulted,)* $($optional,)* } = new;
                Self { id, $($required,)* $($defaulted,)* $($optional,)* $($($removable: None,)*)? }
            }

            /// The same after a change; what the patch does not name stays.
            #[must_use]
            pub fn with(&self, patch: &$patch) -> Self {
                Self {
                    id: self.id,
                    $($required: patch.$required.as_ref().unwrap_or(&self.$required).clone(),)*
                    $($defaulted: patch.$defaulted.as_ref().unwrap_or(&self.$defaulted).clone(),)*
                    $($optional: patch.$optional.over(self.$optional.as_ref()),)*
                    $($($removable: patch.$removable.unless_removed(self.$removable.as_ref()),)*)?
                }
            }
        }

        impl From<$new> for $patch {
            /// The change that leaves nothing as it was.
            fn from(new: $new) -> Self {
                Self {
                    $($required: Some(new.$required),)*
                    $($defaulted: Some(new.$defaulted),)*
                    $($optional: new.$optional.into(),)*
                    $($($removable: crate::patch::Removable::Kept,)*)?
                }
            }
        }

        impl $stored {
            /// The stored form of a noun at a revision.
            pub fn of(noun: &$noun, rev: crate::Revision) -> Self {
                $(let $of = noun; $(let $derived = $derive;)*)?
                let $noun { id, $($required,)* $($defaulted,)* $($optional,)* $($($removable,)*)? } = noun.clone();
                Self {
                    id,
                    rev: rev.0,
                    $($required,)*
                    $($defaulted,)*
                    $($optional,)*
                    $($($removable,)*)?
                    $($($derived,)*)?
                }
            }
        }

        impl From<$stored> for crate::Revised<$noun> {
            fn from(stored: $stored) -> Self {
                let $stored { id, rev, $($required,)* $($defaulted,)* $($optional,)* $($($removable,)*)? .. } = stored;
                let value = $noun { id, $($required,)* $($defaulted,)* $($optional,)* $($($removable,)*)? };
                Self { rev: crate::Revision(rev), value }
            }
        }
    };
}
pub(crate) use entity;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::ids::{Id, ServerId};
    use crate::patch::Removable;
    use crate::{Revised, Revision};

    entity! {
        /// A noun of each kind of field.
        noun Thing(ServerId);
        /// A new one.
        new NewThing;
        /// A change.
        patch ThingPatch;
        /// As it is kept.
        stored StoredThing;
        required {
            /// A name.
            name: String, patch "The new name.";
        }
        defaulted {
            /// A list.
            list: Vec<u8> = "Vec::new", patch "The new list.";
            /// A number that came later.
            late: u8 = "three", since "0.2" meaning "seven", patch "The new number.";
        }
        optional {
            /// A number that may be absent.
            number: u8, since "0.3", patch "The new number; `null` removes it.";
        }
        removable {
            /// A link that an act of its own makes.
            link: String, patch "`null` removes it.";
        }
        derived |thing| {
            /// The name as it is searched for.
            folded: String = thing.name.to_lowercase();
        }
    }

    fn three() -> u8 {
        3
    }

    fn seven() -> u8 {
        7
    }

    fn thing() -> Thing {
        let new: NewThing = serde_json::from_value(json!({ "name": "a" })).unwrap();
        Thing::new(ServerId::from_parts(jiff::Timestamp::UNIX_EPOCH, 1), new)
    }

    #[test]
    fn what_a_request_leaves_out_has_its_default() {
        let Thing { name, list, late, number, link, .. } = thing();
        assert_eq!((name.as_str(), list, late, number, link), ("a", Vec::new(), 3, None, None));
        assert!(serde_json::from_value::<NewThing>(json!({})).is_err(), "the name is required");
        assert!(serde_json::from_value::<NewThing>(json!({ "name": "a", "other": 1 })).is_err());
        assert!(serde_json::from_value::<NewThing>(json!({ "name": "a", "link": "b" })).is_err());
    }

    #[test]
    fn a_patch_changes_what_it_names() {
        let patched = |patch| thing().with(&serde_json::from_value(patch).unwrap());
        assert_eq!(patched(json!({})), thing());
        assert_eq!(patched(json!({ "list": [1], "number": 5 })), Thing { list: vec![1], number: Some(5), ..thing() });
        let five = Thing { number: Some(5), ..thing() };
        assert_eq!(five.with(&ThingPatch::default()), five);
        assert_eq!(five.with(&ThingPatch { number: Removable::Removed, ..ThingPatch::default() }), thing());
        assert!(serde_json::from_value::<ThingPatch>(json!({ "name": null })).is_err(), "it cannot be removed");
        let whole = NewThing { name: "b".to_owned(), list: vec![2], late: 4, number: None };
        assert_eq!(five.with(&whole.clone().into()), Thing::new(five.id, whole));
    }

    #[test]
    fn a_patch_only_removes_what_an_act_of_its_own_sets() {
        let linked = Thing { link: Some("b".to_owned()), ..thing() };
        let patch: ThingPatch = serde_json::from_value(json!({ "link": null })).unwrap();
        assert_eq!((linked.with(&patch), linked.with(&ThingPatch::default())), (thing(), linked.clone()));
        assert!(serde_json::from_value::<ThingPatch>(json!({ "link": "c" })).is_err());
        let whole = NewThing { name: "a".to_owned(), list: Vec::new(), late: 3, number: None };
        assert_eq!(linked.with(&whole.into()), linked);
    }

    #[test]
    fn what_follows_from_other_fields_is_kept_for_queries() {
        let named = Thing { name: "Ä b".to_owned(), ..thing() };
        let written = serde_json::to_value(StoredThing::of(&named, Revision(1))).unwrap();
        assert_eq!(written["folded"], "ä b");
        let read = Revised::from(serde_json::from_value::<StoredThing>(written).unwrap());
        assert_eq!(read.value, named);
    }

    #[test]
    fn documents_of_older_releases_are_read() {
        let found = Thing { late: 7, ..thing() };
        let old = json!({ "_id": found.id, "rev": 4, "name": "a", "list": [], "folded": "a" });
        let read = Revised::from(serde_json::from_value::<StoredThing>(old.clone()).unwrap());
        assert_eq!((read.rev, &read.value), (Revision(4), &found));
        let mut written = serde_json::to_value(StoredThing::of(&found, Revision(4))).unwrap();
        assert_eq!(written.as_object_mut().unwrap().remove("late"), Some(json!(7)));
        assert_eq!(written, old, "what is absent is not written");
        let object = json!({ "id": found.id, "name": "a", "list": [] });
        assert_eq!(serde_json::from_value::<Thing>(object).unwrap(), found);
    }
}
