//! A real browser: Debian's Chromium, driven by its `chromedriver`.
//!
//! WebDriver (W3C) is HTTP with JSON on loopback, so the plain HTTP client of the tests speaks it; a client crate would
//! bring an async runtime into tests whose threads move between network namespaces. What WebDriver cannot do (colour
//! scheme, size of the viewport) goes through the driver's own door to the DevTools protocol.
//!
//! A browser is empty at its start, keeps everything in a folder of its own, and is gone, with its driver, when
//! dropped. When a test fails while it has one, that tells where the browser was and what it saw.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use ureq::http::Request;

use crate::netns::Namespace;
use crate::wait::{wait_for, wait_until};

/// How long a page may take to show what is expected of it, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The name under which WebDriver hands out elements (WebDriver, section 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Nothing of the machine, nothing of the internet, and room for shared memory where containers have little.
const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1024,900",
];

/// The colours that the operating system asks pages for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

impl Scheme {
    /// The value of `prefers-color-scheme`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// What a browser is to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// On which machine it runs; absent, on this one.
    pub(crate) namespace: Option<Arc<Namespace>>,
    /// Whether its person has switched scripts off.
    pub(crate) without_script: bool,
    /// Where names lead, as Chromium's `--host-resolver-rules` has it: `MAP vpn.example.com 127.0.0.1`.
    pub(crate) names: Option<String>,
    /// The sites, with commas between them, that it takes for ones with TLS, which a company has and a test has not.
    pub(crate) secure: Option<String>,
    /// What it says it is, instead of the truth.
    pub(crate) user_agent: Option<String>,
}

/// A running browser with one tab.
pub(crate) struct Browser {
    driver: Child,
    chromium: Option<Pid>,
    session: String,
    agent: ureq::Agent,
    namespace: Option<Arc<Namespace>>,
    scripted: bool,
    folder: tempfile::TempDir,
}

