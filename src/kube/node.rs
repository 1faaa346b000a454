//! What a Node says of itself.

use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The address that its kubelet reports for the cluster's own traffic.
pub fn internal_address(node: &Value) -> Option<&str> {
    let addresses = node["status"]["addresses"].as_array()?;
    addresses.iter().find(|address| address["type"] == "InternalIP")?["address"].as_str()
}

/// Its condition `Ready`; none before its kubelet has reported.
pub fn readiness(node: &Value) -> Option<&Value> {
    node["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == "Ready")
}

pub fn is_ready(node: &Value) -> bool {
    readiness(node).is_some_and(|ready| ready["status"] == "True")
}

/// How long ago the kubelet renewed its Lease of kube-node-lease; none where it does not say. One from the future is new.
pub fn lease_age(lease: &Value, now: OffsetDateTime) -> Option<Duration> {
    let renewed = OffsetDateTime::parse(lease["spec"]["renewTime"].as_str()?, &Rfc3339).ok()?;
    Some(Duration::try_from(now - renewed).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_internal_address_counts() {
        let node = json!({"status": {"addresses": [
            {"type": "Hostname", "address": "n2"}, {"type": "InternalIP", "address": "10.0.0.2"},
        ]}});
        assert_eq!(internal_address(&node), Some("10.0.0.2"));
        assert_eq!(internal_address(&json!({})), None);
    }

    #[test]
    fn a_lease_has_an_age() {
        let now = OffsetDateTime::parse("2026-11-30T09:05:01Z", &Rfc3339).unwrap();
        let age = |renewed: &str| lease_age(&json!({"spec": {"renewTime": renewed}}), now).map(|age| age.as_secs());
        assert_eq!(age("2026-11-30T09:00:00.500000Z"), Some(300));
        assert_eq!(age("2026-11-30T10:00:00.000000Z"), Some(0));
        assert_eq!((age("never"), lease_age(&json!({}), now)), (None, None));
    }

    #[test]
    fn one_that_has_not_reported_is_not_ready() {
        let node = |status: &str| json!({"status": {"conditions": [{"type": "DiskPressure", "status": "True"}, {"type": "Ready", "status": status}]}});
        assert!(is_ready(&node("True")) && !is_ready(&node("False")) && !is_ready(&node("Unknown")));
        assert!(!is_ready(&json!({})));
    }
}
