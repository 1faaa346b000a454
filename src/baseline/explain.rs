//! Why something is still there.

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use super::compare::is_made_by_nodes;
use super::{Difference, Kind};
use crate::engine::{Journal, Made, Probe, Result, Run, State, Subject, Trace};

/// Something that is not as it was before kboot came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    pub kind: Kind,
    pub name: String,
    /// As a fragment: "in use by nf_nat".
    pub why: String,
}

impl std::fmt::Display for Leftover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the {} {}: {}", self.kind.word(), self.name, self.why)
    }
}

/// Says of each difference why it is there, as far as the host tells.
pub async fn explain(probe: &dyn Probe, differences: &[Difference]) -> Result<Vec<Leftover>> {
    let journal = probe.read(Utf8Path::new(Journal::PATH)).await?.unwrap_or_default();
    let runs = Journal::runs(&journal)?;
    let mut told = Vec::new();
    for difference in differences {
        if let Some(why) = own_doing(&runs, difference) {
            told.push(Leftover { kind: difference.kind, name: difference.name.clone(), why });
            continue;
        }
        let why = match difference.kind {
            Kind::File | Kind::Entry => of_path(probe, difference).await?,
            Kind::Package => of_package(difference),
            Kind::Module => of_module(probe, difference).await?,
            Kind::Sysctl => of_value(difference),
            Kind::Socket => of_socket(probe, difference).await?,
            Kind::Mount
            | Kind::Link
            | Kind::Route
            | Kind::Rule
            | Kind::User
            | Kind::Group
            | Kind::Cgroup
            | Kind::Unit => of_presence(difference, new(difference), "it is gone since the first run"),
        };
        told.push(Leftover { kind: difference.kind, name: difference.name.clone(), why });
    }
    Ok(told)
}

/// Where kboot itself made the difference, by its journal, what it did. Of somebody is only said what kboot did not do.
fn own_doing(runs: &[Run], difference: &Difference) -> Option<String> {
    let changes = || runs.iter().flat_map(|run| run.changes.iter().map(move |made| (run, made)));
    let is_gone = difference.now.is_none();
    let (run, made) = match difference.kind {
        Kind::File | Kind::Entry if is_gone => {
            changes().rfind(|(_, made)| takes(made, Utf8Path::new(&difference.name)))?
        }
        Kind::File | Kind::Entry if difference.before.is_none() => {
            let path = Utf8Path::new(&difference.name);
            let (run, made) = changes().rfind(|(_, made)| makes(made, path) || takes(made, path))?;
            return makes(made, path).then(|| format!("{} made it, in the step {}", by(run), made.step));
        }
        Kind::File | Kind::Entry => {
            let (run, made, left) =
                changes().filter_map(|(run, made)| Some((run, made, left(made, &difference.name)?))).next_back()?;
            let [_, now] = difference.paths();
            now.is_some_and(|now| now.has_digest(&left)).then_some((run, made))?
        }
        Kind::Package if is_gone => {
            changes().filter(|(_, made)| has_package(&made.before, &difference.name)).rfind(|(_, made)| {
                made.after.as_ref().is_some_and(|after| !after.is_empty() && !has_package(after, &difference.name))
            })?
        }
        Kind::Rule if is_gone => changes().rfind(|(_, made)| takes_rules(made, &difference.name))?,
        Kind::Package
        | Kind::Rule
        | Kind::Sysctl
        | Kind::Module
        | Kind::Mount
        | Kind::Link
        | Kind::Route
        | Kind::Socket
        | Kind::User
        | Kind::Group
        | Kind::Cgroup
        | Kind::Unit => return None,
    };
    let what = if is_gone { "removed" } else { "changed" };
    Some(format!("{} {what} it, in the step {}", by(run), made.step))
}

fn by(run: &Run) -> String {
    let command = &run.info.command;
    if command.is_empty() { "kboot".into() } else { format!("`{command}`") }
}

/// Whether a change made what was not at a path before.
fn makes(made: &Made, path: &Utf8Path) -> bool {
    let is_it = |trace: &&Trace| matches!(&trace.subject, Subject::Path { path: touched } if touched == path);
    let was_absent = made.before.iter().find(is_it).is_some_and(|before| before.state == State::Absent);
    was_absent && made.after.iter().flatten().find(is_it).is_none_or(|after| after.state != State::Absent)
}

