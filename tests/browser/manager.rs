//! NetworkManager, private to one machine of the laboratory: a message bus, the daemon and its OpenVPN plug-in, without
//! systemd, touching no device.
//!
//! `nmcli connection import` needs the daemon (its `--offline` does not do imports). The daemon runs on a bus of its own
//! and with a `/run` of its own, so one that the machine may have does not hear of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::netns::Namespace;
use crate::wait::wait_until;

const START: Duration = Duration::from_secs(20);

/// Anybody who reaches the socket may do anything: the folder is the test's.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=FOLDER/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/><allow user="*"/></policy></busconfig>"#;

const DAEMON: &str = "[main]\nplugins=keyfile\nno-auto-default=*\nauth-polkit=false\ndns=none\nrc-manager=unmanaged\n\
    [keyfile]\npath=FOLDER/connections\nunmanaged-devices=*\n[connectivity]\nenabled=false\n";

/// A running NetworkManager. Ended, with its bus, when dropped.
pub(crate) struct Manager {
    children: Vec<Child>,
    folder: PathBuf,
}

impl Manager {
    /// Starts it in a new folder of the test.
    pub(crate) fn start(namespace: &Arc<Namespace>, folder: &Path) -> Self {
        for part in ["connections", "empty", "home"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        let write = |name: &str, text: &str| {
            fs::write(folder.join(name), text.replace("FOLDER", &folder.display().to_string())).unwrap();
        };
        write("bus.conf", BUS);
        write("daemon.conf", DAEMON);
        let mut manager = Self { children: Vec::new(), folder: folder.to_owned() };
        manager.spawn(namespace, "exec dbus-daemon --config-file=$PWD/bus.conf --nofork --nopidfile");
        wait_until("the message bus to listen (package dbus)", START, || folder.join("bus").exists());
        manager.spawn(
            namespace,
            "mount -t tmpfs none /run && exec NetworkManager --no-daemon --config=$PWD/daemon.conf --config-dir=$PWD/empty \
             --system-config-dir=$PWD/empty --intern-config=$PWD/intern.conf --state-file=$PWD/state --pid-file=$PWD/pid",
        );
        wait_until("NetworkManager to answer (package network-manager)", START, || {
            for child in &mut manager.children {
                assert!(child.try_wait().unwrap().is_none(), "it ended: {}", manager_log(folder));
            }
            nmcli(folder, &["general", "status"]).output().unwrap().status.success()
        });
        manager
    }

    fn spawn(&mut self, namespace: &Namespace, line: &str) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log")).unwrap();
        let child = namespace
            .command("sh")
            .args(["-c", line])
            .current_dir(&self.folder)
            .env("DBUS_SYSTEM_BUS_ADDRESS", address(&self.folder))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("ip runs");
        self.children.push(child);
    }

    /// Imports a profile as a person would; returns the options that the plug-in took from it, as one line.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub(crate) fn import(&self, profile: &Path) -> String {
        let file = profile.to_str().unwrap();
        self.nmcli(&["connection", "import", "type", "openvpn", "file", file]);
        let id = profile.file_stem().unwrap().to_str().unwrap();
        self.nmcli(&["--escape", "no", "-g", "vpn.data", "connection", "show", id])
    }

    #[track_caller]
    fn nmcli(&self, arguments: &[&str]) -> String {
        let output = nmcli(&self.folder, arguments).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "nmcli {arguments:?}: {said}{complaint}");
        said
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- NetworkManager and its bus\n{}", manager_log(&self.folder));
        }
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn address(folder: &Path) -> String {
    format!("unix:path={}/bus", folder.display())
}

fn nmcli(folder: &Path, arguments: &[&str]) -> Command {
    let mut nmcli = Command::new("nmcli");
    // The plug-in puts keys into the person's home.
    nmcli.args(arguments).env("DBUS_SYSTEM_BUS_ADDRESS", address(folder)).env("HOME", folder.join("home"));
    nmcli.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    nmcli
}

fn manager_log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}
