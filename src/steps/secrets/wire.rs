//! Secrets as they stand in a line of the conversation. Nothing outside of `secrets` can make or read these.

use std::borrow::Cow;
use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::bootstrap::token_secret::Grant;

use super::EtcdKey;

type Text<'a> = Cow<'a, str>;
type Files<'a> = BTreeMap<Text<'a>, Text<'a>>;

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Handout<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    join: Option<Join<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorities: Option<Files<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etcd_authority: Option<Files<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etcd: Option<EtcdFiles<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<(String, Cow<'a, Grant>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_key: Option<(String, String)>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    withholds_certificate_key: bool,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Outputs<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    join: Option<Join<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorities: Option<Files<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etcd_authority: Option<Files<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etcd: Option<EtcdFiles<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    has_begun: bool,
}

#[derive(Serialize, Deserialize)]
struct Join<'a> {
    server: Text<'a>,
    ca_pem: Text<'a>,
    token: String,
}

#[derive(Serialize, Deserialize)]
struct EtcdFiles<'a> {
    authority: Text<'a>,
    certificate: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_digest: Option<Text<'a>>,
}

impl<'a> From<&'a super::Handout> for Handout<'a> {
    fn from(handout: &'a super::Handout) -> Self {
        let token = |(token, grant): &'a (crate::bootstrap::Token, Grant)| {
            (token.expose().expose_secret().to_owned(), Cow::Borrowed(grant))
        };
        let key = handout.certificate_key.as_ref();
        Self {
            join: handout.join.as_ref().map(Join::from),
            authorities: handout.authorities.as_ref().map(files),
            etcd_authority: handout.etcd_authority.as_ref().map(files),
            etcd: handout.etcd.as_ref().map(EtcdFiles::from),
            tokens: handout.tokens.iter().map(token).collect(),
            certificate_key: key.map(|(key, token)| (key.expose(), token.expose().expose_secret().to_owned())),
            withholds_certificate_key: handout.withholds_certificate_key,
        }
    }
}

impl TryFrom<Handout<'_>> for super::Handout {
    type Error = String;

    fn try_from(wire: Handout<'_>) -> Result<Self, String> {
        let token = |(token, grant): (String, Cow<'_, Grant>)| Ok((read(&token)?, grant.into_owned()));
        let key = |(key, token): (String, String)| Ok::<_, String>((read(&key)?, read(&token)?));
        Ok(Self {
            join: wire.join.map(TryInto::try_into).transpose()?,
            authorities: wire.authorities.map(owned),
            etcd_authority: wire.etcd_authority.map(owned),
            etcd: wire.etcd.map(TryInto::try_into).transpose()?,
            tokens: wire.tokens.into_iter().map(token).collect::<Result<_, String>>()?,
            certificate_key: wire.certificate_key.map(key).transpose()?,
            withholds_certificate_key: wire.withholds_certificate_key,
        })
    }
}

impl<'a> From<&'a super::Outputs> for Outputs<'a> {
    fn from(outputs: &'a super::Outputs) -> Self {
        Self {
            join: outputs.join.as_ref().map(Join::from),
            authorities: outputs.authorities.as_ref().map(files),
            etcd_authority: outputs.etcd_authority.as_ref().map(files),
            etcd: outputs.etcd.as_ref().map(EtcdFiles::from),
            has_begun: outputs.has_begun,
        }
    }
}

impl TryFrom<Outputs<'_>> for super::Outputs {
    type Error = String;

    fn try_from(wire: Outputs<'_>) -> Result<Self, String> {
        Ok(Self {
            join: wire.join.map(TryInto::try_into).transpose()?,
            authorities: wire.authorities.map(owned),
            etcd_authority: wire.etcd_authority.map(owned),
            etcd: wire.etcd.map(TryInto::try_into).transpose()?,
            has_begun: wire.has_begun,
        })
    }
}

impl<'a> From<&'a super::Join> for Join<'a> {
    fn from(join: &'a super::Join) -> Self {
        let token = join.token.expose().expose_secret().to_owned();
        Self { server: join.server.as_str().into(), ca_pem: join.ca_pem.as_str().into(), token }
    }
}

impl TryFrom<Join<'_>> for super::Join {
    type Error = String;

    fn try_from(wire: Join<'_>) -> Result<Self, String> {
        Ok(Self { server: wire.server.into(), ca_pem: wire.ca_pem.into(), token: read(&wire.token)? })
    }
}

impl<'a> From<&'a super::EtcdFiles> for EtcdFiles<'a> {
    fn from(etcd: &'a super::EtcdFiles) -> Self {
        let (key, key_digest) = match &etcd.key {
            EtcdKey::Whole(key) => (Some(key.expose_secret().into()), None),
            EtcdKey::Digest(digest) => (None, Some(digest.as_str().into())),
        };
        Self {
            authority: etcd.authority.as_str().into(),
            certificate: etcd.certificate.as_str().into(),
            key,
            key_digest,
        }
    }
}

impl TryFrom<EtcdFiles<'_>> for super::EtcdFiles {
    type Error = String;

    fn try_from(wire: EtcdFiles<'_>) -> Result<Self, String> {
        let key = match (wire.key, wire.key_digest) {
            (Some(key), None) => EtcdKey::Whole(key.into_owned().into()),
            (None, Some(digest)) => EtcdKey::Digest(digest.into()),
            (Some(_), Some(_)) | (None, None) => return Err("an etcd key is there whole, or by its digest".into()),
        };
        Ok(Self { authority: wire.authority.into(), certificate: wire.certificate.into(), key })
    }
}

fn files(authorities: &super::Authorities) -> Files<'_> {
    authorities.files().map(|(name, text)| (name.into(), text.into())).collect()
}

fn owned(files: Files<'_>) -> super::Authorities {
    files.into_iter().map(|(name, text)| (name.into(), String::from(text))).collect::<BTreeMap<_, _>>().into()
}

/// The text is never repeated: the greater part of it may be right.
fn read<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}
