//! Bodies of requests, made of what was given.

use serde_json::{Map, Value};

use super::error::ClientError;

/// The fields of a body.
#[derive(Debug, Default)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    /// Sets a field, if there is a value.
    pub(super) fn set(mut self, field: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.0.insert(field.to_owned(), value.into());
        }
        self
    }

    /// Removes what a field holds, if that was asked for.
    pub(super) fn clear(mut self, field: &str, asked: bool) -> Self {
        if asked {
            self.0.insert(field.to_owned(), Value::Null);
        }
        self
    }

    /// The body of a new object.
    pub(super) fn new_object(self) -> Value {
        self.0.into()
    }

    /// The body of a change, which must have something to change.
    pub(super) fn change(self) -> Result<Value, ClientError> {
        if self.0.is_empty() {
            return Err(ClientError::usage("nothing to change was given; --help lists what can be"));
        }
        Ok(self.0.into())
    }

    /// Whether nothing was given.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A list, if anything is in it.
pub(super) fn given<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// A list after some were added and some removed; `None` if that changes nothing that was asked for.
pub(super) fn edited(before: &Value, add: Vec<Value>, remove: &[Value]) -> Option<Vec<Value>> {
    if add.is_empty() && remove.is_empty() {
        return None;
    }
    let mut after: Vec<Value> = before.as_array().cloned().unwrap_or_default();
    after.retain(|item| !remove.contains(item) && !add.contains(item));
    after.extend(add);
    Some(after)
}
