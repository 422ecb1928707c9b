//! Why a request was refused although it could be read: the catalogue of all such reasons, with their words.
//!
//! A reason is a value: a code that programs compare, the field that it is about, typed parameters, and words. Whoever
//! refuses names the reason; each surface asks for its own words: [`Display`](fmt::Display) gives those for programs, the
//! command line and the log, `on` those for the pages of a [`Surface`]. Nobody reads a reason out of a text.
//!
//! Words are a clause or a sentence without capital letter and full stop, since they also stand after a colon; pages add
//! both. Where a page has another way to do what the words advise, the entry says it a second time in the page's terms;
//! where the command line has one, the entry has a line for it.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use domain::host::RemovedHost;
use domain::ids::{OrganizationId, UserId};
use domain::job::Job;
use domain::login::Surface;
use domain::network::ServerNetwork;
use domain::server::{Port, Protocol};
use domain::text::{Email, HostName, Name};
use domain::user_list::ListError;

/// What the catalogue says of one reason, for documents.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The code: it never changes its meaning, and no other reason ever gets it.
    pub code: &'static str,
    /// The field that the reason is always about, as a JSON pointer (RFC 6901) without the leading slash.
    pub field: Option<&'static str>,
    /// What the parameters are called.
    pub parameters: &'static [&'static str],
    /// When it is given; the lines of a sentence.
    pub about: &'static [&'static str],
    /// The words for programs, with the parameters in braces.
    pub words: &'static str,
    /// What the command line says below them.
    pub command: Option<&'static str>,
}

macro_rules! catalogue {
    (
        $(#[$about:meta])*
        $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $variant:ident $({ $($param:ident: $type:ty),+ })? = $code:literal
                    $(at $field:literal)?
                    $(let { $($given:ident = $value:expr),+ })?,
                    $words:literal
                    $(, console $console:literal)?
                    $(, portal $portal:literal)?
                    $(, command $command:literal)?;
            )*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $(
                $(#[doc = $doc])*
                $variant $({
                    $(#[doc = concat!("The `", stringify!($param), "` of the words.")] $param: $type,)+
                })?,
            )*
        }

        impl $name {
            /// All entries of the catalogue.
            pub const ALL: &'static [Entry] = &[$(
                Entry {
                    code: $code,
                    field: [$(Some($field),)? None][0],
                    parameters: &[$($(stringify!($param)),+)?],
                    about: &[$($doc),*],
                    words: $words,
                    command: [$(Some($command),)? None][0],
                },
            )*];

            /// The code that programs compare.
            pub fn code(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $code,)*
                }
            }

            /// The field that it is about, if it always is about the same: a JSON pointer without the leading slash.
            pub fn field(&self) -> Option<&'static str> {
                match self {
                    $(Self::$variant { .. } => [$(Some($field),)? None][0],)*
                }
            }

            /// The parameters by their names.
            pub fn parameters(&self) -> Map<String, Value> {
                match self {
                    $(Self::$variant $({ $($param),+ })? => {
                        Map::from_iter([$($((stringify!($param).to_owned(), json!($param))),+)?])
                    })*
                }
            }

            /// The words for the pages of a surface.
            pub fn on(&self, surface: Surface) -> impl fmt::Display {
                fmt::from_fn(move |f| self.say(Some(surface), f))
            }

            fn say(&self, surface: Option<Surface>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant $({ $($param),+ })? => {
                        $($(let $given = $value;)+)?
                        match surface {
                            $(Some(Surface::Console) => write!(f, $console),)?
                            $(Some(Surface::Portal) => write!(f, $portal),)?
                            _ => write!(f, $words),
                        }
                    })*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.say(None, f)
            }
        }
    };
}

/// Why a host gets no way to the database, and what helps.
const NO_USER_OF_ITS_OWN: &str = "this process may make no database users, so the host would get its own user, which may read and change everything. \
     Give its user the role userAdmin on Postern's database (apply.js of deploy/mongodb does), or name a user for hosts by \
     database.uri_for_hosts (on Atlas: the user host that deploy/terraform makes), or say that the host may share the \
     database user of the web process";

/// What an administrator of the database is to run.
const APPLY: &str = "and this process may not change that: as an administrator of the database, run apply.js of this \
     release (deploy/mongodb; in the Debian package /usr/share/doc/postern/examples/mongodb), then run the same command \
     again: the join token is as good as before";

