//! Certificates seen by a second library: `openssl` has to agree with what Postern believes it signed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use jiff::{SignedDuration, Timestamp};
use postern::domain::authority::AuthorityKind;
use postern::domain::clock::{Clock, SystemClock};
use postern::domain::ids::{Id, ProfileId};
use postern::pki::authority::{Authority, Certificate};
use postern::pki::request::{LeafKey, PublicKey};
use tempfile::TempDir;

/// A root of each kind, and a folder for what `openssl` reads.
struct Roots {
    folder: TempDir,
    client: Authority,
    server: Authority,
    now: Timestamp,
}

impl Roots {
    fn new() -> Self {
        let now = SystemClock.now();
        let root = |kind| {
            let new = Authority::create(kind, "aut_1", now).unwrap();
            Authority::load(kind, &new.certificate_pem, new.key_pem.expose()).unwrap()
        };
        let (client, server) = (root(AuthorityKind::Client), root(AuthorityKind::Server));
        Self { folder: tempfile::tempdir().unwrap(), client, server, now }
    }

    fn end(&self) -> Timestamp {
        self.now + SignedDuration::from_hours(24 * 30)
    }

    fn profile(&self) -> (ProfileId, Certificate) {
        let id = ProfileId::from_parts(self.now, 7);
        let key = LeafKey::generate().unwrap().public_key();
        (id, self.client.issue_client(&key, id, self.now, self.end()).unwrap())
    }

    fn host(&self) -> Certificate {
        let request = LeafKey::generate().unwrap().csr_pem().unwrap();
        self.server.sign_host_csr(&request, "postern-c1", self.now, self.end()).unwrap()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Whether `openssl verify` accepts `certificate` under `root` for `purpose` (`sslclient` or `sslserver`).
    fn verifies(&self, certificate: &Certificate, root: &Authority, purpose: &str) -> bool {
        let root = self.file("root.pem", root.certificate_pem());
        let leaf = self.file("leaf.pem", &certificate.pem);
        let arguments = ["verify", "-x509_strict", "-purpose", purpose, "-CAfile"];
        openssl(&arguments, &[&root, &leaf]).status.success()
    }

    fn text(&self, certificate: &str) -> String {
        let path = self.file("shown.pem", certificate);
        let output = openssl(&["x509", "-noout", "-text", "-fingerprint", "-sha256", "-serial", "-in"], &[&path]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn openssl(arguments: &[&str], files: &[&Path]) -> Output {
    Command::new("openssl").args(arguments).args(files).output().expect("openssl is installed")
}

/// The text with all white space made single, so that layout does not matter.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn openssl_accepts_each_leaf_for_its_purpose_only() {
    let roots = Roots::new();
    let (_, profile) = roots.profile();
    let host = roots.host();
    assert!(roots.verifies(&profile, &roots.client, "sslclient"));
    assert!(roots.verifies(&host, &roots.server, "sslserver"));
    assert!(!roots.verifies(&profile, &roots.client, "sslserver"), "a profile must not act as server");
    assert!(!roots.verifies(&host, &roots.server, "sslclient"), "a host must not act as client");
    assert!(!roots.verifies(&profile, &roots.server, "sslclient"), "the roots are two");
    assert!(!roots.verifies(&host, &roots.client, "sslserver"), "the roots are two");
}

#[test]
fn openssl_reads_the_certificate_that_was_meant() {
    let roots = Roots::new();
    let (id, profile) = roots.profile();
    let text = flat(&roots.text(&profile.pem));
    let fingerprint: Vec<_> = profile.fingerprint_sha256.iter().map(|byte| format!("{byte:02X}")).collect();
    for fact in [
        "Version: 3",
        "Signature Algorithm: ecdsa-with-SHA256",
        "Issuer: CN = Postern client root aut_1",
        &format!("Subject: CN = {id}"),
        "NIST CURVE: P-256",
        "X509v3 Key Usage: critical Digital Signature X509v3",
        "X509v3 Extended Key Usage: TLS Web Client Authentication X509v3",
        "X509v3 Basic Constraints: critical CA:FALSE",
        &format!("X509v3 Subject Alternative Name: URI:urn:postern:profile:{id} X509v3"),
        &format!("Fingerprint={}", fingerprint.join(":")),
        &format!("serial={}", profile.serial.to_uppercase()),
    ] {
        assert!(text.contains(fact), "{fact:?} is not in {text}");
    }
}

#[test]
fn openssl_reads_the_root_that_was_meant() {
    let roots = Roots::new();
    let text = flat(&roots.text(roots.server.certificate_pem()));
    for fact in [
        "Subject: CN = Postern server root aut_1",
        "X509v3 Basic Constraints: critical CA:TRUE, pathlen:0",
        "X509v3 Key Usage: critical Certificate Sign, CRL Sign",
    ] {
        assert!(text.contains(fact), "{fact:?} is not in {text}");
    }
}

#[test]
fn a_request_made_by_openssl_is_signed() {
    let roots = Roots::new();
    let key = roots.folder.path().join("key.pem");
    let request = roots.folder.path().join("request.pem");
    let arguments = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let extra =
        ["-subj", "/CN=mallory", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "1.2.3.4=ASN1:NULL"];
    let output = Command::new("openssl")
        .args(arguments)
        .args(extra)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&request)
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "{output:?}");
    let request = std::fs::read_to_string(request).unwrap();
    let certificate = roots.server.sign_host_csr(&request, "postern-c1", roots.now, roots.end()).unwrap();
    assert!(roots.verifies(&certificate, &roots.server, "sslserver"));
    let text = flat(&roots.text(&certificate.pem));
    assert!(text.contains("Subject: CN = postern-c1"), "{text}");
    assert!(text.contains("CA:FALSE") && !text.contains("mallory") && !text.contains("1.2.3.4"), "{text}");
}

#[test]
fn openssl_accepts_our_request() {
    let roots = Roots::new();
    let key = LeafKey::generate().unwrap();
    let request = roots.file("request.pem", &key.csr_pem().unwrap());
    let output = openssl(&["req", "-noout", "-verify", "-in"], &[&request]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(PublicKey::from_csr_pem(&key.csr_pem().unwrap()).unwrap(), key.public_key());
}