impl Browser {
    /// Starts one and waits until it takes commands.
    ///
    /// # Panics
    /// When chromium or chromedriver is missing or does not start.
    #[track_caller]
    pub(crate) fn start(options: &Options) -> Self {
        let folder = tempfile::Builder::new().prefix("postern-browser-").tempdir().unwrap();
        let downloads = folder.path().join("downloads");
        fs::create_dir(&downloads).unwrap();
        let mut command = match &options.namespace {
            Some(namespace) => namespace.command("chromedriver"),
            None => Command::new("chromedriver"),
        };
        let log = fs::File::create(folder.path().join("chromedriver.log")).unwrap();
        let mut driver = command
            .arg("--port=0")
            // Debian's launcher of Chromium reads these and nothing else of the person whose machine it is.
            .env("HOME", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .env("XDG_CACHE_HOME", folder.path())
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("chromedriver starts (package chromium-driver)");
        let port = port_of(&mut driver);
        let agent = ureq::Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_mins(1)))
            .build()
            .new_agent();
        let mut browser = Self {
            driver,
            chromium: None,
            session: format!("http://127.0.0.1:{port}/session"),
            agent,
            namespace: options.namespace.clone(),
            scripted: !options.without_script,
            folder,
        };
        browser.open(options);
        browser
    }

    fn open(&mut self, options: &Options) {
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={}", self.folder.path().join("profile").display()));
        flags.extend(options.names.as_ref().map(|rules| format!("--host-resolver-rules={rules}")));
        flags.extend(options.secure.as_ref().map(|site| format!("--unsafely-treat-insecure-origin-as-secure={site}")));
        flags.extend(options.user_agent.as_ref().map(|name| format!("--user-agent={name}")));
        let mut preferences = json!({
            "download.default_directory": self.downloads(),
            "download.prompt_for_download": false,
        });
        if options.without_script {
            preferences["profile.managed_default_content_settings.javascript"] = json!(2);
        }
        let answer = self.send(
            "POST",
            "",
            &json!({ "capabilities": { "alwaysMatch": {
                "browserName": "chrome",
                "acceptInsecureCerts": true,
                "pageLoadStrategy": "normal",
                "timeouts": { "implicit": 0, "pageLoad": 30_000, "script": 50_000 },
                "goog:loggingPrefs": { "browser": "ALL" },
                "goog:chromeOptions": { "binary": chromium(), "args": flags, "prefs": preferences },
            } } }),
        );
        let id = answer["sessionId"].as_str().unwrap_or_else(|| panic!("no session in {answer}"));
        self.session = format!("{}/{id}", self.session);
        let pid = answer["capabilities"]["goog:processID"].as_i64().expect("the driver tells Chromium's pid");
        self.chromium = Pid::from_raw(i32::try_from(pid).unwrap());
    }

    // ---- where it is

    /// Opens an address and waits until the page is there.
    #[track_caller]
    pub(crate) fn goto(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    /// The address of the page.
    pub(crate) fn url(&self) -> String {
        text(self.get("/url"))
    }

    /// The page's title.
    pub(crate) fn title(&self) -> String {
        text(self.get("/title"))
    }

    /// The document as it stands now, as HTML.
    pub(crate) fn source(&self) -> String {
        text(self.get("/source"))
    }

    /// Loads the page again.
    pub(crate) fn reload(&self) {
        self.post("/refresh", &json!({}));
    }

    /// What a person reads on the page. (WebDriver's own idea of it leaves `noscript` out even where it is shown.)
    pub(crate) fn text(&self) -> String {
        let script = json!({ "script": "return document.body?.innerText ?? ''", "args": [] });
        // Between two pages there is none to ask.
        self.try_send("POST", "/execute/sync", &script).map(text).unwrap_or_default()
    }

    /// Waits until the page says something.
    #[track_caller]
    pub(crate) fn wait_text(&self, expected: &str) {
        wait_until(&format!("the page to say {expected:?} (what it said is below)"), PATIENCE, || {
            self.text().contains(expected)
        });
    }

    /// Waits until the browser has come to an address that holds this.
    #[track_caller]
    pub(crate) fn wait_url(&self, part: &str) {
        wait_until(&format!("the browser to be at {part}"), PATIENCE, || self.url().contains(part));
    }

    // ---- what is on the page

    /// An attribute of the first element that a CSS selector finds.
    #[track_caller]
    pub(crate) fn attribute(&self, css: &str, name: &str) -> Option<String> {
        let element = self.need(css);
        self.get(&format!("/element/{element}/attribute/{name}")).as_str().map(str::to_owned)
    }

    /// Presses what a CSS selector finds.
    #[track_caller]
    pub(crate) fn click(&self, css: &str) {
        let element = self.need(css);
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Presses the link or button that a person reads under this name; it may still be on its way.
    #[track_caller]
    pub(crate) fn press(&self, name: &str) {
        let path = format!(
            "//button[normalize-space()=\"{name}\"] | //a[normalize-space()=\"{name}\"] | \
             //summary[normalize-space()=\"{name}\"] | //input[@type='submit' and @value=\"{name}\"]"
        );
        let element =
            wait_for(&format!("a button or link {name:?} on the page"), PATIENCE, || self.find_by("xpath", &path));
        self.post(&format!("/element/{element}/click"), &json!({}));
    }

    /// Types into the field that a CSS selector finds, in place of what was in it.
    #[track_caller]
    pub(crate) fn fill(&self, css: &str, value: &str) {
        let element = self.need(css);
        self.post(&format!("/element/{element}/clear"), &json!({}));
        self.post(&format!("/element/{element}/value"), &json!({ "text": value }));
    }

    /// Presses keys one after the other, wherever the focus is: characters, or WebDriver's codes for keys without one.
    #[track_caller]
    pub(crate) fn keys(&self, keys: &str) {
        let presses: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() })))
            .collect();
        self.post("/actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": presses }] }));
    }

    #[track_caller]
    fn need(&self, css: &str) -> String {
        wait_for(&format!("{css:?} on the page"), PATIENCE, || self.find(css))
    }

    fn find(&self, css: &str) -> Option<String> {
        self.find_by("css selector", css)
    }

    fn find_by(&self, using: &str, value: &str) -> Option<String> {
        let answer = self.try_send("POST", "/element", &json!({ "using": using, "value": value })).ok()?;
        answer[ELEMENT].as_str().map(str::to_owned)
    }

    // ---- looking at it

    /// Whether pages may run scripts, and wait for something in one.
    pub(crate) fn is_scripted(&self) -> bool {
        self.scripted
    }

    /// Runs a function body in the page, script or not; returns what it returned.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs a function body whose last argument is the function to call with the result.
    #[track_caller]
    pub(crate) fn run_async(&self, script: &str) -> Value {
        self.post("/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// What the operating system wishes for: these colours, and no motion, since what fades in is pale for a moment.
    pub(crate) fn prefer(&self, scheme: Scheme) {
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme.name() },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "media": "", "features": features }));
    }

    /// Gives the page this much room, in CSS pixels.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// By how many pixels the page is wider than its window.
    pub(crate) fn sideways(&self) -> i64 {
        let wider = "const page = document.scrollingElement; return page.scrollWidth - page.clientWidth;";
        self.run(wider).as_i64().unwrap()
    }

    /// Sends a command of the DevTools protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Keeps a picture of the whole page as `target/screenshots/NAME.png`.
    pub(crate) fn screenshot(&self, name: &str) {
        let picture = self.devtools("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
        let bytes = data_encoding::BASE64.decode(picture["data"].as_str().unwrap().as_bytes()).unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots").join(format!("{name}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// What has come to the console since it was last asked for, one line each.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({ "type": "browser" }));
        let line = |entry: &Value| format!("{}: {}", text(entry["level"].clone()), text(entry["message"].clone()));
        entries.as_array().into_iter().flatten().map(line).collect()
    }

    // ---- what it keeps

    /// Where downloads land.
    pub(crate) fn downloads(&self) -> PathBuf {
        self.folder.path().join("downloads")
    }

    /// Waits for a file that has been downloaded to its end, and takes it away: name and bytes.
    #[track_caller]
    pub(crate) fn take_download(&self) -> (String, Vec<u8>) {
        let path = wait_for("a downloaded file", PATIENCE, || {
            let files: Vec<_> = fs::read_dir(self.downloads()).unwrap().map(|file| file.unwrap().path()).collect();
            // While it comes in, the file is hidden or called .crdownload, and its place may be held by an empty one.
            let whole = |path: &&PathBuf| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                !name.starts_with('.') && !name.ends_with(".crdownload")
            };
            let all_whole = files.iter().filter(whole).count() == files.len();
            all_whole.then(|| files.into_iter().next()).flatten().filter(|path| path.metadata().unwrap().len() > 0)
        });
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        (path.file_name().unwrap().to_string_lossy().into_owned(), bytes)
    }

    /// The cookies that the page's site has set, `HttpOnly` or not: name and value.
    pub(crate) fn cookies(&self) -> Vec<(String, String)> {
        let cookies = self.get("/cookie");
        let pair = |cookie: &Value| (text(cookie["name"].clone()), text(cookie["value"].clone()));
        cookies.as_array().into_iter().flatten().map(pair).collect()
    }

    // ---- the protocol

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        self.send("GET", path, &Value::Null)
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.send("POST", path, body)
    }

    #[track_caller]
    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_send(method, path, body).unwrap_or_else(|error| panic!("the browser: {method} {path}: {error}"))
    }

    /// One command. An error is WebDriver's: a code, and what it says.
    fn try_send(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let exchange = || -> Result<Value, ureq::Error> {
            let request = Request::builder().method(method).uri(format!("{}{path}", self.session));
            let mut answer = match body {
                Value::Null => self.agent.run(request.body(()).unwrap())?,
                body => {
                    let request = request.header("content-type", "application/json");
                    self.agent.run(request.body(body.to_string()).unwrap())?
                }
            };
            // A picture of a long page is larger than what the client takes by itself.
            answer.body_mut().with_config().limit(64 << 20).read_json()
        };
        let answer = match &self.namespace {
            Some(namespace) => namespace.enter(exchange),
            None => exchange(),
        };
        let mut answer = answer.map_err(|error| error.to_string())?;
        let value = answer["value"].take();
        match value["error"].as_str() {
            Some(code) => Err(format!("{code}: {}", value["message"].as_str().unwrap_or_default())),
            None => Ok(value),
        }
    }

    fn tell_where_it_was(&self) {
        const EXCERPT: usize = 6_000;
        let ask = |path: &str| self.try_send("GET", path, &Value::Null).map_or_else(|error| error, text);
        eprintln!("---- the browser was at {} ({})", ask("/url"), ask("/title"));
        let source = ask("/source");
        eprintln!("{}", source.chars().take(EXCERPT).collect::<String>());
        if let Ok(entries) = self.try_send("POST", "/se/log", &json!({ "type": "browser" })) {
            eprintln!("---- its console");
            entries.as_array().into_iter().flatten().for_each(|entry| eprintln!("{}", entry["message"]));
        }
        let test = std::thread::current().name().unwrap_or("test").replace("::", "-");
        if let Ok(picture) = self.try_send("GET", "/screenshot", &Value::Null)
            && let Ok(bytes) = data_encoding::BASE64.decode(text(picture).as_bytes())
        {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
            let path = folder.join(format!("failed-{test}.png"));
            if fs::create_dir_all(&folder).and_then(|()| fs::write(&path, bytes)).is_ok() {
                eprintln!("---- a picture: {}", path.display());
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if self.chromium.is_some() {
            if std::thread::panicking() {
                self.tell_where_it_was();
            }
            let _ = self.try_send("DELETE", "", &Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // Mostly gone by now: the driver ends it with the session.
        if let Some(chromium) = self.chromium {
            let ours = || {
                let command = fs::read(format!("/proc/{}/cmdline", chromium.as_raw_nonzero())).unwrap_or_default();
                String::from_utf8_lossy(&command).contains(&*self.folder.path().to_string_lossy())
            };
            if ours() {
                let _ = kill_process(chromium, Signal::KILL);
            }
        }
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Chromium's program, in the words of the distribution.
fn chromium() -> &'static str {
    let found = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].into_iter().find(|path| Path::new(path).exists());
    found.expect("Chromium is installed (package chromium)")
}

/// Reads the port that the driver chose, and keeps the rest of what it says from filling the pipe.
fn port_of(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().unwrap());
    let mut said = String::new();
    loop {
        let before = said.len();
        let read = lines.read_line(&mut said).unwrap_or(0);
        assert!(read > 0, "chromedriver ended instead of starting: {said}");
        let port = said[before..].trim_end().strip_suffix('.').and_then(|line| line.rsplit_once("on port "));
        if let Some(port) = port.and_then(|(_, port)| port.parse().ok()) {
            std::thread::spawn(move || {
                let _ = lines.read_to_end(&mut Vec::new());
            });
            return port;
        }
    }
}
