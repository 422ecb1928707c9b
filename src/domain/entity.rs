//! A noun declared once: what it is, how it is made, how it is changed, and how it is kept.
//!
//! [`entity!`](crate::entity) takes one row for each field and makes four types of them: the noun, which is also the object
//! of the API; the new one that a request describes; the patch (RFC 7396) that changes one; and the stored form. The rows
//! stand in three groups, in the order in which the fields are written:
//!
//! - `required`: whoever makes one must say it.
//! - `defaulted`: whoever makes one may leave it out; the text after `=` is the path of the function that answers then.
//! - `optional`: it may be absent, and a patch removes it with `null`. Fields younger than the first release belong here, or
//!   say what an older document means.
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
            $optional:ident: $optional_type:ty, since $since:literal, patch $optional_patch:literal;
        )*}
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
                #[doc = concat!("Since ", $since, "; absent before that.")]
                #[serde(default, skip_serializing_if = "Option::is_none")]
                $optional: Option<$optional_type>,
            )*
        }

        impl $noun {
            /// The noun that a request describes, under the id that it gets.
            pub fn new(id: $id, new: $new) -> Self {
                let $new { $($required,)* $($defaulted,)* $($optional,)* } = new;
                Self { id, $($required,)* $($defaulted,)* $($optional,)* }
            }

            /// The same after a change; what the patch does not name stays.
            #[must_use]
            pub fn with(&self, patch: &$patch) -> Self {
                Self {
                    id: self.id,
                    $($required: patch.$required.as_ref().unwrap_or(&self.$required).clone(),)*
                    $($defaulted: patch.$defaulted.as_ref().unwrap_or(&self.$defaulted).clone(),)*
                    $($optional: patch.$optional.over(self.$optional.as_ref()),)*
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
                }
            }
        }

        impl $stored {
            /// The stored form of a noun at a revision.
            pub fn of(noun: &$noun, rev: crate::Revision) -> Self {
                let $noun { id, $($required,)* $($defaulted,)* $($optional,)* } = noun.clone();
                Self { id, rev: rev.0, $($required,)* $($defaulted,)* $($optional,)* }
            }
        }

        impl From<$stored> for crate::Revised<$noun> {
            fn from(stored: $stored) -> Self {
                let $stored { id, rev, $($required,)* $($defaulted,)* $($optional,)* } = stored;
                Self { rev: crate::Revision(rev), value: $noun { id, $($required,)* $($defaulted,)* $($optional,)* } }
            }
        }
    };
}
pub(crate) use entity;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        Revised, Revision,
        ids::{Id, ServerId},
        patch::Removable,
    };

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
        let Thing { name, list, late, number, .. } = thing();
        assert_eq!((name.as_str(), list, late, number), ("a", Vec::new(), 3, None));
        assert!(serde_json::from_value::<NewThing>(json!({})).is_err(), "the name is required");
        assert!(serde_json::from_value::<NewThing>(json!({ "name": "a", "other": 1 })).is_err());
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
    fn documents_of_older_releases_are_read() {
        let found = Thing { late: 7, ..thing() };
        let old = json!({ "_id": found.id, "rev": 4, "name": "a", "list": [] });
        let read = Revised::from(serde_json::from_value::<StoredThing>(old.clone()).unwrap());
        assert_eq!((read.rev, &read.value), (Revision(4), &found));
        let mut written = serde_json::to_value(StoredThing::of(&found, Revision(4))).unwrap();
        assert_eq!(written.as_object_mut().unwrap().remove("late"), Some(json!(7)));
        assert_eq!(written, old, "what is absent is not written");
        let object = json!({ "id": found.id, "name": "a", "list": [] });
        assert_eq!(serde_json::from_value::<Thing>(object).unwrap(), found);
    }
}
