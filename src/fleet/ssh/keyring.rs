//! The keys that a person logs in with: read once, unlocked once, shared by the connections to all hosts.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use russh::keys::{Algorithm, PrivateKey, PublicKey, decode_secret_key};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::KeyError;
use super::error::why;

/// Asks a person for the passphrase of a key file; `None` if there is nobody to ask. The number counts the tries, from 0.
pub type Ask = dyn Fn(&Utf8Path, u32) -> Option<SecretString> + Send + Sync;

type Loaded = Result<Arc<PrivateKey>, KeyError>;

/// How often a passphrase is asked for.
const TRIES: u32 = 3;

/// Where keys come from, and those that have been read. Cheap to clone: clones share what was read.
#[derive(Clone, Default)]
pub struct Keyring {
    agent: Option<Utf8PathBuf>,
    home: Option<Utf8PathBuf>,
    ask: Option<Arc<Ask>>,
    read: Arc<Mutex<HashMap<Utf8PathBuf, Loaded>>>,
}

impl Keyring {
    /// The SSH agent at `SSH_AUTH_SOCK` and the default keys of this user.
    pub fn from_environment() -> Self {
        let path = |name| std::env::var(name).ok().filter(|value| !value.is_empty()).map(Utf8PathBuf::from);
        Self { agent: path("SSH_AUTH_SOCK"), home: path("HOME"), ..Self::default() }
    }

    pub fn agent(self, socket: impl Into<Utf8PathBuf>) -> Self {
        Self { agent: Some(socket.into()), ..self }
    }

    /// The folder whose `.ssh` has the default keys.
    pub fn home(self, folder: impl Into<Utf8PathBuf>) -> Self {
        Self { home: Some(folder.into()), ..self }
    }

    /// Asks for passphrases. Without this a locked key is an error.
    pub fn asking(self, ask: impl Fn(&Utf8Path, u32) -> Option<SecretString> + Send + Sync + 'static) -> Self {
        Self { ask: Some(Arc::new(ask)), ..self }
    }

    pub(super) fn agent_socket(&self) -> Option<&Utf8Path> {
        self.agent.as_deref()
    }

    /// This user's key files, best first, that exist.
    pub(super) fn default_files(&self) -> Vec<Utf8PathBuf> {
        let Some(home) = &self.home else { return Vec::new() };
        let names = ["id_ed25519", "id_ecdsa", "id_rsa"];
        names.iter().map(|name| home.join(".ssh").join(name)).filter(|file| file.exists()).collect()
    }

    /// The key in a file, unlocked. Each file is read, and its passphrase asked for, once; others wait for the answer.
    pub(super) async fn key(&self, file: &Utf8Path) -> Loaded {
        let mut read = self.read.lock().await;
        if let Some(known) = read.get(file) {
            return known.clone();
        }
        let (path, ask) = (file.to_owned(), self.ask.clone());
        // Unlocking is slow by design, and a person types slowly.
        let result = tokio::task::spawn_blocking(move || load(&path, ask.as_deref()))
            .await
            .unwrap_or_else(|error| Err(KeyError::Unreadable { file: file.to_owned(), why: error.to_string() }));
        read.insert(file.to_owned(), result.clone());
        result
    }
}

/// The public half of a key file, if it can be told without unlocking: from the file itself, or from `FILE.pub`.
pub(super) fn public_half(file: &Utf8Path) -> Option<PublicKey> {
    let text = Zeroizing::new(fs_err::read_to_string(file).ok()?);
    if let Ok(key) = PublicKey::from_openssh(text.trim()) {
        return Some(key);
    }
    if let Ok(key) = PrivateKey::from_openssh(text.as_bytes()) {
        return Some(key.public_key().clone());
    }
    PublicKey::from_openssh(fs_err::read_to_string(format!("{file}.pub")).ok()?.trim()).ok()
}

fn load(file: &Utf8Path, ask: Option<&Ask>) -> Loaded {
    let text = read_private(file)?;
    let not_a_key = |why: String| KeyError::NotAKey { file: file.to_owned(), why };
    if PublicKey::from_openssh(text.trim()).is_ok() {
        return Err(KeyError::PublicOnly { file: file.to_owned() });
    }
    let key = match decode_secret_key(&text, None) {
        Ok(key) => key,
        Err(russh::keys::Error::KeyIsEncrypted) => unlock(file, &text, ask)?,
        Err(russh::keys::Error::UnsupportedKeyType { key_type_string, .. }) if key_type_string == "RSA" => {
            return Err(KeyError::Rsa { file: file.to_owned() });
        }
        Err(russh::keys::Error::CouldNotReadKey) => {
            return Err(not_a_key("it has no `-----BEGIN OPENSSH PRIVATE KEY-----` line".into()));
        }
        // An encrypted PKCS #8 file read without a passphrase fails in its ASN.1.
        Err(_) if text.contains("BEGIN ENCRYPTED PRIVATE KEY") => unlock(file, &text, ask)?,
        Err(error) => return Err(not_a_key(error.to_string())),
    };
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(Arc::new(key)),
        Algorithm::Rsa { .. } => Err(KeyError::Rsa { file: file.to_owned() }),
        other => Err(KeyError::Unsupported { file: file.to_owned(), algorithm: other.to_string() }),
    }
}

fn unlock(file: &Utf8Path, text: &str, ask: Option<&Ask>) -> Result<PrivateKey, KeyError> {
    let ask = ask.ok_or_else(|| KeyError::Locked { file: file.to_owned() })?;
    for attempt in 0..TRIES {
        let Some(passphrase) = ask(file, attempt) else {
            return Err(if attempt == 0 {
                KeyError::Locked { file: file.to_owned() }
            } else {
                KeyError::WrongPassphrase { file: file.to_owned() }
            });
        };
        if let Ok(key) = decode_secret_key(text, Some(passphrase.expose_secret())) {
            return Ok(key);
        }
    }
    Err(KeyError::WrongPassphrase { file: file.to_owned() })
}

/// A private key file's text. As ssh does, refuses one that others may read if it is ours to close.
fn read_private(file: &Utf8Path) -> Result<Zeroizing<String>, KeyError> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => KeyError::Missing { file: file.to_owned() },
        _ => KeyError::Unreadable { file: file.to_owned(), why: why(&error) },
    };
    let metadata = std::fs::metadata(file).map_err(unreadable)?;
    let (mode, ours) = (metadata.mode() & 0o7777, metadata.uid() == rustix::process::getuid().as_raw());
    let bytes = Zeroizing::new(std::fs::read(file).map_err(unreadable)?);
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| KeyError::NotAKey { file: file.to_owned(), why: "it is not text".into() })?;
    // A public key is nothing to hide; what is wrong with it is said later.
    if ours && mode & 0o077 != 0 && text.contains("PRIVATE KEY") {
        return Err(KeyError::TooOpen { file: file.to_owned(), mode });
    }
    Ok(Zeroizing::new(text.to_owned()))
}
