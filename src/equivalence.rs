//! Whether two texts of Kubernetes' say the same, whoever wrote them: kubeadm writes zeros that mean the default, sorts otherwise,
//! and is no worse for it. What says the same is left as it is: to write it anew would restart things for nothing.
//!
//! Pure functions of texts and objects. It knows the files' formats, and nothing of what kboot wants in them.

use serde_json::{Map, Value};

/// Where kube-proxy's pods note by which configuration they were made.
const CONFIGURATION: &str = "kboot/configuration";
/// kubeadm's note of a configuration that nobody has changed.
const HASH: &str = "kubeadm.kubernetes.io/component-config.hash";

/// A static pod's manifest, or another with a pod's spec. The order of flags, volumes and mounts is no matter.
pub fn pods(a: &str, b: &str) -> bool {
    both(a, b, pod)
}

/// A KubeletConfiguration.
pub fn kubelet_configurations(a: &str, b: &str) -> bool {
    both(a, b, kubelet)
}

/// Settings of which blank lines, comments and spaces around are no matter.
pub fn settings(a: &str, b: &str) -> bool {
    fn lines(text: &str) -> impl Iterator<Item = &str> {
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    }
    lines(a).eq(lines(b))
}

/// The manifest of a pod in a form that can be compared.
pub fn pod(manifest: &Value) -> Value {
    let mut pod = without_nothing(manifest);
    sort(pod.pointer_mut("/spec/volumes"));
    let containers = pod.pointer_mut("/spec/containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        sort(container.get_mut("volumeMounts"));
        let command = container.get_mut("command").and_then(Value::as_array_mut);
        if let Some([_, flags @ ..]) = command.map(Vec::as_mut_slice) {
            flags.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
    pod
}

/// A KubeletConfiguration without what means the default.
pub fn kubelet(configuration: &Value) -> Value {
    let mut configuration = configuration.clone();
    drop_zeros(&mut configuration, "logging", &["0"]);
    without_nothing(&configuration)
}

/// A KubeProxyConfiguration without what means the default.
pub fn kube_proxy(configuration: &Value) -> Value {
    let mut configuration = configuration.clone();
    drop_zeros(&mut configuration, "logging", &["0"]);
    drop_zeros(&mut configuration, "clientConnection", &[]);
    drop_false(&mut configuration);
    let mut configuration = without_nothing(&configuration);
    if let Some(fields) = configuration.as_object_mut() {
        fields.entry("mode").or_insert_with(|| "iptables".into());
    }
    configuration
}

/// A ClusterConfiguration without what says nothing; the order of flags and the like is no matter.
pub fn cluster(configuration: &Value) -> Value {
    fn sorted(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, value| *value != Value::Bool(false) || name != "readOnly");
                fields.values_mut().for_each(sorted);
            }
            Value::Array(items) => {
                items.iter_mut().for_each(sorted);
                items.sort_by_key(|item| item["name"].as_str().map_or_else(|| item.to_string(), String::from));
            }
            _ => {}
        }
    }
    let mut configuration = without_nothing(configuration);
    sorted(&mut configuration);
    configuration
}

/// Leaves of objects that are to be applied what is there already and says the same. `before` is what is there of each.
pub fn keep(objects: &mut [Value], before: &[Option<Value>]) {
    let mut is_other = false;
    for (object, before) in objects.iter_mut().zip(before) {
        if let Some(before) = before {
            match (object["kind"].as_str(), object["metadata"]["name"].as_str()) {
                (Some("DaemonSet"), Some("kube-flannel-ds")) => keep_flannel(object, before),
                (Some("Deployment"), Some("coredns")) => keep_coredns(object, before),
                _ => {}
            }
        }
        if object["kind"] != "ConfigMap" {
            continue;
        }
        let is_kept = before.as_ref().is_some_and(|before| keep_texts(object, before));
        is_other |= !is_kept && object["metadata"]["name"] == "kube-proxy";
    }
    // Pods that were made without the note, by the configuration that is still there, need none.
    for (object, before) in objects.iter_mut().zip(before).filter(|_| !is_other) {
        let annotations = "/spec/template/metadata/annotations";
        let is_noted = before
            .as_ref()
            .is_none_or(|before| !before.pointer(annotations).unwrap_or(&Value::Null)[CONFIGURATION].is_null());
        if object["kind"] == "DaemonSet"
            && object["metadata"]["name"] == "kube-proxy"
            && !is_noted
            && let Some(annotations) = object.pointer_mut(annotations).and_then(Value::as_object_mut)
        {
            annotations.remove(CONFIGURATION);
        }
    }
}

