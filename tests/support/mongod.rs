//! A real `mongod` for tests, as one process or as a set of three.
//!
//! One thread owns each set: it enters the network namespace, starts the processes, initiates the set, and stays until
//! the [`Mongod`] is dropped. It has to stay, because `setpriv --pdeathsig` ties a child to the *thread* that started
//! it: an aborted test run kills its databases, a finished test does not kill the one that others share. The files are
//! removed by a shell that waits for the end of its standard input, so they go even when the run is killed.
//!
//! [`shared`] is one single-member set per test binary, with a [`TestDatabase`] of random name per test.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

/// How long a member may take until it answers, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(1);
const USER: &str = "tester";
const PASSWORD: &str = "p%40ss-w%3Ard"; // "p@ss-w:rd" as it stands in a URI
const PASSWORD_PLAIN: &str = "p@ss-w:rd";

/// What kind of set to start.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// 1 or 3; 0 is a single server without a set.
    pub(crate) members: usize,
    /// The address by which the members are known; they listen on 127.0.0.1 too.
    pub(crate) bind: IpAddr,
    /// Starts it in this network namespace, in which `lo` must be up.
    pub(crate) netns: Option<String>,
    /// Key file and SCRAM user on.
    pub(crate) auth: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { members: 1, bind: Ipv4Addr::LOCALHOST.into(), netns: None, auth: false }
    }
}

/// A running replica set; killed, and its files removed, when dropped.
pub(crate) struct Mongod {
    uri: String,
    ports: Vec<u16>,
    pids: Mutex<Vec<Option<Pid>>>,
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

enum Order {
    Kill(usize, SyncSender<()>),
    Restart(usize, SyncSender<Pid>),
    DropDatabase(String),
}

struct Started {
    uri: String,
    ports: Vec<u16>,
    pids: Vec<Option<Pid>>,
}

impl Mongod {
    /// Starts a set and returns when its primary takes writes.
    pub(crate) fn start(options: Options) -> Self {
        let (orders, queue) = mpsc::channel(64);
        let (tell, started) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("mongod-owner".into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(own(options, tell, queue));
            })
            .unwrap();
        let Ok(Started { uri, ports, pids }) = started.recv() else {
            std::panic::resume_unwind(thread.join().expect_err("the owner ends early only by a panic"));
        };
        Self { uri, ports, pids: Mutex::new(pids), orders: Some(orders), thread: Some(thread) }
    }

    /// The connection string, credentials included, without a database name.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// The port of a member.
    pub(crate) fn port(&self, member: usize) -> u16 {
        self.ports[member]
    }

    /// Ends a member as a crash would, and returns when it is gone.
    pub(crate) fn kill(&self, member: usize) {
        let (done, wait) = sync_channel(1);
        self.order(Order::Kill(member, done));
        wait.recv().unwrap();
        self.pids()[member] = None;
    }

    /// Starts a killed member again on the same port and files; it answers when this returns, and is primary a little
    /// later.
    pub(crate) fn restart(&self, member: usize) {
        let (done, wait) = sync_channel(1);
        self.order(Order::Restart(member, done));
        let pid = wait.recv().unwrap();
        self.pids()[member] = Some(pid);
    }

    /// Freezes a member: its sockets stay open and nothing answers.
    pub(crate) fn stop(&self, member: usize) {
        let pid = self.pid(member);
        kill_process(pid, Signal::STOP).unwrap();
        // Each thread stops when it next runs, which on a busy machine is not at once.
        let tasks = Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join("task");
        let runs = |task: &fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('T'))
        };
        let deadline = Instant::now() + PATIENCE;
        while fs::read_dir(&tasks).unwrap().flatten().any(|task| runs(&task)) {
            assert!(Instant::now() < deadline, "mongod does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Thaws a frozen member.
    pub(crate) fn cont(&self, member: usize) {
        kill_process(self.pid(member), Signal::CONT).unwrap();
    }

    /// The process of a member that runs.
    pub(crate) fn pid(&self, member: usize) -> Pid {
        self.pids()[member].expect("the member runs")
    }

    /// A database of random name, dropped with the returned value.
    pub(crate) fn database(&self) -> TestDatabase {
        let name = format!("t_{}", random_hex());
        TestDatabase { uri: self.uri.clone(), name, orders: self.orders.clone().unwrap() }
    }

    /// A client to the set with the driver's own options, for a test's side of things.
    pub(crate) async fn client(&self) -> Client {
        Client::with_uri_str(&self.uri).await.unwrap()
    }

    fn pids(&self) -> MutexGuard<'_, Vec<Option<Pid>>> {
        self.pids.lock().unwrap()
    }

    fn order(&self, order: Order) {
        assert!(self.orders.as_ref().unwrap().try_send(order).is_ok(), "the owner of the set takes orders");
    }
}

