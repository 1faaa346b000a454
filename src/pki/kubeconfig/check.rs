//! Whether a kubeconfig that is there already serves its purpose.

use std::fmt;

use time::OffsetDateTime;

use super::{Authority, Credentials, Kubeconfig, KubeconfigError, WantedKubeconfig};
use crate::pki::{self, Problem, Severity, x509};
use secrecy::ExposeSecret;

/// Something about a kubeconfig that is not as wanted. The display form reads well after "the kubeconfig ".
#[derive(Debug, Clone, PartialEq)]
pub enum KubeconfigProblem {
    Unreadable(KubeconfigError),
    WrongServer { found: String, wanted: String },
    WrongAuthority,
    NoCertificate,
    Certificate(Problem),
}

/// Compares a kubeconfig with what is wanted. `ca_pem` is the cluster's authority, one or more certificates.
///
/// Names of clusters, users and contexts don't matter. What the file refers to by path can't be seen from here: a
/// client certificate in a file of its own passes, its content is the caller's to [`check`](pki::check).
pub fn check(existing: &str, want: &WantedKubeconfig, ca_pem: &str, now: OffsetDateTime) -> Vec<KubeconfigProblem> {
    let found = match Kubeconfig::parse(existing) {
        Ok(found) => found,
        Err(error) => return vec![KubeconfigProblem::Unreadable(error)],
    };
    let mut problems = Vec::new();
    if found.server.trim_end_matches('/') != want.server {
        problems.push(KubeconfigProblem::WrongServer { found: found.server, wanted: want.server.clone() });
    }
    if let Authority::Pem(pem) = &found.authority
        && !shares_authority(pem, ca_pem)
    {
        problems.push(KubeconfigProblem::WrongAuthority);
    }
    match &found.credentials {
        Credentials::Certificate { cert_pem, key_pem } => {
            let found = pki::check(cert_pem, Some(key_pem.expose_secret()), Some(ca_pem), &want.request, now);
            problems.extend(found.into_iter().map(KubeconfigProblem::Certificate));
        }
        Credentials::Files { .. } => {}
        Credentials::Token(_) | Credentials::Other => problems.push(KubeconfigProblem::NoCertificate),
    }
    problems
}

/// Whether the first certificate of one bundle is in the other, which is kubeadm's rule: either may have spare ones.
pub(super) fn shares_authority(found: &str, wanted: &str) -> bool {
    let (Ok(found), Ok(wanted)) = (x509::certificates(found), x509::certificates(wanted)) else { return false };
    wanted.contains(&found[0])
}

impl KubeconfigProblem {
    pub fn severity(&self) -> Severity {
        match self {
            Self::Certificate(problem) => problem.severity(),
            _ => Severity::Error,
        }
    }
}

impl fmt::Display for KubeconfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "is unusable: failed to {error}"),
            Self::WrongServer { found, wanted } => write!(f, "leads to {found:?} instead of {wanted:?}"),
            Self::WrongAuthority => f.write_str("trusts another certificate authority than the cluster's"),
            Self::NoCertificate => f.write_str("has no client certificate"),
            Self::Certificate(problem) => write!(f, "has a client certificate that {problem}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::pki::kubeconfig::cluster_kubeconfigs;
    use crate::pki::layout::tests::params;
    use crate::pki::testing;

    const NOW: OffsetDateTime = datetime!(2026-11-23 00:00 UTC);

    fn admin() -> WantedKubeconfig {
        cluster_kubeconfigs(&params()).unwrap().remove(0)
    }

    fn problems(want: &WantedKubeconfig, ca: &str, now: OffsetDateTime) -> Vec<String> {
        check(testing::KUBEADM_ADMIN_CONF, want, ca, now).iter().map(KubeconfigProblem::to_string).collect()
    }

    #[test]
    fn kubeadms_own_passes() {
        assert_eq!(check(testing::KUBEADM_ADMIN_CONF, &admin(), testing::KUBEADM_CA, NOW), []);
        let bundle = [testing::KUBEADM_RSA_CA, testing::KUBEADM_CA].concat();
        assert_eq!(check(testing::KUBEADM_ADMIN_CONF, &admin(), &bundle, NOW), []);
    }

    #[test]
    fn differences_are_named() {
        let elsewhere = WantedKubeconfig { server: "https://10.0.0.9:6443".into(), ..admin() };
        assert_eq!(
            problems(&elsewhere, testing::KUBEADM_CA, NOW),
            ["leads to \"https://cp.example.test:6443\" instead of \"https://10.0.0.9:6443\""]
        );
        assert_eq!(
            problems(&admin(), testing::KUBEADM_RSA_CA, NOW),
            [
                "trusts another certificate authority than the cluster's",
                "has a client certificate that is signed by CN=kubernetes, but not by the certificate authority that is here"
            ]
        );
        assert_eq!(
            problems(&admin(), testing::KUBEADM_CA, NOW + Duration::days(365)),
            ["has a client certificate that expired on 2027-11-22"]
        );
        let scheduler = cluster_kubeconfigs(&params()).unwrap().pop().unwrap();
        let found = check(testing::KUBEADM_ADMIN_CONF, &scheduler, testing::KUBEADM_CA, NOW);
        assert!(found.iter().any(|it| matches!(it, KubeconfigProblem::Certificate(Problem::WrongCommonName { .. }))));
    }

    #[test]
    fn a_certificate_in_a_file_is_the_callers_to_check() {
        let rotated = Kubeconfig::parse(testing::KUBEADM_ADMIN_CONF).unwrap().rotated().to_yaml();
        assert_eq!(check(rotated.expose_secret(), &admin(), testing::KUBEADM_CA, NOW), []);
    }

    #[test]
    fn a_token_is_no_certificate_and_nonsense_is_a_problem() {
        let token = Kubeconfig::bootstrap("kubernetes", &admin().server, testing::KUBEADM_CA, "t".into()).to_yaml();
        let found = check(token.expose_secret(), &admin(), testing::KUBEADM_CA, NOW);
        assert_eq!(found, [KubeconfigProblem::NoCertificate]);
        let found = check("nonsense", &admin(), testing::KUBEADM_CA, NOW);
        assert_eq!(found[0].to_string(), "is unusable: failed to read the kubeconfig: it is not a mapping");
    }
}
