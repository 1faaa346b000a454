//! How an etcd that is not kboot's looks from this host, or this host's member of one that has hosts of its own: the question that the
//! preflight checks put. Nothing is changed by it.

use futures_util::future::join_all;

use crate::engine::{Probe, Result};
use crate::etcd::{Client, Condition, Credentials, Obstacle, obstacle};
use crate::facts::{EtcdEndpoint, EtcdState, EtcdView};
use crate::inventory::Host;
use crate::resource::etcd_credentials;

use super::{Context, EtcdFiles};

/// A dry run brings no key.
fn brought(files: &EtcdFiles) -> Option<Credentials> {
    Some(Credentials {
        authority: files.authority.as_bytes().into(),
        certificate: files.certificate.as_bytes().into(),
        key: files.key.whole()?.as_bytes().into(),
    })
}

/// Asks with what the run brings or, where it brings nothing, with what the host has; none where neither has anything.
pub async fn look_at_etcd(context: &Context, probe: &dyn Probe) -> Result<Option<EtcdView>> {
    let urls = match context.cluster.external_etcd() {
        Some(external) => external.endpoints.clone(),
        None => context
            .cluster
            .host(&context.host)
            .filter(|host| host.is_etcd())
            .map(Host::etcd_client_url)
            .into_iter()
            .collect(),
    };
    if urls.is_empty() {
        return Ok(None);
    }
    let credentials = match context.secrets.etcd.as_ref().and_then(brought) {
        Some(credentials) => Some(credentials),
        None => etcd_credentials(probe).await?,
    };
    let Some(credentials) = credentials else { return Ok(None) };
    let asked = urls.iter().map(|url| async {
        let url = url.trim_end_matches('/').to_owned();
        EtcdEndpoint { state: state(&url, &credentials).await, url }
    });
    let mut view = EtcdView { endpoints: join_all(asked).await, has_data: None };
    let prefix = context.cluster.etcd_prefix();
    for endpoint in &view.endpoints {
        if matches!(endpoint.state, EtcdState::Answers { .. }) {
            let found = Client::has_keys(&endpoint.url, &credentials, &prefix).await;
            let is_told = found.is_ok();
            view.has_data = Some(found.map_err(|failure| failure.cause.to_string()));
            if is_told {
                break;
            }
        }
    }
    Ok(Some(view))
}

async fn state(url: &str, credentials: &Credentials) -> EtcdState {
    match obstacle(url, credentials).await {
        Some(Obstacle::Silent(reason)) => return EtcdState::Silent { reason },
        Some(Obstacle::Untrusted(reason)) => return EtcdState::Untrusted { reason },
        Some(Obstacle::Refused(reason)) => return EtcdState::Refuses { reason },
        None => {}
    }
    match Condition::of(url, credentials).await {
        Ok(Condition { version, cluster_id, complaints, .. }) => {
            EtcdState::Answers { version, cluster: format!("{cluster_id:x}"), complaints }
        }
        Err(failure) => EtcdState::Silent { reason: format!("does not answer as etcd does: {}", failure.cause) },
    }
}
