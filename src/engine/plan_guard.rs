//! The changes that a saved plan has for a step, and the guard that allows no others.

use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AnyStep, Change, Evidence, Failure, Hint, Planned, Probe, Remark, Result, Text, UnitChange};

/// What was planned for one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    pub step: String,
    /// Redacted.
    pub changes: Vec<Change>,
    /// What had to be there before more could be known: then the step may do more than was planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Text>,
}

impl PlannedStep {
    pub fn allows(&self, change: &Change) -> bool {
        self.after.is_some() || self.changes.iter().any(|planned| change.keeps_to(planned))
    }
}

/// A step that may do no more than was planned for it.
pub struct PlanGuard<'a> {
    step: &'a dyn AnyStep,
    planned_steps: Vec<&'a PlannedStep>,
}

impl<'a> PlanGuard<'a> {
    /// Holds a step to what a phase's plan has for it: to nothing where it has nothing.
    pub fn new(step: &'a dyn AnyStep, phase: &'a [PlannedStep]) -> Self {
        Self { step, planned_steps: phase.iter().filter(|planned| planned.step == step.id()).collect() }
    }

    fn check(&self, changes: &[Change]) -> Result<()> {
        let is_allowed = |change: &&Change| self.planned_steps.iter().any(|planned| planned.allows(change));
        let unplanned: Vec<&Change> = changes.iter().filter(|change| !is_allowed(change)).collect();
        if unplanned.is_empty() {
            return Ok(());
        }
        Err(Failure::new("the host moved while the plan was carried out: what is to be done now was not planned")
            .evidence(unplanned.iter().map(|change| format!("not in the plan: {}", change.redacted())))
            .hint(Hint::MakeNewPlan))
    }
}

#[async_trait]
impl AnyStep for PlanGuard<'_> {
    fn id(&self) -> &str {
        self.step.id()
    }

    fn title(&self) -> String {
        self.step.title()
    }

    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let planned = self.step.plan(probe).await?;
        if let Planned::Changes(changes) | Planned::Until { changes, .. } = &planned {
            self.check(changes)?;
        }
        Ok(planned)
    }

    fn deadline(&self) -> Duration {
        self.step.deadline()
    }

    async fn evidence(&self, probe: &dyn Probe) -> Evidence {
        self.step.evidence(probe).await
    }

    fn is_lenient(&self) -> bool {
        self.step.is_lenient()
    }

    async fn remarks(&self, probe: &dyn Probe) -> Result<Vec<Remark>> {
        self.step.remarks(probe).await
    }
}

impl Change {
    /// Whether making this change does nothing that the planned one did not announce: the same thing comes out the same, or is
    /// so already. What was there before is no matter.
    pub fn keeps_to(&self, planned: &Change) -> bool {
        let (made, planned) = (self.redacted(), planned.redacted());
        match (&made, &planned) {
            (Change::WriteFile { path, mode, after, .. }, Change::WriteFile { path: p, mode: m, after: a, .. }) => {
                (path, mode, after) == (p, m, a)
            }
            // What it holds, or that it is there, has come about by itself, as by a package.
            (
                Change::SetMode { path, mode },
                Change::SetMode { path: p, mode: m }
                | Change::WriteFile { path: p, mode: m, .. }
                | Change::MakeDirectory { path: p, mode: m },
            ) => (path, mode) == (p, m),
            (Change::InstallPackages { packages, .. }, Change::InstallPackages { packages: all, .. }) => {
                packages.iter().all(|one| {
                    all.iter().any(|planned| {
                        let is_wanted = one.name == planned.name && one.to == planned.to;
                        is_wanted && (planned.candidate.is_none() || planned.candidate == one.candidate)
                    })
                })
            }
            (Change::RemovePackages { packages }, Change::RemovePackages { packages: all }) => is_part(packages, all),
            (Change::HoldPackages { packages, hold }, Change::HoldPackages { packages: all, hold: h }) => {
                hold == h && is_part(packages, all)
            }
            // What an interrupted run left is finished before anything is installed.
            (Change::MendPackages { .. }, Change::MendPackages { .. } | Change::InstallPackages { .. }) => true,
            (Change::PullImages { images }, Change::PullImages { images: all }) => is_part(images, all),
            (Change::SetUnit(unit), Change::SetUnit(planned)) => unit.keeps_to(planned),
            (Change::SetSysctl { key, after, .. }, Change::SetSysctl { key: k, after: a, .. }) => {
                (key, after) == (k, a)
            }
            (Change::ApplyObject { object, .. }, Change::ApplyObject { object: o, .. }) => {
                object == o || (is_token(object) && is_token(o))
            }
            (Change::MarkNode(marks), Change::MarkNode(all)) => {
                marks.node == all.node
                    && is_part(&marks.labels, &all.labels)
                    && is_part(&marks.taints, &all.taints)
                    && is_part(&marks.unlabel, &all.unlabel)
                    && is_part(&marks.untaint, &all.untaint)
            }
            (Change::RemoveFilterRules { program, .. }, Change::RemoveFilterRules { program: p, .. }) => program == p,
            (Change::Remove { path }, Change::Remove { path: p }) => path == p || is_temporary_beside(path, p),
            _ => made == planned,
        }
    }