const CONTAINER: &str = "/spec/template/spec/containers/0";

/// Where flannel finds the API server before kube-proxy works, and by which address it is found: kboot's own additions to upstream's
/// manifest.
const ADDED: [&str; 3] = ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "FLANNELD_IFACE"];

/// Pods of this very image that run without the additions have found their way, and are not made anew for them.
fn keep_flannel(object: &mut Value, before: &Value) {
    let (Some(ours), Some(theirs)) = (object.pointer_mut(CONTAINER), before.pointer(CONTAINER)) else { return };
    let is_ours = |variable: &Value| ADDED.iter().any(|name| variable["name"] == *name);
    let is_added = theirs["env"].as_array().is_some_and(|list| list.iter().any(is_ours));
    if theirs["image"] == ours["image"]
        && !is_added
        && let Some(variables) = ours.get_mut("env").and_then(Value::as_array_mut)
    {
        variables.retain(|variable| !is_ours(variable));
    }
}

/// kboot has CoreDNS asked more often whether it is ready; pods of this very image that are asked as by kubeadm stay.
fn keep_coredns(object: &mut Value, before: &Value) {
    const OWN: [(&str, u64); 2] = [("periodSeconds", 10), ("failureThreshold", 3)];
    let (Some(ours), Some(theirs)) = (object.pointer_mut(CONTAINER), before.pointer(CONTAINER)) else { return };
    let is_default = OWN.iter().all(|(name, value)| theirs["readinessProbe"][*name] == *value);
    if theirs["image"] == ours["image"]
        && is_default
        && let Some(probe) = ours.get_mut("readinessProbe").and_then(Value::as_object_mut)
    {
        probe.retain(|name, _| !OWN.iter().any(|(own, _)| own == name));
    }
}

/// Takes over the texts of a ConfigMap that say the same; whether all do.
fn keep_texts(object: &mut Value, before: &Value) -> bool {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let Some(texts) = object.get_mut("data").and_then(Value::as_object_mut) else { return true };
    let (mut is_same, mut is_taken_over) = (true, false);
    for (key, text) in texts {
        let (ours, theirs) = (text.as_str().unwrap_or_default(), before["data"][key].as_str().unwrap_or_default());
        if ours == theirs {
            continue;
        }
        let form: fn(&Value) -> Value = match (name.as_str(), key.as_str()) {
            ("kubeadm-config", "ClusterConfiguration") => cluster,
            ("kubelet-config", "kubelet") => kubelet,
            ("kube-proxy", "config.conf") => kube_proxy,
            ("kube-proxy" | "cluster-info", "kubeconfig.conf" | "kubeconfig") => without_nothing,
            ("kube-flannel-cfg", _) => Value::clone,
            _ => {
                is_same = false;
                continue;
            }
        };
        match both(ours, theirs, form) {
            true => (*text, is_taken_over) = (theirs.into(), true),
            false => is_same = false,
        }
    }
    // What is noted is of the text that was written with it.
    if is_same
        && is_taken_over
        && let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(HASH);
    }
    is_same
}

fn both(a: &str, b: &str, form: fn(&Value) -> Value) -> bool {
    let read = |text: &str| serde_yaml::from_str::<Value>(text).ok();
    match (read(a), read(b)) {
        (Some(a), Some(b)) => form(&a) == form(&b),
        _ => false,
    }
}

/// Without fields that hold what Go's encoder writes of one that nobody set: not numbers and truth values, which may be somebody's.
pub fn without_nothing(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), without_nothing(value)));
            Value::Object(fields.filter(|(_, value)| !is_nothing(value)).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(without_nothing).collect(),
        other => other.clone(),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty() || text == "0s",
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Zeros inside a field of which none can be meant, written as numbers or as one of these words.
fn drop_zeros(value: &mut Value, field: &str, words: &[&str]) {
    fn inside(value: &mut Value, words: &[&str]) {
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|_, value| {
                value.as_f64() != Some(0.0) && !value.as_str().is_some_and(|text| words.contains(&text))
            });
            fields.values_mut().for_each(|value| inside(value, words));
        }
    }
    if let Some(value) = value.get_mut(field) {
        inside(value, words);
    }
}