/// Whether a change took away what was at a path, or a folder above it.
fn takes(made: &Made, path: &Utf8Path) -> bool {
    made.before.iter().any(|trace| {
        let Subject::Path { path: touched } = &trace.subject else { return false };
        let after = made.after.iter().flatten().find(|after| after.subject == trace.subject);
        // One that was cut off may have done its work.
        path.starts_with(touched)
            && trace.state != State::Absent
            && after.is_none_or(|after| after.state == State::Absent)
    })
}

/// Whether a change removed rules from where this one was: `iptables-nft TABLE …`, or `nftables FAMILY TABLE`.
fn takes_rules(made: &Made, rule: &str) -> bool {
    made.before.iter().any(|trace| match &trace.subject {
        Subject::FilterRules { program } => rule.split(' ').next() == Some(program),
        Subject::FilterTable { family, table } => rule == format!("nftables {family} {table}"),
        _ => false,
    })
}

/// The digest of a file as a change left it.
fn left(made: &Made, path: &str) -> Option<String> {
    made.after.iter().flatten().find_map(|trace| match (&trace.subject, &trace.state) {
        (Subject::Path { path: touched }, State::File { digest, .. }) if touched == path => Some(digest.clone()),
        _ => None,
    })
}

fn has_package(traces: &[Trace], package: &str) -> bool {
    traces.iter().any(|trace| matches!(&trace.state, State::Packages { versions } if versions.contains_key(package)))
}

/// Who made what was not there: of somebody is nothing said that only a node's parts make.
fn new(difference: &Difference) -> &'static str {
    if difference.is_of_a_node() { "a part of the node made it" } else { "somebody has made it since" }
}

fn of_presence(difference: &Difference, new: &str, gone: &str) -> String {
    match (&difference.before, &difference.now) {
        (None, _) => new.into(),
        (_, None) => gone.into(),
        (Some(before), Some(now)) => format!("it was {before}, and is {now}"),
    }
}

fn of_value(difference: &Difference) -> String {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "unset".into());
    format!("it was {}, and somebody has set it to {} since", shown(&difference.before), shown(&difference.now))
}

fn of_package(difference: &Difference) -> String {
    of_presence(
        difference,
        "kboot did not install it, something else needs it, or somebody asked for it",
        "it was there, and somebody has removed it since",
    )
}

async fn of_path(probe: &dyn Probe, difference: &Difference) -> Result<String> {
    if difference.now.is_some()
        && let Some(package) = owner(probe, &difference.name).await?
    {
        return Ok(format!("it belongs to the package {package}, which stays"));
    }
    if difference.before.is_none() && is_made_by_nodes(&difference.name) {
        let names = probe.list(Utf8Path::new(&difference.name)).await?.unwrap_or_default();
        let holds = if names.is_empty() { "nothing".into() } else { names.join(", ") };
        return Ok(format!("a part of the node made it, and it holds {holds}"));
    }
    let why = of_presence(difference, new(difference), "somebody has removed it since");
    let is_changed = difference.before.is_some() && difference.now.is_some();
    Ok(if is_changed { format!("somebody has changed it since: {why}") } else { why })
}

/// The package that put a path there.
async fn owner(probe: &dyn Probe, path: &str) -> Result<Option<String>> {
    const INFO: &str = "/var/lib/dpkg/info";
    // A package may know a file by its old place.
    let old = path.strip_prefix("/usr").filter(|rest| rest.starts_with("/lib") || rest.starts_with("/bin"));
    for name in probe.list(Utf8Path::new(INFO)).await?.unwrap_or_default() {
        let Some(package) = name.strip_suffix(".list") else { continue };
        let list = probe.read(Utf8Path::new(&format!("{INFO}/{name}"))).await?.unwrap_or_default();
        let is_listed = list
            .split(|byte| *byte == b'\n')
            .any(|line| line == path.as_bytes() || old.is_some_and(|old| line == old.as_bytes()));
        if is_listed {
            return Ok(Some(package.split(':').next().unwrap_or(package).into()));
        }
    }
    Ok(None)
}

