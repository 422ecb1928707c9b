//! How to connect, system by system: one table, shown on the help pages and on the ready page (UX-07).

use askama::Template;
use axum::{extract::Path, response::Response};

use crate::ui::parts::Icon;
use crate::{
    http::problem::{Code, Problem},
    ui::page::{Chrome, Visit},
};

/// An operating system, or a way to connect on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// How to connect with a system.
#[derive(Debug)]
pub(crate) struct Guide {
    /// Which one.
    pub(crate) system: System,
    /// In paths and forms.
    pub(crate) slug: &'static str,
    /// What it is called.
    pub(crate) name: &'static str,
    /// The app.
    pub(crate) client: &'static str,
    /// How to install it.
    pub(crate) install: &'static str,
    /// Where to get it, and what the link is called.
    pub(crate) link: Option<(&'static str, &'static str)>,
    /// What to type instead.
    pub(crate) command: Option<&'static str>,
    /// What to know before one begins.
    pub(crate) warning: Option<&'static str>,
    /// How to connect with the file at hand.
    pub(crate) steps: &'static [&'static str],
    /// Whether `OpenVPN` Connect, which takes import links, runs there.
    pub(crate) connect_app: bool,
    /// Whether the file is not best fetched with the device's own browser.
    pub(crate) phone: bool,
    /// What goes wrong, and what helps.
    pub(crate) trouble: &'static [(&'static str, &'static str)],
}

const NOTHING_HAPPENS: (&str, &str) = (
    "It stays at “Connecting”.",
    "The network that you are in may block VPNs. Try a phone's hotspot. If that works, tell your administrator.",
);
const REFUSED: (&str, &str) = (
    "It says that the certificate is not accepted, or “auth failed”.",
    "The profile was revoked or has expired. Sign in here: the list of your devices says which, and how to get a new one.",
);
const ROUTES: (&str, &str) = (
    "It is connected, but a page does not open.",
    "Disconnect other VPN apps and try again. If only some pages are missing, ask for access to them.",
);

/// The table.
pub(crate) const GUIDES: &[Guide] = &[
    Guide {
        system: System::Windows,
        slug: "windows",
        name: "Windows",
        client: "OpenVPN GUI",
        install: "Download the Windows 64-bit MSI installer, open it and choose “Install Now”. Version 2.6 or newer.",
        link: Some(("https://openvpn.net/community-downloads/", "OpenVPN Community downloads")),
        command: None,
        warning: None,
        steps: &[
            "Double-click the downloaded file and confirm the import.",
            "Right-click the OpenVPN icon at the right end of the taskbar; it may hide behind the arrow.",
            "Choose “Connect”. The icon turns green.",
        ],
        connect_app: true,
        phone: false,
        trouble: &[
            (
                "There is no OpenVPN icon.",
                "Start “OpenVPN GUI” from the Start menu, then look behind the arrow at the right end of the taskbar.",
            ),
            NOTHING_HAPPENS,
            REFUSED,
            ROUTES,
        ],
    },
    Guide {
        system: System::Macos,
        slug: "macos",
        name: "macOS",
        client: "Tunnelblick",
        install: "Download Tunnelblick, open the disk image and double-click the icon in it. macOS asks for your password once.",
        link: Some(("https://tunnelblick.net/downloads.html", "Tunnelblick downloads")),
        command: None,
        warning: None,
        steps: &[
            "Double-click the downloaded file and choose “Only Me”.",
            "Click the Tunnelblick icon in the menu bar.",
            "Choose “Connect” and the name of the file.",
        ],
        connect_app: true,
        phone: false,
        trouble: &[
            (
                "macOS says that the app cannot be opened.",
                "Open System Settings, “Privacy & Security”, and choose “Open Anyway”.",
            ),
            NOTHING_HAPPENS,
            REFUSED,
            ROUTES,
        ],
    },
    Guide {
        system: System::Linux,
        slug: "linux",
        name: "Linux",
        client: "OpenVPN 3 Linux",
        install: "Add OpenVPN's package source for your distribution as its page says, then install the package openvpn3.",
        link: Some(("https://community.openvpn.net/Pages/OpenVPN3Linux", "OpenVPN 3 Linux, packages by distribution")),
        command: Some("sudo apt install openvpn3"),
        warning: None,
        steps: &[
            "Import the file: openvpn3 config-import --persistent --config FILE",
            "Connect: openvpn3 session-start --config FILE",
            "Later, disconnect: openvpn3 session-manage --disconnect --config FILE",
        ],
        connect_app: false,
        phone: false,
        trouble: &[
            (
                "The package cannot be found.",
                "The package source is missing; the page above has the lines for your distribution.",
            ),
            (
                "Names inside the VPN are not found.",
                "Run: sudo openvpn3-admin netcfg-service --config-set systemd-resolved true — and connect again.",
            ),
            NOTHING_HAPPENS,
            REFUSED,
        ],
    },
    Guide {
        system: System::NetworkManager,
        slug: "networkmanager",
        name: "Linux, NetworkManager",
        client: "the OpenVPN plugin of NetworkManager",
        install: "Most desktops have it already. If “Import from file” does not offer OpenVPN, install it:",
        link: None,
        command: Some("sudo apt install network-manager-openvpn-gnome"),
        warning: Some(
            "NetworkManager cannot open a browser while it connects. If your company asks you to confirm connections in the browser, use OpenVPN 3 Linux instead.",
        ),
        steps: &[
            "Import the file: nmcli connection import type openvpn file FILE",
            "Open the network menu at the top right of the desktop.",
            "Switch the VPN on.",
        ],
        connect_app: false,
        phone: false,
        trouble: &[
            (
                "All traffic goes through the VPN, or none.",
                "In the connection's IPv4 settings, tick “Use this connection only for resources on its network”.",
            ),
            NOTHING_HAPPENS,
            REFUSED,
            ROUTES,
        ],
    },
    Guide {
        system: System::Ios,
        slug: "ios",
        name: "iPhone or iPad",
        client: "OpenVPN Connect",
        install: "Install OpenVPN Connect from the App Store.",
        link: Some(("https://apps.apple.com/app/openvpn-connect/id590379981", "OpenVPN Connect in the App Store")),
        command: None,
        warning: None,
        steps: &[
            "Choose “Open in OpenVPN Connect”, or scan the code, and confirm the import with “OK”.",
            "Switch the profile on. iOS asks once whether the app may add VPN configurations: choose “Allow”.",
            "The “VPN” sign appears at the top of the screen.",
        ],
        connect_app: true,
        phone: true,
        trouble: &[
            (
                "“Open in OpenVPN Connect” does nothing.",
                "The app is not installed, or is older than 3.3.6. Install it, come back and try again. Or download the file and share it to the app.",
            ),
            ("It disconnects when the screen is off.", "In the app's settings, switch “Seamless Tunnel” on."),
            NOTHING_HAPPENS,
            REFUSED,
        ],
    },
    Guide {
        system: System::Android,
        slug: "android",
        name: "Android",
        client: "OpenVPN Connect",
        install: "Install OpenVPN Connect from Google Play.",
        link: Some((
            "https://play.google.com/store/apps/details?id=net.openvpn.openvpn",
            "OpenVPN Connect on Google Play",
        )),
        command: None,
        warning: None,
        steps: &[
            "Choose “Open in OpenVPN Connect”, or scan the code, and confirm the import with “OK”.",
            "Switch the profile on. Android asks once whether the app may set up a VPN: choose “OK”.",
            "A key appears at the top of the screen.",
        ],
        connect_app: true,
        phone: true,
        trouble: &[
            (
                "“Open in OpenVPN Connect” does nothing.",
                "The app is not installed, or is older than 3.3.6. Install it, come back and try again. Or download the file and open it with the app.",
            ),
            (
                "It disconnects after a while.",
                "In Android's settings, take OpenVPN Connect out of the battery optimisation.",
            ),
            NOTHING_HAPPENS,
            REFUSED,
        ],
    },
    Guide {
        system: System::Chromeos,
        slug: "chromeos",
        name: "ChromeOS",
        client: "OpenVPN Connect",
        install: "Install OpenVPN Connect for Android from Google Play.",
        link: Some((
            "https://play.google.com/store/apps/details?id=net.openvpn.openvpn",
            "OpenVPN Connect on Google Play",
        )),
        command: None,
        warning: None,
        steps: &[
            "Choose “Open in OpenVPN Connect” and confirm the import with “OK”.",
            "Switch the profile on and allow the app to set up a VPN.",
            "A key appears beside the clock.",
        ],
        connect_app: true,
        phone: false,
        trouble: &[
            ("Google Play is not there.", "Your administrator has to allow Android apps on managed Chromebooks."),
            NOTHING_HAPPENS,
            REFUSED,
        ],
    },
];

