//! Control planes that join by hand: the key that encrypts the CAs in the cluster, and the files that a control plane decrypts with
//! it.

use camino::Utf8Path;
use clap::Args;
use serde_json::Value;
use time::OffsetDateTime;

use crate::bootstrap::certificates::{self, NAME};
use crate::bootstrap::token_secret::NAMESPACE;
use crate::bootstrap::{CertificateKey, CertificatesError};
use crate::engine::Failure;
use crate::inventory::{Cluster, Etcd, Role};
use crate::kube::View;
use crate::kubeadm::{self, Here};
use crate::steps::{Authorities, EXTERNAL_ETCD, EtcdFiles, EtcdKey, shared};

use super::exit::{Problem, remark, unreadable};

/// How a control plane joins.
#[derive(Args)]
pub struct ControlPlaneArgs {
    /// Make this machine an additional control plane, not a worker
    #[arg(long)]
    pub control_plane: bool,
    /// The key that `kboot init --upload-certs` printed. It decrypts the CAs, which the cluster stores for two hours. Other users of
    /// this machine can see the key while the command runs; use --certificate-key-file to hide it
    // Not parsed by clap: its errors would repeat the secret.
    #[arg(long, value_name = "HEX", requires = "control_plane")]
    certificate_key: Option<String>,
    /// A file with the certificate key, or - for standard input
    #[arg(long, value_name = "FILE", requires = "control_plane", conflicts_with = "certificate_key")]
    certificate_key_file: Option<String>,
}

/// The flags with which `init` uploads the CAs.
#[derive(Args, Default)]
pub struct UploadArgs {
    /// Store the encrypted CAs in the cluster for two hours, and print the command to join control planes by hand
    #[arg(long)]
    pub upload_certs: bool,
    /// The key that encrypts the CAs. Default: a new key. Other users of this machine can see it while the command runs; use
    /// --certificate-key-file to hide it
    #[arg(long, value_name = "HEX", requires = "upload_certs")]
    certificate_key: Option<String>,
    /// A file with the certificate key, or - for standard input
    #[arg(long, value_name = "FILE", requires = "upload_certs", conflicts_with = "certificate_key")]
    certificate_key_file: Option<String>,
}

impl ControlPlaneArgs {
    pub fn role(&self) -> Role {
        if self.control_plane { Role::ControlPlane } else { Role::Worker }
    }

    /// Each flag, whether it was given, and its field in kubeadm's configuration.
    pub fn given(&self) -> [(&'static str, bool, &'static str); 3] {
        const KEY: &str = "controlPlane.certificateKey";
        [
            ("--control-plane", self.control_plane, "controlPlane"),
            ("--certificate-key", self.certificate_key.is_some(), KEY),
            ("--certificate-key-file", self.certificate_key_file.is_some(), KEY),
        ]
    }

    /// Whether the key comes from standard input.
    pub fn reads_input(&self) -> bool {
        self.certificate_key_file.as_deref() == Some("-")
    }

    pub fn key(&self) -> Result<Option<CertificateKey>, Problem> {
        given(self.certificate_key.as_deref(), self.certificate_key_file.as_deref())
    }
}

/// The key from its flag, or from the file that another flag names.
fn given(key: Option<&str>, file: Option<&str>) -> Result<Option<CertificateKey>, Problem> {
    let read = |path: &str| match path {
        "-" => std::io::read_to_string(std::io::stdin()),
        path => std::fs::read_to_string(path),
    };
    let from_file =
        file.map(|path| read(path).map_err(|error| unreadable(path, &error).hint("name a file that holds the key")));
    let text = from_file.transpose()?.or(key.map(String::from));
    text.map(|text| parse(&text)).transpose()
}

impl UploadArgs {
    /// The key from the flags; None without one. Call this only once: it may read standard input.
    pub fn read(&self) -> Result<Option<CertificateKey>, Problem> {
        given(self.certificate_key.as_deref(), self.certificate_key_file.as_deref())
    }

    /// The key for the upload; None if nothing is uploaded. `from_flags` is the result of [`Self::read`], `from_file` the key in
    /// kubeadm's configuration.
    pub fn key(
        &self,
        from_flags: Option<CertificateKey>,
        from_file: Option<&CertificateKey>,
    ) -> Result<Option<CertificateKey>, Problem> {
        if !self.upload_certs {
            if from_file.is_some() {
                remark("warning: certificateKey has no effect without --upload-certs");
            }
            return Ok(None);
        }
        match from_flags.or_else(|| from_file.map(CertificateKey::copy)) {
            Some(key) => Ok(Some(key)),
            None => Ok(Some(CertificateKey::generate().map_err(failed)?)),
        }
    }

