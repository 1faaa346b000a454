//! Adding a cluster to the kubeconfig that a person has already.

use secrecy::SecretString;
use serde_yaml::{Mapping, Value};

use super::check::shares_authority;
use super::{Authority, Kubeconfig, KubeconfigError, context_value, decoded, emit, find, mapping, named, text_of};

/// Adds `new` to a kubeconfig under the context `context_name` and makes that the current one. `existing` may be empty.
///
/// The user's entry is named after the context, since kubeadm's `kubernetes-admin` is the same in every cluster. Entries
/// of the same names are replaced if they are this cluster's (the same authority), and an error if they are another's.
/// Everything else stays, unknown fields too; comments are lost, as with kubectl.
pub fn merge(existing: &str, new: &Kubeconfig, context_name: &str) -> Result<SecretString, KubeconfigError> {
    let Authority::Pem(authority) = &new.authority else { return Err(KubeconfigError::NotSelfContained) };
    let mut file = read(existing)?;
    refuse_strangers(&file, &new.cluster, authority, context_name)?;

    put(&mut file, "clusters", named(&new.cluster, "cluster", new.cluster_value()));
    put(&mut file, "contexts", named(context_name, "context", context_value(&new.cluster, context_name)));
    put(&mut file, "users", named(context_name, "user", new.user_value()));
    if let Value::Mapping(fields) = &mut file {
        fields.insert("current-context".into(), context_name.into());
    }
    Ok(emit(&file))
}

fn read(existing: &str) -> Result<Value, KubeconfigError> {
    let file: Value = serde_yaml::from_str(existing).map_err(|error| KubeconfigError::Unreadable(error.to_string()))?;
    match file {
        Value::Null => Ok(mapping([
            ("apiVersion", "v1".into()),
            ("clusters", Value::Null),
            ("contexts", Value::Null),
            ("current-context", "".into()),
            ("kind", "Config".into()),
            ("users", Value::Null),
        ])),
        Value::Mapping(_) => match text_of(&file, "kind") {
            Some(kind) if kind != "Config" => {
                Err(KubeconfigError::Unreadable(format!("it is of kind {kind:?}, not \"Config\"")))
            }
            _ => Ok(file),
        },
        _ => Err(KubeconfigError::Unreadable("it is not a mapping".into())),
    }
}

/// Stops before another cluster's entries are overwritten.
fn refuse_strangers(file: &Value, cluster: &str, authority: &str, context: &str) -> Result<(), KubeconfigError> {
    let taken = |kind, name: &str| Err(KubeconfigError::Taken { kind, name: name.into() });
    let is_ours = |name: &str| match find(file, "clusters", "cluster", name) {
        Ok(entry) => decoded(entry, "certificate-authority-data")
            .ok()
            .flatten()
            .is_some_and(|found| shares_authority(&found, authority)),
        Err(_) => false,
    };
    if find(file, "clusters", "cluster", cluster).is_ok() && !is_ours(cluster) {
        return taken("cluster", cluster);
    }
    if let Ok(entry) = find(file, "contexts", "context", context)
        && !text_of(entry, "cluster").is_some_and(|name| is_ours(&name))
    {
        return taken("context", context);
    }
    if find(file, "users", "user", context).is_err() {
        return Ok(());
    }
    // A user has no authority of its own; it is ours if only contexts of ours use it.
    let contexts = file.get("contexts").and_then(Value::as_sequence).map(Vec::as_slice).unwrap_or_default();
    let mut users_clusters = contexts
        .iter()
        .filter_map(|entry| entry.get("context"))
        .filter(|entry| text_of(entry, "user").as_deref() == Some(context))
        .map(|entry| text_of(entry, "cluster").unwrap_or_default())
        .peekable();
    if users_clusters.peek().is_none() || !users_clusters.all(|name| is_ours(&name)) {
        return taken("user", context);
    }
    Ok(())
}

/// Replaces the entry of the same name in a list, or appends it.
fn put(file: &mut Value, list: &str, entry: Value) {
    let Value::Mapping(fields) = file else { return };
    let entries = fields.entry(list.into()).or_insert(Value::Null);
    if !entries.is_sequence() {
        *entries = Value::Sequence(Vec::new());
    }
    let Value::Sequence(entries) = entries else { return };
    match entries.iter_mut().find(|old| old.get("name") == entry.get("name")) {
        Some(old) => replace(old, entry),
        None => entries.push(entry),
    }
}

