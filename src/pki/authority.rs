//! The two roots and their signatures.
//!
//! A root is made once ([`Authority::create`]); its private key goes to the caller, who seals it. Where certificates
//! are issued, the authority is loaded once and kept: signing is then a fraction of a millisecond.

use std::time::Duration;

use data_encoding::HEXLOWER;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use sha2::{Digest, Sha256};

use super::key::PrivateKey;
use super::request::PublicKey;
use super::{PkiError, read};
use domain::authority::AuthorityKind;
use domain::ids::ProfileId;
use domain::secret::Secret;
use runtime::random;

/// How long before the wanted moment a certificate begins to be valid, for clocks that are behind: laptops come out of a
/// drawer, and machines without a battery start a day back.
pub const SKEW: SignedDuration = SignedDuration::from_hours(48);

/// How long a root is valid.
pub const ROOT_LIFETIME: SignedDuration = SignedDuration::from_hours(5 * 365 * 24);

const LONGEST_NAME: usize = 40;

/// A root that was just made.
#[derive(Debug)]
pub struct NewAuthority {
    /// The self-signed certificate.
    pub certificate_pem: String,
    /// Its private key (PKCS #8), to be sealed at once.
    pub key_pem: Secret<String>,
}

/// A certificate that was just signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// PEM form.
    pub pem: String,
    /// SHA-256 over the DER form.
    pub fingerprint_sha256: [u8; 32],
    /// The serial number, lower-case hexadecimal.
    pub serial: String,
    /// The end of its validity; earlier than asked for if the root ends earlier.
    pub not_after: Timestamp,
}

/// A root with its private key, ready to sign.
pub struct Authority {
    kind: AuthorityKind,
    certificate_pem: String,
    not_after: Timestamp,
    issuer: Issuer<'static, PrivateKey>,
}

impl Authority {
    /// Makes a root, valid from `now` for [`ROOT_LIFETIME`], that signs leaves only (path length 0). `name` tells the
    /// roots of one cluster apart, for instance the authority's id: two roots with one subject confuse verifiers.
    ///
    /// # Errors
    /// [`PkiError::InvalidName`], [`PkiError::Signing`].
    pub fn create(kind: AuthorityKind, name: &str, now: Timestamp) -> Result<NewAuthority, PkiError> {
        check_name(name)?;
        let key = PrivateKey::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&format!("Postern {} root {name}", word(kind)));
        params.serial_number = Some(SerialNumber::from_slice(&new_serial()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now, now + ROOT_LIFETIME);
        Ok(NewAuthority { certificate_pem: params.self_signed(&key)?.pem(), key_pem: key.pem() })
    }

    /// The root with this certificate and private key (PKCS #8), to be kept while it is used.
    ///
    /// # Errors
    /// [`PkiError::InvalidCertificate`], [`PkiError::InvalidKey`]; [`PkiError::NotAnAuthority`] if the two are no pair
    /// or the certificate may not sign.
    pub fn load(kind: AuthorityKind, certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let not_one = |reason| PkiError::NotAnAuthority { reason };
        let facts = read::read_certificate(certificate_pem)?;
        if !facts.is_ca {
            return Err(not_one("its certificate may not sign others"));
        }
        let der = read::certificate_der(certificate_pem)?;
        let key = PrivateKey::from_pem(key_pem)?;
        if read::parse(&der)?.public_key().raw != key.subject_public_key_info() {
            return Err(not_one("its certificate and its private key are no pair"));
        }
        let issuer = Issuer::from_ca_cert_der(&der.into(), key)?;
        Ok(Self { kind, certificate_pem: certificate_pem.to_owned(), not_after: facts.not_after, issuer })
    }

    /// What this authority signs.
    pub fn kind(&self) -> AuthorityKind {
        self.kind
    }

