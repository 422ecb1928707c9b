//! What says that a form was made for the sign-in that sends it (SEC-CSRF-01).

use askama::Template;
use askama::filters::HtmlSafe;

/// The field with the token of the sign-in that a form was made for, which every form has.
#[derive(Template)]
#[template(path = "ui/token.html")]
pub(crate) struct Token<'a> {
    pub(crate) token: &'a str,
}

impl HtmlSafe for Token<'_> {}
