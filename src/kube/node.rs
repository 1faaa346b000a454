//! What a Node says of itself.

use serde_json::Value;

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
    fn one_that_has_not_reported_is_not_ready() {
        let node = |status: &str| json!({"status": {"conditions": [{"type": "DiskPressure", "status": "True"}, {"type": "Ready", "status": status}]}});
        assert!(is_ready(&node("True")) && !is_ready(&node("False")) && !is_ready(&node("Unknown")));
        assert!(!is_ready(&json!({})));
    }
}
