//! A field of a form: what it is called, how it is drawn, and what can be chosen in it.

use std::collections::BTreeSet;

/// How a field is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Widget {
    /// A line of text.
    Text,
    /// A line of text that nobody is shown.
    Password,
    /// Several lines, so many of them in sight.
    Area(u8),
    /// One choice out of a list.
    Select,
    /// Choices that are all in sight, and any of which can be ticked.
    Boxes,
    /// Choices that are all in sight, and one of which can be ticked.
    Radios,
    /// A box that is ticked or not.
    Tick,
}

/// A row of a form's table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// What it is called in what is sent; the id of the field on the page.
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    /// What it is called where it is compared.
    pub(crate) short: &'static str,
    /// What begins a sentence about it: "The name".
    pub(crate) subject: &'static str,
    /// What is said if it is empty, where that is another sentence than what reading it says.
    pub(crate) missing: &'static str,
    /// HTML of our own.
    pub(crate) hint: &'static str,
    pub(crate) is_hint_below: bool,
    pub(crate) widget: Widget,
    /// More attributes of the element, as HTML.
    pub(crate) attributes: &'static str,
    /// What stands in it before anything is known.
    pub(crate) initial: &'static str,
    /// Whether it stands beside the field before it.
    pub(crate) is_beside: bool,
    /// The part of the page that it stands in.
    pub(crate) part: &'static str,
    /// Whether it holds several things of which the order says nothing.
    pub(crate) is_set: bool,
}

/// Words of a field, each set by a method.
macro_rules! setters {
    ($($(#[$doc:meta])* $setter:ident($field:ident);)*) => {$(
        $(#[$doc])*
        pub(crate) const fn $setter(self, $field: &'static str) -> Self {
            Self { $field, ..self }
        }
    )*};
}

impl Field {
    const fn new(widget: Widget, label: &'static str) -> Self {
        Self {
            name: "",
            label,
            short: label,
            subject: label,
            missing: "",
            hint: "",
            is_hint_below: false,
            widget,
            attributes: "",
            initial: "",
            is_beside: false,
            part: "",
            is_set: false,
        }
    }

    /// A line of text.
    pub(crate) const fn text(label: &'static str) -> Self {
        Self::new(Widget::Text, label).with(r#"autocomplete="off""#)
    }

    /// The name of something, which it must have.
    pub(crate) const fn name(label: &'static str) -> Self {
        Self::text(label).subject("The name").with(r#"required maxlength="200" autocomplete="off""#)
    }

    /// A number that must be there.
    pub(crate) const fn number(label: &'static str) -> Self {
        Self::text(label).with(r#"inputmode="numeric" required autocomplete="off""#)
    }

    /// A line of text that nobody is shown.
    pub(crate) const fn password(label: &'static str) -> Self {
        Self { widget: Widget::Password, ..Self::text(label) }
    }

    /// Several lines of text.
    pub(crate) const fn area(label: &'static str, rows: u8) -> Self {
        Self::new(Widget::Area(rows), label).with(r#"autocomplete="off" spellcheck="false""#)
    }

    /// One choice out of a list.
    pub(crate) const fn select(label: &'static str) -> Self {
        Self::new(Widget::Select, label)
    }

    /// Boxes, any of which can be ticked.
    pub(crate) const fn boxes(label: &'static str) -> Self {
        Self::new(Widget::Boxes, label)
    }

    /// Choices that are all in sight.
    pub(crate) const fn radios(label: &'static str) -> Self {
        Self::new(Widget::Radios, label).with("required")
    }

    /// A box that is ticked or not.
    pub(crate) const fn tick(label: &'static str) -> Self {
        Self::new(Widget::Tick, label)
    }

    setters! {
        /// What it is called in what is sent.
        named(name);
        /// What it is called where it is compared.
        short(short);
        /// What begins a sentence about it.
        subject(subject);
        /// What is said if it is empty.
        missing(missing);
        /// What helps to fill it in, as HTML.
        hint(hint);
        /// Other attributes of the element, as HTML.
        with(attributes);
        /// What stands in it before anything is known.
        initial(initial);
        /// The part of the page that it stands in.
        part(part);
    }

    /// It holds several things, and their order says nothing.
    pub(crate) const fn any_order(self) -> Self {
        Self { is_set: true, ..self }
    }

    /// What it holds, in the form in which two versions are compared.
    pub(crate) fn compared(&self, told: String) -> String {
        if !self.is_set {
            return told;
        }
        let parts: BTreeSet<_> = told.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty()).collect();
        parts.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// What helps to fill it in, under the field.
    pub(crate) const fn hint_below(self, hint: &'static str) -> Self {
        Self { hint, is_hint_below: true, ..self }
    }

    /// It stands beside the field before it.
    pub(crate) const fn beside(self) -> Self {
        Self { is_beside: true, ..self }
    }
}

/// Something to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) value: String,
    pub(crate) label: String,
    /// More about it.
    pub(crate) about: &'static str,
}

impl Choice {
    /// Something to choose, which is called `label`.
    #[expect(clippy::needless_pass_by_value, reason = "ids and words come by value, names by reference")]
    pub(crate) fn new(value: impl ToString, label: impl ToString) -> Self {
        Self { value: value.to_string(), label: label.to_string(), about: "" }
    }

    /// The same with more about it.
    pub(crate) fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// A choice for each of these.
    pub(crate) fn all<V: ToString, L: ToString>(of: impl IntoIterator<Item = (V, L)>) -> Vec<Self> {
        of.into_iter().map(|(value, label)| Self::new(value, label)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_set_is_no_difference() {
        let same =
            |field: Field, one: &str, other: &str| field.compared(one.to_owned()) == field.compared(other.to_owned());
        let groups = Field::area("Groups", 3).any_order();
        assert!(same(groups, "ops\ndev\n", "dev, ops") && !same(groups, "ops", "dev, ops"));
        assert!(!same(Field::area("Routes", 3), "b\na", "a\nb"));
    }
}
