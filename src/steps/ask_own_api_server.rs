//! A control plane's kubelet asks the API server beside it, so that it is never newer than that during an upgrade.
//!
//! One that joins begins with another control plane's: it can register while etcd has yet to let this one in.

use crate::engine::Result;
use crate::resource::Converge;

use super::Context;
use super::kubeconfig_server::Server;

pub fn step(context: &Context) -> Result<Converge> {
    let own = context.cluster.kubelet_server(context.host()?);
    let server = Server::of_kubelet(own).made_otherwise(context.first_server().is_some());
    Ok(Converge::new("ask-own-api-server", "Have the kubelet ask the API server beside it").with(server))
}
