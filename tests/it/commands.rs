//! The `postern` program on a machine of its own: a configuration, a data directory, and commands run to their end.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::mongod::{TestDatabase, binary, random_hex};

const POSTERN: &str = env!("CARGO_BIN_EXE_postern");
const PATIENCE: Duration = Duration::from_mins(1);

/// A configured machine. Its `serve` ends with it.
pub(crate) struct Installation {
    folder: tempfile::TempDir,
    /// Where the program is, for a machine whose processes run without root.
    confined: Option<PathBuf>,
    serve: Option<Child>,
    /// Which lines of the log are wanted, if not the usual ones.
    log: Option<&'static str>,
    /// Where the public listener is to be.
    pub(crate) public: u16,
    /// Where the admin listener is to be.
    pub(crate) admin: u16,
    /// Where the ops listener is to be.
    pub(crate) ops: u16,
}

impl Installation {
    /// One with a private database.
    pub(crate) fn private() -> Self {
        Self::with(&format!("[database]\nmongod = \"{}\"\n", binary().display()), "")
    }

    /// One with a shared database and a master key of its own.
    pub(crate) fn shared(database: &TestDatabase) -> Self {
        Self::with(&format!("[database]\nuri = \"{}\"\nname = \"{}\"\n", database.uri, database.name), "")
    }

    /// One with this table `database`, and more lines for the table `host`.
    pub(crate) fn with(database: &str, host: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut text = format!("[host]\nname = \"vpn-1\"\ndata_dir = \"{}\"\n", folder.path().join("data").display());
        writeln!(text, "public_address = \"203.0.113.10\"\n{host}\n{database}").unwrap();
        let [public, admin, ops] = free_ports();
        for (table, port) in [("public", public), ("admin", admin), ("ops", ops)] {
            writeln!(text, "[{table}]\nlisten = \"127.0.0.1:{port}\"").unwrap();
        }
        if database.contains("uri") {
            let key = folder.path().join("master.key");
            fs::write(&key, format!("{}\n", random_hex().repeat(4))).unwrap();
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
            writeln!(text, "[keys]\nmaster_key_file = \"{}\"", key.display()).unwrap();
        }
        fs::write(folder.path().join("postern.toml"), text).unwrap();
        fs::set_permissions(folder.path().join("postern.toml"), fs::Permissions::from_mode(0o600)).unwrap();
        Self { folder, confined: None, serve: None, log: None, public, admin, ops }
    }

    /// Where its files are: `postern.toml`, `data`, and `master.key` where it has one.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file of its configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder().join("postern.toml")
    }

    /// A command of this machine, not yet run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.confined {
            None => Command::new(POSTERN),
            Some(program) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
                command.args(["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--"]).arg(program);
                command
            }
        };
        command.args(arguments).arg("--config").arg(self.config()).stdin(Stdio::null());
        // What runs the tests must not configure the machine.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("POSTERN_")) {
            command.env_remove(name);
        }
        command.envs(self.log.map(|filter| ("POSTERN_LOG", filter)));
        command
    }

    /// From now on its processes say all that they can say.
    pub(crate) fn log_everything(&mut self) {
        self.log = Some("trace");
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::new(&self.command(arguments).output().unwrap())
    }

    /// Runs a command that must succeed, and answers what it printed.
    #[track_caller]
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "postern {arguments:?}: {ran:?}");
        ran.out
    }

    /// From now on its processes run as its service unit has them: as a user of their own, without any capability. All
    /// that they need lies in the machine's folder.
    pub(crate) fn confine(&mut self) {
        let program = self.folder().join("postern");
        fs::copy(POSTERN, &program).unwrap();
        let status = Command::new("chown").args(["--recursive", "65534:65534"]).arg(self.folder()).status().unwrap();
        assert!(status.success());
        self.confined = Some(program);
    }

    /// The user that `serve` runs as, and what it may do (capabilities(7), a mask).
    pub(crate) fn privileges(&self) -> (u32, u64) {
        let pid = self.serve.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().split_whitespace().next();
        let capabilities = u64::from_str_radix(field("CapEff:").unwrap(), 16).unwrap();
        (field("Uid:").unwrap().parse().unwrap(), capabilities)
    }

    /// Starts `serve`.
    pub(crate) fn start(&mut self) {
        let log = fs::File::create(self.folder().join("serve.log")).unwrap();
        let mut command = self.command(&["serve"]);
        self.serve = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// Starts `serve` and waits until it is ready.
    #[track_caller]
    pub(crate) fn serve(&mut self) {
        self.start();
        let deadline = Instant::now() + PATIENCE;
        let url = format!("http://127.0.0.1:{}/readyz", self.ops);
        while !ureq::get(&url).call().is_ok_and(|answer| answer.status() == 200) {
            let ended = self.serve.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "serve ended: {}", self.log());
            assert!(Instant::now() < deadline, "serve is not ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What `serve` has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder().join("serve.log")).unwrap()
    }

    /// Sends `serve` a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.serve.as_ref().unwrap()), signal).unwrap();
    }

    /// Ends `serve` as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut serve) = self.serve.take() {
            let _ = serve.kill();
            let _ = serve.wait();
        }
    }

    /// Ends `serve` as a service manager would.
    pub(crate) fn stop(&mut self) {
        if let Some(mut serve) = self.serve.take() {
            let _ = kill_process(Pid::from_child(&serve), Signal::TERM);
            let _ = serve.wait();
        }
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

fn free_ports() -> [u16; 3] {
    // All at once, so that they differ.
    [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap()).map(|listener| listener.local_addr().unwrap().port())
}