    /// The root's own certificate, for those who are to trust it.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// When the root ends, and all that it signed with it.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Signs the certificate of a profile. Its subject is the profile's id, which it also carries as the URI
    /// `urn:postern:profile:<id>`.
    ///
    /// # Errors
    /// [`PkiError::WrongKind`] at a server authority, [`PkiError::Expired`], [`PkiError::Signing`].
    pub fn issue_client(
        &self,
        key: &PublicKey,
        profile: ProfileId,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<Certificate, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&profile.to_string());
        params.subject_alt_names = vec![SanType::URI(format!("urn:postern:profile:{profile}").try_into()?)];
        self.sign(AuthorityKind::Client, params, key, not_before, not_after)
    }

    /// Signs the certificate of a host's daemon. All hosts of a cluster have one `common_name`, so that profiles
    /// check it in a single line; of the request only the public key is taken.
    ///
    /// # Errors
    /// [`PkiError::InvalidRequest`], [`PkiError::InvalidName`], [`PkiError::WrongKind`] at a client authority,
    /// [`PkiError::Expired`], [`PkiError::Signing`].
    pub fn sign_host_csr(
        &self,
        csr_pem: &str,
        common_name: &str,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<Certificate, PkiError> {
        check_name(common_name)?;
        let key = PublicKey::from_csr_pem(csr_pem)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(common_name);
        self.sign(AuthorityKind::Server, params, &key, not_before, not_after)
    }

    /// Signs a leaf of `kind`; `params` has its names.
    fn sign(
        &self,
        kind: AuthorityKind,
        mut params: CertificateParams,
        key: &PublicKey,
        not_before: Timestamp,
        not_after: Timestamp,
    ) -> Result<Certificate, PkiError> {
        if kind != self.kind {
            return Err(PkiError::WrongKind { kind: self.kind });
        }
        let not_after = whole_seconds(not_after.min(self.not_after));
        if not_after <= not_before {
            return Err(PkiError::Expired { not_after });
        }
        let serial = new_serial();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![key_usage(kind)];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, not_before, not_after);
        let certificate = params.signed_by(&key.0, &self.issuer)?;
        Ok(Certificate {
            fingerprint_sha256: Sha256::digest(certificate.der()).into(),
            pem: certificate.pem(),
            serial: HEXLOWER.encode(&serial),
            not_after,
        })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("kind", &self.kind)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// The kind as a word for people.
pub(super) fn word(kind: AuthorityKind) -> &'static str {
    match kind {
        AuthorityKind::Client => "client",
        AuthorityKind::Server => "server",
    }
}

fn key_usage(kind: AuthorityKind) -> ExtendedKeyUsagePurpose {
    match kind {
        AuthorityKind::Client => ExtendedKeyUsagePurpose::ClientAuth,
        AuthorityKind::Server => ExtendedKeyUsagePurpose::ServerAuth,
    }
}

/// Ids and host names pass; what people type freely does not (RFC 5280 allows 64 characters in a common name, and a
/// root's has a beginning of its own).
fn check_name(name: &str) -> Result<(), PkiError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain) {
        Ok(())
    } else {
        Err(PkiError::InvalidName)
    }
}

fn subject(common_name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, common_name);
    subject
}

/// 126 random bits in 16 bytes. The first two bits are 01: positive, and always of one length.
fn new_serial() -> [u8; 16] {
    let random = random::u128();
    (random >> 2 | 1 << 126).to_be_bytes()
}

