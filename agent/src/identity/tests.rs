use rcgen::{
    BasicConstraints, CertificateSigningRequestParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose,
    IsCa, SanType,
};

use super::*;

/// A CA as the controller has one.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// A controller's certificate and key, valid from `from` to `to` (years).
    pub(crate) fn controller(&self, name: &str, years: (i32, i32)) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        (params.signed_by(&key, &self.0).unwrap().der().to_vec(), key.serialize_der())
    }

    /// Issues a host's certificate for a request, valid from yesterday for `days`.
    pub(crate) fn issue(&self, csr: &[u8], host: &str, days: u64) -> Vec<u8> {
        self.issue_aged(csr, host, 1, days)
    }

    /// The same, valid since `age` days.
    pub(crate) fn issue_aged(&self, csr: &[u8], host: &str, age: u64, days: u64) -> Vec<u8> {
        let day = std::time::Duration::from_secs(86_400);
        let from = std::time::SystemTime::now() - day * age as u32;
        let mut csr = CertificateSigningRequestParams::from_der(&csr.into()).unwrap();
        csr.params.subject_alt_names =
            vec![SanType::URI(format!("{HOST}{host}").as_str().try_into().unwrap())];
        csr.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        csr.params.not_before = from.into();
        csr.params.not_after = (from + day * days as u32).into();
        csr.signed_by(&self.0).unwrap().der().to_vec()
    }
}

const HOST: &str = tls::HOST_URI_PREFIX;
const ONE: &str = "0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6b";
const TWO: &str = "0190b6a5-7c1e-7c3a-9f00-1c2d3e4f5a6c";

struct Enrolled {
    ca: Ca,
    paths: Paths,
    identity: Identity,
    _directory: tempfile::TempDir,
}

fn enrolled() -> Enrolled {
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::default().below(directory.path());
    let (ca, key) = (Ca::new(), HostKey::generate().unwrap());
    let certificate = ca.issue(&key.request().unwrap(), ONE, 30);
    let identity = Identity::install(&paths, key, &ca.der(), &certificate, None).unwrap();
    Enrolled { ca, paths, identity, _directory: directory }
}

#[test]
fn an_enrolled_host_knows_itself_after_a_restart() {
    let host = enrolled();
    let again = Identity::load(&host.paths).unwrap();
    assert_eq!(again.host().to_string(), ONE);
    assert_eq!(again.facts(), host.identity.facts());
    assert_eq!(again.facts().renew_at().since(again.facts().from), 20 * 86_400_000);
    again.tls().unwrap();
    for name in ["key.pem", "cert.pem"] {
        let mode = std::fs::metadata(host.paths.state.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn each_thing_that_is_wrong_with_an_identity_says_what_to_do() {
    let host = enrolled();
    let state = |name: &str| host.paths.state.join(name);
    let good = std::fs::read(state("cert.pem")).unwrap();
    let error = || Identity::load(&host.paths).unwrap_err().to_string();

    std::fs::write(state("cert.pem"), "junk").unwrap();
    assert!(error().contains("enrol again"), "{}", error());
    let foreign = HostKey::generate().unwrap();
    let other = host.ca.issue(&foreign.request().unwrap(), ONE, 30);
    std::fs::write(state("cert.pem"), pem("CERTIFICATE", &other)).unwrap();
    assert!(error().contains("does not fit the key"), "{}", error());
    let other_host = host.ca.issue(&host.identity.key.request().unwrap(), TWO, 30);
    std::fs::write(state("cert.pem"), pem("CERTIFICATE", &other_host)).unwrap();
    assert!(error().contains(TWO), "{}", error());
    let other_ca = Ca::new().issue(&host.identity.key.request().unwrap(), ONE, 30);
    std::fs::write(state("cert.pem"), pem("CERTIFICATE", &other_ca)).unwrap();
    assert!(error().contains("not one of the CA"), "{}", error());

    std::fs::write(state("cert.pem"), good).unwrap();
    std::fs::set_permissions(state("key.pem"), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(error().contains("chmod 600"), "{}", error());
    std::fs::remove_file(state("key.pem")).unwrap();
    assert!(error().contains("sysop-agent enroll"), "{}", error());
}

#[test]
fn a_renewal_survives_a_crash_at_every_step() {
    for step in 0..5 {
        let host = enrolled();
        let key = HostKey::generate().unwrap();
        let certificate = host.ca.issue(&key.request().unwrap(), ONE, 60);
        let (key_pem, cert_pem) = (key.0.serialize_pem(), pem("CERTIFICATE", &certificate));
        let files = Files::of(&host.paths);
        let write = |path: &Path, text: &str| files::write(path, text.as_bytes(), 0o600, None).unwrap();
        if step >= 1 {
            write(&files.next_key, &key_pem);
        }
        if step >= 2 {
            write(&files.next_certificate, &cert_pem);
        }
        if step >= 3 {
            std::fs::rename(&files.next_certificate, &files.certificate).unwrap();
        }
        if step >= 4 {
            std::fs::rename(&files.next_key, &files.key).unwrap();
        }
        let names = || {
            let entries = std::fs::read_dir(&host.paths.state).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = (names(), std::fs::read(&files.key).unwrap());
        let looked_at = Identity::load(&host.paths).unwrap();
        assert_eq!((names(), std::fs::read(&files.key).unwrap()), before, "a look writes nothing");
        let found = Identity::take_up(&host.paths).unwrap();
        assert_eq!(looked_at.facts(), found.facts());
        let days = found.facts().to.since(found.facts().from) / 86_400_000;
        assert_eq!(days, if step >= 2 { 60 } else { 30 }, "step {step}");
        assert!(!files.next_key.exists() && !files.next_certificate.exists());
        assert_eq!(Identity::load(&host.paths).unwrap().facts(), found.facts());
    }
}

#[test]
fn a_renewed_certificate_for_another_host_or_key_is_not_taken() {
    let host = enrolled();
    let new = || HostKey::generate().unwrap();
    let (key, other) = (new(), new());
    let certificate = host.ca.issue(&other.request().unwrap(), ONE, 60);
    assert!(host.identity.renewed(&host.paths, key, &certificate).is_err());
    let key = new();
    let certificate = host.ca.issue(&key.request().unwrap(), TWO, 60);
    assert!(host.identity.renewed(&host.paths, key, &certificate).is_err());
    assert!(host.identity.renewed(&host.paths, new(), b"junk").is_err());
    assert_eq!(Identity::load(&host.paths).unwrap().facts(), host.identity.facts());

    let key = new();
    let certificate = host.ca.issue(&key.request().unwrap(), ONE, 60);
    let renewed = host.identity.renewed(&host.paths, key, &certificate).unwrap();
    assert_eq!(Identity::load(&host.paths).unwrap().facts(), renewed.facts());
}
