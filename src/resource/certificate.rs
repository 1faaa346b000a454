//! Certificates and keys on disk. What is there already is checked and kept, never overwritten.

use std::collections::BTreeSet;

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use secrecy::ExposeSecret as _;
use time::OffsetDateTime;

use super::{Resource, file};
use crate::engine::hint::PathWord;
use crate::engine::{Change, Failure, FileMode, Hint, Planned, Probe, Result};
use crate::inventory::{EncryptionAlgorithm, LOOPBACK};
use crate::pki::{self, CertificateRequest, Issuer, Key, Problem, Severity};

/// A certificate with its key. `issuer` is the authority's certificate and key; none for an authority.
#[derive(Clone)]
pub struct Certificate {
    pub certificate: Utf8PathBuf,
    pub key: Utf8PathBuf,
    pub issuer: Option<(Utf8PathBuf, Utf8PathBuf)>,
    pub request: CertificateRequest,
    pub names: Names,
}

/// For which names a certificate may be valid beside those that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    Any,
    /// Loopback, which is asked for while workers balance by themselves, and which nodes may use for a while after that. No stranger gains by it.
    Loopback,
    None,
}

pub enum Observed {
    /// Neither is there; or only a key, which is taken up.
    Missing { is_external: bool },
    Found {
        certificate: String,
        key: Option<String>,
        issuer: Option<String>,
        has_issuer_key: bool,
        now: OffsetDateTime,
        /// What takes away rights that nobody but root should have.
        guards: Vec<Change>,
    },
}

#[async_trait]
impl Resource for Certificate {
    type Observed = Observed;

    async fn observe(&self, probe: &dyn Probe) -> Result<Observed> {
        let Some(certificate) = probe.read_text(&self.certificate).await? else {
            let is_external = match &self.issuer {
                Some((certificate, key)) => {
                    probe.stat(certificate).await?.is_some() && probe.stat(key).await?.is_none()
                }
                None => false,
            };
            return Ok(Observed::Missing { is_external });
        };
        let (issuer, has_issuer_key) = match &self.issuer {
            Some((certificate, key)) => (probe.read_text(certificate).await?, probe.stat(key).await?.is_some()),
            None => (None, false),
        };
        let key = probe.read_text(&self.key).await?;
        let mut guards = guard(probe, &self.key, FileMode::PRIVATE).await?;
        guards.extend(guard(probe, &self.certificate, FileMode::PUBLIC).await?);
        let now = OffsetDateTime::now_utc();
        Ok(Observed::Found { certificate, key, issuer, has_issuer_key, now, guards })
    }

    fn diff(&self, observed: Observed) -> Result<Planned> {
        let (certificate, key, issuer, has_issuer_key, now, guards) = match observed {
            Observed::Missing { is_external: true } => return Err(self.unsignable()),
            Observed::Missing { is_external: false } => return Ok(Planned::Changes(vec![self.issue()])),
            Observed::Found { certificate, key, issuer, has_issuer_key, now, guards } => {
                (certificate, key, issuer, has_issuer_key, now, guards)
            }
        };
        if key.is_none() && !self.request.is_ca {
            return Err(Failure::new(format!("{} is there, but its key {} is not", self.certificate, self.key))
                .hint(Hint::RestoreKey { certificate: PathWord::of(&self.certificate) }));
        }
        let mut problems = pki::check(&certificate, key.as_deref(), issuer.as_deref(), &self.request, now);
        problems.retain(|problem| problem.severity() == Severity::Error);
        let is_of_other_names = problems.iter().all(|problem| matches!(problem, Problem::MissingSan(_)))
            && (!problems.is_empty() || self.has_more_names(&certificate));
        if is_of_other_names && has_issuer_key {
            // The same key, signed anew.
            return Ok(Planned::Changes(guards.into_iter().chain([self.issue_anew(&certificate)]).collect()));
        }
        if problems.is_empty() {
            return Ok(Planned::of(guards));
        }
        let problems: Vec<String> = problems.iter().map(|problem| format!("the certificate {problem}")).collect();
        Err(Failure::new(format!("{} is there already and is not what the cluster needs", self.certificate))
            .evidence(problems)
            .hint(Hint::RemoveCertificate {
                certificate: PathWord::of(&self.certificate),
                key: PathWord::of(&self.key),
            }))
    }
}

impl Certificate {
    fn has_more_names(&self, pem: &str) -> bool {
        let Ok(found) = pki::describe(pem) else { return false };
        let addresses = self.request.ip_addresses.iter().map(ToString::to_string);
        let wanted: BTreeSet<String> = self.request.dns_names.iter().cloned().chain(addresses).collect();
        found.sans.iter().filter(|name| !wanted.contains(*name)).any(|name| match self.names {
            Names::Any => false,
            Names::Loopback => name != LOOPBACK,
            Names::None => true,
        })
    }