catalogue! {
    /// What a request does not fit: the state of the cluster or of the thing that it names. Nothing was changed.
    Refusal {
        /// The name is in use by another thing of its kind.
        NameTaken { what: &'static str } = "name_taken" at "name",
            "another {what} has this name";
        /// The e-mail address belongs to another user.
        EmailTaken = "email_taken" at "email",
            "another user has this email";
        /// The user is disabled and gets no profile.
        UserDisabled = "user_disabled",
            "the user is disabled; enable the user first",
            portal "your account is disabled; ask your administrator";
        /// The cluster would be left without an enabled owner.
        LastOwner = "last_owner",
            "this is the last enabled owner, who cannot be demoted, disabled or deleted; make another owner first";
        /// Nobody changes their own role, disables or deletes themselves.
        OwnStanding = "own_standing",
            "you cannot change your own role, disable or delete yourself; ask another administrator";
        /// A token that was made with another one makes no further token.
        MadeWithToken = "made_with_token",
            "this token was made with another one, so it makes none itself; use that one";
        /// The organization is not empty.
        OrganizationHasUsers = "organization_has_users",
            "the organization still has users; delete or move them first";
        /// A server is open to the organization.
        OrganizationOpensServers = "organization_opens_servers",
            "servers are still open to the organization; close them first";
        /// A server is open to the group; without its last group it would be open to everybody.
        GroupOpensServer { server: Name } = "group_opens_server",
            "the server {server} is open to this group; take the group off it first";
        /// The server is open neither to the user's organization nor to one of the user's groups.
        ServerNotOpen = "server_not_open" at "server_id",
            "this server is not open to the user",
            portal "this network is not open to you; ask your administrator";
        /// Hosts are attached to the server.
        HostsAttached = "hosts_attached",
            "hosts are still attached to the server; detach them first";
        /// Profiles hold addresses of the network that the server has.
        NetworkInUse = "network_in_use" at "network",
            "active profiles hold addresses of the present network; make a new server";
        /// Two servers of one host would listen on the port.
        PortTaken { protocol: Protocol, port: Port } = "port_taken" at "port"
            let { protocol = protocol.as_str(), port = port.get() },
            "another server listens on {protocol} {port} of the same host";
        /// The host runs another server on the port of this one.
        HostPortTaken { protocol: Protocol, port: Port } = "host_port_taken"
            let { protocol = protocol.as_str(), port = port.get() },
            "another server listens on {protocol} {port} of the same host";
        /// The host's process does not have the role `vpn`.
        RoleMissing { host: HostName } = "role_missing",
            "host {host} does not have the role vpn: it runs no servers";
        /// Another key of the server would make its profiles worthless.
        ProfilesDepend { server: Name, profiles: usize } = "profiles_depend"
            let { active = counted(*profiles as u64, "active profile", "active profiles") },
            "server {server} has {active}, which another key makes worthless: repeat this with \"force\": true to revoke \
             them; their owners then make new ones",
            command "--force revokes them";
        /// No host runs the server, so a profile would lead nowhere.
        NoHostRuns = "no_host_runs" at "server_id",
            "no host runs this server yet; attach one first",
            portal "no host runs this network yet; ask your administrator";
        /// The server's network has no address left.
        NetworkFull = "network_full" at "server_id",
            "every address of the server's network is taken",
            portal "every address of this network is taken; ask your administrator";
        /// The server got another network while the profile was being made.
        NetworkChanged = "network_changed",
            "the server's network was changed just now; try again";
        /// The server got another key while the profile was being made.
        KeyRotated = "key_rotated",
            "the server's key was rotated just now; try again";
        /// The profile cannot be replaced.
        ProfileOver = "profile_over",
            "this profile was revoked or replaced already";
        /// The user has as many active profiles as are allowed.
        ProfileLimit { limit: u64 } = "profile_limit",
            "the user has {limit} active profiles, the most allowed; revoke one first",
            portal "you have {limit} devices, the most allowed. Revoke one that you do not need, then come back";
        /// The host is to be removed while it is in service.
        HostInService { host: HostName, is_draining: bool, sessions: u64, profiles: u64 } = "host_in_service"
            let {
                doing = if *is_draining { "not drained yet" } else { "in service" },
                carries = counted(*sessions, "live session", "live sessions"),
                listed = counted(*profiles, "active profile lists it", "active profiles list it")
            },
            "host {host} is {doing}: it carries {carries}, and {listed}: drain it first, or repeat this with ?force=true to \
             cut off whoever is connected through it",
            console "host {host} is {doing}: it carries {carries}, and {listed}: drain it first, or tick the box to cut off \
             whoever is connected through it",
            command "--force removes it all the same";
        /// The host is the last one that runs a server.
        NoOtherHost { server: Name } = "no_other_host",
            "no other host that is online runs server {server}, so its people would be cut off: attach and start another \
             host first, or repeat this with \"force\": true",
            console "no other host that is online runs server {server}, so its people would be cut off: attach and start \
             another host first, or tick the box to end its sessions",
            command "--force ends the sessions";
        /// Another machine with the host's key is alive and is that host.
        HostCloned = "host_cloned",
            "another machine with this host's key is alive, so this one waits until that one has been silent for 30 s: if \
             this disk is a copy, delete host.key in host.data_dir and join with a new token; if this is the machine that is \
             meant, stop the other one";
        /// The machine was a host that has been removed.
        HostRemoved { host: Box<RemovedHost> } = "host_removed",
            "{host}";
        /// The machine's key is that of another host.
        KeyOfAnotherHost { host: HostName } = "key_of_another_host",
            "this machine's key is that of host {host}: if its disk is a copy of that one's, delete host.key in \
             host.data_dir and join with a new token; if it is that host under another name, rename it in the console or set \
             host.name to {host}";
        /// What the machine says of itself is not what the cluster knows, and its database user may not change that.
        HostChanged { host: HostName } = "host_changed",
            "what this machine says of itself as host {host} (its key, host.public_address, host.roles) is not what the \
             cluster knows, and its database user may not change that: join again with a new token";
        /// A living machine has the name of the host that starts.
        HostNameAlive { host: HostName } = "host_name_alive",
            "another machine runs as host {host}; give this one another host.name";
        /// The host is known with another key.
        HostKeyDiffers { host: HostName } = "host_key_differs",
            "host {host} is known with another key: remove it, choose another host.name, or start once with the master key";
        /// A living host has the name that a join token would give.
        HostNameTaken { host: HostName } = "host_name_taken" at "host_name",
            "a host named {host} is running already";
        /// The join token was used, so it cannot be withdrawn.
        JoinTokenUsed = "join_token_used",
            "the join token was used; remove the host that came of it";
        /// The join token was used by another machine.
        JoinTokenStolen = "join_token_stolen",
            "the join token was used by another machine; if that was not yours, remove that host";
        /// The join token is over.
        JoinTokenOver { ran_out_at: Timestamp } = "join_token_over",
            "the join token ran out at {ran_out_at:.0}; make a new one";
        /// The host that came of the join token was removed.
        JoinedHostGone = "joined_host_gone",
            "the host has been removed since; make a new token";
        /// A living machine has the name that the join token gives.
        JoinNameAlive { host: HostName } = "join_name_alive",
            "another machine runs as host {host}; make a token for another name";
        /// Steps of the set-up that come before this one are not done.
        StepsBefore = "steps_before",
            "the steps before come first";
        /// The process does not know the address of the public pages, which a link would lead to.
        NoPublicUrl = "no_public_url",
            "the configuration of this host does not set public.url, so it cannot tell where a link leads";
        /// The process has no admin listener, so new machines cannot reach it.
        NoAdminListener = "no_admin_listener",
            "this process does not serve the admin listener";
        /// The database is the private one of a machine.
        PrivateDatabase = "private_database",
            "the cluster's database is the private one of a single machine, which others cannot reach; move it to a replica \
             set first and set database.uri";
        /// The host can have no database user of its own, and its join token does not let it share another.
        NoDatabaseUser = "no_database_user",
            "{NO_USER_OF_ITS_OWN}, in a new join token (share_database_user). This one is as good as before";
        /// The database lacks the role of hosts.
        DatabaseRoleMissing { role: String } = "database_role_missing",
            "the database has no role {role} for the host's user, {APPLY}";
        /// The role of hosts lacks rights that this release needs.
        DatabaseRoleOutdated { role: String, lacks: Vec<String> } = "database_role_outdated"
            let { lacks = lacks.join(", ") },
            "the role {role} of the database is older than this release needs: it lacks {lacks}, {APPLY}";
        /// Another master key opens the backup.
        BackupKeyDiffers { cluster: String, needed: String, ours: String } = "backup_key_differs",
            "this is a backup of cluster {cluster} and needs its master key {needed}; the key here is {ours}";
        /// Hosts work with the database that is to be replaced.
        HostsRunning { hosts: Vec<String> } = "hosts_running"
            let { hosts = hosts.join(", ") },
            "these hosts run on this database: {hosts}; stop postern on them first (VPN connections go on)";
        /// The database holds documents that a restore would replace.
        DatabaseNotEmpty { collection: String } = "database_not_empty",
            "the database is not empty ({collection} holds documents), nothing was changed";
        /// Another process runs the job.
        JobRunning { job: Job } = "job_running",
            "{job} is being run by another process";
        /// Another process ran the job at the same time.
        JobRunElsewhere { job: Job } = "job_run_elsewhere",
            "another process has run {job} meanwhile";
        /// The lease of the job could not be renewed while it ran.
        LeaseLost = "lease_lost",
            "the lease of the job was lost";
        /// The process does not follow the events of the cluster.
        NotListening = "not_listening",
            "this process does not listen to the cluster";
    }
}

catalogue! {
    /// Why a value cannot be taken: the end of a sentence that begins with the value's name. Nothing was changed.
    InvalidReason {
        /// No server has this id, or none that the asker may know of.
        NoSuchServer = "no_such_server",
            "there is no such server";
        /// No organization has this id.
        NoSuchOrganization { organization: OrganizationId } = "no_such_organization",
            "there is no organization {organization}";
        /// No user has this id.
        NoSuchUser { user: UserId } = "no_such_user",
            "there is no user {user}";
        /// No users have these e-mail addresses.
        NoSuchEmails { emails: Vec<Email> } = "no_such_emails"
            let { emails = emails.iter().map(Email::as_str).collect::<Vec<_>>().join(", ") },
            "no user has the address {emails}";
        /// The list is too long.
        TooMany { most: usize } = "too_many",
            "must be at most {most}";
        /// One change of a group names too many users.
        TooManyMembers { most: usize } = "too_many_members",
            "must have at most {most} users, with `remove`";
        /// The address cannot be that of a resolver.
        NotAResolver = "not_a_resolver",
            "must be the address of a resolver";
        /// The list has an equal entry before this one.
        Repeated = "repeated",
            "stands in the list twice";
        /// The network overlaps that of another server.
        NetworkOverlaps { network: ServerNetwork } = "network_overlaps"
            let { network = network.net() },
            "overlaps the network {network} of another server";
        /// One machine cannot run both servers.
        PortShared { server: Name } = "port_shared",
            "listens on the same port as server {server}";
        /// The search fits more people than can be looked for at once.
        SearchTooWide { most: u32 } = "search_too_wide",
            "fits more than {most} people; write more of the name";
        /// The host can have no database user of its own, so it would share that of the web process.
        SharesDatabaseUser = "shares_database_user",
            "{NO_USER_OF_ITS_OWN}";
        /// Google says itself which company an account belongs to.
        GoogleNamesCompany = "google_names_company",
            "must be false for Google, which names the company itself; private accounts can have any e-mail address";
        /// The list of users cannot be read.
        UserList { error: ListError } = "user_list",
            "{error}";
        /// A line of a list asks for the same user as one before it.
        LineRepeated { line: u64 } = "line_repeated",
            "stands in line {line} already";
        /// A line of a list has more cells than there are headings, or fewer.
        CellCount { found: usize, expected: usize } = "cell_count",
            "has {found} cells where the headings have {expected}";
        /// A cell of a list has not the form of what its column holds.
        Malformed { expected: String } = "malformed",
            "{expected}";
        /// A line of a list gives a role that the asker cannot give.
        RoleNotYours = "role_not_yours",
            "needs a role that may manage users of this role";
        /// A line of a list names an organization that there is not.
        NoOrganizationCalled = "no_organization_called",
            "there is no organization with this name";
        /// A line of a list names no organization, and none is given for such lines.
        NoOrganizationNamed = "no_organization_named",
            "none is named, and none is given for such lines";
    }
}

catalogue! {
    /// What there is not, or what the asker may not know of. Nothing was changed.
    Missing {
        /// No user has this id.
        User = "user_not_found", "there is no such user";
        /// No organization has this id.
        Organization = "organization_not_found", "there is no such organization";
        /// Nobody is in a group of this name, and no server is open to it.
        Group = "group_not_found", "there is no such group";
        /// No server has this id.
        Server = "server_not_found", "there is no such server";
        /// No host has this id.
        Host = "host_not_found", "there is no such host";
        /// No profile has this id.
        Profile = "profile_not_found", "there is no such profile";
        /// No session with this id is live.
        LiveSession = "live_session_not_found", "there is no such live session";
        /// No sign-in has this id.
        SignIn = "sign_in_not_found", "there is no such sign-in";
        /// No API token has this id, or it has run out.
        ApiToken = "api_token_not_found", "there is no such API token";
        /// No join token has this id.
        JoinToken = "join_token_not_found", "there is no such join token";
        /// A machine shows a join token that the cluster does not know.
        UnknownJoinToken = "join_token_unknown",
            "there is no such join token: it was withdrawn, is long over, or belongs to another cluster";
        /// The one-time link was used, has run out or never was one.
        Link = "link_not_found", "there is no such link";
        /// The cluster has not made its audit key.
        AuditKey = "audit_key_not_found", "there is no audit key yet";
    }
}

/// A number with its noun.
fn counted(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// The entry of a code, for whoever got it from another process.
pub fn entry(code: &str) -> Option<&'static Entry> {
    entries().map(|(_, entry)| entry).find(|entry| entry.code == code)
}

/// The catalogues, each entry with the status of its answer (RFC 9110, section 15.5).
pub fn entries() -> impl Iterator<Item = (u16, &'static Entry)> {
    [(409, Refusal::ALL), (422, InvalidReason::ALL), (404, Missing::ALL)]
        .into_iter()
        .flat_map(|(status, all)| all.iter().map(move |entry| (status, entry)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_code_is_given_twice() {
        let all: Vec<_> = entries().map(|(_, entry)| entry.code).collect();
        let codes: BTreeSet<_> = all.iter().copied().collect();
        assert_eq!(codes.len(), all.len());
        let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(codes.iter().all(|code| code.chars().all(is_word)), "{codes:?}");
        assert!(entry("last_owner").is_some_and(|entry| entry.code == "last_owner"));
        assert!(entry("no_such_code").is_none());
    }

    #[test]
    fn words_are_clauses_that_a_surface_completes() {
        for (_, Entry { code, words, command, about, .. }) in entries() {
            for words in [Some(words), command.as_ref()].into_iter().flatten() {
                assert!(!words.ends_with(['.', '?', '!', ':', ' ']), "{code}: {words}");
                assert!(words.starts_with(|first: char| !first.is_uppercase()), "{code}: {words}");
                assert!(!words.contains(['\n', '\r']) && !words.contains("  "), "{code}: {words}");
            }
            assert!(about.last().is_some_and(|about| about.ends_with('.')), "{code}: {about:?}");
        }
    }

    #[test]
    fn each_surface_has_its_words() {
        let host = "vpn-1".parse().unwrap();
        let refusal = Refusal::HostInService { host, is_draining: false, sessions: 1, profiles: 2 };
        let (programs, pages) = (refusal.to_string(), refusal.on(Surface::Console).to_string());
        assert!(programs.contains("it carries 1 live session, and 2 active profiles list it"), "{programs}");
        assert!(programs.contains("repeat this with ?force=true"), "{programs}");
        assert!(pages.contains("tick the box") && !pages.contains("force"), "{pages}");
        // Whoever has no words of their own gets those for programs.
        assert_eq!(refusal.on(Surface::Portal).to_string(), programs);
        assert_eq!(Value::Object(refusal.parameters())["sessions"], 1);
        let limit = Refusal::ProfileLimit { limit: 3 };
        assert!(limit.on(Surface::Portal).to_string().starts_with("you have 3 devices"), "{limit}");
    }
}