/// What somebody sees whose system nobody can guess.
const FIRST: &Guide = match GUIDES {
    [first, ..] => first,
    [] => panic!("there are guides"),
};

impl System {
    /// How to connect with it.
    pub(crate) fn guide(self) -> &'static Guide {
        GUIDES.iter().find(|guide| guide.system == self).unwrap_or(FIRST)
    }

    /// By its name in paths and forms.
    pub(crate) fn from_slug(slug: &str) -> Option<Self> {
        GUIDES.iter().find(|guide| guide.slug == slug).map(|guide| guide.system)
    }
}

/// The list of guides.
#[derive(Template)]
#[template(path = "help/index.html")]
pub(crate) struct HelpIndex {
    pub(crate) chrome: Chrome,
    pub(crate) guides: &'static [Guide],
}

pub(crate) async fn index(visit: Visit) -> Response {
    visit.show(&HelpIndex { chrome: visit.chrome.clone(), guides: GUIDES })
}

/// One guide.
#[derive(Template)]
#[template(path = "help/guide.html")]
pub(crate) struct HelpGuide {
    pub(crate) chrome: Chrome,
    pub(crate) guide: &'static Guide,
}

pub(crate) async fn guide(visit: Visit, Path(slug): Path<String>) -> Result<Response, Problem> {
    let system = System::from_slug(&slug).ok_or_else(|| Problem::new(Code::NoSuchPath, "there is no such guide"))?;
    Ok(visit.show(&HelpGuide { chrome: visit.chrome.clone(), guide: system.guide() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_system_has_one_complete_guide() {
        for guide in GUIDES {
            assert_eq!(System::from_slug(guide.slug), Some(guide.system));
            assert_eq!(guide.system.guide().slug, guide.slug);
            assert!(guide.slug.bytes().all(|b| b.is_ascii_lowercase()));
            assert!(!guide.client.is_empty() && guide.install.ends_with(['.', ':']));
            assert!((2..=4).contains(&guide.steps.len()) && guide.trouble.len() >= 3, "{}", guide.slug);
            assert!(guide.link.is_none_or(|(href, _)| href.starts_with("https://")));
            assert!(guide.link.is_some() || guide.command.is_some(), "{} says nowhere where to get it", guide.slug);
        }
        assert_eq!(GUIDES.len(), 7);
    }
}