/// In kube-proxy's configuration `false` is the default of all but one field.
fn drop_false(value: &mut Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, value| *value != Value::Bool(false) || name == "localhostNodePorts");
        fields.values_mut().for_each(drop_false);
    }
}

fn sort(items: Option<&mut Value>) {
    if let Some(items) = items.and_then(Value::as_array_mut) {
        items.sort_by_key(|item| (item["name"].to_string(), item["mountPath"].to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const POD: &str = "
spec:
  containers:
  - command: [etcd, --a=1, --b=2]
    volumeMounts: [{name: x, mountPath: /x}, {name: y, mountPath: /y}]
  volumes: [{name: x, hostPath: {path: /x}}, {name: y, hostPath: {path: /y}}]
";

    #[test]
    fn the_order_of_a_pod_s_lists_is_no_matter() {
        let other = POD.replace("--a=1, --b=2", "--b=2, --a=1").replace(
            "volumes: [{name: x, hostPath: {path: /x}}, {name: y, hostPath: {path: /y}}]",
            "volumes: [{name: y, hostPath: {path: /y}}, {name: x, hostPath: {path: /x}}]\nstatus: {}",
        );
        assert!(pods(POD, &other));
        for (ours, theirs) in
            [("--a=1", "--a=2"), ("[etcd", "[etcd2"), ("mountPath: /x", "mountPath: /z"), ("spec", "{")]
        {
            assert!(!pods(POD, &POD.replacen(ours, theirs, 1)), "{theirs}");
        }
    }

    #[test]
    fn zeros_that_mean_the_default_are_none_and_others_are_kept() {
        let kubeadm = "syncFrequency: 0s\nlogging: {flushFrequency: 0, options: {json: {infoBufferSize: '0'}}, verbosity: 0}\n\
            memorySwap: {}\ncontainerRuntimeEndpoint: ''\nmaxPods: 20\n";
        assert!(kubelet_configurations("maxPods: 20", kubeadm));
        assert!(!kubelet_configurations("maxPods: 20", "maxPods: 20\neventRecordQPS: 0"));
        assert!(!kubelet_configurations("maxPods: 20", "maxPods: 20\nlogging: {verbosity: 2}"));
        let proxy = |text: &str| kube_proxy(&serde_yaml::from_str(text).unwrap());
        assert_eq!(
            proxy(
                "mode: ''\nclientConnection: {qps: 0, burst: 0, kubeconfig: /k}\nipvs: {strictARP: false}\nconntrack: {min: null}"
            ),
            proxy("mode: iptables\nclientConnection: {kubeconfig: /k}")
        );
        for meant in ["iptables: {localhostNodePorts: false}", "conntrack: {maxPerCore: 0}", "mode: nftables"] {
            assert_ne!(proxy(meant), proxy("{}"), "{meant}");
        }
    }

    fn map(name: &str, key: &str, text: &str) -> Value {
        json!({"kind": "ConfigMap", "metadata": {"name": name, "annotations": {HASH: "ours"}}, "data": {key: text}})
    }

    fn proxies(note: Option<&str>) -> Value {
        json!({"kind": "DaemonSet", "metadata": {"name": "kube-proxy"}, "spec": {"template": {"metadata": {"annotations": {CONFIGURATION: note}}}}})
    }

    #[test]
    fn texts_that_say_the_same_stay_and_their_note_with_them() {
        let ours = map("kubelet-config", "kubelet", "maxPods: 20\n");
        let theirs = map("kubelet-config", "kubelet", "maxPods: 20\nsyncFrequency: 0s\n");
        let mut objects = [ours.clone()];
        keep(&mut objects, &[Some(theirs.clone())]);
        assert_eq!(objects[0]["data"], theirs["data"]);
        assert_eq!(objects[0]["metadata"]["annotations"], json!({}));
        for other in [None, Some(map("kubelet-config", "kubelet", "maxPods: 30\n")), Some(ours.clone())] {
            let mut objects = [ours.clone()];
            keep(&mut objects, &[other]);
            assert_eq!(objects[0], ours);
        }
        // What kboot knows no format of is compared as it is written.
        let corefile = map("coredns", "Corefile", ".:53 {}");
        let mut objects = [corefile.clone()];
        keep(&mut objects, &[Some(map("coredns", "Corefile", ".:53  {}"))]);
        assert_eq!(objects[0], corefile);
    }

    #[test]
    fn the_order_of_flags_in_a_cluster_configuration_is_no_matter() {
        let form = |text: &str| cluster(&serde_yaml::from_str(text).unwrap());
        assert_eq!(
            form("apiServer: {extraArgs: [{name: b, value: '1'}, {name: a, value: '2'}], certSANs: [y, x]}\nproxy: {}"),
            form("apiServer: {extraArgs: [{name: a, value: '2'}, {name: b, value: '1'}], certSANs: [x, y]}\ndns: {}")
        );
        assert_ne!(form("a: [{name: b, value: '1'}]"), form("a: [{name: b, value: '2'}]"));
    }

    #[test]
    fn pods_of_the_same_configuration_are_not_made_anew_for_a_note() {
        let (ours, theirs) =
            (map("kube-proxy", "config.conf", "a: 1"), map("kube-proxy", "config.conf", "{a: 1, b: ''}"));
        let mut without = proxies(Some("new"));
        without["spec"]["template"]["metadata"]["annotations"] = json!({});
        for (configuration, note, expected) in [
            (&theirs, None, &without),
            (&theirs, Some("old"), &proxies(Some("new"))),
            (&map("kube-proxy", "config.conf", "a: 2"), None, &proxies(Some("new"))),
        ] {
            let mut objects = [ours.clone(), proxies(Some("new"))];
            keep(&mut objects, &[Some(configuration.clone()), Some(proxies(note))]);
            assert_eq!(&objects[1], expected);
        }
        let mut objects = [ours, proxies(Some("new"))];
        keep(&mut objects, &[None, None]);
        assert_eq!(objects[1], proxies(Some("new")));
    }

    #[test]
    fn flannel_is_not_made_anew_for_what_it_runs_without() {
        let flannel = |image: &str, variables: Value| {
            let containers = json!([{"image": image, "env": variables}]);
            json!({"kind": "DaemonSet", "metadata": {"name": "kube-flannel-ds"}, "spec": {"template": {"spec": {"containers": containers}}}})
        };
        let (plain, server) =
            (json!({"name": "POD_NAME"}), json!({"name": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.1"}));
        let ours = flannel("f:2", json!([plain, server]));
        for (before, expected) in [
            (flannel("f:2", json!([plain])), flannel("f:2", json!([plain]))),
            (flannel("f:1", json!([plain])), ours.clone()),
            (flannel("f:2", json!([plain, {"name": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.2"}])), ours.clone()),
        ] {
            let mut objects = [ours.clone()];
            keep(&mut objects, &[Some(before)]);
            assert_eq!(objects[0], expected);
        }
    }

    #[test]
    fn coredns_is_not_made_anew_for_how_it_is_asked() {
        let coredns = |image: &str, probe: Value| {
            let containers = json!([{"image": image, "readinessProbe": probe}]);
            json!({"kind": "Deployment", "metadata": {"name": "coredns"}, "spec": {"template": {"spec": {"containers": containers}}}})
        };
        let ours = coredns("c:2", json!({"httpGet": {}, "periodSeconds": 1, "failureThreshold": 30}));
        let theirs = json!({"httpGet": {}, "periodSeconds": 10, "failureThreshold": 3});
        for (before, expected) in [
            (coredns("c:2", theirs.clone()), coredns("c:2", json!({"httpGet": {}}))),
            (coredns("c:1", theirs), ours.clone()),
            (ours.clone(), ours.clone()),
        ] {
            let mut objects = [ours.clone()];
            keep(&mut objects, &[Some(before)]);
            assert_eq!(objects[0], expected);
        }
    }

    #[test]
    fn comments_and_blank_lines_are_no_settings() {
        assert!(settings("# a\nserver = 1\n\n[x]\n  y = 2\n", "server = 1\n[x]\ny = 2"));
        assert!(!settings("server = 1", "server = 2"));
    }
}
