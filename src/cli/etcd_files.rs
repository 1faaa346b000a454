//! The credentials of the API servers for an external etcd: three files, read on the machine where the command runs.

use time::OffsetDateTime;

use crate::inventory::{Certificates, Cluster, ExternalEtcd};
use crate::pki::{self, CertificateRequest, Description, Severity};
use crate::steps::{EtcdFiles, EtcdKey};

use super::exit::{Problem, remark, unreadable};

/// Reads and checks the files. None for a cluster without an external etcd.
pub fn read(cluster: &Cluster) -> Result<Option<EtcdFiles>, Problem> {
    let Some(etcd) = cluster.external_etcd() else { return Ok(None) };
    let text = |field: &str, path: &str| {
        std::fs::read_to_string(path).map_err(|error| {
            unreadable(path, &error).hint(format!("put the file there, or its path into `etcd.external.{field}`"))
        })
    };
    let files = EtcdFiles {
        authority: text("caFile", &etcd.ca_file)?,
        certificate: text("certFile", &etcd.cert_file)?,
        key: EtcdKey::Whole(text("keyFile", &etcd.key_file)?.into()),
    };
    let now = OffsetDateTime::now_utc();
    check(etcd, &files, now)?.iter().for_each(|warning| remark(format!("warning: {warning}")));
    Ok(Some(files))
}

/// An error if a file can't work. Returns warnings, for example about a certificate that expires soon. Does not check the CA of the
/// client certificate: it may differ from the CA of the etcd members.
fn check(etcd: &ExternalEtcd, files: &EtcdFiles, now: OffsetDateTime) -> Result<Vec<String>, Problem> {
    const AUTHORITY: &str = "the file of the authority that signed the members' certificates is wanted";
    const CLIENT: &str = "etcd would refuse the API servers: have its authority sign a certificate for a client";
    let mut warnings = Vec::new();
    for (field, path, pem, key, hint) in [
        ("caFile", &etcd.ca_file, &files.authority, None, AUTHORITY),
        ("certFile", &etcd.cert_file, &files.certificate, files.key.whole(), CLIENT),
    ] {
        let place = format!("etcd.external.{field}: the certificate in {path}");
        let described = pki::describe(pem)
            .map_err(|error| Problem::usage(format!("{place} is of no use: failed to {error}")).hint(hint))?;
        for problem in pki::check(pem, key, None, &as_it_is(&described, hint == AUTHORITY), now) {
            let told = format!("{place} {problem}");
            match problem.severity() {
                Severity::Error => return Err(Problem::usage(told).hint(hint)),
                Severity::Warning => warnings.push(told),
            }
        }
    }
    Ok(warnings)
}

/// The certificate's names are its owner's choice, so the request repeats them. Its usages are not.
fn as_it_is(found: &Description, is_authority: bool) -> CertificateRequest {
    let algorithm = Certificates::default().encryption_algorithm;
    let group = found.organizations.first().map(String::as_str);
    match is_authority {
        true => CertificateRequest {
            organization: group.map(String::from),
            ..CertificateRequest::authority(&found.common_name, 0, algorithm)
        },
        false => CertificateRequest::client(&found.common_name, group, 0, algorithm),
    }
}
