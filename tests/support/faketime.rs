//! Another time of day for a program: libfaketime, which takes the place of the calls that ask the kernel for it.
//!
//! A time namespace does not do it: it shifts the counts since boot, not the time of day.

use std::path::PathBuf;

/// The environment that makes a program see the time of day `seconds` later; timers and the count since boot stay right.
pub(crate) fn shifted(seconds: i64) -> [(&'static str, String); 3] {
    [
        ("LD_PRELOAD", library().display().to_string()),
        ("FAKETIME", format!("{seconds:+}")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// Where Debian's package `faketime` has it.
///
/// # Panics
/// When it is missing: a missing tool is a failure, not a skip.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let file = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1")).find(|file| file.exists());
    file.expect("libfaketime is missing: sh deploy/dev/setup.sh test")
}
