//! The kernel settings that pod networks need, and the inventory's, now and at boot.
//!
//! The file keeps what a setting was before, so that one that the inventory names no more goes back to that.

use async_trait::async_trait;
use camino::Utf8Path;

use crate::engine::{Planned, Probe, Result};
use crate::manifest::{self, paths};
use crate::resource::{AnyResource, Converge, File, Sysctl};

use super::{Context, unrendered};

pub fn step(context: &Context) -> Result<Converge> {
    let wanted = manifest::sysctls(&context.cluster, context.host()?);
    Ok(Converge::new("set-sysctls", "Set kernel parameters").with(Sysctls { wanted }))
}

struct Sysctls {
    wanted: Vec<(String, String)>,
}

#[async_trait]
impl AnyResource for Sysctls {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let text = probe.read_text(Utf8Path::new(paths::SYSCTL)).await?.unwrap_or_default();
        let (set, mut before) = manifest::parse_sysctl_conf(&text);
        let is_wanted = |key: &String| self.wanted.iter().any(|(wanted, _)| wanted == key);
        let (mut back, mut changes) = (Vec::new(), Vec::new());
        for (key, value) in set.iter().filter(|(key, _)| !is_wanted(key)) {
            let Some(old) = before.get(key) else { continue };
            // Somebody who has changed it since wants it so.
            if Sysctl::read(probe, key).await?.as_ref() == Some(value) {
                back.extend(AnyResource::plan(&Sysctl::new(key, old), probe).await?.into_changes());
            }
        }
        before.retain(|key, _| is_wanted(key));
        for (key, value) in &self.wanted {
            let sysctl = Sysctl::new(key, value);
            changes.extend(AnyResource::plan(&sysctl, probe).await?.into_changes());
            if !set.contains_key(key)
                && let Some(old) = Sysctl::read(probe, key).await?.filter(|old| *old != sysctl.value)
            {
                before.insert(key.clone(), old);
            }
        }
        // What was before is on record as long as it is needed: before anything is set, and until all is set back.
        let file = File::text(paths::SYSCTL, manifest::sysctl_conf(&self.wanted, &before).map_err(unrendered)?);
        back.extend(AnyResource::plan(&file, probe).await?.into_changes());
        back.extend(changes);
        Ok(Planned::of(back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Change;
    use crate::engine::fake::FakeHost;

    fn sysctls(wanted: &[(&str, &str)]) -> Sysctls {
        Sysctls { wanted: wanted.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect() }
    }

    fn host(file: &str, somaxconn: &str, forward: &str) -> FakeHost {
        FakeHost::default()
            .file(paths::SYSCTL, file)
            .file("/proc/sys/net/core/somaxconn", format!("{somaxconn}\n"))
            .file("/proc/sys/net/ipv4/ip_forward", format!("{forward}\n"))
    }

    async fn changes(sysctls: &Sysctls, host: &FakeHost) -> Vec<Change> {
        match sysctls.plan(host).await.unwrap() {
            Planned::Changes(changes) => changes,
            Planned::Satisfied => Vec::new(),
            Planned::After { what } | Planned::Until { what, .. } => panic!("after {what}"),
        }
    }

    fn told(changes: &[Change]) -> Vec<String> {
        changes.iter().map(ToString::to_string).collect()
    }

    fn written(changes: &[Change]) -> String {
        let text = changes.iter().find_map(|change| match change {
            Change::WriteFile { after, .. } => after.bytes(),
            _ => None,
        });
        String::from_utf8(text.expect("it writes the file")).unwrap()
    }

    #[tokio::test]
    async fn a_setting_goes_and_comes_back_to_what_it_was() {
        let base = ("net.ipv4.ip_forward", "1");
        let (with, without) = (sysctls(&[base, ("net.core.somaxconn", "1024")]), sysctls(&[base]));
        let file = manifest::sysctl_conf(&without.wanted, &Default::default()).unwrap();
        let made = changes(&with, &host(&file, "4096", "1")).await;
        assert_eq!(
            told(&made),
            ["change /etc/sysctl.d/99-kubernetes.conf", "set net.core.somaxconn = 1024 (was 4096)"]
        );
        let file = written(&made);
        assert!(
            file.contains("# net.core.somaxconn was 4096 before kboot set it\nnet.core.somaxconn = 1024\n"),
            "{file}"
        );
        // A run that was killed between the two, and one that was not.
        assert_eq!(
            told(&changes(&with, &host(&file, "4096", "1")).await),
            ["set net.core.somaxconn = 1024 (was 4096)"]
        );
        assert_eq!(changes(&with, &host(&file, "1024", "1")).await, []);

        let undone = changes(&without, &host(&file, "1024", "1")).await;
        assert_eq!(
            told(&undone),
            ["set net.core.somaxconn = 4096 (was 1024)", "change /etc/sysctl.d/99-kubernetes.conf"]
        );
        assert!(!written(&undone).contains("somaxconn"));
        // Somebody else's value stays.
        let kept = changes(&without, &host(&file, "2048", "1")).await;
        assert_eq!(told(&kept), ["change /etc/sysctl.d/99-kubernetes.conf"]);
    }

    #[tokio::test]
    async fn what_was_so_before_stays_so() {
        let wanted = sysctls(&[("net.ipv4.ip_forward", "1"), ("net.core.somaxconn", "4096")]);
        let made = changes(&wanted, &host("", "4096", "1")).await;
        assert_eq!(told(&made), ["change /etc/sysctl.d/99-kubernetes.conf"]);
        let file = written(&made);
        let fewer = sysctls(&[("net.ipv4.ip_forward", "1")]);
        assert_eq!(
            told(&changes(&fewer, &host(&file, "4096", "1")).await),
            ["change /etc/sysctl.d/99-kubernetes.conf"]
        );
    }

    #[tokio::test]
    async fn white_space_in_a_value_is_no_difference() {
        let wanted = sysctls(&[("net.core.somaxconn", "1024 2048")]);
        let file = manifest::sysctl_conf(&wanted.wanted, &Default::default()).unwrap();
        assert_eq!(changes(&wanted, &host(&file, "1024\t2048", "1")).await, []);
    }
}