async fn of_module(probe: &dyn Probe, difference: &Difference) -> Result<String> {
    let modules = probe.read_text(Utf8Path::new("/proc/modules")).await?.unwrap_or_default();
    let line = modules.lines().find(|line| line.split(' ').next() == Some(&difference.name));
    let fields: Vec<&str> = line.unwrap_or_default().split(' ').collect();
    let users = fields.get(3).map(|users| users.trim_end_matches([',', '-'])).unwrap_or_default();
    Ok(match (fields.get(2), users) {
        (None, _) => "it is not loaded any more".into(),
        (Some(&"0"), _) => "it stays loaded until the next boot".into(),
        (Some(count), "") => format!("in use {count} times; the next boot is without it"),
        (_, users) => format!("in use by {}; the next boot is without it", users.replace(',', ", ")),
    })
}

async fn of_socket(probe: &dyn Probe, difference: &Difference) -> Result<String> {
    if difference.now.is_none() {
        return Ok("nobody listens there any more".into());
    }
    let port = difference.name.split(' ').nth(1).unwrap_or_default();
    let listed = probe.query(&["ss", "-Hltnp"]).await?;
    let line = listed.stdout.lines().find(|line| {
        line.split_whitespace().nth(3).is_some_and(|local| local.rsplit_once(':').is_some_and(|(_, p)| p == port))
    });
    let process = line.and_then(|line| line.split("((\"").nth(1)?.split('"').next());
    Ok(process.map_or("somebody listens there".into(), |name| format!("{name} listens there")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;

    fn new(kind: Kind, name: &str) -> Difference {
        Difference { kind, name: name.into(), before: None, now: Some("there".into()) }
    }

    #[tokio::test]
    async fn each_reason_names_who_holds_it() {
        let host = FakeHost::default()
            .file("/proc/modules", "br_netfilter 32768 0 - Live 0x0\nbridge 311296 1 br_netfilter, Live 0x0\n")
            .file("/var/lib/dpkg/info/docker-ce.list", "/opt\n/opt/containerd\n")
            .answer("ss -Hltnp", 0, "LISTEN 0 511 0.0.0.0:8080 0.0.0.0:* users:((\"nginx\",pid=7,fd=6))\n");
        let differences = [
            new(Kind::Module, "bridge"),
            new(Kind::Module, "br_netfilter"),
            new(Kind::Entry, "/opt/containerd"),
            new(Kind::Entry, "/opt/other"),
            new(Kind::Socket, "tcp 8080"),
            Difference { before: Some("0".into()), now: Some("2".into()), ..new(Kind::Sysctl, "kernel/panic") },
            Difference { before: Some("a".into()), now: Some("b".into()), ..new(Kind::File, "/etc/fstab") },
        ];
        let told: Vec<String> = explain(&host, &differences).await.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "the kernel module bridge: in use by br_netfilter; the next boot is without it",
                "the kernel module br_netfilter: it stays loaded until the next boot",
                "the path /opt/containerd: it belongs to the package docker-ce, which stays",
                "the path /opt/other: somebody has made it since",
                "the listening port tcp 8080: nginx listens there",
                "the kernel parameter kernel/panic: it was 0, and somebody has set it to 2 since",
                "the file /etc/fstab: somebody has changed it since: it was a, and is b",
            ]
        );
    }

    #[tokio::test]
    async fn nobody_is_blamed_for_what_this_cluster_made() {
        use crate::engine::{Entry, Record, RunInfo};
        let info = RunInfo { id: "1".into(), command: "kboot up".into(), ..RunInfo::default() };
        let trace = |path: &str, state| vec![Trace { subject: Subject::path(path), state }];
        let written = |change, path: &str| {
            let (step, text, before) = ("write-it".to_string(), "write it".to_string(), trace(path, State::Absent));
            let after = trace(path, State::file(0o644, 0, 0, b"x".to_vec()));
            [
                Entry::Intent { change, step, id: None, text, before, wants: Default::default() },
                Entry::Done { change, after },
            ]
        };
        let removed = Entry::Intent {
            change: 2,
            id: None,
            step: "remove-it".into(),
            text: "remove it".into(),
            before: trace("/etc/b", State::file(0o644, 0, 0, b"x".to_vec())),
            wants: Default::default(),
        };
        let [a, b] = [written(0, "/etc/a"), written(1, "/etc/b")];
        let entries = [Entry::Begin(info)].into_iter().chain(a).chain(b).chain([removed]);
        let record =
            |entry| serde_json::to_string(&Record { version: 3, run: "1".into(), at: 1, entry }).unwrap() + "\n";
        let host = FakeHost::default()
            .file(Journal::PATH, entries.map(record).collect::<String>())
            .file("/var/lib/cni/networks/podman/10.88.0.2", "");
        let differences = [
            new(Kind::Entry, "/var/lib/cni"),
            new(Kind::Entry, "/var/log/pods"),
            new(Kind::Link, "cni0"),
            new(Kind::Link, "wg0"),
            new(Kind::File, "/etc/a"),
            // Taken back since, so that it is another one that is there.
            new(Kind::File, "/etc/b"),
        ];
        let told: Vec<String> =
            explain(&host, &differences).await.unwrap().into_iter().map(|found| found.why).collect();
        assert_eq!(
            told,
            [
                "a part of the node made it, and it holds networks",
                "a part of the node made it, and it holds nothing",
                "a part of the node made it",
                "somebody has made it since",
                "`kboot up` made it, in the step write-it",
                "somebody has made it since",
            ]
        );
    }

    #[tokio::test]
    async fn what_kboot_removed_is_said_to_be_its_own_doing() {
        use crate::engine::{Entry, Record, RunInfo, Trace};
        let trace = |path: &str, state| vec![Trace { subject: Subject::path(path), state }];
        let directory = State::Directory { mode: 0o755, uid: 0, gid: 0, is_empty: false };
        let file = State::file(0o644, 0, 0, b"new".to_vec());
        let info = RunInfo { id: "1".into(), command: "kboot reset".into(), ..RunInfo::default() };
        let intent = |change, path, before| Entry::Intent {
            change,
            id: None,
            step: "remove-it".into(),
            text: format!("remove {path}"),
            before: trace(path, before),
            wants: Default::default(),
        };
        let entries = [
            Entry::Begin(info),
            intent(0, "/etc/kubernetes/pki", directory),
            Entry::Done { change: 0, after: trace("/etc/kubernetes/pki", State::Absent) },
            intent(1, "/etc/crictl.yaml", State::file(0o644, 0, 0, b"old".to_vec())),
            Entry::Done { change: 1, after: trace("/etc/crictl.yaml", file) },
        ];
        let record =
            |entry| serde_json::to_string(&Record { version: 3, run: "1".into(), at: 1, entry }).unwrap() + "\n";
        let host = FakeHost::default().file(Journal::PATH, entries.map(record).concat());
        let gone = |kind, name: &str| Difference { before: Some("there".into()), now: None, ..new(kind, name) };
        let changed = |now: &[u8]| Difference {
            before: Some("file 0644 0:0 x".into()),
            now: Some(format!("file 0644 0:0 {}", &crate::engine::sha256(now)[..32])),
            ..new(Kind::File, "/etc/crictl.yaml")
        };
        let differences = [
            gone(Kind::File, "/etc/kubernetes/pki/ca.key"),
            gone(Kind::File, "/etc/kubernetes/pkix"),
            gone(Kind::Rule, "iptables-nft nat -A INPUT -j ACCEPT"),
            changed(b"new"),
            changed(b"theirs"),
        ];
        let told: Vec<String> =
            explain(&host, &differences).await.unwrap().into_iter().map(|found| found.why).collect();
        let own =
            ["`kboot reset` removed it, in the step remove-it", "`kboot reset` changed it, in the step remove-it"];
        assert_eq!((told[0].as_str(), told[3].as_str()), (own[0], own[1]));
        assert_eq!(
            (told[1].as_str(), told[2].as_str()),
            ("somebody has removed it since", "it is gone since the first run")
        );
        assert!(told[4].starts_with("somebody has changed it since"), "{}", told[4]);
    }
}
