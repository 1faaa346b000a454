//! Words that hints are filled with. A hint shows commands that people copy into a shell, so a word that could be more than one word
//! there, or an option, is not taken, whoever gives it.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// The longest word, in bytes: a path's. Names are shorter by their own rules.
const LONGEST: usize = 1024;

/// The longest list.
const MOST: usize = 256;

/// Makes a type for each kind of word: what stands in place of one that is not taken, and the characters beside ASCII letters and
/// digits that one may have. Names begin with a letter or a digit. Boxed, since every `Failure` has room for a hint.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident($placeholder:literal): $is_fit:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        pub struct $name(Box<str>);

        impl $name {
            /// What people put the right word in place of.
            pub const PLACEHOLDER: &str = $placeholder;

            /// The word; the placeholder where it is not fit to be shown.
            pub fn of(word: impl AsRef<str>) -> Self {
                let word = word.as_ref();
                Self(if Self::is_fit(word) { word.into() } else { Self::PLACEHOLDER.into() })
            }

            fn is_fit(word: &str) -> bool {
                let is_fit: fn(&str) -> bool = $is_fit;
                word.len() <= LONGEST && is_fit(word)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                match word == Self::PLACEHOLDER || Self::is_fit(&word) {
                    true => Ok(Self(word.into())),
                    false => Err(D::Error::custom(concat!("not fit for a hint's ", stringify!($name)))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

words! {
    /// An absolute path of a host, without `.` and `..`.
    PathWord("PATH"): |word| word.starts_with('/')
        && has_only(word, "/._-+:@%,=")
        && word.split('/').all(|part| !matches!(part, "." | ".."));
    /// A systemd unit.
    UnitWord("UNIT"): |word| is_name(word, ":_.@-");
    /// A Debian package: with its architecture, too.
    PackageWord("PACKAGE"): |word| is_name(word, "+.:-");
    /// A container image by its reference.
    ImageWord("IMAGE"): |word| is_name(word, "._-/:@");
    /// A module of the kernel.
    ModuleWord("MODULE"): |word| is_name(word, "_-");
    /// A host's name in the inventory, or an etcd member's.
    HostWord("HOST"): |word| is_name(word, "._-");
    /// A server by name or address, with or without its port.
    ServerWord("SERVER"): |word| is_name(word.strip_prefix('[').unwrap_or(word), "._-:]");
    /// A version, a network, a DNS domain, as the controller puts it into its own words.
    ValueWord("VALUE"): |word| is_name(word, "._-+~:/,");
}

/// Letters and digits, and after the first character these as well.
fn is_name(word: &str, others: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphanumeric()) && has_only(word, others)
}

fn has_only(word: &str, others: &str) -> bool {
    word.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

/// Packages, as a command names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageWords(Vec<PackageWord>);

impl PackageWords {
    pub fn of(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self(names.into_iter().take(MOST).map(PackageWord::of).collect())
    }
}

impl<'de> Deserialize<'de> for PackageWords {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::deserialize(deserializer)?;
        if names.len() > MOST { Err(D::Error::custom("too many packages for a hint")) } else { Ok(Self(names)) }
    }
}

impl fmt::Display for PackageWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// What brings something that can't be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instead {
    KeyFile,
    PackageMirror,
    ImageMirror,
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyFile => "give the key as `keyFile` in the inventory",
            Self::PackageMirror => "name a mirror of the repository in `packages` in the inventory",
            Self::ImageMirror => "name a mirror of the registry in `images.mirrors` in the inventory",
        })
    }
}

/// Whose CA certificates are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    Host,
    Controller,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "on this host",
            Self::Controller => "on the machine that runs kboot",
        })
    }
}

/// A field of `controlPlane` in the inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Component {
    Etcd,
    ApiServer,
    ControllerManager,
    Scheduler,
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "apiServer",
            Self::ControllerManager => "controllerManager",
            Self::Scheduler => "scheduler",
        })
    }
}
