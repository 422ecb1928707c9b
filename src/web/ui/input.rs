//! Values as people type them: how each is read, and how it stands in a form.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde_json::json;

use domain::drain::DrainBudget;
use domain::ids::{HostId, OrganizationId, ServerId};
use domain::network::{Route, ServerNetwork};
use domain::oidc::Issuer;
use domain::role::Role;
use domain::server::{Port, Protocol};
use domain::settings::{
    AddressDays, AuditDays, DepartedDays, OutageAdmission, ProfileLifetime, ProfileLimit, SessionDays,
};
use domain::text::{ClientId, Comment, DnsName, Email, GroupName, HostName, Name};
use services::Removable;
use services::cluster::settings::ClientSecret;

/// A value that a field holds.
pub(crate) trait Input: Sized {
    /// Reads what was typed, or says what is wrong with it. `subject` begins a sentence about the field: "The name".
    fn read(typed: &[&str], subject: &str) -> Result<Self, Vec<String>>;
}

/// A value of one line.
pub(crate) trait Line: Sized {
    /// What stands between several of them.
    const SEPARATORS: &'static [char] = &['\n', ','];

    /// Reads one; what is wrong with it ends a sentence.
    fn line(text: &str) -> Result<Self, String>;

    /// Reads one of several; what is wrong with it is a sentence.
    fn part(text: &str) -> Result<Self, String> {
        Self::line(text).map_err(|error| format!("“{text}” {error}"))
    }
}

impl<T: Line> Input for T {
    fn read(typed: &[&str], subject: &str) -> Result<Self, Vec<String>> {
        let text = typed.first().map_or("", |text| text.trim());
        T::line(text).map_err(|error| vec![format!("{subject} {error}")])
    }
}

impl<T: Line> Input for Option<T> {
    fn read(typed: &[&str], subject: &str) -> Result<Self, Vec<String>> {
        if typed.iter().all(|text| text.trim().is_empty()) { Ok(None) } else { T::read(typed, subject).map(Some) }
    }
}

/// An empty field takes what was there away.
impl<T: Line> Input for Removable<T> {
    fn read(typed: &[&str], subject: &str) -> Result<Self, Vec<String>> {
        Option::read(typed, subject).map(|value| value.map_or(Self::Removed, Self::Set))
    }
}

impl<T: Line> Input for Vec<T> {
    fn read(typed: &[&str], _subject: &str) -> Result<Self, Vec<String>> {
        let parts = typed.iter().flat_map(|text| text.split(T::SEPARATORS)).map(str::trim);
        let (mut values, mut wrong) = (Self::new(), Vec::new());
        for part in parts.filter(|part| !part.is_empty()) {
            match T::part(part) {
                Ok(value) => values.push(value),
                Err(error) => wrong.push(error),
            }
        }
        if wrong.is_empty() { Ok(values) } else { Err(wrong) }
    }
}

impl<T: Line + Ord> Input for BTreeSet<T> {
    fn read(typed: &[&str], subject: &str) -> Result<Self, Vec<String>> {
        Vec::read(typed, subject).map(|values| values.into_iter().collect())
    }
}

/// A box that is ticked or not.
impl Input for bool {
    fn read(typed: &[&str], _subject: &str) -> Result<Self, Vec<String>> {
        Ok(typed.iter().any(|text| !text.trim().is_empty()))
    }
}

/// As it was typed, white space included: what ends a list may be an empty cell.
impl Input for String {
    fn read(typed: &[&str], _subject: &str) -> Result<Self, Vec<String>> {
        Ok(typed.first().map(|text| (*text).to_owned()).unwrap_or_default())
    }
}

macro_rules! lines {
    ($($parsed:ty),* ; $($number:ty),*) => {
        $(impl Line for $parsed {
            fn line(text: &str) -> Result<Self, String> {
                Self::from_str(text).map_err(|error| error.to_string())
            }
        })*
        $(impl Line for $number {
            fn line(text: &str) -> Result<Self, String> {
                u32::line(text).and_then(|number| Self::try_from(number).map_err(|error| error.to_string()))
            }
        })*
    };
}

lines! {
    Name, Comment, Email, GroupName, HostName, DnsName, ClientId, Issuer, Role, ServerNetwork, HostId, OrganizationId, ServerId;
    Port, DrainBudget, ProfileLifetime, ProfileLimit, OutageAdmission, AddressDays, SessionDays, DepartedDays, AuditDays
}

impl Line for u32 {
    fn line(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_other| "must be a whole number".to_owned())
    }
}

impl Line for Ipv4Addr {
    fn line(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_other| "must be an IPv4 address such as 10.0.0.53".to_owned())
    }
}

impl Line for ClientSecret {
    fn line(text: &str) -> Result<Self, String> {
        serde_json::from_value(json!(text)).map_err(|error| error.to_string())
    }
}

impl Line for Protocol {
    fn line(text: &str) -> Result<Self, String> {
        let known = [Self::Udp, Self::Tcp].into_iter().find(|known| known.as_str() == text);
        known.ok_or_else(|| "must be UDP or TCP".to_owned())
    }
}

/// In a line of a form: the network behind knows the way back to the clients by itself.
const NO_NAT: &str = "no-nat";

/// A route: its network, [`NO_NAT`] if so, and a comment, which may hold commas.
impl Line for Route {
    const SEPARATORS: &'static [char] = &['\n'];

    fn line(text: &str) -> Result<Self, String> {
        let (network, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let (nat, comment) = match rest.trim().strip_prefix(NO_NAT) {
            Some(rest) if rest.is_empty() || rest.starts_with(char::is_whitespace) => (false, rest.trim()),
            _ => (true, rest.trim()),
        };
        let comment = if comment.is_empty() { Ok(None) } else { comment.parse().map(Some) };
        match (network.parse(), comment) {
            (Ok(network), Ok(comment)) => Ok(Self { network, comment, nat }),
            (Err(error), _) => Err(format!("“{network}” {error}")),
            (_, Err(error)) => Err(format!("The comment of {network} {error}")),
        }
    }

    fn part(text: &str) -> Result<Self, String> {
        Self::line(text)
    }
}

/// A route as a line of a form.
pub(crate) fn route(route: &Route) -> String {
    let nat = (!route.nat).then(|| NO_NAT.to_owned());
    let comment = route.comment.as_ref().map(ToString::to_string);
    let parts = [Some(route.network.net().to_string()), nat, comment];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// One value, as it stands in a form.
pub(crate) fn one(value: impl Display) -> Vec<String> {
    vec![value.to_string()]
}

/// A value that may be absent.
pub(crate) fn optional(value: Option<&impl Display>) -> Vec<String> {
    vec![value.map(ToString::to_string).unwrap_or_default()]
}

/// Whether a box is ticked.
pub(crate) fn ticked(is_ticked: bool) -> Vec<String> {
    if is_ticked { vec!["yes".to_owned()] } else { Vec::new() }
}

/// Boxes of which several may be ticked.
pub(crate) fn boxes<T: Display>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    values.into_iter().map(|value| value.to_string()).collect()
}

/// Several values in one field.
pub(crate) fn joined<T: Display>(values: impl IntoIterator<Item = T>, separator: &str) -> Vec<String> {
    vec![boxes(values).join(separator)]
}