    /// Whether both find the same: what was there before counts, as far as it was looked at.
    pub fn starts_as(&self, other: &Change) -> bool {
        let (one, other) = (self.redacted(), other.redacted());
        match (&one, &other) {
            (Change::WriteFile { before, .. }, Change::WriteFile { before: b, .. }) => before == b,
            (Change::ApplyObject { before, .. }, Change::ApplyObject { before: b, .. }) => before == b,
            (Change::SetSysctl { before, .. }, Change::SetSysctl { before: b, .. }) => before == b,
            (Change::InstallPackages { packages, .. }, Change::InstallPackages { packages: p, .. }) => {
                packages.iter().map(|one| (&one.name, &one.from)).eq(p.iter().map(|one| (&one.name, &one.from)))
            }
            _ => true,
        }
    }
}

fn is_part<T: PartialEq>(some: &[T], all: &[T]) -> bool {
    some.iter().all(|item| all.contains(item))
}

/// Whether `path` is the temporary file of a Go program (`os.CreateTemp`: a dot and digits) that was stopped before it had
/// renamed it to a file beside it. No plan can know its name.
fn is_temporary_beside(path: &Utf8Path, planned: &Utf8Path) -> bool {
    let digits = path.file_name().and_then(|name| name.strip_prefix('.')).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && path.parent() == planned.parent()
}

/// A bootstrap token is made by chance, name and all.
fn is_token(object: &Value) -> bool {
    object["kind"] == "Secret" && object["type"] == "bootstrap.kubernetes.io/token"
}

