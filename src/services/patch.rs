//! Changes to a noun: what became of it, and whether it is still what the asker last saw.

use serde::Serialize;

use crate::ServiceError;
use domain::{Revised, Revision};

/// What became of a noun: each field that differs, as `[before, after]`. One of the two sides may be absent.
pub(crate) fn difference<T: Serialize>(before: Option<&T>, after: Option<&T>) -> serde_json::Value {
    let fields = |side: Option<&T>| match side.map(serde_json::to_value) {
        Some(Ok(serde_json::Value::Object(fields))) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, mut after) = (fields(before), fields(after));
    let mut changes = serde_json::Map::new();
    for (field, old) in before {
        let new = after.remove(&field).unwrap_or_default();
        if old != new {
            changes.insert(field, serde_json::json!([old, new]));
        }
    }
    changes.extend(after.into_iter().map(|(field, new)| (field, serde_json::json!([null, new]))));
    changes.into()
}

/// Refuses a change to something that is not what the asker last saw.
pub(crate) fn check_revision<T>(found: &Revised<T>, expected: Option<Revision>) -> Result<(), ServiceError> {
    match expected {
        Some(expected) if expected != found.rev => Err(ServiceError::Stale { current: found.rev }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_recorded() {
        let before = json!({"name": "a", "groups": ["x"], "disabled": false});
        let after = json!({"name": "a", "groups": ["x"], "disabled": true});
        assert_eq!(difference(Some(&before), Some(&after)), json!({"disabled": [false, true]}));
        assert_eq!(difference(None, Some(&json!({"name": "a"}))), json!({"name": [null, "a"]}));
        assert_eq!(difference(Some(&json!({"name": "a"})), None), json!({"name": ["a", null]}));
    }
}
