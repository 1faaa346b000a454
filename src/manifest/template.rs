//! The templates, embedded in the binary, and how they are filled in.
//!
//! Nothing is escaped, and a variable that isn't there is an error. The one filter beyond Tera's own is `json`: JSON is
//! YAML (and, for strings, TOML), so `{{ value | json }}` is safe wherever a value may hold quotes or colons.

use std::sync::LazyLock;

use serde::Serialize;
use tera::{Context, Kwargs, State, Tera, TeraResult, Value};

use super::patch::PatchError;

/// Fills a template in with the fields of `values`, which must serialise to a map.
pub fn render(template: Template, values: &impl Serialize) -> Result<String, RenderError> {
    let failed = |source: tera::Error| RenderError::Template { template: template.path(), source: source.into() };
    let context = Context::from_serialize(values).map_err(failed)?;
    // Tera takes a missing variable for false in an `if`, and hands it to filters; only a bare one is an error there.
    let mut variables: Vec<&str> =
        TEMPLATES.get_template_variables(template.path()).map_err(failed)?.into_iter().collect();
    variables.sort_unstable();
    if let Some(variable) = variables.into_iter().find(|variable| !context.contains_key(variable)) {
        return Err(RenderError::Undefined { template: template.path(), variable: variable.to_owned() });
    }
    TEMPLATES.render(template.path(), &context).map_err(failed)
}

/// What is wrong with a template or the values for it. Reads well after "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error("render templates/{template}: variable `{variable}` is not defined")]
    Undefined { template: &'static str, variable: String },
    #[error("render templates/{template}")]
    Template { template: &'static str, source: Box<tera::Error> },
    #[error("read what templates/{template} became as YAML")]
    Yaml { template: &'static str, source: serde_yaml::Error },
    #[error("make use of what templates/{template} became: {problem}")]
    Shape { template: &'static str, problem: String },
    #[error(transparent)]
    Patch(#[from] PatchError),
}

macro_rules! templates {
    ($($name:ident => $path:literal,)*) => {
        /// A file of `templates/`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Template { $($name,)* }

        impl Template {
            pub const ALL: &[Template] = &[$(Template::$name,)*];

            /// Relative to `templates/`.
            pub fn path(self) -> &'static str {
                match self { $(Template::$name => $path,)* }
            }

            /// The template's text, as a person reads it.
            pub fn source(self) -> &'static str {
                match self { $(Template::$name => include_str!(concat!("../../templates/", $path)),)* }
            }
        }
    };
}

templates! {
    Etcd => "static-pods/etcd.yaml",
    ApiServer => "static-pods/kube-apiserver.yaml",
    ControllerManager => "static-pods/kube-controller-manager.yaml",
    Scheduler => "static-pods/kube-scheduler.yaml",
    KubeletConfig => "kubelet/config.yaml",
    KubeletInstanceConfig => "kubelet/instance-config.yaml",
    KubeletFlags => "kubelet/kubeadm-flags.env",
    ContainerdConfig => "containerd/config.toml",
    MirrorHosts => "containerd/hosts.toml",
    Crictl => "host/crictl.yaml",
    ModulesLoad => "host/modules-load.conf",
    Sysctl => "host/sysctl.conf",
    AptSource => "apt/source.sources",
    AptPreferences => "apt/preferences",
    ClusterConfiguration => "kubeadm/cluster-configuration.yaml",
    KubeadmConfig => "kubeadm/kubeadm-config.yaml",
    KubeletConfigMap => "kubeadm/kubelet-config.yaml",
    BootstrapRbac => "kubeadm/bootstrap-rbac.yaml",
    ClusterInfo => "kubeadm/cluster-info.yaml",
    KubeProxyConfiguration => "addons/kube-proxy-configuration.yaml",
    KubeProxy => "addons/kube-proxy.yaml",
    CoreDns => "addons/coredns.yaml",
    Haproxy => "balancer/haproxy.cfg",
    Keepalived => "balancer/keepalived.conf",
    KubeVip => "balancer/kube-vip.yaml",
    Flannel => "addons/flannel.yaml",
    Weave => "addons/weave.yaml",
}

static TEMPLATES: LazyLock<Tera> = LazyLock::new(|| {
    let mut tera = Tera::new();
    tera.autoescape_on(Vec::<&str>::new());
    tera.register_filter("json", json);
    tera.add_raw_templates(Template::ALL.iter().map(|template| (template.path(), template.source())))
        .expect("the embedded templates are well-formed: a test parses them");
    tera
});

fn json(value: Value, _: Kwargs, _: &State) -> TeraResult<String> {
    if value.is_undefined() {
        return Err(tera::Error::message("a field that is not defined can't be written as JSON"));
    }
    serde_json::to_string(&value).map_err(|error| tera::Error::chain("not a value that JSON has", error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_template_parses_and_is_embedded() {
        assert_eq!(TEMPLATES.get_template_names().count(), Template::ALL.len());
        for template in Template::ALL {
            assert!(!template.source().is_empty(), "{}", template.path());
        }
    }

    #[test]
    fn every_file_under_templates_is_embedded() {
        fn walk(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let mut files = Vec::new();
        walk(&root, &mut files);
        for file in files {
            let path = file.strip_prefix(&root).unwrap().to_str().unwrap();
            assert!(Template::ALL.iter().any(|template| template.path() == path), "{path} is not embedded");
        }
    }

    #[test]
    fn an_undefined_variable_is_an_error_however_it_is_used() {
        let undefined = |template, values| render(template, &values).unwrap_err().to_string();
        assert_eq!(
            undefined(Template::MirrorHosts, json!({"mark": "# ", "registry": "a", "server": "b"})),
            "render templates/containerd/hosts.toml: variable `mirror` is not defined"
        );
        assert_eq!(
            undefined(Template::ContainerdConfig, json!({"sandboxImage": "a", "isSystemdCgroup": true})),
            "render templates/containerd/config.toml: variable `mustRestrictOomScore` is not defined"
        );
        assert_eq!(
            undefined(Template::ModulesLoad, json!({})),
            "render templates/host/modules-load.conf: variable `modules` is not defined"
        );
    }

    #[test]
    fn an_undefined_field_is_an_error_also_through_the_filter() {
        let values = json!({"cluster": {"network": {}}, "image": "i", "npcImage": "n"});
        assert!(matches!(render(Template::Weave, &values), Err(RenderError::Template { .. })));
        assert!(matches!(
            render(Template::AptSource, &json!({"repository": {"components": []}, "key": "k"})),
            Err(RenderError::Template { .. })
        ));
    }

    #[test]
    fn values_must_be_a_map() {
        assert!(matches!(render(Template::Crictl, &"text"), Err(RenderError::Template { .. })));
    }

    #[test]
    fn nothing_is_escaped_but_json_quotes() {
        let values = json!({"mark": "# ", "registry": "<a>&", "server": "x\"y: #", "mirror": "m"});
        let text = render(Template::MirrorHosts, &values).unwrap();
        assert!(text.contains("# <a>&:"), "{text}");
        assert!(text.contains(r#"server = "x\"y: #""#), "{text}");
    }
}
