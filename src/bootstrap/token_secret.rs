//! The secrets by which a cluster knows its bootstrap tokens, in kubeadm's words.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};
use zeroize::Zeroizing;

use super::token::{Token, TokenError};

/// Where the secrets are.
pub const NAMESPACE: &str = "kube-system";
/// The type of the secrets.
pub const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
/// Whose members kubeadm's bindings let join.
pub const DEFAULT_GROUP: &str = "system:bootstrappers:kubeadm:default-node-token";
/// How a run's own token is described; what is described so is nobody else's.
pub const RUN_DESCRIPTION: &str = "made by kboot for the nodes that join in one run";
/// kubeadm's default.
pub const DEFAULT_LIFETIME: Duration = Duration::hours(24);

const USAGE_PREFIX: &str = "usage-bootstrap-";
const GROUP_PREFIX: &str = "system:bootstrappers:";

/// What a token may do, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// None: it never expires.
    #[serde(default, with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub expires: Option<OffsetDateTime>,
    /// `authentication` and `signing`.
    pub usages: Vec<String>,
    /// The groups that its bearer is in, besides `system:bootstrappers`.
    pub groups: Vec<String>,
}

/// A token as its secret describes it.
#[derive(Debug, PartialEq)]
pub struct Listed {
    pub token: Token,
    pub grant: Grant,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read the bootstrap token secret {name:?}: {reason}")]
pub struct SecretError {
    pub name: String,
    pub reason: String,
}

impl Grant {
    /// kubeadm's default for joining, with the given end.
    pub fn join(expires: Option<OffsetDateTime>) -> Self {
        Self {
            description: None,
            expires,
            usages: vec!["authentication".into(), "signing".into()],
            groups: vec![DEFAULT_GROUP.into()],
        }
    }
}

impl Listed {
    pub fn is_expired(&self, now: OffsetDateTime) -> bool {
        self.grant.expires.is_some_and(|at| at <= now)
    }
}

/// The secret that makes a token known to the cluster. It holds the token itself: handle it as a secret.
pub fn secret_object(token: &Token, grant: &Grant) -> Value {
    let mut data = Map::new();
    let mut put = |key: &str, value: &str| data.insert(key.into(), STANDARD.encode(value).into());
    put("token-id", token.id());
    put("token-secret", token.secret());
    if let Some(description) = &grant.description {
        put("description", description);
    }
    if let Some(expires) = grant.expires {
        put("expiration", &timestamp(expires));
    }
    for usage in &grant.usages {
        put(&format!("{USAGE_PREFIX}{usage}"), "true");
    }
    if !grant.groups.is_empty() {
        put("auth-extra-groups", &grant.groups.join(","));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": token.secret_name(), "namespace": NAMESPACE},
        "type": SECRET_TYPE,
        "data": data,
    })
}

/// Reads a secret of type [`SECRET_TYPE`], by whomever it was made. Usages come sorted.
pub fn from_secret(secret: &Value) -> Result<Listed, SecretError> {
    let name = secret["metadata"]["name"].as_str().unwrap_or_default();
    let fail = |reason: String| SecretError { name: name.into(), reason };
    let data = secret["data"].as_object().ok_or_else(|| fail("it has no data".into()))?;
    let read = |key: &str| decode(data, key).map_err(fail);

    let id = read("token-id")?.ok_or_else(|| fail("token-id is missing".into()))?;
    let half = read("token-secret")?.ok_or_else(|| fail("token-secret is missing".into()))?;
    let whole = Zeroizing::new(format!("{}.{}", *id, *half));
    let token: Token = whole.parse().map_err(|error: TokenError| fail(format!("failed to {error}")))?;
    if name != token.secret_name() {
        return Err(fail(format!("its name must be {:?}", token.secret_name())));
    }
    let expires = match read("expiration")? {
        Some(text) => {
            let at = OffsetDateTime::parse(&text, &Rfc3339);
            Some(at.map_err(|_| fail(format!("expiration {:?} is not an RFC 3339 time", *text)))?)
        }
        None => None,
    };
    let mut usages = Vec::new();
    for key in data.keys().filter(|key| key.starts_with(USAGE_PREFIX)) {
        if read(key)?.is_some_and(|value| *value == "true") {
            usages.push(key[USAGE_PREFIX.len()..].to_owned());
        }
    }
    usages.sort();
    let groups = read("auth-extra-groups")?.map(|text| text.split(',').map(String::from).collect()).unwrap_or_default();
    let description = read("description")?.map(|text| text.to_string());
    Ok(Listed { token, grant: Grant { description, expires, usages, groups } })
}

/// Whether the API server accepts a group for a token's bearer: `system:bootstrappers:` and more.
pub fn is_group(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(GROUP_PREFIX) else { return false };
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":-".contains(&byte);
    (1..=256).contains(&rest.len()) && rest.bytes().all(is_allowed) && !rest.ends_with([':', '-'])
}