/// Certificates know whole seconds only.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Sets the validity, with [`SKEW`]. Before 1970 certificates do not go.
fn set_validity(params: &mut CertificateParams, not_before: Timestamp, not_after: Timestamp) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since_epoch = |at: Timestamp| Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0));
    params.not_before = epoch + since_epoch(not_before - SKEW);
    params.not_after = epoch + since_epoch(not_after);
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use x509_parser::extensions::ParsedExtension;

    use super::*;
    use crate::request::LeafKey;
    use domain::ids::Id as _;

    fn now() -> Timestamp {
        "2026-11-23T21:20:00.75Z".parse().unwrap()
    }

    fn in_days(days: i64) -> Timestamp {
        now() + SignedDuration::from_hours(24 * days)
    }

    fn profile() -> ProfileId {
        ProfileId::from_parts(now(), random::u128())
    }

    fn authority(kind: AuthorityKind) -> Authority {
        let new = Authority::create(kind, "aut_1", now()).unwrap();
        Authority::load(kind, &new.certificate_pem, new.key_pem.expose()).unwrap()
    }

    fn client_certificate(authority: &Authority, not_after: Timestamp) -> Result<Certificate, PkiError> {
        authority.issue_client(&LeafKey::generate().unwrap().public_key(), profile(), now(), not_after)
    }

    #[test]
    fn a_root_signs_leaves_only_and_ends() {
        let root = authority(AuthorityKind::Client);
        let facts = read::read_certificate(root.certificate_pem()).unwrap();
        assert!(facts.is_ca);
        assert_eq!(facts.common_name.as_deref(), Some("Postern client root aut_1"));
        assert_eq!(facts.not_before, whole_seconds(now() - SKEW));
        assert_eq!(facts.not_after, whole_seconds(now() + ROOT_LIFETIME));
        let der = read::certificate_der(root.certificate_pem()).unwrap();
        let constraints = read::parse(&der).unwrap().basic_constraints().unwrap().unwrap().value.clone();
        assert_eq!(constraints.path_len_constraint, Some(0));
    }

    #[test]
    fn what_was_signed_is_what_is_read_back() {
        let root = authority(AuthorityKind::Client);
        let id = profile();
        let key = LeafKey::generate().unwrap().public_key();
        let certificate = root.issue_client(&key, id, now(), in_days(90)).unwrap();
        let facts = read::read_certificate(&certificate.pem).unwrap();
        assert_eq!(facts.fingerprint, certificate.fingerprint_sha256);
        assert_eq!(facts.serial, certificate.serial);
        assert_eq!(facts.not_after, certificate.not_after);
        assert_eq!(facts.not_before, whole_seconds(now() - SKEW));
        assert_eq!(facts.common_name, Some(id.to_string()));
        assert!(!facts.is_ca);
        let der = read::certificate_der(&certificate.pem).unwrap();
        let read = read::parse(&der).unwrap();
        let uri = format!("urn:postern:profile:{id}");
        let names = &read.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(names, &[x509_parser::extensions::GeneralName::URI(&uri)]);
    }

    #[test]
    fn a_hosts_names_and_extensions_are_ours() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut hostile = CertificateParams::new(["evil.example.com".to_owned()]).unwrap();
        hostile.distinguished_name = subject("evil");
        hostile.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        hostile.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        hostile.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
        hostile.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0])];
        let request = hostile.serialize_request(&key).unwrap().pem().unwrap();

        let root = authority(AuthorityKind::Server);
        let certificate = root.sign_host_csr(&request, "postern-c1", now(), in_days(30)).unwrap();
        let der = read::certificate_der(&certificate.pem).unwrap();
        let read = read::parse(&der).unwrap();
        assert_eq!(read.subject().to_string(), "CN=postern-c1");
        assert!(read.subject_alternative_name().unwrap().is_none());
        for extension in read.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => assert!(!constraints.ca),
                ParsedExtension::KeyUsage(usage) => assert_eq!(usage.flags, 1, "digitalSignature alone"),
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    assert!(usage.server_auth && !usage.client_auth && !usage.any && usage.other.is_empty());
                }
                ParsedExtension::SubjectKeyIdentifier(_) | ParsedExtension::AuthorityKeyIdentifier(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    #[test]
    fn an_authority_signs_its_own_kind_only() {
        let result = client_certificate(&authority(AuthorityKind::Server), in_days(90));
        assert!(matches!(result, Err(PkiError::WrongKind { kind: AuthorityKind::Server })));
        let request = LeafKey::generate().unwrap().csr_pem().unwrap();
        let result = authority(AuthorityKind::Client).sign_host_csr(&request, "postern", now(), in_days(30));
        assert!(matches!(result, Err(PkiError::WrongKind { kind: AuthorityKind::Client })));
    }

    #[test]
    fn a_leaf_ends_with_its_root_at_the_latest() {
        let root = authority(AuthorityKind::Client);
        let certificate = client_certificate(&root, in_days(9 * 365)).unwrap();
        assert_eq!(certificate.not_after, whole_seconds(now() + ROOT_LIFETIME));
        let late = root.issue_client(
            &LeafKey::generate().unwrap().public_key(),
            profile(),
            now() + ROOT_LIFETIME + 1.hours(),
            in_days(9 * 365),
        );
        assert!(matches!(late, Err(PkiError::Expired { .. })));
    }

    #[test]
    fn serials_are_long_positive_and_never_repeat() {
        let serials: std::collections::BTreeSet<_> = (0..1000).map(|_| new_serial()).collect();
        assert_eq!(serials.len(), 1000);
        assert!(serials.iter().all(|serial| serial[0] >> 6 == 1));
    }

    #[test]
    fn free_text_never_becomes_a_name() {
        let request = LeafKey::generate().unwrap().csr_pem().unwrap();
        let root = authority(AuthorityKind::Server);
        for name in ["", "a b", "a\n", "ä", "a,CN=b", "\"", &"a".repeat(41)] {
            let created = Authority::create(AuthorityKind::Server, name, now());
            assert!(matches!(created, Err(PkiError::InvalidName)), "{name:?}");
            let signed = root.sign_host_csr(&request, name, now(), in_days(30));
            assert!(matches!(signed, Err(PkiError::InvalidName)), "{name:?}");
        }
    }

    #[test]
    fn a_mismatched_pair_is_no_authority() {
        let [one, two] = [(); 2].map(|()| Authority::create(AuthorityKind::Client, "aut_1", now()).unwrap());
        let result = Authority::load(AuthorityKind::Client, &one.certificate_pem, two.key_pem.expose());
        assert!(matches!(result, Err(PkiError::NotAnAuthority { .. })));
        let leaf = LeafKey::generate().unwrap();
        let root = authority(AuthorityKind::Client);
        let certificate = root.issue_client(&leaf.public_key(), profile(), now(), in_days(90)).unwrap();
        let result = Authority::load(AuthorityKind::Client, &certificate.pem, leaf.pem().expose());
        assert!(matches!(result, Err(PkiError::NotAnAuthority { .. })));
        let result = Authority::load(AuthorityKind::Client, one.key_pem.expose(), one.key_pem.expose());
        assert!(matches!(result, Err(PkiError::InvalidCertificate { .. })));
    }

    #[test]
    fn debug_shows_no_key() {
        let root = authority(AuthorityKind::Client);
        assert!(!format!("{root:?}").to_lowercase().contains("key"));
    }
}
