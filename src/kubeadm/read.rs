//! From a text to documents: each known by its kind and compared with that kind's shape.

use camino::Utf8Path;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::types::{ClusterConfiguration, InitConfiguration, JoinConfiguration, KUBEADM, Kind, V1, V1BETA4};
use crate::inventory::reading::{
    self, KUBE_PROXY_FIELDS, KUBELET_FIELDS, Node, Sort, nearest, quote, schema_of, shape,
};
use crate::inventory::{Cluster, Mistake, Mistakes, Path, UnknownField};

const SORT: Sort = Sort {
    noun: "kubeadm's configuration",
    apart: "keep each configuration in a file of its own",
    least: "it takes at least an InitConfiguration, a ClusterConfiguration or a JoinConfiguration",
};

/// Versions of kubeadm's format that are gone, and the last kubeadm that reads each.
const OLD: [(&str, &str); 6] = [
    ("kubeadm.k8s.io/v1beta3", "1.36"),
    ("kubeadm.k8s.io/v1beta2", "1.22"),
    ("kubeadm.k8s.io/v1beta1", "1.15"),
    ("kubeadm.k8s.io/v1alpha3", "1.14"),
    ("kubeadm.k8s.io/v1alpha2", "1.12"),
    ("kubeadm.k8s.io/v1alpha1", "1.11"),
];

/// Fields whose values are secrets: they stay out of what is told.
const SECRET: [&str; 3] = ["token", "tlsBootstrapToken", "certificateKey"];

/// Whether a file is kubeadm's rather than an inventory: some document of it is of one of kubeadm's kinds. What is not YAML is
/// neither, and is for the inventory's reader to tell.
pub fn is_kubeadm(text: &str) -> bool {
    let Ok((documents, _)) = Node::read_all(text, SORT) else { return false };
    documents.iter().any(|document| {
        let version = text_of(document, "apiVersion").unwrap_or_default();
        let group = version.split('/').next().unwrap_or_default();
        group == KUBEADM || Kind::OTHERS.iter().any(|(kind, other)| *kind != Kind::Inventory && *other == version)
    })
}

/// A document, as far as it has its shape.
pub struct Document {
    pub kind: Kind,
    /// As `kubeadm.k8s.io/v1beta4`.
    pub version: String,
    pub value: Value,
    node: Node,
}

/// All of a file.
pub struct Documents {
    list: Vec<Document>,
    /// The text without its secrets, place for place.
    shown: String,
    origin: camino::Utf8PathBuf,
    /// What was found so far.
    pub mistakes: Vec<Mistake>,
}

impl Documents {
    pub fn read(text: &str, origin: &Utf8Path) -> Result<Self, Mistakes> {
        let shown = masked(text);
        let (nodes, mistakes) =
            Node::read_all(text, SORT).map_err(|mistake| Mistakes::new(origin, &shown, vec![mistake]))?;
        let mut documents = Self { list: Vec::new(), shown, origin: origin.to_owned(), mistakes };
        for node in nodes {
            documents.add(node);
        }
        Ok(documents)
    }

