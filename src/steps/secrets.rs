//! The secrets of a run, and the one gate between the controller and its hosts.
//!
//! Every secret that goes to a host passes [`Secrets::for_host`]; every secret that comes from one passes [`Secrets::accept`]. A step
//! declares here which secrets it uses and which it gives. The types cannot be cloned, printed or serialised by themselves: only a
//! [`Handout`] (to one host, for one phase) and [`Outputs`] (from one host) travel.
//!
//! A new secret: a variant of [`Secret`], a line in [`NEEDS`] or [`GIVES`], and who may have it in [`Secret::is_for`].

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bootstrap::token_secret::Grant;
use crate::bootstrap::{CertificateKey, Token};
use crate::engine::{Content, Failure, Hint, Mode, Result};
use crate::inventory::{Cluster, Host};

use super::{Inputs, JoinToken, share_authorities, share_etcd};

/// A kind of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Secret {
    /// The bootstrap token by which workers join.
    JoinToken,
    /// The cluster's CAs with their keys, and the key of service accounts.
    Authorities,
    /// etcd's CA with its key, where etcd has hosts of its own.
    EtcdAuthority,
    /// The client certificate by which API servers use an etcd that is not on the control planes.
    EtcdClient,
    /// Bootstrap tokens that kubeadm's configuration names.
    UserTokens,
    /// The key that encrypts the CAs in the cluster.
    CertificateKey,
}

/// The secrets that steps use.
const NEEDS: [(&str, &[Secret]); 6] = [
    ("issue-join-token", &[Secret::UserTokens]),
    ("upload-certificates", &[Secret::CertificateKey]),
    ("write-authorities", &[Secret::Authorities]),
    ("write-bootstrap-kubeconfig", &[Secret::JoinToken]),
    ("write-etcd-authority", &[Secret::EtcdAuthority]),
    ("write-etcd-credentials", &[Secret::EtcdClient]),
];

/// The secrets that steps give to other hosts.
const GIVES: [(&str, &[Secret]); 3] = [
    ("issue-join-token", &[Secret::JoinToken]),
    ("share-authorities", &[Secret::Authorities]),
    ("share-etcd", &[Secret::EtcdAuthority, Secret::EtcdClient]),
];

/// The secrets that a step uses.
pub fn needs(step: &str) -> &'static [Secret] {
    of(&NEEDS, step)
}

/// The secrets that a step gives to other hosts.
pub fn gives(step: &str) -> &'static [Secret] {
    of(&GIVES, step)
}

fn of(table: &[(&str, &'static [Secret])], step: &str) -> &'static [Secret] {
    table.iter().find(|(name, _)| *name == step).map_or(&[], |(_, secrets)| secrets)
}

/// Steps that give a secret, each with a step of other hosts that uses it.
pub fn hand_overs() -> impl Iterator<Item = (&'static str, &'static str)> {
    GIVES.iter().flat_map(|(giver, given)| {
        let takes = move |needed: &[Secret]| given.iter().any(|secret| needed.contains(secret));
        NEEDS.iter().filter(move |(_, needed)| takes(needed)).map(|(taker, _)| (*giver, *taker))
    })
}

impl Secret {
    /// Who may have it, whatever a playbook's phase is for.
    fn is_for(self, host: &Host, inputs: &Inputs) -> bool {
        let is_new = inputs.joining.contains(&host.name);
        match self {
            Self::JoinToken => host.is_worker() && inputs.unregistered.contains(&host.name),
            Self::Authorities => host.is_control_plane() && is_new,
            Self::EtcdAuthority => host.is_etcd() && is_new,
            Self::EtcdClient => host.is_control_plane(),
            Self::UserTokens | Self::CertificateKey => inputs.leader.as_ref() == Some(&host.name),
        }
    }

    /// Who is asked for it in this run.
    fn giver<'a>(self, cluster: &Cluster, inputs: &'a Inputs) -> Option<&'a str> {
        let is_new = |host: &Host| inputs.joining.contains(&host.name);
        let (giver, is_wanted) = match self {
            Self::JoinToken => (&inputs.leader, inputs.join_token == JoinToken::ForRun),
            Self::Authorities => (&inputs.leader, cluster.control_planes().any(is_new)),
            Self::EtcdAuthority => (&inputs.etcd_leader, cluster.etcd_hosts().any(is_new)),
            Self::EtcdClient => (&inputs.etcd_leader, true),
            Self::UserTokens | Self::CertificateKey => (&None, false),
        };
        giver.as_deref().filter(|_| is_wanted)
    }

    fn name(self) -> &'static str {
        match self {
            Self::JoinToken => "a join token",
            Self::Authorities => "CA keys",
            Self::EtcdAuthority => "etcd's CA key",
            Self::EtcdClient => "an etcd client certificate",
            Self::UserTokens => "bootstrap tokens",
            Self::CertificateKey => "a certificate key",
        }
    }
}

/// What a worker needs to join a cluster.
pub struct Join {
    /// As `https://10.0.0.1:6443`.
    pub server: String,
    /// The cluster's certificate authority, PEM.
    pub ca_pem: String,
    pub token: Token,
}

