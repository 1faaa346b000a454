//! Hints of mistakes, with the fields that they name as types. One inventory is written in three ways: as an
//! inventory, as kubeadm's configuration, as flags. Each has its own names for the fields.

use std::borrow::Cow;
use std::fmt;

/// A field that a hint names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    DnsDomain,
    HostName,
    HostTaints,
    KubeletConfig,
    PodSubnet,
    ServiceSubnet,
}

impl Field {
    /// Its name in an inventory.
    pub fn in_inventory(self) -> &'static str {
        match self {
            Self::DnsDomain => "`network.dnsDomain`",
            Self::HostName => "the host's `name`",
            Self::HostTaints => "the host's `taints`",
            Self::KubeletConfig => "`kubelet.config`",
            Self::PodSubnet => "`network.podSubnet`",
            Self::ServiceSubnet => "`network.serviceSubnet`",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Cow<'static, str>),
    Field(Field),
}

/// How to correct a mistake. Its `Display` has the inventory's names of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice(Vec<Piece>);

impl Advice {
    pub(crate) fn field(mut self, field: Field) -> Self {
        self.0.push(Piece::Field(field));
        self
    }

    pub(crate) fn text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.0.push(Piece::Text(text.into()));
        self
    }

    /// The same, with other names of fields.
    pub fn with_names(&self, name: impl Fn(Field) -> &'static str) -> String {
        self.0.iter().fold(String::new(), |words, piece| match piece {
            Piece::Text(text) => words + text,
            Piece::Field(field) => words + name(*field),
        })
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_names(Field::in_inventory))
    }
}

impl<T: Into<Cow<'static, str>>> From<T> for Advice {
    fn from(text: T) -> Self {
        Self(vec![Piece::Text(text.into())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fields_change_with_the_names() {
        let advice = Advice::from("set ").field(Field::PodSubnet).text(", as `network.podSubnet` says");
        assert_eq!(advice.to_string(), "set `network.podSubnet`, as `network.podSubnet` says");
        assert_eq!(advice.with_names(|_| "`--x`"), "set `--x`, as `network.podSubnet` says");
    }
}