impl Drop for Mongod {
    fn drop(&mut self) {
        self.orders.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A database of its own for one test.
pub(crate) struct TestDatabase {
    /// Connection string of the server.
    pub(crate) uri: String,
    /// Name of the database.
    pub(crate) name: String,
    orders: mpsc::Sender<Order>,
}

impl TestDatabase {
    /// The database, by a client with the driver's own options.
    pub(crate) async fn open(&self) -> mongodb::Database {
        Client::with_uri_str(&self.uri).await.unwrap().database(&self.name)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A set that is gone has nothing to drop.
        let _ = self.orders.try_send(Order::DropDatabase(self.name.clone()));
    }
}

/// The set which the tests of this binary share.
pub(crate) fn shared() -> &'static Mongod {
    static SHARED: OnceLock<Mongod> = OnceLock::new();
    SHARED.get_or_init(|| Mongod::start(Options::default()))
}

/// The `mongod` that tests run: `POSTERN_TEST_MONGOD`, else on PATH, else `.tools/mongod` of the crate.
///
/// # Panics
/// When there is none: a missing tool is a failure, not a skip.
pub(crate) fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("POSTERN_TEST_MONGOD") {
        return path.into();
    }
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&on_path)
        .map(|folder| folder.join("mongod"))
        .chain([Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/mongod")])
        .find(|path| path.is_file())
        .expect("no mongod: set POSTERN_TEST_MONGOD, or put one on PATH or at .tools/mongod")
}

/// Eight random bytes as text, for names that must not meet.
pub(crate) fn random_hex() -> String {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The life of a set, on its own thread.
async fn own(options: Options, started: SyncSender<Started>, mut orders: mpsc::Receiver<Order>) {
    if let Some(name) = &options.netns {
        let namespace = fs::File::open(Path::new("/run/netns").join(name)).expect("the namespace exists");
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network))
            .expect("entering the namespace");
    }
    let folder = Folder::make();
    let mut members: Vec<Member> =
        (0..options.members.max(1)).map(|index| Member::start_on_free_port(&options, folder.path(), index)).collect();
    if options.members > 0 {
        initiate(&options, &mut members).await;
    }
    let uri = uri(&options, &members);
    let pids = members.iter().map(|member| Some(member.pid())).collect();
    let ports = members.iter().map(|member| member.port).collect();
    let _ = started.send(Started { uri: uri.clone(), ports, pids });

    let mut cleaner = None;
    while let Some(order) = orders.recv().await {
        match order {
            Order::Kill(member, done) => {
                members[member].kill();
                let _ = done.send(());
            }
            Order::Restart(member, done) => {
                members[member].kill();
                members[member].child = members[member].command.spawn().expect("mongod starts");
                members[member].wait_for_port().expect("mongod listens again");
                let _ = done.send(members[member].pid());
            }
            Order::DropDatabase(name) => {
                if cleaner.is_none() {
                    cleaner = Some(Client::with_uri_str(&uri).await.unwrap());
                }
                let database = cleaner.as_ref().unwrap().database(&name);
                let _ = tokio::time::timeout(Duration::from_secs(5), database.drop().into_future()).await;
            }
        }
    }
}

fn uri(options: &Options, members: &[Member]) -> String {
    let hosts: Vec<_> = members.iter().map(|m| SocketAddr::new(options.bind, m.port).to_string()).collect();
    let (user, source) =
        if options.auth { (format!("{USER}:{PASSWORD}@"), "&authSource=admin") } else { (String::new(), "") };
    let set = if options.members > 0 { "replicaSet=t" } else { "retryWrites=true" };
    format!("mongodb://{user}{}/?{set}{source}", hosts.join(","))
}

/// The files of a set, removed by a process that outlives this one by a moment.
struct Folder {
    path: PathBuf,
    remover: Child,
}

