//! What whoever changes Postern waits for: a fresh clone's first start, and one page's test after an edit.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::report::{Figure, Row, Unit};

pub(crate) const METHOD: &str = "Edit: one line of the template of the page of an organization is changed and the tests of \
    pages are run (`cargo test --test it pages::`), until they have passed; then the line is put back, and they are run \
    again. Clone: `cargo build` as `make run` calls it, into an empty folder, with all crates downloaded. Program: the \
    file that `make release` leaves, if it was run.";

/// The page that is edited.
const PAGE: &str = "templates/admin/organization.html";

pub(crate) fn measure() -> Vec<Row> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    test_page(root);
    let page = root.join(PAGE);
    let before = std::fs::read_to_string(&page).unwrap();
    let edits = [format!("{before}<!-- edited -->\n"), before].map(|text| {
        std::fs::write(&page, text).unwrap();
        test_page(root)
    });
    let folder = tempfile::tempdir().unwrap();
    let clone = run(root, &["build", "--locked", "--bin", "postern", "--target-dir", folder.path().to_str().unwrap()]);
    let mut rows = vec![
        Row::times("build: edit of a page until its test has run", edits).target(Figure::Median, 60.0),
        Row::times("build: program of `make run` in a fresh clone", [clone]).target(Figure::Median, 360.0),
    ];
    if let Ok(program) = std::fs::metadata(root.join("target/dist/postern")) {
        #[expect(clippy::cast_precision_loss, reason = "a file of less than 2^52 bytes")]
        let size = program.len() as f64 / f64::from(1 << 20);
        rows.push(Row::single("build: program of `make release`", Unit::Memory, size).target(Figure::Most, 40.0));
    }
    rows
}

fn test_page(root: &Path) -> Duration {
    run(root, &["test", "--locked", "--test", "it", "pages::"])
}

fn run(root: &Path, arguments: &[&str]) -> Duration {
    let from = Instant::now();
    let done = Command::new(env!("CARGO")).args(arguments).current_dir(root).env_remove("RUSTFLAGS").output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    from.elapsed()
}