    pub fn get(&self, kind: Kind) -> Option<&Document> {
        self.list.iter().find(|document| document.kind == kind)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Document> {
        self.list.iter()
    }

    /// A document's fields; the defaults if it is not there, or if something in it, which was told, is none of its type.
    pub fn fields<T: DeserializeOwned + Default>(&self, kind: Kind) -> T {
        let value = self.get(kind).map(|document| document.value.clone());
        value.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default()
    }

    /// Everything that is wrong, in the order of the text.
    pub fn report(&self, mistakes: Vec<Mistake>) -> Mistakes {
        Mistakes::new(&self.origin, &self.shown, mistakes)
    }

    pub fn warnings(&self, warnings: Vec<Mistake>) -> Mistakes {
        Mistakes::warnings(&self.origin, &self.shown, warnings)
    }

    /// A mistake about a field of a document, or about its name.
    pub fn mistake(&self, kind: Kind, path: &Path, is_about_key: bool, message: impl Into<String>) -> Mistake {
        let span = self.get(kind).map_or(0..0, |document| document.node.locate(path, is_about_key));
        Mistake::new(path.below(kind.name()), message).at(span)
    }

    /// Takes a document in if it is of a known kind and the first of it.
    fn add(&mut self, node: Node) {
        let (kind, version) = match identify(&node) {
            Ok(found) => found,
            Err(mistake) => return self.mistakes.push(mistake),
        };
        if self.get(kind).is_some() {
            let message = format!("there is a second {} here", kind.name());
            return self.mistakes.push(Mistake::new(Path::root(), message).hint("keep one").at(node.span.clone()));
        }
        let node = if kind == Kind::Inventory { node } else { without_nulls(node) };
        let schema = match kind {
            Kind::Init => schema_of::<InitConfiguration>(),
            Kind::Cluster => schema_of::<ClusterConfiguration>(),
            Kind::Join => schema_of::<JoinConfiguration>(),
            Kind::Inventory => hostless(schema_of::<Cluster>()),
            // What other commands read.
            Kind::Reset | Kind::Upgrade => Value::Bool(true),
            Kind::Kubelet => open(&KUBELET_FIELDS),
            Kind::KubeProxy => open(&KUBE_PROXY_FIELDS),
        };
        let shaped = shape(&node, &schema);
        let fits = match kind {
            Kind::Init => fits::<InitConfiguration>(&shaped.value),
            Kind::Cluster => fits::<ClusterConfiguration>(&shaped.value),
            Kind::Join => fits::<JoinConfiguration>(&shaped.value),
            Kind::Reset | Kind::Upgrade | Kind::Kubelet | Kind::KubeProxy | Kind::Inventory => Ok(()),
        };
        if let Err(why) = fits {
            // What a shape can't say, as that a number is too large.
            self.mistakes.push(Mistake::new(Path::root().below(kind.name()), why).at(node.span.clone()));
        }
        for mut mistake in shaped.mistakes {
            match kind {
                Kind::Inventory if mistake.unknown.is_some() && mistake.path == Path::of("hosts") => {
                    mistake.message = "is not for this file, which is about one machine".into();
                    mistake.hints =
                        vec!["see `nodeRegistration` and `localAPIEndpoint` of an InitConfiguration".into()];
                }
                Kind::Inventory => {}
                _ if mistake.unknown.is_some() => {
                    mistake.message = format!("is no field of {}", kind.name());
                    // A hundred names are no help.
                    if matches!(kind, Kind::Kubelet | Kind::KubeProxy) && mistake.unknown == Some(UnknownField::Other) {
                        mistake.hints.clear();
                    }
                }
                _ => {}
            }
            mistake.path = mistake.path.below(kind.name());
            self.mistakes.push(mistake);
        }
        self.list.push(Document { kind, version, value: shaped.value, node });
    }
}

/// Whether a value is one of a type.
fn fits<T: DeserializeOwned>(value: &Value) -> Result<(), String> {
    serde_json::from_value::<T>(value.clone()).map(drop).map_err(|error| error.to_string())
}

/// A document's kind and `apiVersion`.
fn identify(node: &Node) -> Result<(Kind, String), Mistake> {
    let wrong = |field: &str, message: String| {
        let path = if field.is_empty() { Path::root() } else { Path::of(field) };
        Mistake::new(path.clone(), message).at(node.locate(&path, false))
    };
    let mut kinds: Vec<&str> = Kind::OF_KUBEADM.map(Kind::name).to_vec();
    kinds.extend(Kind::OTHERS.map(|(kind, _)| kind.name()));
    let (Some(version), Some(name)) = (text_of(node, "apiVersion"), text_of(node, "kind")) else {
        return Err(wrong("", "this document lacks `apiVersion` or `kind`".into())
            .hint(format!("for example `apiVersion: {V1BETA4}` and `kind: ClusterConfiguration`")));
    };
    if let Some((_, last)) = OLD.iter().find(|(old, _)| *old == version) {
        let hint = format!("`kubeadm config migrate` of kubeadm {last} writes it in a newer format");
        return Err(wrong("apiVersion", format!("{} is too old", quote(version))).hint(hint));
    }
    let group = version.split('/').next().unwrap_or_default();
    if group == KUBEADM {
        if ![V1BETA4, V1].contains(&version) {
            let hint = format!("the versions are `{V1BETA4}` and `{V1}`");
            return Err(wrong("apiVersion", format!("{} is no version of kubeadm's format", quote(version))).hint(hint));
        }
        return match Kind::OF_KUBEADM.iter().find(|kind| kind.name() == name) {
            Some(kind) => Ok((*kind, version.to_owned())),
            None => Err(unknown(wrong("kind", format!("{} is no kind of {version}", quote(name))), name, &kinds)),
        };
    }
    let found = Kind::OTHERS.iter().find(|(kind, _)| kind.name() == name);
    match found {
        Some((kind, wanted)) if *wanted == version => Ok((*kind, version.to_owned())),
        Some((_, wanted)) => {
            let message = format!("{} is no version of a {name} that kboot reads", quote(version));
            Err(wrong("apiVersion", message).hint(format!("write `{wanted}`")))
        }
        None if Kind::OF_KUBEADM.iter().any(|kind| kind.name() == name) => {
            let message = format!("{} is no version of kubeadm's format", quote(version));
            Err(wrong("apiVersion", message).hint(format!("write `{V1BETA4}`")))
        }
        None => Err(unknown(wrong("kind", format!("{} is no kind that kboot reads here", quote(name))), name, &kinds)),
    }
}

fn unknown(mistake: Mistake, name: &str, kinds: &[&str]) -> Mistake {
    match nearest(name, kinds) {
        Some(kind) => mistake.hint(format!("did you mean {}?", quote(kind))),
        None => mistake.hint(format!("the kinds are `{}`", kinds.join("`, `"))),
    }
}

fn text_of<'a>(node: &'a Node, field: &str) -> Option<&'a str> {
    let reading::Kind::Map(entries) = &node.kind else { return None };
    match &entries.iter().find(|entry| entry.key == field)?.value.kind {
        reading::Kind::String(text) => Some(text),
        _ => None,
    }
}

