//! `kboot config images`

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::engine::{Failure, Hint};
use crate::inventory::{Cluster, Host, Role};
use crate::steps;

use super::exit::{Problem, print_data, print_json};
use super::init::{ImageArgs, Init};
use super::localhost::require_root;
use super::run::{DryRunArgs, RunArgs};
use super::wait::WaitArgs;
use super::{Global, Output, kubeadm, machine};

/// List the images that a control plane runs, or pull them
#[derive(Subcommand)]
pub enum Images {
    List(List),
    Pull(Pull),
}

/// List the images of a cluster
///
/// The list contains every image that kboot runs on a control plane, and the pod network's. Workers run some of them. Without a file,
/// it is for the default settings.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot config images list
  kboot config images list --config inventory.yaml
  kboot config images list --kubernetes-version v1.36.3 -o json")]
pub struct List {
    #[command(flatten)]
    source: Source,
}

/// Pull the images of a control plane to this machine
///
/// Run this as root, before `kboot init`. It pulls what is missing, with the container runtime of this machine: `kboot phase init
/// prepare` installs it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot config images pull
  kboot config images pull --config kubeadm.yaml --dry-run")]
pub struct Pull {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    dry: DryRunArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

/// The cluster whose images are meant.
#[derive(Args)]
struct Source {
    /// An inventory, or kubeadm's configuration
    #[arg(long, short = 'i', alias = "inventory", value_name = "FILE")]
    config: Option<Utf8PathBuf>,
    #[command(flatten)]
    images: ImageArgs,
}

impl Images {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        match self {
            Images::List(list) => list.run(global),
            Images::Pull(Pull { source, dry, wait }) => {
                require_root()?;
                require_runtime()?;
                let run = RunArgs::of_steps(&steps::CONTROL_PLANE_IMAGE_STEPS, dry, wait);
                Init::with(source.config, source.images, run).run(global).await
            }
        }
    }
}

/// An error without a container runtime. A run would fail later, and leave its journal.
fn require_runtime() -> Result<(), Problem> {
    which::which("crictl").map(drop).map_err(|_| {
        Problem::Failed(Failure::new("this machine has no container runtime: `crictl` is not installed"))
            .hint(Hint::InstallRuntime.to_string())
    })
}

impl List {
    fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let images = steps::control_plane_images(&self.source.cluster()?)?;
        match global.output {
            Output::Json => print_json(&json!({ "images": images }))?,
            Output::Auto | Output::Plain => {
                print_data(&images.iter().map(|image| format!("{image}\n")).collect::<String>())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Source {
    fn cluster(&self) -> Result<Cluster, Problem> {
        let cluster = match self.config.as_deref() {
            Some(path) => from_file(path, &self.images)?,
            None => Cluster::single(Host::new(NAME, ADDRESS, vec![Role::ControlPlane])),
        };
        machine::validated(self.images.over(cluster))
    }
}

/// No image depends on the machine, so the file's host can be any.
const NAME: &str = "n1";
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn from_file(path: &Utf8Path, images: &ImageArgs) -> Result<Cluster, Problem> {
    let Some(text) = kubeadm::text(path) else { return machine::read(path) };
    kubeadm::refuse(&images.flags())?;
    Ok(kubeadm::init(&text, path, NAME.into(), Some(ADDRESS))?.0)
}