    fn issue(&self) -> Change {
        Change::IssueCertificate {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            issuer: self.issuer.clone(),
            request: self.request.clone(),
        }
    }

    /// Names that it may go on with stay: somebody may still ask by them.
    fn issue_anew(&self, pem: &str) -> Change {
        let mut request = self.request.clone();
        let found = pki::describe(pem).ok().filter(|_| self.names == Names::Any);
        for name in found.into_iter().flat_map(|found| found.sans) {
            match name.parse() {
                Ok(address) if !request.ip_addresses.contains(&address) => request.ip_addresses.push(address),
                Err(_) if !request.dns_names.contains(&name) => request.dns_names.push(name),
                _ => {}
            }
        }
        Self { request, ..self.clone() }.issue()
    }

    fn unsignable(&self) -> Failure {
        let (authority, key) = self.issuer.as_ref().expect("only what has an issuer can lack its key");
        Failure::new(format!("{} is missing and can't be issued: the key of {authority} is not here", self.certificate))
            .hint(Hint::IssueElsewhere { certificate: PathWord::of(&self.certificate), key: PathWord::of(key) })
    }
}

async fn guard(probe: &dyn Probe, path: &Utf8Path, mode: FileMode) -> Result<Vec<Change>> {
    Ok(file::guard(path, probe.stat(path).await?.as_ref(), mode))
}

/// A key pair without a certificate: the service accounts'.
pub struct KeyPair {
    pub private: Utf8PathBuf,
    pub public: Utf8PathBuf,
    pub algorithm: EncryptionAlgorithm,
}

#[async_trait]
impl Resource for KeyPair {
    /// Both halves, and what takes away rights that nobody but root should have.
    type Observed = (Option<String>, Option<String>, Vec<Change>);

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed> {
        let mut guards = guard(probe, &self.private, FileMode::PRIVATE).await?;
        guards.extend(guard(probe, &self.public, FileMode::PUBLIC).await?);
        Ok((probe.read_text(&self.private).await?, probe.read_text(&self.public).await?, guards))
    }

    fn diff(&self, (private, public, guards): Self::Observed) -> Result<Planned> {
        if public.is_some() {
            // An external authority's owner may keep the private half elsewhere; the API server says so if it needs it.
            return match private.map(|pem| Key::from_pem(&pem)) {
                Some(Err(error)) => Err(Failure::new(format!("{}: failed to {error}", self.private))),
                Some(Ok(_)) => Ok(Planned::of(guards)),
                None => Err(Failure::new(format!("{} is there, but {} is not", self.public, self.private))
                    .hint(Hint::RestorePrivateKey { public: PathWord::of(&self.public) })),
            };
        }
        Ok(Planned::Changes(vec![Change::MakeKeyPair {
            private: self.private.clone(),
            public: self.public.clone(),
            algorithm: self.algorithm,
        }]))
    }
}

/// The key comes first: a certificate without its key would be of no use, and a key without a certificate is taken up again.
pub(super) fn issue(
    certificate: &Utf8Path,
    key_path: &Utf8Path,
    issuer: Option<&(Utf8PathBuf, Utf8PathBuf)>,
    request: &CertificateRequest,
) -> Result<()> {
    let key = key_at(key_path, request.algorithm)?;
    let pem = sign(request, &key, issuer)?;
    file::write(certificate, pem.as_bytes(), FileMode::PUBLIC)
}

pub(super) fn sign(
    request: &CertificateRequest,
    key: &Key,
    issuer: Option<&(Utf8PathBuf, Utf8PathBuf)>,
) -> Result<String> {
    let now = OffsetDateTime::now_utc();
    let Some((authority, authority_key)) = issuer else {
        return pki::issue(request, key, None, now).map_err(failed);
    };
    let cert_pem = fs::read_to_string(authority)?;
    let signer = Key::from_pem(&fs::read_to_string(authority_key)?).map_err(failed)?;
    pki::issue(request, key, Some(&Issuer { cert_pem: &cert_pem, key: &signer }), now).map_err(failed)
}

pub(super) fn make_key_pair(private: &Utf8Path, public: &Utf8Path, algorithm: EncryptionAlgorithm) -> Result<()> {
    let key = key_at(private, algorithm)?;
    // As kubeadm has it.
    file::write(public, key.public_key_pem().as_bytes(), FileMode::PRIVATE)
}

/// The key of this file, which is made if there is none.
fn key_at(path: &Utf8Path, algorithm: EncryptionAlgorithm) -> Result<Key> {
    if path.exists() {
        return Key::from_pem(&fs::read_to_string(path)?).map_err(failed);
    }
    let key = Key::generate(algorithm).map_err(failed)?;
    file::write(path, key.to_pem().expose_secret().as_bytes(), FileMode::PRIVATE)?;
    Ok(key)
}

