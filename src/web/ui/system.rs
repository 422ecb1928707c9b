//! The systems that people connect with.

use serde::Deserialize;

/// An operating system, or a way to connect on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum System {
    /// Microsoft Windows.
    Windows,
    /// Apple macOS.
    Macos,
    /// Linux with the client of OpenVPN 3.
    Linux,
    /// Linux with what the desktop brings.
    NetworkManager,
    /// iPhone and iPad.
    Ios,
    /// Android.
    Android,
    /// Chromebooks.
    Chromeos,
}
