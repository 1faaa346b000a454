//! Logging in by public key: with the SSH agent's keys and with key files.

use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use russh::AgentAuthError;
use russh::client::AuthResult;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::handshake::{Greeted, said, timed_out};
use super::{ConnectError, KeyError, Keyring, Target, keyring};
use crate::fleet::known_hosts::fingerprint;

/// How many of the agent's keys are tried before this user's own: sshd hangs up after six refused keys by default.
const FIRST_AGENT_KEYS: usize = 4;

/// Logs in with the target's identity file, by the agent if that has the key; or, without one, with the agent's keys and this
/// user's own, until one gets in or the host hangs up.
pub(super) async fn log_in(greeted: &mut Greeted, target: &Target, keys: &Keyring) -> Result<(), ConnectError> {
    let mut attempt = Attempt { greeted, target, tried: Vec::new(), identity: None };
    let mut agent = Agent::connect(keys).await;
    // Why a key could not be tried counts only if none got in.
    let mut obstacle = None;
    match &target.identity_file {
        Some(file) => {
            if let Some(held) = agent.as_ref().zip(keyring::public_half(file)).and_then(|(agent, key)| agent.find(&key))
            {
                match attempt.by_agent(agent.as_mut(), held).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => return Err(attempt.refused()),
                    Err(error @ ConnectError::Agent { .. }) => obstacle = Some(error),
                    Err(error) => return Err(error),
                }
            }
            match keys.key(file).await {
                Ok(key) if attempt.by_file(file, &key).await? => return Ok(()),
                Ok(_) => {}
                // An agent that has the key and fails is closer to the cause than the file that it stands for.
                Err(error) => return Err(obstacle.unwrap_or(error.into())),
            }
        }
        None => {
            let files = keys.default_files();
            let held = agent.as_ref().map(|agent| agent.ordered(&files)).unwrap_or_default();
            let (first, rest) = held.split_at(held.len().min(FIRST_AGENT_KEYS));
            let of_agent = |keys: &[PublicKey]| keys.iter().cloned().map(Way::Agent).collect::<Vec<_>>();
            // What the agent has of them has been tried by then, or is.
            let is_held = |file: &Utf8PathBuf| keyring::public_half(file).is_some_and(|key| has(&held, &key));
            let files = files.iter().filter(|file| !is_held(file)).cloned().map(Way::File);
            for way in of_agent(first).into_iter().chain(files).chain(of_agent(rest)) {
                let tried = match way {
                    Way::Agent(key) => attempt.by_agent(agent.as_mut(), key).await,
                    Way::File(file) => match keys.key(&file).await {
                        Ok(key) => attempt.by_file(&file, &key).await,
                        Err(error) => Err(error.into()),
                    },
                };
                match tried {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(error @ ConnectError::Agent { .. }) => obstacle = Some(error),
                    Err(error @ ConnectError::Key(_)) => obstacle = obstacle.or(Some(error)),
                    Err(error) => return Err(error),
                }
            }
        }
    }
    if !attempt.tried.is_empty() {
        return Err(attempt.refused());
    }
    Err(obstacle.unwrap_or(KeyError::Nowhere.into()))
}

/// A key, and who signs with it.
enum Way {
    Agent(PublicKey),
    File(Utf8PathBuf),
}

fn has(keys: &[PublicKey], key: &PublicKey) -> bool {
    keys.iter().any(|held| held.key_data() == key.key_data())
}

struct Attempt<'a> {
    greeted: &'a mut Greeted,
    target: &'a Target,
    tried: Vec<String>,
    identity: Option<Utf8PathBuf>,
}

