//! kubeadm's configuration files for `init` and `join`, and folders of patches.

use std::collections::BTreeMap;
use std::net::IpAddr;

use camino::Utf8Path;
use serde::Deserialize as _;
use time::OffsetDateTime;

use crate::bootstrap::token_secret::Grant;
use crate::bootstrap::{CertificateKey, Token};
use crate::engine::{Failure, Mode};
use crate::facts::{Cgroup, Facts};
use crate::inventory::{Cluster, Mistakes, Patch};
use crate::kubeadm::{self, Discovery, Here, Options};
use crate::manifest;
use crate::pki::kubeconfig::Kubeconfig;
use crate::preflight::{Check, Ignore};

use super::exit::{Problem, remark, remark_lines, unreadable};
use super::run;

/// The settings of the run from kubeadm's configuration; empty without one.
#[derive(Default)]
pub struct KubeadmOptions {
    options: Options,
    /// The tokens to create.
    pub tokens: Vec<(Token, Grant)>,
    /// The key that encrypts the CAs in the cluster.
    pub certificate_key: Option<CertificateKey>,
}

/// How a host joins: how it finds and verifies the cluster, and the token with which it gets its certificate.
pub struct JoinMethod {
    pub discovery: Discovery,
    pub token: Option<Token>,
}

impl KubeadmOptions {
    pub fn mode(&self, flag: Mode) -> Mode {
        if self.options.is_dry_run { Mode::Plan } else { flag }
    }

    /// The preflight checks whose errors count as warnings, from the flag and the file. None runs no checks.
    pub fn ignore(&self, flag: &[String]) -> Result<Option<Ignore>, Problem> {
        let (known, others): (Vec<_>, Vec<_>) = self
            .options
            .ignore_preflight
            .iter()
            .cloned()
            .partition(|name| name.eq_ignore_ascii_case("all") || Check::by_name(name).is_some());
        if !others.is_empty() {
            // kubeadm has other checks, and accepts any name.
            remark(format!("warning: there is no such preflight check to be ignored: {}", others.join(", ")));
        }
        let ignore = run::ignore(&[flag, &known].concat())?;
        Ok((!self.options.skips_preflight).then_some(ignore))
    }

    pub fn uploads(&self) -> bool {
        !self.options.skips_upload
    }

    /// The steps to skip.
    pub fn skipped_steps(&self) -> &[String] {
        &self.options.skipped_steps
    }

    pub fn tells_join_command(&self) -> bool {
        !self.options.skips_join_command
    }

    /// An error if the host does not match the file.
    pub fn agrees(&self, facts: &BTreeMap<String, Facts>) -> Result<(), Failure> {
        let Some(wanted) = self.options.cgroup_driver.as_deref() else { return Ok(()) };
        for facts in facts.values() {
            let (version, driver) = match facts.cgroup {
                Cgroup::V1 => ("v1", "cgroupfs"),
                Cgroup::V2 => ("v2", "systemd"),
            };
            if driver != wanted {
                let cause = format!(
                    "the file wants cgroupDriver {wanted}, but this host has cgroups {version}, where kboot sets up {driver} for \
                     the kubelet and containerd"
                );
                return Err(Failure::new(cause).hint_text("take `cgroupDriver` out of the KubeletConfiguration"));
            }
        }
        Ok(())
    }
}

/// The text of `--config`, if it is kubeadm's configuration. None for an inventory, and for a file that can't be read. The code that
/// reads an inventory reports that error.
pub fn text(path: &Utf8Path) -> Option<String> {
    std::fs::read_to_string(path).ok().filter(|text| kubeadm::is_kubeadm(text))
}

/// Rejects flags for which kubeadm's configuration has fields, as kubeadm does. `flags` has each flag, whether it was given, and its
/// field.
pub fn refuse(flags: &[(&str, bool, &str)]) -> Result<(), Problem> {
    let given: Vec<_> = flags.iter().filter(|(_, is_given, _)| *is_given).collect();
    if given.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = given.iter().map(|(flag, ..)| *flag).collect();
    let fields: Vec<String> = given.iter().map(|(_, _, field)| format!("`{field}`")).collect();
    let cause = format!("{} can't be together with a --config of kubeadm's", names.join(", "));
    Err(Problem::usage(cause).hint(format!("set {} in the file", fields.join(", "))))
}

