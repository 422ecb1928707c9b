//! The certified `OpenID` provider `oidc-provider`, as a process (`oidc-provider/provider.js`).
//!
//! It has real pages, redirects and keys. Anybody can sign in there by any e-mail address; the claims follow from it,
//! unless [`Options::people`] says otherwise. It listens on loopback by plain HTTP, or, with a [`Tls`], by https on an
//! address of a network namespace. `deploy/dev/setup.sh` installs what it needs.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use postern::runtime::random;
use serde_json::{Map, Value, json};

use super::netns::Namespace;

/// How to start it.
#[derive(Default)]
pub(crate) struct Options<'a> {
    /// Where it may send browsers back to.
    pub(crate) redirect_uris: &'a [&'a str],
    /// By e-mail address, claims that differ from the usual ones; null leaves one out.
    pub(crate) people: Map<String, Value>,
    /// Where it runs and what it shows, if not on this machine's loopback.
    pub(crate) elsewhere: Option<(&'a Namespace, &'a str, Tls)>,
}

/// A certificate with its key, and the one to trust for it.
#[derive(Clone)]
pub(crate) struct Tls {
    cert: String,
    key: String,
}

impl Tls {
    /// A new self-signed one for `address`.
    pub(crate) fn new(address: &str) -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed([address.to_owned()]).unwrap();
        Self { cert: cert.pem(), key: signing_key.serialize_pem() }
    }

    /// The certificate in PEM: what `SSL_CERT_FILE` of a Postern must point to.
    pub(crate) fn certificate(&self) -> &str {
        &self.cert
    }
}

/// A running provider; killed when dropped.
pub(crate) struct OidcProvider {
    /// The issuer's URL.
    pub(crate) issuer: String,
    /// Our name there.
    pub(crate) client_id: String,
    /// Our password there.
    pub(crate) client_secret: String,
    child: Child,
    /// Kept open: it may say more, and must not fail at that.
    _output: BufReader<ChildStdout>,
}

impl OidcProvider {
    /// Starts it and returns when it listens.
    ///
    /// # Panics
    /// When it does not start, in words.
    pub(crate) fn start(options: Options<'_>) -> Self {
        let folder = folder();
        assert!(folder.join("node_modules").is_dir(), "oidc-provider is not installed: run deploy/dev/setup.sh");
        let client_id = "postern".to_owned();
        let client_secret = data_encoding::HEXLOWER.encode(&random::bytes::<32>());
        let mut settings = json!({
            "client_id": client_id,
            "client_secret": client_secret,
            "redirect_uris": options.redirect_uris,
            "people": options.people,
        });
        let mut command = Command::new("node");
        if let Some((namespace, address, tls)) = options.elsewhere {
            settings["host"] = json!(address);
            settings["tls"] = json!({ "cert": tls.cert, "key": tls.key });
            command = namespace.command("node");
        }
        let mut child = command
            .arg(folder.join("provider.js"))
            .arg(settings.to_string())
            // It ends when its input does, so it does not outlive a test run that is killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|cause| panic!("node does not start ({cause}): run deploy/dev/setup.sh"));
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            child.kill().ok();
            panic!("oidc-provider did not start; its words are above")
        });
        Self { issuer: said["issuer"].as_str().unwrap().to_owned(), client_id, client_secret, child, _output: output }
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/oidc-provider")
}
