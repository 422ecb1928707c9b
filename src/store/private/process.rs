//! The process of the private `mongod`: its flags, its first set-up and its end.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};
use rustix::process::{Pid, Signal, kill_process};

use crate::StoreError;
use crate::error::code;
use crate::private::{Access, Place, SET, USER};

/// It takes half a second; a recovery after a crash on a slow disk may take long.
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(5);
/// Between SIGTERM and SIGKILL. A set of one member is gone in half a second.
const GRACE: Duration = Duration::from_secs(5);
const UNAUTHORIZED: i32 = 13;
const ALREADY_INITIALIZED: i32 = 23;
const NOT_YET_INITIALIZED: i32 = 94;
/// Exit code of a `mongod` that cannot listen.
const PORT_TAKEN: i32 = 48;
/// Exit code of a `mongod` whose files another one still holds.
const FILES_TAKEN: i32 = 100;

pub(super) struct ServerProcess {
    child: Child,
}

impl ServerProcess {
    /// From whatever state to a primary that takes writes; answers the access that is valid now.
    pub(super) fn bring_up(place: &Place, mut access: Access) -> Result<(Access, Self), StoreError> {
        let deadline = Instant::now() + PATIENCE;
        let server = loop {
            access.port = free_port(access.port).map_err(StoreError::unexpected)?;
            place.write_access(&access)?;
            let mut server = Self::start(place, access.port)?;
            match server.wait_for_port(access.port, deadline) {
                Ok(()) => break server,
                Err(Some(status)) if status.code() == Some(PORT_TAKEN) => {}
                // One that was killed a moment ago may not be quite gone.
                Err(Some(status)) if status.code() == Some(FILES_TAKEN) && Instant::now() < deadline => {
                    sleep(Duration::from_millis(100));
                }
                Err(status) => {
                    let how = status.map_or_else(|| "does not answer".to_owned(), |status| format!("ended ({status})"));
                    return Err(StoreError::mendable(
                        format!("the private mongod {how}"),
                        format!("its log is {}", place.log().display()),
                    ));
                }
            }
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StoreError::unexpected)?;
        let set_up = async { tokio::time::timeout(PATIENCE, set_up(&access)).await };
        runtime.block_on(set_up).map_err(StoreError::unexpected)??;
        access.initialized = true;
        access.running = true;
        place.write_access(&access)?;
        Ok((access, server))
    }

    /// Starts it, without waiting for anything.
    pub(super) fn start(place: &Place, port: u16) -> Result<Self, StoreError> {
        let mut command = match &place.setpriv {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(&place.mongod);
                command
            }
            None => Command::new(&place.mongod),
        };
        command.args(["--bind_ip", "127.0.0.1", "--port", &port.to_string(), "--nounixsocket"]);
        command.args(["--replSet", SET, "--oplogSize", "64", "--wiredTigerCacheSizeGB", "0.25"]);
        // Without these, three journal files of 100 MB are made in advance.
        command.args(["--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=16MB)"]);
        command.args(["--setParameter", "diagnosticDataCollectionEnabled=false"]);
        // The password is drawn, not chosen: stretching it makes nothing safer and every connection slower.
        command.args(["--setParameter", "scramSHA256IterationCount=5000"]);
        command.arg("--keyFile").arg(place.key()).arg("--dbpath").arg(place.data());
        command.arg("--logpath").arg(place.log()).args(["--logappend", "--quiet"]);
        // A group of its own: Ctrl-C in a terminal is for us, and we stop it when we no longer need it.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command
            .spawn()
            .map_err(|error| StoreError::misconfigured(format!("cannot start {}: {error}", place.mongod.display())))?;
        Ok(Self { child })
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends it: politely first, so that the next start need not recover.
    pub(super) fn stop(mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while self.ended().is_none() && Instant::now() < deadline {
            sleep(POLL);
        }
    }

    fn wait_for_port(&mut self, port: u16, deadline: Instant) -> Result<(), Option<ExitStatus>> {
        loop {
            if let Some(status) = self.ended() {
                return Err(Some(status));
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(None);
            }
            sleep(POLL);
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The remembered port if nobody else has it, else another.
fn free_port(remembered: u16) -> io::Result<u16> {
    let any = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listener = if remembered == 0 { any() } else { TcpListener::bind((Ipv4Addr::LOCALHOST, remembered)) };
    listener.or_else(|_taken| any())?.local_addr().map(|address| address.port())
}

/// Makes the set and its user where they do not exist, and waits for the primary.
async fn set_up(access: &Access) -> Result<(), StoreError> {
    let host = format!("127.0.0.1:{}", access.port);
    let unauthenticated = admin(&host, "").await?;
    let owner = admin(&host, &access.credentials()).await?;
    if !access.initialized {
        let config = doc! { "_id": SET, "members": [{ "_id": 0, "host": &host }] };
        let initiate = unauthenticated.run_command(doc! { "replSetInitiate": config }).await;
        // Not allowed means that an earlier start got further than its notes say.
        initiate.map(|_| ()).or_else(|error| unless_done(error, &[ALREADY_INITIALIZED, UNAUTHORIZED]))?;
    }
    loop {
        let hello = unauthenticated.run_command(doc! { "hello": 1 }).await?;
        if hello.get_bool("isWritablePrimary").unwrap_or(false) {
            break;
        }
        // It has no valid configuration: not yet read, or that of another port.
        if access.initialized && hello.get_bool("isreplicaset").unwrap_or(false) {
            match move_to(&owner, &host).await {
                // A member that changes its state hangs up on everybody.
                Err(error) if error.is_unavailable() => {}
                outcome => outcome?,
            }
        }
        tokio::time::sleep(POLL).await;
    }
    if !access.initialized {
        let user = doc! { "createUser": USER, "pwd": &access.password, "roles": ["root"] };
        // The first user may be made by anybody on this machine; once there is one, nobody may.
        let created = unauthenticated.run_command(user).await;
        created.map(|_| ()).or_else(|error| unless_done(error, &[UNAUTHORIZED]))?;
    }
    Ok(())
}

fn unless_done(error: mongodb::error::Error, done: &[i32]) -> Result<(), StoreError> {
    match code(&error) {
        Some(code) if done.contains(&code) => Ok(()),
        _ => Err(error.into()),
    }
}

/// A set knows its member by address: after a change of the port, it has to be told.
async fn move_to(owner: &Database, host: &str) -> Result<(), StoreError> {
    let answer = match owner.run_command(doc! { "replSetGetConfig": 1 }).await {
        Err(error) => return unless_done(error, &[NOT_YET_INITIALIZED]),
        Ok(answer) => answer,
    };
    let mut config = answer.get_document("config").map_err(StoreError::unexpected)?.clone();
    let members = config.get_array_mut("members").map_err(StoreError::unexpected)?;
    let member = members.first_mut().and_then(|member| member.as_document_mut());
    let member = member.ok_or_else(|| StoreError::unexpected("a replica set without a member"))?;
    if member.get_str("host").is_ok_and(|known| known == host) {
        return Ok(());
    }
    member.insert("host", host);
    let version = config.get_i32("version").unwrap_or(1);
    config.insert("version", version + 1);
    owner.run_command(doc! { "replSetReconfig": config, "force": true }).await?;
    Ok(())
}

async fn admin(host: &str, credentials: &str) -> Result<Database, StoreError> {
    let options = ClientOptions::parse(format!("mongodb://{credentials}{host}/?directConnection=true")).await?;
    Ok(Client::with_options(options)?.database("admin"))
}
