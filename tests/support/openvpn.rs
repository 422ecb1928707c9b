//! The OpenVPN programs of the tests: the one of this machine, and those of other Debian releases, which
//! `deploy/dev/setup.sh test` unpacks under `.tools/`.

use std::fmt;
use std::path::PathBuf;

/// A generation of OpenVPN, as daemon or as client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenVpn {
    /// 2.5, a client that many still have. As a daemon it is too old for Postern.
    V25,
    /// What this machine has installed.
    Installed,
    /// 2.7.
    V27,
}

impl OpenVpn {
    /// Where it is.
    ///
    /// # Panics
    /// When it is not there: what it would have shown must not go unseen.
    pub(crate) fn program(self) -> PathBuf {
        let tools = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools");
        let program = match self {
            Self::V25 => tools.join("openvpn-2.5/openvpn"),
            Self::Installed => PathBuf::from("/usr/sbin/openvpn"),
            Self::V27 => tools.join("openvpn-2.7/openvpn"),
        };
        assert!(program.exists(), "{} is missing: run `deploy/dev/setup.sh test`", program.display());
        program
    }
}

impl fmt::Display for OpenVpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V25 => "OpenVPN 2.5",
            Self::Installed => "the installed OpenVPN",
            Self::V27 => "OpenVPN 2.7",
        })
    }
}