impl Attempt<'_> {
    async fn by_file(&mut self, file: &Utf8Path, key: &Arc<PrivateKey>) -> Result<bool, ConnectError> {
        self.tried.push(format!("{} ({file})", fingerprint(key.public_key())));
        self.identity.get_or_insert_with(|| file.to_owned());
        let key = PrivateKeyWithHashAlg::new(Arc::clone(key), None);
        let answer = self.greeted.session.authenticate_publickey(&self.target.user, key);
        match timeout(self.target.connect_timeout, answer).await {
            Ok(Ok(result)) => self.accepted(&result),
            Ok(Err(error)) => Err(self.closed(error.to_string())),
            Err(_) => Err(timed_out(self.target)),
        }
    }

    async fn by_agent(&mut self, agent: Option<&mut Agent>, key: PublicKey) -> Result<bool, ConnectError> {
        let Some(agent) = agent else { return Ok(false) };
        self.tried.push(format!("{} (SSH agent)", fingerprint(&key)));
        if let Some(binding) = self.greeted.session.agent_session_binding() {
            // Needed for keys that are constrained to some hosts. Agents that don't know of it say no, and that is fine.
            let _ = agent.client.bind_session(binding, false).await;
        }
        let hash = key.algorithm().is_rsa().then_some(HashAlg::Sha512);
        let (signing, is_signing) = watch::channel(false);
        let mut signer = Signer { client: &mut agent.client, signing };
        let answer = self.greeted.session.authenticate_publickey_with(&self.target.user, key, hash, &mut signer);
        let answer = tokio::select! {
            answer = answer => answer,
            () = silence(is_signing, self.target.connect_timeout) => return Err(timed_out(self.target)),
        };
        match answer {
            Ok(result) => self.accepted(&result),
            Err(AgentAuthError::Send(_)) => Err(self.closed("while logging in".into())),
            Err(AgentAuthError::Key(error)) => Err(ConnectError::Agent { why: error.to_string() }),
        }
    }

    fn accepted(&self, result: &AuthResult) -> Result<bool, ConnectError> {
        match result {
            AuthResult::Success => Ok(true),
            // A host that hangs up also reads as a refusal.
            AuthResult::Failure { .. } if self.greeted.session.is_closed() => {
                Err(self.closed("while logging in".into()))
            }
            AuthResult::Failure { partial_success: true, remaining_methods } => {
                let wanted: Vec<&str> = remaining_methods.iter().map(Into::into).collect();
                Err(ConnectError::MoreWanted {
                    address: self.target.address(),
                    user: self.target.user.clone(),
                    wanted: wanted.join(", "),
                })
            }
            AuthResult::Failure { .. } => Ok(false),
        }
    }

    fn closed(&self, why: String) -> ConnectError {
        const LIMIT: &str = "Too many authentication failures";
        if said(&self.greeted.farewell).is_some_and(|said| said.contains(LIMIT)) {
            let (address, user) = (self.target.address(), self.target.user.clone());
            return ConnectError::TooManyKeys { address, user, count: self.tried.len() };
        }
        ConnectError::Closed { address: self.target.address(), why: said(&self.greeted.farewell).unwrap_or(why) }
    }

    fn refused(self) -> ConnectError {
        ConnectError::AuthenticationRefused {
            address: self.target.address(),
            user: self.target.user.clone(),
            tried: self.tried,
            identity: self.identity,
        }
    }
}

/// The SSH agent as it signs. It may ask a person to confirm, and that takes as long as it takes.
struct Signer<'a> {
    client: &'a mut AgentClient<UnixStream>,
    signing: watch::Sender<bool>,
}

impl russh::Signer for Signer<'_> {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        key: &AgentIdentity,
        hash: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        self.signing.send_replace(true);
        let signed = self.client.auth_sign(key, hash, to_sign).await;
        self.signing.send_replace(false);
        signed
    }
}

/// Ends once the host has been waited for so long: the time in which the agent signs does not count.
async fn silence(mut is_signing: watch::Receiver<bool>, limit: Duration) {
    loop {
        if is_signing.wait_for(|is_signing| !is_signing).await.is_err() {
            // Nobody signs any more: the answer is there.
            return std::future::pending().await;
        }
        if timeout(limit, is_signing.wait_for(|is_signing| *is_signing)).await.is_err() {
            return;
        }
    }
}

/// An SSH agent that answers, and the keys that it holds.
struct Agent {
    client: AgentClient<UnixStream>,
    held: Vec<PublicKey>,
}

impl Agent {
    /// `None` if there is none, or one that does not answer: then key files must do.
    async fn connect(keys: &Keyring) -> Option<Self> {
        let socket = keys.agent_socket()?;
        let mut client = match AgentClient::connect_uds(socket.as_std_path()).await {
            Ok(client) => client,
            Err(error) => {
                tracing::debug!(%socket, %error, "no SSH agent");
                return None;
            }
        };
        let identities = client.request_identities().await.ok()?;
        let held = identities
            .into_iter()
            .filter_map(|identity| match identity {
                AgentIdentity::PublicKey { key, .. } => Some(key),
                AgentIdentity::Certificate { .. } => None,
            })
            .collect();
        Some(Self { client, held })
    }

    fn find(&self, key: &PublicKey) -> Option<PublicKey> {
        self.held.iter().find(|held| held.key_data() == key.key_data()).cloned()
    }

    /// All keys, first those whose files ssh would try by itself, as ssh does.
    fn ordered(&self, files: &[Utf8PathBuf]) -> Vec<PublicKey> {
        let named: Vec<PublicKey> = files.iter().filter_map(|file| keyring::public_half(file)).collect();
        let (first, others): (Vec<_>, Vec<_>) = self.held.iter().cloned().partition(|key| has(&named, key));
        [first, others].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_host_has_a_limit_and_a_person_who_confirms_has_none() {
        let limit = Duration::from_millis(50);
        let (signing, is_signing) = watch::channel(false);
        assert!(timeout(Duration::from_secs(10), silence(is_signing.clone(), limit)).await.is_ok());
        signing.send_replace(true);
        assert!(timeout(4 * limit, silence(is_signing.clone(), limit)).await.is_err());
        signing.send_replace(false);
        assert!(timeout(Duration::from_secs(10), silence(is_signing, limit)).await.is_ok());
    }
}