/// kubeadm takes a null for a field that is not there, and writes some itself.
fn without_nulls(mut node: Node) -> Node {
    if let reading::Kind::Map(entries) = node.kind {
        let entries = entries.into_iter().filter(|entry| entry.value.kind != reading::Kind::Null);
        let entries = entries.map(|mut entry| {
            entry.value = without_nulls(entry.value);
            entry
        });
        node.kind = reading::Kind::Map(entries.collect());
    } else if let reading::Kind::List(items) = node.kind {
        node.kind = reading::Kind::List(items.into_iter().map(without_nulls).collect());
    }
    node
}

/// The schema of a document whose fields have names, and take anything.
fn open(fields: &[&str]) -> Value {
    let names = ["apiVersion", "kind"].iter().chain(fields);
    let properties: Map<String, Value> = names.map(|name| ((*name).to_owned(), Value::Bool(true))).collect();
    serde_json::json!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// The inventory's schema for a document that stands beside kubeadm's, which say who the host is.
fn hostless(mut schema: Value) -> Value {
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.remove("hosts");
    }
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|name| name != "hosts");
    }
    schema
}

/// The text with an asterisk for every byte of a secret, so that all else stands where it did.
fn masked(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while let Some((end, value)) = secret(rest) {
            shown.push_str(&rest[..end]);
            shown.extend(std::iter::repeat_n('*', value));
            rest = &rest[end + value..];
        }
        shown.push_str(rest);
    }
    shown
}

/// Where the first secret of a line begins, and its length in bytes.
fn secret(line: &str) -> Option<(usize, usize)> {
    let starts = SECRET.iter().filter_map(|name| {
        line.match_indices(name).find_map(|(at, _)| {
            let before = line[..at].chars().next_back();
            let rest = line[at + name.len()..].trim_start_matches(['"', '\'']);
            let value = rest.strip_prefix(':')?.trim_start_matches([' ', '\t']);
            // A longer name that ends alike is another field, and an empty value is none.
            let is_name = before.is_none_or(|c| !c.is_alphanumeric());
            let length = value.find([',', '}', ']', '\n', '\r', ' ', '#']).unwrap_or(value.len());
            (is_name && length > 0).then_some((line.len() - value.len(), length))
        })
    });
    starts.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubeadm_s_files_are_known_by_their_kinds() {
        for (text, expected) in [
            ("apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n", true),
            ("apiVersion: kubeadm.k8s.io/v1beta2\nkind: Anything\n", true),
            ("apiVersion: kboot/v1alpha1\nkind: Cluster\n---\napiVersion: kubelet.config.k8s.io/v1beta1\n", true),
            ("apiVersion: kboot/v1alpha1\nkind: Cluster\nhosts: []\n", false),
            ("apiVersion: v1\nkind: Pod\n", false),
            ("a: [", false),
            ("", false),
        ] {
            assert_eq!(is_kubeadm(text), expected, "{text}");
        }
    }

    #[test]
    fn secrets_are_masked_in_their_places() {
        for (text, shown) in [
            ("- token: abcdef.0123\n  ttl: 1h\n", "- token: ***********\n  ttl: 1h\n"),
            ("{\"token\": \"é\", ttl: 1h}", "{\"token\": ****, ttl: 1h}"),
            ("tlsBootstrapToken: x # y\n", "tlsBootstrapToken: * # y\n"),
            ("certificateKey: 00\r\n", "certificateKey: **\r\n"),
            ("{token: a, tlsBootstrapToken: b}", "{token: *, tlsBootstrapToken: *}"),
            ("bootstrapTokens:\n- description: a token: b\n", "bootstrapTokens:\n- description: a token: *\n"),
            ("token:\nx: 1\n", "token:\nx: 1\n"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