pub fn init(
    text: &str,
    path: &Utf8Path,
    name: String,
    address: Option<IpAddr>,
) -> Result<(Cluster, KubeadmOptions), Problem> {
    let kubeadm::Init { cluster, tokens, certificate_key, options, warnings } =
        kubeadm::init(text, path, &here(name, address)).map_err(report)?;
    warn(&warnings);
    let cluster = completed(cluster, path, &options)?;
    Ok((cluster, KubeadmOptions { options, tokens, certificate_key }))
}

/// The cluster that a file for `init` describes, for commands that run nothing.
pub fn cluster(text: &str, path: &Utf8Path) -> Result<Cluster, Problem> {
    let (cluster, said) = init(
        text,
        path,
        super::localhost::hostname()?,
        super::address::choose(None).ok().map(|chosen| chosen.address),
    )?;
    if !said.tokens.is_empty() || said.certificate_key.is_some() || said.options != Options::default() {
        remark("warning: what the file says of tokens and of the run itself has no place in an inventory");
    }
    Ok(cluster)
}

/// The API server that a file for `join` names. `join` reports what is wrong with the file.
pub fn server(text: &str) -> Option<String> {
    let documents =
        serde_yaml::Deserializer::from_str(text).map_while(|document| serde_json::Value::deserialize(document).ok());
    let join = documents.into_iter().find(|document| document["kind"] == "JoinConfiguration")?;
    let discovery = &join["discovery"];
    if let Some(endpoint) = discovery["bootstrapToken"]["apiServerEndpoint"].as_str() {
        return Some(endpoint.to_owned());
    }
    let file = std::fs::read_to_string(discovery["file"]["kubeConfigPath"].as_str()?).ok()?;
    let server = Kubeconfig::parse(&file).ok()?.server;
    Some(server.trim_start_matches("https://").trim_end_matches('/').to_owned())
}

pub fn join(
    text: &str,
    path: &Utf8Path,
    name: String,
    address: Option<IpAddr>,
) -> Result<(Cluster, JoinMethod, KubeadmOptions), Problem> {
    let kubeadm::Join { cluster, discovery, token, certificate_key, options, warnings } =
        kubeadm::join(text, path, &here(name, address)).map_err(report)?;
    warn(&warnings);
    let cluster = completed(cluster, path, &options)?;
    Ok((cluster, JoinMethod { discovery, token }, KubeadmOptions { options, tokens: Vec::new(), certificate_key }))
}

fn here(name: String, address: Option<IpAddr>) -> Here {
    Here { name, address, now: OffsetDateTime::now_utc() }
}

fn report(mistakes: Mistakes) -> Problem {
    Problem::Report(format!("error: {mistakes}"))
}

fn warn(warnings: &Mistakes) {
    if !warnings.is_empty() {
        remark_lines(warnings);
    }
}

/// Adds the patches that the file names, and resolves the paths in it.
fn completed(mut cluster: Cluster, path: &Utf8Path, options: &Options) -> Result<Cluster, Problem> {
    cluster.resolve_keys(path.parent().unwrap_or(Utf8Path::new(".")));
    if let Some(folder) = &options.patches {
        cluster.patches.extend(patches(Utf8Path::new(folder))?);
    }
    fit(&cluster)?;
    Ok(cluster)
}

