//! An inventory as it comes about from a file's documents: what was carried over, from where, and what was not.

use serde_json::{Map, Value, json};

use camino::Utf8Path;

use super::read::Documents;
use super::types::{Arg, EnvVar, Kind, V1};
use crate::inventory::reading::quote;
use crate::inventory::{self, Cluster, Field, Mistake, Mistakes, Path};

/// The fields of the host that a file may leave open, and where it sets them.
const OPEN: [(&str, &str); 2] = [("name", "nodeRegistration.name"), ("address", "localAPIEndpoint.advertiseAddress")];

/// The name of a field in kubeadm's configuration.
fn in_kubeadm(field: Field) -> &'static str {
    match field {
        Field::DnsDomain => "`networking.dnsDomain`",
        Field::HostName => "`nodeRegistration.name`",
        Field::HostTaints => "`nodeRegistration.taints`",
        Field::KubeletConfig => "a KubeletConfiguration",
        Field::PodSubnet => "`networking.podSubnet`",
        Field::ServiceSubnet => "`networking.serviceSubnet`",
    }
}

/// Where something of the inventory was written.
struct Origin {
    inventory: Path,
    kind: Kind,
    value: Path,
    /// Its name, if that is a value of its own.
    name: Option<Path>,
}

pub struct Draft<'a> {
    pub documents: &'a Documents,
    /// The node's document: that which says what the file leaves open.
    pub node: Kind,
    inventory: Value,
    host: Value,
    origins: Vec<Origin>,
    pub mistakes: Vec<Mistake>,
    warnings: Vec<Mistake>,
}

impl<'a> Draft<'a> {
    /// Begins with kboot's own document, if there is one.
    pub fn new(documents: &'a Documents, node: Kind) -> Self {
        let own = documents.get(Kind::Inventory).map(|document| document.value.clone());
        let mut inventory = own.filter(Value::is_object).unwrap_or_else(|| json!({}));
        inventory["apiVersion"] = json!("kboot/v1alpha1");
        inventory["kind"] = json!("Cluster");
        Self {
            documents,
            node,
            inventory,
            host: json!({}),
            origins: Vec::new(),
            mistakes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Something of the host that the file does not say.
    pub fn host(&mut self, field: &str, value: Value) {
        self.host[field] = value;
    }

    /// Something of the host that it says.
    pub fn set_host(&mut self, field: &str, value: Value, from: &str) {
        self.put_host(field, value, Path::of(from));
    }

    pub fn put_host(&mut self, field: &str, value: Value, from: Path) {
        self.host(field, value);
        let inventory = Path::of("hosts").index(0).key(field);
        self.origins.push(Origin { inventory, kind: self.node, value: from, name: None });
    }

    /// Carries a field over.
    pub fn set(&mut self, field: &str, value: Value, kind: Kind, from: &str) {
        self.put(Path::of(field), value, kind, Path::of(from), None);
    }

    /// The same, where the file says something.
    pub fn maybe(&mut self, field: &str, value: Option<&String>, kind: Kind, from: &str) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.set(field, json!(value), kind, from);
        }
    }

    pub fn put(&mut self, field: Path, value: Value, kind: Kind, from: Path, name: Option<Path>) {
        let target = place(&mut self.inventory, &field);
        if !target.is_null() {
            let message = format!("{} is in kboot's own document, too", quote(&field.to_string()));
            let mistake = self.documents.mistake(kind, &from, false, message).hint("keep one of the two");
            return self.mistakes.push(mistake);
        }
        *target = value;
        self.origins.push(Origin { inventory: field, kind, value: from, name });
    }

    /// A field that kboot can't do.
    pub fn refuse(&mut self, kind: Kind, path: &Path, message: &str, hint: &str) {
        self.mistakes.push(self.documents.mistake(kind, path, false, message).hint(hint.to_owned()));
    }

    /// A field that has no effect.
    pub fn warn(&mut self, kind: Kind, path: &Path, message: &str, hint: &str) {
        self.warnings.push(self.documents.mistake(kind, path, true, message).hint(hint.to_owned()));
    }