/// The client files of an etcd that is not on the control planes, PEM.
pub struct EtcdFiles {
    pub authority: String,
    pub certificate: String,
    pub key: EtcdKey,
}

pub enum EtcdKey {
    Whole(SecretString),
    /// All that a plan gets: the digest that reports show of it.
    Digest(String),
}

impl EtcdKey {
    pub fn whole(&self) -> Option<&str> {
        match self {
            Self::Whole(key) => Some(key.expose_secret()),
            Self::Digest(_) => None,
        }
    }
}

/// Files of kubeadm's certificates folder, by their names; keys among them.
pub struct Authorities(BTreeMap<String, SecretString>);

impl Authorities {
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.expose_secret()))
    }
}

impl From<BTreeMap<String, String>> for Authorities {
    fn from(files: BTreeMap<String, String>) -> Self {
        Self(files.into_iter().map(|(name, text)| (name, text.into())).collect())
    }
}

/// All secrets of a run. They stay with the controller.
#[derive(Default)]
pub struct Secrets {
    join: Option<Join>,
    authorities: Option<Authorities>,
    etcd_authority: Option<Authorities>,
    etcd: Option<EtcdFiles>,
    tokens: Vec<(Token, Grant)>,
    certificate_key: Option<(CertificateKey, Token)>,
    /// What hosts have given so far: each is taken once.
    given: BTreeSet<Secret>,
}

/// A host that is about to get something.
pub struct Receiver<'a> {
    pub host: &'a Host,
    pub inputs: &'a Inputs,
    /// The secrets that the phase's steps use.
    pub needs: BTreeSet<Secret>,
    pub mode: Mode,
}

/// A host that has given something.
pub struct Giver<'a> {
    pub host: &'a str,
    pub cluster: &'a Cluster,
    pub inputs: &'a Inputs,
    /// The secrets that the phase's steps give.
    pub gives: BTreeSet<Secret>,
    pub mode: Mode,
}

impl Secrets {
    /// By what one machine joins that is told so by hand.
    pub fn with_join(self, join: Option<Join>) -> Self {
        Self { join, ..self }
    }

    /// What the cluster keeps for control planes that join by hand.
    pub fn with_authorities(self, authorities: Option<Authorities>) -> Self {
        Self { authorities, ..self }
    }

    /// The files that `etcd.external` names.
    pub fn with_etcd(self, etcd: Option<EtcdFiles>) -> Self {
        Self { etcd, ..self }
    }

    /// Bootstrap tokens that the cluster shall have.
    pub fn with_tokens(self, tokens: Vec<(Token, Grant)>) -> Self {
        Self { tokens, ..self }
    }

    /// The key by which the CAs are encrypted in the cluster, and the token that ends their time there.
    pub fn with_certificate_key(self, key: Option<(CertificateKey, Token)>) -> Self {
        Self { certificate_key: key, ..self }
    }

    /// The only way for a secret to a host: what the phase's steps use, as far as the host may have it. A dry run gets none.
    pub fn for_host(&self, to: &Receiver<'_>) -> Handout {
        let is_due = |secret: &Secret| to.needs.contains(secret) && secret.is_for(to.host, to.inputs);
        if to.mode == Mode::Plan {
            let is_withheld = self.certificate_key.is_some() && is_due(&Secret::CertificateKey);
            let etcd = self.etcd.as_ref().filter(|_| is_due(&Secret::EtcdClient)).map(EtcdFiles::digest);
            return Handout { etcd, withholds_certificate_key: is_withheld, ..Handout::default() };
        }
        let copied =
            |secret, files: &Option<Authorities>| files.as_ref().filter(|_| is_due(&secret)).map(Authorities::copy);
        let tokens = self.tokens.iter().filter(|_| is_due(&Secret::UserTokens));
        let key = self.certificate_key.as_ref().filter(|_| is_due(&Secret::CertificateKey));
        Handout {
            join: self.join.as_ref().filter(|_| is_due(&Secret::JoinToken)).map(Join::copy),
            authorities: copied(Secret::Authorities, &self.authorities),
            etcd_authority: copied(Secret::EtcdAuthority, &self.etcd_authority),
            etcd: self.etcd.as_ref().filter(|_| is_due(&Secret::EtcdClient)).map(EtcdFiles::copy),
            tokens: tokens.map(|(token, grant)| (token.copy(), grant.clone())).collect(),
            certificate_key: key.map(|(key, token)| (key.copy(), token.copy())),
            withholds_certificate_key: false,
        }
    }

