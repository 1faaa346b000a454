//! Files of kubeadm's for `init` and `join`, and folders of patches.

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

/// What a file of kubeadm's says of the run; without one, nothing.
#[derive(Default)]
pub struct Said {
    options: Options,
    /// Tokens that are to be there.
    pub tokens: Vec<(Token, Grant)>,
    /// By which the authorities are kept in the cluster, or got from it.
    pub certificate_key: Option<CertificateKey>,
}

/// How a host joins: what it knows the cluster by, and what it gets its certificate with.
pub struct Way {
    pub discovery: Discovery,
    pub token: Option<Token>,
}

impl Said {
    pub fn mode(&self, flag: Mode) -> Mode {
        if self.options.is_dry_run { Mode::Plan } else { flag }
    }

    /// The preflight checks of which errors are taken for warnings, by flag and file; None if there are to be no checks.
    pub fn ignore(&self, flag: &[String]) -> Result<Option<Ignore>, Problem> {
        let (known, others): (Vec<_>, Vec<_>) = self
            .options
            .ignore_preflight
            .iter()
            .cloned()
            .partition(|name| name.eq_ignore_ascii_case("all") || Check::by_name(name).is_some());
        if !others.is_empty() {
            // kubeadm has checks of its own, and takes any name.
            remark(format!("warning: there is no such preflight check to be ignored: {}", others.join(", ")));
        }
        let ignore = run::ignore(&[flag, &known].concat())?;
        Ok((!self.options.skips_preflight).then_some(ignore))
    }

    pub fn uploads(&self) -> bool {
        !self.options.skips_upload
    }

    /// Steps that are left out.
    pub fn skipped_steps(&self) -> &[String] {
        &self.options.skipped_steps
    }

    pub fn tells_join_command(&self) -> bool {
        !self.options.skips_join_command
    }

    /// Whether the host is what the file takes it for.
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

/// The text of a `--config` that is kubeadm's; None for none, or an inventory. What can't be read is told by who reads it as such.
pub fn text(path: Option<&Utf8Path>) -> Option<String> {
    std::fs::read_to_string(path?).ok().filter(|text| kubeadm::is_kubeadm(text))
}

/// Refuses flags that a file of kubeadm's has fields for, as kubeadm does. Each with whether it was given, and its field.
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

pub fn init(text: &str, path: &Utf8Path, name: String, address: Option<IpAddr>) -> Result<(Cluster, Said), Problem> {
    let kubeadm::Init { cluster, tokens, certificate_key, options, warnings } =
        kubeadm::init(text, path, &here(name, address)).map_err(report)?;
    warn(&warnings);
    let cluster = completed(cluster, path, &options)?;
    Ok((cluster, Said { options, tokens, certificate_key }))
}

/// The cluster that a file for `init` describes, where nothing is to be run.
pub fn cluster(text: &str, path: &Utf8Path) -> Result<Cluster, Problem> {
    let (cluster, said) =
        init(text, path, super::init::hostname()?, super::address::choose(None).ok().map(|chosen| chosen.address))?;
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
) -> Result<(Cluster, Way, Said), Problem> {
    let kubeadm::Join { cluster, discovery, token, certificate_key, options, warnings } =
        kubeadm::join(text, path, &here(name, address)).map_err(report)?;
    warn(&warnings);
    let cluster = completed(cluster, path, &options)?;
    Ok((cluster, Way { discovery, token }, Said { options, tokens: Vec::new(), certificate_key }))
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

/// With the patches that the file names, and paths that hold from anywhere.
fn completed(mut cluster: Cluster, path: &Utf8Path, options: &Options) -> Result<Cluster, Problem> {
    super::init::resolve_keys(&mut cluster, path);
    if let Some(folder) = &options.patches {
        cluster.patches.extend(patches(Utf8Path::new(folder))?);
    }
    fit(&cluster)?;
    Ok(cluster)
}

/// Reads a folder of patches. Files that are none are told and passed over, as by kubeadm.
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
        // A link counts as what it leads to: that is how configuration is mounted.
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

/// Whether the patches can be applied to what they are for: better told now than on the way.
pub fn fit(cluster: &Cluster) -> Result<(), Problem> {
    if cluster.patches.is_empty() {
        return Ok(());
    }
    manifest::rehearse(cluster).map_err(|error| Problem::usage(format!("failed to {error}")))
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
        let said = |driver: &str| Said {
            options: Options { cgroup_driver: Some(driver.into()), ..Options::default() },
            ..Said::default()
        };
        facts.values_mut().for_each(|facts| facts.cgroup = Cgroup::V2);
        assert!(said("systemd").agrees(&facts).is_ok() && Said::default().agrees(&facts).is_ok());
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
        let said = Said { options: options(&["SystemVerification", "numcpu"], false), ..Said::default() };
        let Ok(Some(ignore)) = said.ignore(&["Mem".into()]) else { panic!("they are taken") };
        assert!(ignore.is_ignored(Check::NumCpu) && ignore.is_ignored(Check::Mem) && !ignore.is_ignored(Check::Swap));
        let said = Said { options: options(&[], true), ..Said::default() };
        assert!(matches!(said.ignore(&[]), Ok(None)));
        assert!(said.ignore(&["Nonsense".into()]).is_err());
    }
}