fn failed(error: pki::PkiError) -> Failure {
    Failure::new(format!("failed to {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Usage;

    const ALGORITHM: EncryptionAlgorithm = EncryptionAlgorithm::EcdsaP256;

    /// What becomes of a certificate for n1 at .1, if it is to be for .2.
    fn moved(names: Names) -> CertificateRequest {
        let request = |address: &str| CertificateRequest {
            dns_names: vec!["n1".into()],
            ip_addresses: vec![address.parse().unwrap(), LOOPBACK.parse().unwrap()],
            usages: vec![Usage::Server],
            is_ca: false,
            ..CertificateRequest::authority("n1", 24, ALGORITHM)
        };
        let now = OffsetDateTime::now_utc();
        let authority_key = Key::generate(ALGORITHM).unwrap();
        let authority = CertificateRequest::authority("ca", 24, ALGORITHM);
        let cert_pem = pki::issue(&authority, &authority_key, None, now).unwrap();
        let key = Key::generate(ALGORITHM).unwrap();
        let issuer = Issuer { cert_pem: &cert_pem, key: &authority_key };
        let certificate = pki::issue(&request("10.0.0.1"), &key, Some(&issuer), now).unwrap();
        let wanted = Certificate {
            certificate: "/pki/a.crt".into(),
            key: "/pki/a.key".into(),
            issuer: Some(("/pki/ca.crt".into(), "/pki/ca.key".into())),
            request: request("10.0.0.2"),
            names,
        };
        let key = Some(key.to_pem().expose_secret().to_string());
        let (issuer, has_issuer_key, guards) = (Some(cert_pem.clone()), true, Vec::new());
        let observed = Observed::Found { certificate, key, issuer, has_issuer_key, now, guards };
        let Planned::Changes(changes) = wanted.diff(observed).unwrap() else { panic!("no change") };
        let [Change::IssueCertificate { request, .. }] = &changes[..] else { panic!("{changes:?}") };
        request.clone()
    }

    #[test]
    fn names_that_it_may_go_on_with_are_kept() {
        let addresses = |request: CertificateRequest| -> Vec<String> {
            request.ip_addresses.iter().map(ToString::to_string).collect()
        };
        assert_eq!(addresses(moved(Names::Any)), ["10.0.0.2", "127.0.0.1", "10.0.0.1"]);
        assert_eq!(addresses(moved(Names::Loopback)), ["10.0.0.2", "127.0.0.1"]);
        assert_eq!(moved(Names::Any).dns_names, ["n1"]);
    }

    #[tokio::test]
    async fn a_key_that_others_may_read_or_own_is_drift() {
        use std::os::unix::fs::PermissionsExt as _;

        use crate::engine::{Host as _, Metadata};
        use crate::kube::Connector;
        use crate::resource::LocalHost;

        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| Utf8Path::from_path(folder.path()).unwrap().join(name);
        let pair = KeyPair { private: at("sa.key"), public: at("sa.pub"), algorithm: ALGORITHM };
        let certificate = Certificate {
            certificate: at("ca.crt"),
            key: at("ca.key"),
            issuer: None,
            request: CertificateRequest::authority("ca", 24, ALGORITHM),
            names: Names::Any,
        };
        make_key_pair(&pair.private, &pair.public, ALGORITHM).unwrap();
        issue(&certificate.certificate, &certificate.key, None, &certificate.request).unwrap();
        let host = LocalHost::new(Connector::default());
        let planned = async || {
            let pair = pair.diff(pair.observe(&host).await.unwrap()).unwrap();
            (pair, certificate.diff(certificate.observe(&host).await.unwrap()).unwrap())
        };
        assert_eq!(planned().await, (Planned::Satisfied, Planned::Satisfied));
        for name in ["sa.key", "ca.key"] {
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        // Stricter than needed is as good.
        std::fs::set_permissions(at("ca.crt"), std::fs::Permissions::from_mode(0o400)).unwrap();
        let mended = |name: &str| vec![Change::SetMode { path: at(name), mode: FileMode::PRIVATE }];
        let (Planned::Changes(pair_changes), Planned::Changes(changes)) = planned().await else { panic!() };
        assert_eq!((&pair_changes, &changes), (&mended("sa.key"), &mended("ca.key")));
        for change in pair_changes.iter().chain(&changes) {
            host.apply(change, &crate::engine::Progress::silent()).await.unwrap();
        }
        assert_eq!(planned().await, (Planned::Satisfied, Planned::Satisfied));

        let nobody = 65534;
        let metadata =
            Metadata { kind: crate::engine::FileKind::File, mode: 0o600, uid: nobody, gid: 0, size: 1, inode: 1 };
        let returned = vec![Change::SetOwner { path: "/k".into(), uid: 0, gid: 0 }];
        assert_eq!(file::guard("/k".into(), Some(&metadata), FileMode::PRIVATE), returned);
        let content = crate::engine::Content::Text("x".into());
        assert_eq!(
            file::write_if_different("/k".into(), Some((metadata, b"x".to_vec())), &content, FileMode::PRIVATE),
            returned
        );
    }
}