    /// The only way for a secret from a host: each once, from the host that is asked for it, in a phase that gives it, and as it should
    /// look. Otherwise nothing of it is taken.
    pub fn accept(&mut self, outputs: Outputs, from: &Giver<'_>) -> Result<()> {
        let Outputs { join, authorities, etcd_authority, etcd, has_begun: _ } = outputs;
        let has = [
            (Secret::JoinToken, join.is_some()),
            (Secret::Authorities, authorities.is_some()),
            (Secret::EtcdAuthority, etcd_authority.is_some()),
            (Secret::EtcdClient, etcd.is_some()),
        ];
        let given: BTreeSet<Secret> =
            has.into_iter().filter(|(_, is_given)| *is_given).map(|(secret, _)| secret).collect();
        for secret in &given {
            let is_asked = from.mode == Mode::Apply
                && from.gives.contains(secret)
                && secret.giver(from.cluster, from.inputs) == Some(from.host)
                && !self.given.contains(secret);
            if !is_asked {
                return Err(unasked(&format!("it gave {}", secret.name())));
            }
        }
        let is_whole = join.as_ref().is_none_or(|join| join.is_of(from.cluster))
            && authorities.as_ref().is_none_or(|files| files.are(&share_authorities::shared(from.cluster)))
            && etcd_authority.as_ref().is_none_or(|files| files.are(&share_etcd::SHARED))
            && etcd.as_ref().is_none_or(EtcdFiles::is_whole);
        if !is_whole {
            return Err(Failure::new("it gave other files than it was asked for, and none of them was used")
                .hint(Hint::SuspectHost));
        }
        self.given.extend(given);
        self.join = join.or(self.join.take());
        self.authorities = authorities.or(self.authorities.take());
        self.etcd_authority = etcd_authority.or(self.etcd_authority.take());
        self.etcd = etcd.or(self.etcd.take());
        Ok(())
    }
}

/// A host did what nobody asked of it.
pub fn unasked(what: &str) -> Failure {
    Failure::new(format!("{what}, which nobody asked of it; none of that was used")).hint(Hint::SuspectHost)
}

/// PEM of this size is no file of a certificate or a key.
const LARGEST: usize = 64 << 10;

fn is_pem(text: &str) -> bool {
    text.len() <= LARGEST && text.contains("-----BEGIN ")
}

impl Join {
    pub(super) fn copy(&self) -> Self {
        Self { server: self.server.clone(), ca_pem: self.ca_pem.clone(), token: self.token.copy() }
    }

    fn is_of(&self, cluster: &Cluster) -> bool {
        self.server == format!("https://{}", cluster.endpoint()) && is_pem(&self.ca_pem)
    }
}

impl Authorities {
    fn copy(&self) -> Self {
        Self(self.0.clone())
    }

    /// Whether these are the files, and each looks like one.
    fn are(&self, names: &[&str]) -> bool {
        let names: BTreeSet<&str> = names.iter().copied().collect();
        self.0.keys().map(String::as_str).collect::<BTreeSet<_>>() == names
            && self.files().all(|(_, text)| is_pem(text))
    }
}

impl EtcdFiles {
    fn copy(&self) -> Self {
        let key = match &self.key {
            EtcdKey::Whole(key) => EtcdKey::Whole(key.clone()),
            EtcdKey::Digest(digest) => EtcdKey::Digest(digest.clone()),
        };
        Self { authority: self.authority.clone(), certificate: self.certificate.clone(), key }
    }

    fn digest(&self) -> Self {
        let key = match &self.key {
            EtcdKey::Whole(key) => digest_of(key.expose_secret()),
            EtcdKey::Digest(digest) => digest.clone(),
        };
        Self { key: EtcdKey::Digest(key), authority: self.authority.clone(), certificate: self.certificate.clone() }
    }

    fn is_whole(&self) -> bool {
        is_pem(&self.authority) && is_pem(&self.certificate) && self.key.whole().is_some_and(is_pem)
    }
}

/// As reports show something secret.
pub(super) fn digest_of(text: &str) -> String {
    match Content::Secret(text.into()).redacted() {
        Content::Digest(digest) => digest,
        Content::Text(_) | Content::Bytes(_) | Content::Secret(_) => String::new(),
    }
}

/// The secrets that one host gets for one phase.
#[derive(Default)]
pub struct Handout {
    pub(super) join: Option<Join>,
    pub(super) authorities: Option<Authorities>,
    pub(super) etcd_authority: Option<Authorities>,
    pub(super) etcd: Option<EtcdFiles>,
    pub(super) tokens: Vec<(Token, Grant)>,
    pub(super) certificate_key: Option<(CertificateKey, Token)>,
    /// A dry run: there is a certificate key, and it stays with the controller.
    pub(super) withholds_certificate_key: bool,
}

/// What a host hands back after a phase.
#[derive(Default)]
pub struct Outputs {
    pub(super) join: Option<Join>,
    /// The cluster's authorities, by the names of their files.
    pub(super) authorities: Option<Authorities>,
    /// The same of etcd's, where it has hosts of its own.
    pub(super) etcd_authority: Option<Authorities>,
    /// What API servers ask the cluster's etcd with, where that is on hosts of its own.
    pub(super) etcd: Option<EtcdFiles>,
    /// Whether the plan that is carried out was begun on this host by an earlier run.
    pub has_begun: bool,
}

impl Serialize for Handout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::Handout::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Handout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wire::Handout::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Outputs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::Outputs::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Outputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        wire::Outputs::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
pub mod tests;
mod wire;