impl Folder {
    fn make() -> Self {
        let path = tempfile::Builder::new().prefix("postern-mongod-").tempdir().unwrap().keep();
        let remover = Command::new("sh")
            .args(["-c", r#"cat >/dev/null; until rm -rf "$1" 2>/dev/null; do :; done"#, "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { path, remover }
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.remover.stdin.take();
        let _ = self.remover.wait();
    }
}

/// One `mongod`.
struct Member {
    command: Command,
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Member {
    fn start_on_free_port(options: &Options, folder: &Path, index: usize) -> Self {
        loop {
            let port = TcpListener::bind((options.bind, 0)).unwrap().local_addr().unwrap().port();
            let mut command = command(options, folder, index, port);
            let child = command.spawn().expect("mongod starts");
            let log = folder.join(format!("{index}.log"));
            let mut member = Self { command, child, port, log };
            match member.wait_for_port() {
                Ok(()) => return member,
                Err(status) if status.code() == Some(48) => {} // the port was taken in between
                Err(status) => panic!("mongod ended with {status}: {}", fs::read_to_string(&member.log).unwrap()),
            }
        }
    }

    fn wait_for_port(&mut self) -> Result<(), std::process::ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(status);
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "mongod does not listen: {}", fs::read_to_string(&self.log).unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    async fn direct(&self, credentials: &str) -> Client {
        let uri = format!("mongodb://{credentials}127.0.0.1:{}/?directConnection=true", self.port);
        Client::with_options(ClientOptions::parse(uri).await.unwrap()).unwrap()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

fn command(options: &Options, folder: &Path, index: usize, port: u16) -> Command {
    let data = folder.join(index.to_string());
    fs::create_dir_all(&data).unwrap();
    let listen =
        if options.bind.is_loopback() { options.bind.to_string() } else { format!("127.0.0.1,{}", options.bind) };
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(binary());
    if options.members > 0 {
        command.args(["--replSet", "t"]);
    }
    command.args(["--nounixsocket", "--oplogSize", "16", "--wiredTigerCacheSizeGB", "0.25"]);
    // Without these, every folder costs 300 MB of preallocated journal, and the files of databases that were dropped or
    // are not looked at any more stay open until there are too many.
    command.args(["--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=16MB),file_manager=(close_handle_minimum=500,close_idle_time=10,close_scan_interval=5)"]);
    for parameter in ["diagnosticDataCollectionEnabled=false", "ttlMonitorSleepSecs=1", "enableTestCommands=1"] {
        command.args(["--setParameter", parameter]);
    }
    command.args(["--port", &port.to_string(), "--bind_ip", &listen]).arg("--dbpath").arg(data);
    command.arg("--logpath").arg(folder.join(format!("{index}.log"))).arg("--logappend");
    if options.auth {
        let key = folder.join("key");
        if !key.exists() {
            use std::os::unix::fs::PermissionsExt as _;
            fs::write(&key, random_hex()).unwrap();
            fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
        }
        command.arg("--keyFile").arg(key);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Makes a set of the members, and waits until it can be written to.
async fn initiate(options: &Options, members: &mut [Member]) {
    let first = members[0].direct("").await;
    let hosts: Vec<Document> = members
        .iter()
        .enumerate()
        .map(|(index, member)| {
            let id = i32::try_from(index).unwrap();
            doc! { "_id": id, "host": SocketAddr::new(options.bind, member.port).to_string() }
        })
        .collect();
    // The short times make a set of three writable in 3 s rather than 13.
    let settings = doc! { "electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200 };
    let config = doc! { "_id": "t", "members": hosts, "settings": settings };
    first.database("admin").run_command(doc! { "replSetInitiate": config }).await.expect("initiating the set");
    wait_for_primary(&first).await;
    if options.auth {
        // The first user may be made from this machine without being one.
        let user = doc! { "createUser": USER, "pwd": PASSWORD_PLAIN, "roles": ["root"] };
        first.database("admin").run_command(user).await.expect("making the first user");
    }
    let credentials = if options.auth { format!("{USER}:{PASSWORD}@") } else { String::new() };
    for member in members.iter() {
        if options.auth && members.len() > 1 {
            break; // the user reaches the other members a moment later
        }
        // A leftover of another run on the same port would answer as well.
        let admin = member.direct(&credentials).await.database("admin");
        let status = admin.run_command(doc! { "serverStatus": 1 }).await.expect("serverStatus");
        let pid = status.get_i64("pid").unwrap_or_default();
        assert_eq!(pid, i64::from(member.pid().as_raw_nonzero().get()), "another mongod sits on port {}", member.port);
    }
}

async fn wait_for_primary(client: &Client) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let hello = client.database("admin").run_command(doc! { "hello": 1 }).await.expect("hello");
        if hello.get_bool("isWritablePrimary").unwrap_or(false) {
            return;
        }
        assert!(Instant::now() < deadline, "the set elects no primary: {hello}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
