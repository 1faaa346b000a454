//! Looking names up by this machine's own rules.
//!
//! A static binary can't follow nsswitch.conf itself: glibc would load the machine's own modules into it. `getent` does it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The addresses of a host, best first. An IP address, with or without brackets, is its own.
pub async fn lookup(host: &str) -> io::Result<Vec<IpAddr>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![address]);
    }
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("the name {host} does not resolve"));
    if host.is_empty() || host.starts_with('-') {
        return Err(unknown());
    }
    let output = tokio::process::Command::new("getent")
        .args(["ahosts", host])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(Ok(address)) = line.split_whitespace().next().map(str::parse)
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(unknown()) } else { Ok(addresses) }
}

/// For HTTP clients.
pub struct Resolver;

impl Resolver {
    pub fn shared() -> Arc<Self> {
        Arc::new(Self)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses = lookup(name.as_str()).await?;
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_their_own_and_localhost_is_known() {
        assert_eq!(lookup("[::1]").await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
        assert!(lookup("localhost").await.unwrap().iter().all(IpAddr::is_loopback));
        assert!(lookup("--help").await.is_err());
        assert!(lookup("no-such-name.invalid").await.is_err());
    }
}