impl UnitChange {
    fn keeps_to(&self, planned: &Self) -> bool {
        // To start a service that runs is to restart it: either way it runs with its files as they are then.
        let runs = |change: &Self| if change.restart.is_some() { Some(true) } else { change.start };
        self.unit == planned.unit
            && (self.enable.is_none() || self.enable == planned.enable)
            && (runs(self).is_none() || runs(self) == runs(planned))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::engine::{Content, FileMode, PackageChange};

    fn write(path: &str, before: Option<&str>, after: Content) -> Change {
        let before = before.map(|text| Content::Text(text.into()));
        Change::WriteFile { path: path.into(), mode: FileMode::PUBLIC, before, after }
    }

    fn text(text: &str) -> Content {
        Content::Text(text.into())
    }

    fn install(packages: &[(&str, Option<&str>)]) -> Change {
        let package = |(name, candidate): &(&str, Option<&str>)| PackageChange {
            name: (*name).into(),
            from: None,
            to: None,
            candidate: candidate.map(String::from),
            brings: Vec::new(),
        };
        Change::InstallPackages { packages: packages.iter().map(package).collect(), lock: None }
    }

    fn unit(enable: Option<bool>, start: Option<bool>, restart: Option<&str>) -> Change {
        Change::SetUnit(UnitChange {
            unit: "a.service".into(),
            enable,
            start,
            restart: restart.map(String::from),
            reloads: false,
        })
    }

    #[test]
    fn the_same_file_must_become_the_same() {
        let planned = write("/a", None, text("x"));
        assert!(write("/a", Some("default"), text("x")).keeps_to(&planned));
        assert!(!write("/a", None, text("y")).keeps_to(&planned));
        assert!(!write("/b", None, text("x")).keeps_to(&planned));
        assert!(Change::SetMode { path: "/a".into(), mode: FileMode::PUBLIC }.keeps_to(&planned));
        assert!(!Change::SetMode { path: "/a".into(), mode: FileMode::PRIVATE }.keeps_to(&planned));
        assert!(!Change::Remove { path: "/a".into() }.keeps_to(&planned));
    }

    #[test]
    fn what_a_stopped_program_left_unrenamed_goes_with_the_files_beside_it() {
        let remove = |path: &str| Change::Remove { path: path.into() };
        let planned = remove("/var/lib/kubelet/cpu_manager_state");
        assert!(remove("/var/lib/kubelet/.2580290752").keeps_to(&planned));
        for other in ["/var/lib/kubelet/.2580x", "/var/lib/kubelet/.", "/var/lib/kubelet/2580", "/var/lib/.2580290752"]
        {
            assert!(!remove(other).keeps_to(&planned), "{other}");
        }
    }

    #[test]
    fn a_secret_is_compared_by_its_digest() {
        let planned = write("/key", None, Content::Secret("s1".into())).redacted();
        assert!(write("/key", None, Content::Secret("s1".into())).keeps_to(&planned));
        assert!(!write("/key", None, Content::Secret("s2".into())).keeps_to(&planned));
    }

    #[test]
    fn less_than_was_planned_is_fine_and_more_is_not() {
        assert!(install(&[("a", None)]).keeps_to(&install(&[("a", None), ("b", None)])));
        assert!(!install(&[("a", None), ("c", None)]).keeps_to(&install(&[("a", None)])));
        assert!(install(&[("a", Some("1"))]).keeps_to(&install(&[("a", None)])));
        assert!(!install(&[("a", Some("2"))]).keeps_to(&install(&[("a", Some("1"))])));
        let planned = unit(Some(true), Some(true), None);
        assert!(unit(None, None, Some("/etc/a changed")).keeps_to(&planned));
        assert!(unit(Some(true), None, None).keeps_to(&planned));
        assert!(!unit(None, Some(false), None).keeps_to(&planned));
        assert!(!unit(Some(true), None, None).keeps_to(&unit(None, Some(true), None)));
    }

    #[test]
    fn any_new_token_is_the_new_token_that_was_planned() {
        let secret = |name: &str, kind: &str| Change::ApplyObject {
            object: json!({"kind": "Secret", "type": kind, "metadata": {"name": name}}),
            before: None,
        };
        let token = "bootstrap.kubernetes.io/token";
        assert!(secret("bootstrap-token-a", token).keeps_to(&secret("bootstrap-token-b", token)));
        assert!(!secret("a", "Opaque").keeps_to(&secret("b", "Opaque")));
        assert!(!secret("a", "Opaque").keeps_to(&secret("bootstrap-token-b", token)));
    }

    #[test]
    fn what_was_there_before_tells_whether_somebody_was_there_since() {
        let planned = write("/a", Some("1"), text("2"));
        assert!(write("/a", Some("1"), text("2")).starts_as(&planned));
        assert!(!write("/a", Some("1b"), text("2")).starts_as(&planned));
        assert!(!write("/a", None, text("2")).starts_as(&planned));
        let object = |replicas: u32| Change::ApplyObject { object: json!({}), before: Some(json!({"r": replicas})) };
        assert!(object(1).starts_as(&object(1)) && !object(2).starts_as(&object(1)));
    }

    struct Fixed(Vec<Change>);

    #[async_trait]
    impl AnyStep for Fixed {
        fn id(&self) -> &str {
            "fixed"
        }
        fn title(&self) -> String {
            "Fixed".into()
        }
        async fn plan(&self, _: &dyn Probe) -> Result<Planned> {
            Ok(Planned::of(self.0.clone()))
        }
        fn deadline(&self) -> Duration {
            Duration::ZERO
        }
    }

    async fn bound(wants: Vec<Change>, step: &str, changes: Vec<Change>, after: Option<&str>) -> Result<Planned> {
        let planned_steps = [PlannedStep { step: step.into(), changes, after: after.map(Text::from) }];
        let step = Fixed(wants);
        PlanGuard::new(&step, &planned_steps).plan(&crate::engine::fake::FakeHost::default()).await
    }

    #[tokio::test]
    async fn a_bound_step_may_do_what_was_planned_for_it_and_names_what_was_not() {
        let (a, b) = (write("/a", None, text("x")), write("/b", None, Content::Secret("hunter2".into())));
        let planned = Ok(Planned::Changes(vec![a.clone()]));
        assert_eq!(bound(vec![a.clone()], "fixed", vec![a.clone(), b.clone()], None).await, planned);
        assert_eq!(bound(vec![a.clone()], "fixed", vec![], Some("the API server")).await, planned);
        let failure = bound(vec![a.clone(), b.clone()], "fixed", vec![a.clone()], None).await.unwrap_err();
        assert_eq!(failure.evidence, ["not in the plan: create /b (0644)"]);
        assert!(bound(vec![a.clone()], "another", vec![a], Some("x")).await.is_err());
        assert_eq!(bound(vec![], "another", vec![], None).await, Ok(Planned::Satisfied));
    }

    fn any_change() -> impl Strategy<Value = Change> {
        let name = || "[ab]";
        prop_oneof![
            (name(), proptest::option::of("[ab]"), "[ab]").prop_map(|(path, before, after)| write(
                &format!("/{path}"),
                before.as_deref(),
                Content::Text(after)
            )),
            name().prop_map(|path| Change::Remove { path: format!("/{path}").into() }),
            (name(), proptest::option::of("[12]")).prop_map(|(name, version)| install(&[(&name, version.as_deref())])),
            (any::<Option<bool>>(), any::<Option<bool>>(), proptest::option::of("[ab]"))
                .prop_map(|(enable, start, restart)| unit(enable, start, restart.as_deref())),
            name().prop_map(|module| Change::LoadModule { module }),
            proptest::collection::vec("[abc]", 0..3).prop_map(|images| Change::PullImages { images }),
        ]
    }

    proptest! {
        #[test]
        fn every_change_keeps_to_itself_and_to_what_was_stored_of_it(change in any_change()) {
            prop_assert!(change.keeps_to(&change));
            let stored: Change = serde_json::from_str(&serde_json::to_string(&change.redacted()).unwrap()).unwrap();
            prop_assert!(change.keeps_to(&stored) && change.starts_as(&stored));
        }

        #[test]
        fn keeping_to_a_plan_that_keeps_to_a_plan_is_keeping_to_that(
            a in any_change(), b in any_change(), c in any_change()
        ) {
            if a.keeps_to(&b) && b.keeps_to(&c) {
                prop_assert!(a.keeps_to(&c));
            }
        }
    }
}