/// UTC in whole seconds, as Go writes RFC 3339.
pub(super) fn timestamp(time: OffsetDateTime) -> String {
    let time = time.to_offset(UtcOffset::UTC);
    let time = time.replace_nanosecond(0).unwrap_or(time);
    time.format(&Rfc3339).expect("years from 0 to 9999 can be written")
}

/// The text of a field; empty counts as absent, as for Kubernetes.
fn decode(data: &Map<String, Value>, key: &str) -> Result<Option<Zeroizing<String>>, String> {
    let Some(encoded) = data.get(key).and_then(Value::as_str) else { return Ok(None) };
    let text = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.ok_or_else(|| format!("{key} is not base64 of text"))?;
    Ok(Some(Zeroizing::new(text)).filter(|text| !text.is_empty()))
}

mod rfc3339 {
    use super::*;

    pub fn serialize<S: Serializer>(time: &Option<OffsetDateTime>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(timestamp).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| OffsetDateTime::parse(&text, &Rfc3339).map_err(de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use time::macros::datetime;

    use super::*;

    const WHOLE: &str = "abcdef.0123456789abcdef";

    fn grant() -> Grant {
        Grant {
            description: Some("for the rack in the corner".into()),
            ..Grant::join(Some(datetime!(2026-11-23 12:30:45.678 +1)))
        }
    }

    #[test]
    fn the_secret_is_kubeadms() {
        let secret = secret_object(&WHOLE.parse().unwrap(), &grant());
        assert_eq!(secret["metadata"], json!({"name": "bootstrap-token-abcdef", "namespace": "kube-system"}));
        assert_eq!(secret["type"], "bootstrap.kubernetes.io/token");
        let decoded = |value: &Value| String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap();
        let data: BTreeMap<_, _> =
            secret["data"].as_object().unwrap().iter().map(|(key, value)| (key.as_str(), decoded(value))).collect();
        let expected = [
            ("auth-extra-groups", "system:bootstrappers:kubeadm:default-node-token"),
            ("description", "for the rack in the corner"),
            ("expiration", "2026-11-23T11:30:45Z"),
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("usage-bootstrap-signing", "true"),
        ];
        assert_eq!(data, expected.map(|(key, value)| (key, value.to_owned())).into());
    }

    #[test]
    fn a_secret_is_read_back() {
        let token: Token = WHOLE.parse().unwrap();
        let listed = from_secret(&secret_object(&token, &grant())).unwrap();
        let expires = datetime!(2026-11-23 11:30:45 UTC);
        assert_eq!(listed, Listed { token: token.copy(), grant: Grant { expires: Some(expires), ..grant() } });
        assert!(!listed.is_expired(expires - Duration::SECOND) && listed.is_expired(expires));

        let endless = from_secret(&secret_object(&token, &Grant::join(None))).unwrap();
        assert_eq!(endless.grant, Grant::join(None));
        assert!(!endless.is_expired(datetime!(9999-01-01 0:00 UTC)));
    }

    #[test]
    fn usages_count_only_if_true() {
        let mut secret = secret_object(&WHOLE.parse().unwrap(), &grant());
        secret["data"]["usage-bootstrap-signing"] = STANDARD.encode("false").into();
        assert_eq!(from_secret(&secret).unwrap().grant.usages, ["authentication"]);
    }

    #[test]
    fn malformed_secrets_are_errors_that_do_not_leak() {
        let good = secret_object(&WHOLE.parse().unwrap(), &grant());
        let error = |key: &str, value: Value| {
            let mut secret = good.clone();
            secret["data"][key] = value;
            from_secret(&secret).unwrap_err().to_string()
        };
        assert!(error("token-id", Value::Null).ends_with("token-id is missing"));
        assert!(error("token-secret", "*".into()).ends_with("token-secret is not base64 of text"));
        assert!(error("token-id", STANDARD.encode("fedcba").into()).contains("its name must be"));
        assert!(error("expiration", STANDARD.encode("soon").into()).contains("\"soon\" is not an RFC 3339 time"));
        let shown = error("token-secret", STANDARD.encode("tooshort").into());
        assert!(!shown.contains("tooshort"), "{shown}");
        assert!(from_secret(&json!({})).is_err());
    }

    #[test]
    fn a_grant_travels() {
        let json = serde_json::to_value(grant()).unwrap();
        assert_eq!(json["expires"], "2026-11-23T11:30:45Z");
        let back: Grant = serde_json::from_value(json).unwrap();
        assert_eq!(back, Grant { expires: Some(datetime!(2026-11-23 11:30:45 UTC)), ..grant() });
        let endless: Grant = serde_json::from_value(serde_json::to_value(Grant::join(None)).unwrap()).unwrap();
        assert_eq!(endless, Grant::join(None));
    }

    #[test]
    fn groups_are_as_the_api_server_wants_them() {
        assert!(is_group(DEFAULT_GROUP) && is_group("system:bootstrappers:a"));
        let wrong =
            ["system:masters", "system:bootstrappers:", "system:bootstrappers:A", "system:bootstrappers:a-", ""];
        assert!(!wrong.into_iter().any(is_group));
    }
}
