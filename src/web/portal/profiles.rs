//! The list of one's profiles, and one of them. People read *device* where the code says profile.

use askama::Template;
use jiff::Timestamp;

use crate::api::download::download;
use crate::api::extract::At;
use crate::auth::sign_in::SignInPage;
use crate::portal::live::Live;
use crate::ui::form::form;
use crate::ui::guides::Guide;
use crate::ui::input::one;
use crate::ui::page::Answer;
use crate::ui::parts::{DAY, date};
use crate::ui::system::System;
use crate::ui::{Chip, Chrome, Employee, Field, Fields, Flash, FormView, Icon, Pressed, Tone, Visit, When, span};
use domain::ids::ProfileId;
use domain::login::{ReturnPath, Surface};
use domain::profile::Profile;
use domain::text::Name;
use services::people::self_service::{MyProfile, MyProfileStatus, Outdated};

/// From here on a page says that a profile ends, in days.
const SOON: i64 = 14 * DAY;

/// The list.
#[derive(Template)]
#[template(path = "portal/home.html")]
pub(crate) struct Home {
    pub(crate) chrome: Chrome,
    /// The profiles, with those that are over at the end.
    pub(crate) devices: Vec<MyProfile>,
    pub(crate) now: Timestamp,
    pub(crate) guide: &'static Guide,
}

fn is_past(mine: &MyProfile) -> bool {
    matches!(mine.status, MyProfileStatus::Expired | MyProfileStatus::Revoked { .. })
}

fn is_replaced(mine: &MyProfile) -> bool {
    matches!(mine.status, MyProfileStatus::Replaced { .. })
}

fn seconds_left(profile: &Profile, now: Timestamp) -> i64 {
    profile.expires_at.as_second() - now.as_second()
}

fn has_news(mine: &MyProfile, now: Timestamp) -> bool {
    !is_past(mine) && !is_replaced(mine) && (mine.note.is_some() || seconds_left(&mine.profile.value, now) < SOON)
}

/// The state: what is over comes first, then what is to be done, unless the device is connected this very moment.
pub(crate) fn chip(mine: &MyProfile, now: Timestamp) -> Chip {
    let left = seconds_left(&mine.profile.value, now);
    match &mine.status {
        MyProfileStatus::Revoked { .. } => Chip::bad("Revoked"),
        MyProfileStatus::Expired => Chip::new(Tone::Bad, Icon::Clock, "Expired"),
        MyProfileStatus::Connected { host, .. } => Chip::connected(host),
        MyProfileStatus::Replaced { until } => {
            Chip::new(Tone::Warn, Icon::Clock, format!("Stops working on {}", date(*until, now)))
        }
        _ if left < SOON => Chip::new(Tone::Warn, Icon::Clock, format!("Expires in {}", span(left.max(0)))),
        _ if mine.note.is_some() => Chip::new(Tone::Info, Icon::Up, "Update available"),
        MyProfileStatus::NeverUsed => Chip::calm("Never used"),
        MyProfileStatus::Ready => Chip::good("Ready"),
    }
}

