//! A step that is nothing but a list of resources.

use std::time::Duration;

use async_trait::async_trait;

use crate::engine::{AnyStep, Change, Planned, PlannedHost, Probe, Remark, Result};

/// The wanted state of one thing on a host.
#[async_trait]
pub trait Resource: Send + Sync {
    type Observed: Send;

    async fn observe(&self, probe: &dyn Probe) -> Result<Self::Observed>;

    /// What differs. Pure.
    fn diff(&self, observed: Self::Observed) -> Result<Planned>;

    /// What people should know of it, once it is as wanted.
    async fn remarks(&self, _probe: &dyn Probe) -> Result<Vec<Remark>> {
        Ok(Vec::new())
    }
}

/// A resource whatever it observes.
#[async_trait]
pub trait AnyResource: Send + Sync {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned>;

    /// What people should know of it, once it is as wanted.
    async fn remarks(&self, _probe: &dyn Probe) -> Result<Vec<Remark>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl<R: Resource> AnyResource for R {
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        self.diff(self.observe(probe).await?)
    }

    async fn remarks(&self, probe: &dyn Probe) -> Result<Vec<Remark>> {
        Resource::remarks(self, probe).await
    }
}

/// Brings resources, in their order, to the state that they name.
pub struct Converge {
    id: String,
    title: String,
    deadline: Duration,
    resources: Vec<Box<dyn AnyResource>>,
}

impl Converge {
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Self {
        Self { id: id.into(), title: title.into(), deadline: Duration::from_secs(300), resources: Vec::new() }
    }

    pub fn with(mut self, resource: impl AnyResource + 'static) -> Self {
        self.resources.push(Box::new(resource));
        self
    }

    pub fn with_all(mut self, resources: impl IntoIterator<Item = impl AnyResource + 'static>) -> Self {
        self.resources.extend(resources.into_iter().map(|r| Box::new(r) as Box<dyn AnyResource>));
        self
    }

    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }
}

#[async_trait]
impl AnyStep for Converge {
    fn id(&self) -> &str {
        &self.id
    }

    fn title(&self) -> String {
        self.title.clone()
    }

    /// All changes up to the first resource that has to wait for something. Each resource sees the host as those before it will
    /// have made it, so that a service is restarted for a file that is yet to be written.
    async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
        let planned_host = PlannedHost::default();
        let mut changes: Vec<Change> = Vec::new();
        for resource in &self.resources {
            let planned = match resource.plan(&planned_host.over(probe)).await {
                Err(failure) if failure.is_unforeseen() => Planned::after(failure.cause),
                planned => planned?,
            };
            let (more, waits_for) = match planned {
                Planned::Satisfied => continue,
                Planned::Changes(more) => (more, None),
                Planned::After { what } => (Vec::new(), Some(what)),
                Planned::Until { changes, what } => (changes, Some(what)),
            };
            planned_host.expect(&more);
            changes.extend(more);
            if let Some(what) = waits_for {
                return Ok(Planned::until(changes, what));
            }
        }
        Ok(Planned::of(changes))
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn remarks(&self, probe: &dyn Probe) -> Result<Vec<Remark>> {
        let mut remarks = Vec::new();
        for resource in &self.resources {
            remarks.extend(resource.remarks(probe).await?);
        }
        Ok(remarks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fake::FakeHost;
    use crate::resource::{Certificate, File, Unit};

    fn shown(planned: Planned) -> (Vec<String>, Option<String>) {
        let (changes, what) = match planned {
            Planned::Satisfied => (Vec::new(), None),
            Planned::Changes(changes) => (changes, None),
            Planned::After { what } => (Vec::new(), Some(what)),
            Planned::Until { changes, what } => (changes, Some(what)),
        };
        (changes.iter().map(ToString::to_string).collect(), what.map(|what| what.to_string()))
    }

    #[tokio::test]
    async fn a_service_is_restarted_for_a_file_that_is_yet_to_be_written() {
        let step = |text: &str| {
            let unit = Unit::running("a.service").reads("/etc/a");
            Converge::new("a", "A").with(File::text("/etc/a", text)).with(unit)
        };
        // As systemd noted it when the service started.
        const OLD: &str = "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4";
        let host = FakeHost::default()
            .file("/etc/a", "old")
            .file("/run/kboot/started/a.service", format!("{OLD}  /etc/a\n"))
            .answer(
                "systemctl show a.service --property=LoadState,ActiveState,UnitFileState",
                0,
                "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n",
            );
        let drop_in = "create /etc/systemd/system/a.service.d/50-kboot.conf (0644)".to_string();
        let restart = "a.service: restart (/etc/a changed)".to_string();
        let changes = vec!["change /etc/a".to_string(), drop_in.clone(), restart];
        assert_eq!(shown(step("new").plan(&host).await.unwrap()), (changes, None));
        assert_eq!(shown(step("old").plan(&host).await.unwrap()), (vec![drop_in], None));
    }

    #[tokio::test]
    async fn what_needs_a_key_that_is_yet_to_be_made_comes_after_it() {
        struct Reads(&'static str);

        #[async_trait]
        impl AnyResource for Reads {
            async fn plan(&self, probe: &dyn Probe) -> Result<Planned> {
                probe.read(self.0.into()).await.map(|_| Planned::Satisfied)
            }
        }
        let algorithm = crate::inventory::EncryptionAlgorithm::EcdsaP256;
        let certificate = |name: &str, issuer: Option<&str>| Certificate {
            certificate: format!("/pki/{name}.crt").into(),
            key: format!("/pki/{name}.key").into(),
            issuer: issuer.map(|name| (format!("/pki/{name}.crt").into(), format!("/pki/{name}.key").into())),
            request: crate::pki::CertificateRequest::authority(name, 24, algorithm),
            names: crate::resource::Names::Any,
        };
        let step = Converge::new("a", "A")
            .with(certificate("ca", None))
            .with(certificate("leaf", Some("ca")))
            .with(Reads("/pki/leaf.crt"));
        let (changes, what) = shown(step.plan(&FakeHost::default()).await.unwrap());
        assert_eq!((changes.len(), what.as_deref()), (2, Some("/pki/leaf.crt")));
    }
}