/// Reads a folder of patches. Reports other files and skips them, as kubeadm does.
pub fn patches(folder: &Utf8Path) -> Result<Vec<Patch>, Problem> {
    const HINT: &str =
        "name a folder with files like kube-apiserver.yaml, etcd+merge.yaml, kubeletconfiguration+json.yaml";
    let refused = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::NotADirectory => Problem::usage(format!("{folder} is no folder")).hint(HINT),
        _ => unreadable(folder, error).hint(HINT),
    };
    let mut files = Vec::new();
    for entry in folder.read_dir_utf8().map_err(|error| refused(&error))? {
        let entry = entry.map_err(|error| refused(&error))?;
        // A link counts as its target, because mounted configuration consists of links.
        if entry.path().is_dir() {
            continue;
        }
        let content = std::fs::read(entry.path()).map_err(|error| unreadable(entry.path(), &error))?;
        files.push((entry.file_name().to_owned(), content));
    }
    let (patches, ignored) = kubeadm::patches(&files)
        .map_err(|(file, error)| Problem::usage(format!("{}: {error}", folder.join(file))).hint(error.hint))?;
    ignored.iter().for_each(|line| remark(format!("warning: {}", folder.join(line))));
    Ok(patches)
}

/// An error if a patch does not fit its target. So the run reports it before it begins.
pub fn fit(cluster: &Cluster) -> Result<(), Problem> {
    if cluster.patches.is_empty() {
        return Ok(());
    }
    manifest::try_render(cluster).map_err(|error| Problem::usage(format!("failed to {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::samples::sample;

    #[test]
    fn the_server_of_a_file_is_known_before_the_rest() {
        let file = "kind: ClusterConfiguration\n---\nkind: JoinConfiguration\ndiscovery:\n  bootstrapToken:\n    \
                    apiServerEndpoint: 192.0.2.1:6443\n";
        assert_eq!(server(file).as_deref(), Some("192.0.2.1:6443"));
        assert_eq!(server("kind: JoinConfiguration\ndiscovery: {}\n"), None);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("discovery.conf");
        let kubeconfig =
            Kubeconfig::bootstrap("c", "https://192.0.2.2:6443", "PEM", "abcdef.0123456789abcdef".into()).to_yaml();
        std::fs::write(&path, secrecy::ExposeSecret::expose_secret(&kubeconfig)).unwrap();
        let file = format!("kind: JoinConfiguration\ndiscovery: {{file: {{kubeConfigPath: {}}}}}\n", path.display());
        assert_eq!(server(&file).as_deref(), Some("192.0.2.2:6443"));
    }

    #[test]
    fn a_cgroup_driver_that_the_host_has_not_is_refused() {
        let mut facts = sample().facts;
        let said = |driver: &str| KubeadmOptions {
            options: Options { cgroup_driver: Some(driver.into()), ..Options::default() },
            ..KubeadmOptions::default()
        };
        facts.values_mut().for_each(|facts| facts.cgroup = Cgroup::V2);
        assert!(said("systemd").agrees(&facts).is_ok() && KubeadmOptions::default().agrees(&facts).is_ok());
        let failure = said("cgroupfs").agrees(&facts).unwrap_err();
        assert!(failure.cause.starts_with("the file wants cgroupDriver cgroupfs"), "{}", failure.cause);
        facts.values_mut().for_each(|facts| facts.cgroup = Cgroup::V1);
        assert!(said("systemd").agrees(&facts).is_err());
    }

    #[test]
    fn checks_that_kboot_has_not_are_no_mistake_of_the_file() {
        let options = |names: &[&str], skips_preflight| Options {
            ignore_preflight: names.iter().map(|name| (*name).to_owned()).collect(),
            skips_preflight,
            ..Options::default()
        };
        let said =
            KubeadmOptions { options: options(&["SystemVerification", "numcpu"], false), ..KubeadmOptions::default() };
        let Ok(Some(ignore)) = said.ignore(&["Mem".into()]) else { panic!("they are taken") };
        assert!(ignore.is_ignored(Check::NumCpu) && ignore.is_ignored(Check::Mem) && !ignore.is_ignored(Check::Swap));
        let said = KubeadmOptions { options: options(&[], true), ..KubeadmOptions::default() };
        assert!(matches!(said.ignore(&[]), Ok(None)));
        assert!(said.ignore(&["Nonsense".into()]).is_err());
    }
}