/// Why a new file would be better.
fn why(note: &Outdated) -> String {
    let name = |hosts: &[domain::text::HostName]| {
        let names: Vec<_> = hosts.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    let mut reasons = Vec::new();
    match &*note.added {
        [] => {}
        [one] => reasons.push(format!("VPN host {one} was added.")),
        many => reasons.push(format!("VPN hosts were added: {}.", name(many))),
    }
    match &*note.removed {
        [] => {}
        [one] => reasons.push(format!("VPN host {one} was removed.")),
        many => reasons.push(format!("VPN hosts were removed: {}.", name(many))),
    }
    if note.other || reasons.is_empty() {
        reasons.push("The way to reach the VPN has changed.".to_owned());
    }
    reasons.join(" ")
}

pub(crate) async fn home(visit: Visit) -> Answer {
    let Some(person) = visit.person()? else {
        let page = SignInPage::new(&visit, &ReturnPath::default());
        return Ok(visit.show_as(page.status(), &page));
    };
    let mine = visit.services.people().my_profiles(person).await?;
    Ok(visit.show(&Home::new(visit.chrome.clone(), mine, visit.now, visit.browsing.system)))
}

impl Home {
    fn when(&self, at: &Timestamp) -> When {
        When::new(*at, self.now)
    }

    /// The list of some profiles, for a system.
    pub(crate) fn new(chrome: Chrome, mut devices: Vec<MyProfile>, now: Timestamp, system: Option<System>) -> Self {
        devices.sort_by_key(is_past);
        Self { chrome, devices, now, guide: system.unwrap_or(System::Windows).guide() }
    }
}

form! {
    /// The form of another name.
    RenameForm(name: Name) {
        name: Field::name("Name of the device"), one(name);
    } fields => Name { Some(name) }
}

/// One profile.
#[derive(Template)]
#[template(path = "portal/profile.html")]
pub(crate) struct ProfilePage {
    pub(crate) chrome: Chrome,
    pub(crate) mine: MyProfile,
    pub(crate) form: FormView,
    /// What tells of the first connection, while there was none.
    pub(crate) live: Option<Live>,
    pub(crate) banner: Option<Banner>,
    pub(crate) now: Timestamp,
}

/// What its owner should know about a profile before all else.
#[derive(Debug, Clone)]
pub(crate) struct Banner {
    pub(crate) tone: Tone,
    pub(crate) icon: Icon,
    pub(crate) title: &'static str,
    pub(crate) text: String,
}

impl ProfilePage {
    /// What happens to the file that is there when there is a newer one.
    const OVERLAP: &'static str =
        "The one that you have goes on working for 7 days, so you can change over when it suits you.";

    /// The page of a profile as it is now.
    pub(crate) fn new(chrome: Chrome, mine: MyProfile, now: Timestamp) -> Self {
        let profile = &mine.profile.value;
        Self {
            form: FormView::fresh(&chrome, RenameForm::FIELDS).typed(RenameForm::fill(&profile.name)),
            live: (mine.status == MyProfileStatus::NeverUsed).then(|| Live::waiting(profile.issued_at)),
            banner: banner(&mine, now),
            chrome,
            mine,
            now,
        }
    }

    fn when(&self, at: &Timestamp) -> When {
        When::new(*at, self.now)
    }

    /// Until when it works, or worked.
    fn until(&self) -> When {
        let until = match self.mine.status {
            MyProfileStatus::Revoked { at } => at,
            MyProfileStatus::Replaced { until } => until,
            _ => self.mine.profile.value.expires_at,
        };
        When::date(until, self.now)
    }

    fn is_connected(&self) -> bool {
        matches!(self.mine.status, MyProfileStatus::Connected { .. })
    }
}

fn banner(mine: &MyProfile, now: Timestamp) -> Option<Banner> {
    let profile = &mine.profile.value;
    let of = |tone, icon, title, text| Some(Banner { tone, icon, title, text });
    match mine.status {
        MyProfileStatus::Revoked { at } => of(
            Tone::Bad,
            Icon::Cross,
            "This device is revoked",
            format!("It was revoked on {} and cannot connect any more.", date(at, now)),
        ),
        MyProfileStatus::Expired => of(
            Tone::Bad,
            Icon::Clock,
            "This profile has expired",
            format!("It stopped working on {}. Getting a new one takes a minute.", date(profile.expires_at, now)),
        ),
        MyProfileStatus::Replaced { until } => of(
            Tone::Warn,
            Icon::Clock,
            "A newer file has taken the place of this one",
            format!("This one stops working on {}. Import the newer file before then.", date(until, now)),
        ),
        _ if seconds_left(profile, now) < SOON => of(
            Tone::Warn,
            Icon::Clock,
            "This profile ends soon",
            format!("It stops working on {}. A new file takes its place.", date(profile.expires_at, now)),
        ),
        _ => {
            let note = mine.note.as_ref()?;
            let text = format!("{} Your file still works, but it does not know about that.", why(note));
            of(Tone::Info, Icon::Up, "An update is available", text)
        }
    }
}

pub(crate) async fn profile(Employee { services, person, visit }: Employee, At(id): At<ProfileId>) -> Answer {
    let mine = services.people().my_profile(&person, id).await?;
    Ok(visit.show(&ProfilePage::new(visit.chrome.clone(), mine, visit.now)))
}

pub(crate) async fn rename(
    Employee { services, person, visit }: Employee,
    At(id): At<ProfileId>,
    mut form: Fields,
) -> Answer {
    let doing = RenameForm::read(&mut form).map(|name| services.people().rename_own(&person, id, name));
    match form.submit_on(Surface::Portal, doing).await? {
        Ok(_) => Ok(visit.go(&format!("/profiles/{id}"), Some(Flash::Renamed))),
        Err(again) => {
            let mine = services.people().my_profile(&person, id).await?;
            let page = ProfilePage::new(visit.chrome.clone(), mine, visit.now);
            let page = ProfilePage { form: page.form.typed(again.fields), live: None, ..page };
            Ok(visit.show_as(again.status, &page))
        }
    }
}

pub(crate) async fn replace(At(id): At<ProfileId>, Pressed { services, person, visit }: Pressed) -> Answer {
    let issued = services.people().replace_own(&person, id).await?;
    Ok(download(&issued, visit.company()))
}

pub(crate) async fn revoke(At(id): At<ProfileId>, Pressed { services, person, visit }: Pressed) -> Answer {
    services.people().revoke_own(&person, id).await?;
    Ok(visit.go(&format!("/profiles/{id}"), Some(Flash::Revoked)))
}