    /// Each flag for a key, whether it was given, and its field in kubeadm's configuration.
    pub fn given(&self) -> [(&'static str, bool, &'static str); 2] {
        const KEY: &str = "certificateKey";
        [
            ("--certificate-key", self.certificate_key.is_some(), KEY),
            ("--certificate-key-file", self.certificate_key_file.is_some(), KEY),
        ]
    }
}

fn parse(text: &str) -> Result<CertificateKey, Problem> {
    let hint = "`kboot init --upload-certs`, on a control plane, prints one";
    text.trim().parse().map_err(|error: CertificatesError| Problem::usage(format!("failed to {error}")).hint(hint))
}

fn failed(error: CertificatesError) -> Failure {
    Failure::new(format!("failed to {error}"))
}

/// The cluster's CAs, decrypted, and its client files for an external etcd. None if this machine already has the files.
pub async fn authorities(
    view: &View,
    key: Option<&CertificateKey>,
    cluster: &Cluster,
) -> Result<Option<(Authorities, Option<EtcdFiles>)>, Problem> {
    const HINT: &str = "on a control plane, `kboot init --upload-certs` puts them there anew, for two hours, and prints the line to join";
    const PKI: &str = "/etc/kubernetes/pki";
    let external = EXTERNAL_ETCD.into_iter().filter(|_| cluster.external_etcd().is_some());
    let Some(key) = key else {
        let others = external.filter_map(|(_, path)| Utf8Path::new(path).strip_prefix(PKI).ok());
        let names = shared(cluster).into_iter().chain(others.map(Utf8Path::as_str));
        let missing: Vec<&str> = names.filter(|name| !Utf8Path::new(PKI).join(name).exists()).collect();
        if missing.is_empty() {
            return Ok(None);
        }
        let cause = format!(
            "a control plane needs the cluster's authorities, and /etc/kubernetes/pki lacks {}",
            missing.join(", ")
        );
        return Err(Problem::usage(cause)
            .hint("add --certificate-key, which `kboot init --upload-certs` prints on a control plane"));
    };
    let secret = view.get("v1", "Secret", Some(NAMESPACE), NAME).await?;
    let secret = secret.ok_or_else(|| {
        Failure::new(format!("the cluster has no Secret {NAMESPACE}/{NAME} (any more)")).hint_text(HINT)
    })?;
    let names: Vec<&str> = shared(cluster).into_iter().chain(external.map(|(name, _)| name)).collect();
    let mut files = certificates::read(&secret, key, &names).map_err(|error| failed(error).hint_text(HINT))?;
    let [authority, certificate, key] = EXTERNAL_ETCD.map(|(name, _)| files.remove(name));
    let etcd = authority.zip(certificate).zip(key);
    let key = |key: String| EtcdKey::Whole(key.into());
    let etcd = etcd.map(|((authority, certificate), text)| EtcdFiles { authority, certificate, key: key(text) });
    Ok(Some((files.into(), etcd)))
}

/// Reads the settings that all control planes share from the cluster's ClusterConfiguration.
pub fn take_over(configuration: &Value, cluster: &mut Cluster) -> Result<(), Failure> {
    let text =
        serde_yaml::to_string(configuration).map_err(|error| Failure::new(format!("failed to write YAML: {error}")))?;
    let own = &cluster.hosts[0];
    let here = Here { name: own.name.clone(), address: Some(own.address), now: OffsetDateTime::now_utc() };
    let read = kubeadm::init(&text, Utf8Path::new("ConfigMap kubeadm-config"), &here)
        .map_err(|mistakes| {
            Failure::new("the cluster's configuration has what kboot does not make control planes with")
                .evidence(mistakes.to_string().lines().map(String::from).collect::<Vec<_>>())
                .hint_text("join this control plane with kubeadm")
        })?
        .cluster;
    cluster.endpoint = read.endpoint.or(cluster.endpoint.take());
    cluster.certificates = read.certificates;
    cluster.control_plane = read.control_plane;
    cluster.etcd = read.etcd;
    let Some(Etcd { external }) = &mut cluster.etcd else { return Ok(()) };
    for (file, (_, path)) in external.files_mut().into_iter().zip(EXTERNAL_ETCD) {
        if file != path {
            return Err(Failure::new(format!(
                "the cluster's control planes ask etcd with {file}, and kboot has that at {path}"
            ))
            .hint_text("join this control plane with kubeadm"));
        }
    }
    Ok(())
}
