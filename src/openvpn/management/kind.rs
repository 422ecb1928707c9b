//! The kind of a client, by what it says about itself: in a few words of ours, never in its own, so
//! that it can be counted.

use serde::{Deserialize, Serialize};

/// The operating system of a client (`IV_PLAT`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Windows.
    Win,
    /// macOS.
    Mac,
    /// Linux.
    Linux,
    /// iOS.
    Ios,
    /// Android.
    Android,
    /// Another one, or not told.
    #[default]
    #[serde(other)]
    Other,
}

impl Platform {
    fn of(iv_plat: &str) -> Self {
        match iv_plat {
            "win" => Self::Win,
            "mac" => Self::Mac,
            "linux" => Self::Linux,
            "ios" => Self::Ios,
            "android" => Self::Android,
            _ => Self::Other,
        }
    }

    /// The word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Win => "win",
            Self::Mac => "mac",
            Self::Linux => "linux",
            Self::Ios => "ios",
            Self::Android => "android",
            Self::Other => "other",
        }
    }
}

/// The client program, and the generation of its engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    /// OpenVPN 2, by itself or with the window of Windows.
    Openvpn2,
    /// OpenVPN Connect 3.
    Connect3,
    /// OpenVPN 3 without that app, as on Linux.
    Openvpn3,
    /// Tunnelblick.
    Tunnelblick,
    /// Viscosity.
    Viscosity,
    /// Another one, or not told.
    #[default]
    #[serde(other)]
    Other,
}

impl Program {
    /// From `IV_GUI_VER`, or where no program calls itself anything, from `IV_VER`, the version of the engine.
    fn of(iv_gui_ver: &str, iv_ver: &str) -> Self {
        let gui = iv_gui_ver.to_ascii_lowercase();
        let begins = |names: &[&str]| names.iter().any(|name| gui.starts_with(name));
        match () {
            () if begins(&["net.openvpn.connect", "ocmacos", "ocwindows", "oc30"]) => Self::Connect3,
            () if begins(&["openvpn3/", "openvpn3_"]) => Self::Openvpn3,
            () if begins(&["openvpn gui", "openvpn_gui"]) => Self::Openvpn2,
            () if begins(&["net.tunnelblick", "tunnelblick"]) => Self::Tunnelblick,
            () if begins(&["viscosity", "com.viscosityvpn"]) => Self::Viscosity,
            () if !gui.is_empty() => Self::Other,
            () if iv_ver.starts_with("2.") => Self::Openvpn2,
            () if iv_ver.starts_with("3.") => Self::Openvpn3,
            () => Self::Other,
        }
    }

    /// The word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Openvpn2 => "openvpn2",
            Self::Connect3 => "connect3",
            Self::Openvpn3 => "openvpn3",
            Self::Tunnelblick => "tunnelblick",
            Self::Viscosity => "viscosity",
            Self::Other => "other",
        }
    }
}

/// The kind of a client. By default it is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientKind {
    /// Its operating system.
    pub platform: Platform,
    /// Its program.
    pub program: Program,
}

impl ClientKind {
    pub(super) fn of(iv_plat: &str, iv_gui_ver: &str, iv_ver: &str) -> Self {
        Self { platform: Platform::of(iv_plat), program: Program::of(iv_gui_ver, iv_ver) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_what_they_call_themselves() {
        for (gui, engine, expected) in [
            ("", "2.6.14", Program::Openvpn2),
            ("OpenVPN_GUI_11.51.0.0", "2.6.12", Program::Openvpn2),
            ("OCWindows_3.4.4-3412", "3.9", Program::Connect3),
            ("net.openvpn.connect.ios_3.5.1-6224", "3.10", Program::Connect3),
            ("net.openvpn.connect.android_3.6.0-10081", "3.10.5", Program::Connect3),
            ("OpenVPN3/Linux/v24", "3.11.7", Program::Openvpn3),
            ("", "3.11.7", Program::Openvpn3),
            ("net.tunnelblick.tunnelblick_6280_8.0", "2.6.14", Program::Tunnelblick),
            ("Viscosity_1.11.5", "2.6.14", Program::Viscosity),
            ("ana@example.com", "2.6.14", Program::Other),
            ("", "", Program::Other),
        ] {
            assert_eq!(Program::of(gui, engine), expected, "{gui:?} {engine:?}");
        }
    }

    #[test]
    fn a_platform_that_is_made_up_is_another_one() {
        assert_eq!(Platform::of("android"), Platform::Android);
        assert_eq!(Platform::of("<b>"), Platform::Other);
    }

    #[test]
    fn a_kind_of_a_later_release_is_another_one() {
        let read: ClientKind = serde_json::from_str(r#"{"platform": "mac", "program": "openvpn9"}"#).unwrap();
        assert_eq!(read, ClientKind { platform: Platform::Mac, program: Program::Other });
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"{"platform":"mac","program":"other"}"#);
    }
}
