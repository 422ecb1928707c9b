//! A profile as a file: its type, and a name that is safe wherever it is written (SEC-HDR-03).

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};

use services::access::profiles::IssuedProfile;

/// The media type of a profile, as OpenVPN's clients register it.
pub(crate) const PROFILE: &str = "application/x-openvpn-profile";

/// A file name has at most so many characters, its ending included.
const FILE_NAME: usize = 64;

/// The file of a profile. This answer is the only place where its private key ever is.
pub(crate) fn download(issued: &IssuedProfile, company: Option<&str>) -> Response {
    let name = issued.profile.value.name.as_str();
    let disposition = format!("attachment; filename=\"{}\"", file_name(company, name));
    let headers = [(header::CONTENT_TYPE, PROFILE), (header::CONTENT_DISPOSITION, &disposition)];
    (headers, issued.config.expose().clone()).into_response()
}

/// Whether a program asks for the file by its type.
pub(crate) fn accepts_profile(headers: &HeaderMap) -> bool {
    accepts(headers, PROFILE)
}

/// Whether a type is named among those that are asked for.
pub(crate) fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let mut types = lines.flat_map(|line| line.split(',')).filter_map(|range| range.split(';').next());
    types.any(|range| range.trim().eq_ignore_ascii_case(wanted))
}

/// What the file is called: what is left of company and device in plain letters, digits, dots, hyphens and underscores.
fn file_name(company: Option<&str>, device: &str) -> String {
    const ENDING: &str = ".ovpn";
    let mut stem = String::new();
    for c in company.into_iter().flat_map(|company| company.chars().take(24).chain([' '])).chain(device.chars()) {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') {
            stem.push(c);
        } else if !stem.ends_with('-') && !matches!(c, '\'' | '’') {
            stem.push('-');
        }
    }
    stem.truncate(FILE_NAME - ENDING.len());
    let stem = stem.trim_matches(['.', '-', '_']);
    format!("{}{ENDING}", if stem.is_empty() { "profile" } else { stem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_plain() {
        for (company, name, file) in [
            (None, "Laptop", "Laptop.ovpn"),
            (Some("Example GmbH & Co"), "Ana's \"work\" laptop", "Example-GmbH-Co-Anas-work-laptop.ovpn"),
            (None, "../../etc/passwd", "etc-passwd.ovpn"),
            (None, "李小龍", "profile.ovpn"),
            (Some("李"), "\u{202e}x\r\nSet-Cookie: a=b", "x-Set-Cookie-a-b.ovpn"),
            (None, "a; filename=b", "a-filename-b.ovpn"),
        ] {
            assert_eq!(file_name(company, name), file);
        }
        assert_eq!(file_name(Some(&"y".repeat(200)), &"x".repeat(200)).len(), FILE_NAME);
    }

    #[test]
    fn only_who_asks_for_the_file_gets_it_bare() {
        let accepts = |text: &'static str| {
            accepts_profile(&HeaderMap::from_iter([(header::ACCEPT, header::HeaderValue::from_static(text))]))
        };
        assert!(accepts("application/x-openvpn-profile"));
        assert!(accepts("application/json;q=0.5, application/x-openvpn-profile;q=1"));
        assert!(!accepts("*/*") && !accepts("application/json"));
    }
}