/// Keeps what the user added to a context, such as its namespace; clusters and users are replaced whole.
fn replace(old: &mut Value, new: Value) {
    let kept: Mapping = match old.get("context").and_then(Value::as_mapping) {
        Some(context) => context.clone(),
        None => Mapping::new(),
    };
    *old = new;
    if let Some(Value::Mapping(context)) = old.get_mut("context") {
        for (key, value) in kept {
            context.entry(key).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::pki::testing;

    const OTHER: &str = "# mine\napiVersion: v1\nkind: Config\nclusters:\n- name: work\n  cluster: {server: 'https://w:1', \
                         proxy-url: 'http://p'}\ncontexts:\n- name: work\n  context: {cluster: work, user: me, namespace: \
                         x}\nusers:\n- name: me\n  user: {exec: {command: login}}\ncurrent-context: work\n";

    fn new() -> Kubeconfig {
        Kubeconfig::parse(testing::KUBEADM_ADMIN_CONF).unwrap()
    }

    fn merged(existing: &str) -> Result<Value, KubeconfigError> {
        merge(existing, &new(), "admin@lab").map(|text| serde_yaml::from_str(text.expose_secret()).unwrap())
    }

    #[test]
    fn into_nothing_it_is_the_whole_file() {
        for empty in ["", "\n", "# nothing yet\n"] {
            let text = merge(empty, &new(), "admin@lab").unwrap();
            let again = Kubeconfig::parse(text.expose_secret()).unwrap();
            assert_eq!((again.server, again.user), (new().server, "admin@lab".into()));
            assert_eq!(again.authority, new().authority);
        }
    }

    #[test]
    fn others_stay_as_they_were() {
        let before: Value = serde_yaml::from_str(OTHER).unwrap();
        let after = merged(OTHER).unwrap();
        for list in ["clusters", "contexts", "users"] {
            assert_eq!(after[list][0], before[list][0]);
            assert_eq!(after[list].as_sequence().unwrap().len(), 2);
        }
        assert_eq!(after["current-context"], "admin@lab");
    }

    #[test]
    fn again_changes_nothing_and_keeps_the_namespace() {
        let once = merge(OTHER, &new(), "admin@lab").unwrap();
        let twice = merge(once.expose_secret(), &new(), "admin@lab").unwrap();
        assert_eq!(once.expose_secret(), twice.expose_secret());
        let mut edited: Value = serde_yaml::from_str(once.expose_secret()).unwrap();
        edited["contexts"][1]["context"]["namespace"] = "mine".into();
        let after = merged(&serde_yaml::to_string(&edited).unwrap()).unwrap();
        assert_eq!(after["contexts"][1]["context"]["namespace"], "mine");
    }

    #[test]
    fn a_moved_cluster_is_followed() {
        let once = merge(OTHER, &new(), "admin@lab").unwrap();
        let moved = Kubeconfig { server: "https://10.0.0.9:6443".into(), ..new() };
        let text = merge(once.expose_secret(), &moved, "admin@lab").unwrap();
        let again = Kubeconfig::parse(text.expose_secret()).unwrap();
        assert_eq!(again.server, "https://10.0.0.9:6443");
    }

    #[test]
    fn another_clusters_entries_are_never_overwritten() {
        let taken = |existing: &str| match merged(existing) {
            Err(KubeconfigError::Taken { kind, name }) => (kind, name),
            other => panic!("{other:?}"),
        };
        // The same name, but without an authority, with another one, or reached in another way.
        let cluster = OTHER.replace("name: work\n  cluster:", "name: kubernetes\n  cluster:");
        assert_eq!(taken(&cluster), ("cluster", "kubernetes".into()));
        let stranger = Kubeconfig { authority: Authority::Pem(testing::KUBEADM_RSA_CA.into()), ..new() };
        let with_stranger = merge("", &stranger, "admin@prod").unwrap();
        assert_eq!(taken(with_stranger.expose_secret()), ("cluster", "kubernetes".into()));
        let context = OTHER.replace("name: work\n  context:", "name: admin@lab\n  context:");
        assert_eq!(taken(&context), ("context", "admin@lab".into()));
        let user = OTHER.replace("name: me\n", "name: admin@lab\n").replace("user: me,", "user: admin@lab,");
        assert_eq!(taken(&user), ("user", "admin@lab".into()));
        let unused = OTHER.replace("name: me\n", "name: admin@lab\n");
        assert_eq!(taken(&unused), ("user", "admin@lab".into()));
    }

    #[test]
    fn what_is_no_kubeconfig_is_refused() {
        assert!(matches!(merged("[1]"), Err(KubeconfigError::Unreadable(_))));
        assert!(matches!(merged("kind: Pod\n"), Err(KubeconfigError::Unreadable(_))));
        let by_path = Kubeconfig { authority: Authority::File("/ca.crt".into()), ..new() };
        assert_eq!(merge("", &by_path, "x").unwrap_err(), KubeconfigError::NotSelfContained);
    }
}