    /// Flags, which kubeadm has as a list of names and values.
    pub fn arguments(&mut self, field: &str, arguments: &[Arg], kind: Kind, from: &str) {
        let field = Path::of(field);
        let is_v1 = self.documents.get(kind).is_some_and(|document| document.version == V1);
        for (index, argument) in arguments.iter().enumerate() {
            let place = Path::of(from).index(index);
            if argument.merge_method.is_some() {
                let path = place.key("mergeMethod");
                match is_v1 {
                    true => self.refuse(kind, &path, "is not supported yet", "write the flag's whole value"),
                    false => {
                        self.refuse(kind, &path, "is no field of v1beta4", "it came with kubeadm.k8s.io/v1");
                    }
                }
            }
            if argument.name.is_empty() {
                let told = place.below(kind.name());
                if self.documents.mistakes.iter().any(|mistake| mistake.path.is_within(&told)) {
                    continue;
                }
                self.refuse(kind, &place, "has no `name`", "for example `{name: v, value: \"4\"}`");
            } else if arguments[..index].iter().any(|before| before.name == argument.name) {
                let message = format!("{} is there twice", quote(&argument.name));
                let hint =
                    "kboot gives a flag once: several values go into one, with commas, where the flag takes that";
                self.refuse(kind, &place.key("name"), &message, hint);
            } else {
                let (value, name) = (place.key("value"), place.key("name"));
                self.put(field.key(&argument.name), json!(argument.value), kind, value, Some(name));
            }
        }
    }

    pub fn environment(&mut self, field: &str, variables: &[EnvVar], kind: Kind, from: &str) {
        let mut list = Vec::new();
        for (index, variable) in variables.iter().enumerate() {
            if variable.value_from.is_some() {
                let path = Path::of(from).index(index).key("valueFrom");
                self.refuse(kind, &path, "is not supported: kboot sets values only", "write a `value`");
            }
            list.push(json!({"name": variable.name, "value": variable.value.clone().unwrap_or_default()}));
        }
        if !list.is_empty() {
            self.set(field, Value::Array(list), kind, from);
        }
    }

    /// The inventory, checked; or all that is wrong, in the file and in what it describes.
    pub fn finish(mut self, origin: &Utf8Path) -> Result<(Cluster, Mistakes), Mistakes> {
        self.inventory["hosts"] = json!([self.host]);
        let text = serde_yaml::to_string(&self.inventory)
            .expect("JSON has string keys only, and writing to memory does not fail");
        let checked = inventory::parse(&text, origin);
        let found = checked.as_ref().err().into_iter().flat_map(Mistakes::iter);
        let mut mistakes: Vec<Mistake> = found.map(|mistake| self.translated(mistake)).collect();
        // What could not be carried over has been told.
        mistakes.retain(|mistake| !self.documents.mistakes.iter().any(|told| mistake.path.is_within(&told.path)));
        mistakes.append(&mut self.mistakes);
        mistakes.extend(self.documents.mistakes.iter().cloned());
        match checked {
            Ok(cluster) if mistakes.is_empty() => Ok((cluster, self.documents.warnings(self.warnings))),
            _ => Err(self.documents.report(mistakes)),
        }
    }

    /// A mistake of the inventory, with the names and at the place of kubeadm's file.
    fn translated(&self, mistake: &Mistake) -> Mistake {
        let from = self
            .origins
            .iter()
            .filter_map(|origin| Some((origin, mistake.path.inside(&origin.inventory)?)))
            .min_by_key(|(_, rest)| rest.steps().len());
        let (kind, path, is_about_key) = match from {
            Some((Origin { kind, name: Some(name), .. }, _)) if mistake.is_about_key() => (*kind, name.clone(), false),
            Some((origin, rest)) => (origin.kind, origin.value.join(&rest), mistake.is_about_key()),
            None => match OPEN.iter().find(|(field, _)| mistake.path == Path::of("hosts").index(0).key(field)) {
                Some((_, theirs)) => (self.node, Path::of(theirs), false),
                None => (Kind::Inventory, mistake.path.clone(), mistake.is_about_key()),
            },
        };
        let told = self.documents.mistake(kind, &path, is_about_key, mistake.message.as_str());
        mistake.hints.iter().fold(told, |told, hint| told.hint(hint.with_names(in_kubeadm)))
    }
}

/// A place in the inventory, made where it is not there.
fn place<'v>(inventory: &'v mut Value, path: &Path) -> &'v mut Value {
    let mut value = inventory;
    for step in path.words() {
        if !value.is_object() {
            *value = Value::Object(Map::new());
        }
        value = &mut value[step];
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Advice;

    #[test]
    fn hints_name_the_fields_of_kubeadm_and_no_other_text_changes() {
        let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n";
        let documents = Documents::read(text, "a.yaml".into()).expect("it is a document");
        let draft = Draft::new(&documents, Kind::Init);
        let hint = Advice::from("for example the inventory: set ").field(Field::PodSubnet);
        let told = draft.translated(&Mistake::new(Path::of("name"), "see network.podSubnet").hint(hint));
        assert_eq!(told.message, "see network.podSubnet");
        assert_eq!(told.hints[0].to_string(), "for example the inventory: set `networking.podSubnet`");
    }
}
