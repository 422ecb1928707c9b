//! Stylesheet, script and mark: in the binary, under a path that changes with their content, so that browsers may keep
//! them for ever. A host of another version still answers for its own pages' paths and, so that a rolling upgrade
//! breaks no page, gives what it has for those of others.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::http::problem::{Code, Problem};

struct Asset {
    file: &'static str,
    mime: &'static str,
    text: &'static str,
    hash: String,
    path: String,
}

impl Asset {
    fn new(file: &'static str, mime: &'static str, text: &'static str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let hash = HEXLOWER.encode(digest.get(..8).unwrap_or_default());
        Self { file, mime, text, path: format!("/assets/{hash}/{file}"), hash }
    }
}

static STYLESHEET: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("postern.css", "text/css; charset=utf-8", include_str!("../../../assets/postern.css")));
static CONSOLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("console.css", "text/css; charset=utf-8", include_str!("../../../assets/console.css")));
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("postern.js", "text/javascript; charset=utf-8", include_str!("../../../assets/postern.js"))
});
static MARK: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("mark.svg", "image/svg+xml", include_str!("../../../assets/mark.svg")));

/// The path of the stylesheet.
pub(crate) fn stylesheet() -> &'static str {
    &STYLESHEET.path
}

/// The path of what the console adds to it.
pub(crate) fn console_stylesheet() -> &'static str {
    &CONSOLE.path
}

/// The path of the script.
pub(crate) fn script() -> &'static str {
    &SCRIPT.path
}

/// The path of the mark.
pub(crate) fn mark() -> &'static str {
    &MARK.path
}

pub(crate) async fn asset(Path((hash, file)): Path<(String, String)>) -> Response {
    let all = [&*STYLESHEET, &*CONSOLE, &*SCRIPT, &*MARK];
    let Some(asset) = all.into_iter().find(|asset| asset.file == file) else {
        return Problem::new(Code::NoSuchPath, "there is no such file").into_response();
    };
    let keep = if asset.hash == hash { "public, max-age=31536000, immutable" } else { "no-cache" };
    ([(header::CONTENT_TYPE, asset.mime), (header::CACHE_CONTROL, keep)], asset.text).into_response()
}
