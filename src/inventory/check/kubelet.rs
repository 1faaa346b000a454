//! Settings of the kubelet: fields that are kboot's to set, and names that are nearly a field's.

use super::Findings;
use crate::inventory::advice::{Advice, Field};
use crate::inventory::mistake::{Mistake, quote};
use crate::inventory::path::Path;
use crate::inventory::types::Cluster;
use crate::inventory::words;

/// Fields of KubeletConfiguration that kboot sets, and what to set instead. The rest of kboot relies on each:
/// certificates and webhooks make the kubelet trust the API server only, the health port is how kboot watches
/// the kubelet come up, and what depends on the host is decided from its facts.
fn owned(field: &str) -> Option<Advice> {
    Some(match field {
        "apiVersion" => "it is always `kubelet.config.k8s.io/v1beta1`".into(),
        "kind" => "it is always `KubeletConfiguration`".into(),
        "authentication" => "the kubelet trusts the cluster's CA and its API server only".into(),
        "authorization" => "the kubelet asks the API server who may do what".into(),
        "cgroupDriver" => "kboot takes it from the host: systemd on cgroup v2, cgroupfs on v1".into(),
        "clusterDNS" => Advice::from("it is the tenth address of ").field(Field::ServiceSubnet),
        "clusterDomain" => Advice::from("set ").field(Field::DnsDomain),
        "containerRuntimeEndpoint" => "it is containerd's socket".into(),
        "failCgroupV1" => "kboot takes it from the host's cgroup version".into(),
        "healthzBindAddress" | "healthzPort" => "kboot watches the kubelet there".into(),
        "podCIDR" => Advice::from("nodes take theirs from ").field(Field::PodSubnet),
        "port" => "the API server's certificates and firewalls count on 10250".into(),
        "registerWithTaints" => Advice::from("set ").field(Field::HostTaints),
        "rotateCertificates" => "kboot has the kubelet renew its client certificate".into(),
        "staticPodPath" => "it is /etc/kubernetes/manifests".into(),
        _ => return None,
    })
}

/// The fields of kubelet.config.k8s.io/v1beta1 in Kubernetes 1.37. They serve for "did you mean" only: a name that is
/// near none of them may be another minor's. The kubelet itself only logs what it does not know.
pub const FIELDS: [&str; 126] = [
    "address",
    "allowedUnsafeSysctls",
    "authentication",
    "authorization",
    "cgroupDriver",
    "cgroupRoot",
    "cgroupsPerQOS",
    "clusterDNS",
    "clusterDomain",
    "configMapAndSecretChangeDetectionStrategy",
    "containerLogMaxFiles",
    "containerLogMaxSize",
    "containerLogMaxWorkers",
    "containerLogMonitorInterval",
    "containerRuntimeEndpoint",
    "contentType",
    "cpuCFSQuota",
    "cpuCFSQuotaPeriod",
    "cpuManagerPolicy",
    "cpuManagerPolicyOptions",
    "cpuManagerReconcilePeriod",
    "crashLoopBackOff",
    "defaultPodSysctls",
    "enableContentionProfiling",
    "enableControllerAttachDetach",
    "enableDebugFlagsHandler",
    "enableDebuggingHandlers",
    "enableProfilingHandler",
    "enableServer",
    "enableSystemLogHandler",
    "enableSystemLogQuery",
    "enforceNodeAllocatable",
    "eventBurst",
    "eventRecordQPS",
    "evictionHard",
    "evictionMaxPodGracePeriod",
    "evictionMinimumReclaim",
    "evictionPressureTransitionPeriod",
    "evictionSoft",
    "evictionSoftGracePeriod",
    "failCgroupV1",
    "failSwapOn",
    "featureGates",
    "fileCheckFrequency",
    "hairpinMode",
    "healthzBindAddress",
    "healthzPort",
    "httpCheckFrequency",
    "imageGCHighThresholdPercent",
    "imageGCLowThresholdPercent",
    "imageMaximumGCAge",
    "imageMinimumGCAge",
    "imagePullCredentialsVerificationPolicy",
    "imageServiceEndpoint",
    "iptablesDropBit",
    "iptablesMasqueradeBit",
    "kernelMemcgNotification",
    "kubeAPIBurst",
    "kubeAPIQPS",
    "kubeReserved",
    "kubeReservedCgroup",
    "kubeletCgroups",
    "localStorageCapacityIsolation",
    "logging",
    "makeIPTablesUtilChains",
    "maxOpenFiles",
    "maxParallelImagePulls",
    "maxPods",
    "memoryManagerPolicy",
    "memoryReservationPolicy",
    "memorySwap",
    "memoryThrottlingFactor",
    "mergeDefaultEvictionSettings",
    "nodeLeaseDurationSeconds",
    "nodeStatusMaxImages",
    "nodeStatusReportFrequency",
    "nodeStatusUpdateFrequency",
    "oomScoreAdj",
    "podCIDR",
    "podLogsDir",
    "podPidsLimit",
    "podsPerCore",
    "port",
    "preloadedImagesVerificationAllowlist",
    "protectKernelDefaults",
    "providerID",
    "qosReserved",
    "readOnlyPort",
    "registerNode",
    "registerWithTaints",
    "registryBurst",
    "registryPullQPS",
    "reservedMemory",
    "reservedSystemCPUs",
    "resolvConf",
    "rotateCertificates",
    "runOnce",
    "runtimeRequestTimeout",
    "seccompDefault",
    "serializeImagePulls",
    "serverTLSBootstrap",
    "showHiddenMetricsForVersion",
    "shutdownGracePeriod",
    "shutdownGracePeriodByPodPriority",
    "shutdownGracePeriodCriticalPods",
    "singleProcessOOMKill",
    "staticPodPath",
    "staticPodURL",
    "staticPodURLHeader",
    "streamingConnectionIdleTimeout",
    "syncFrequency",
    "systemCgroups",
    "systemReserved",
    "systemReservedCgroup",
    "tlsCertFile",
    "tlsCipherSuites",
    "tlsCurvePreferences",
    "tlsMinVersion",
    "tlsPrivateKeyFile",
    "topologyManagerPolicy",
    "topologyManagerPolicyOptions",
    "topologyManagerScope",
    "tracing",
    "userNamespaces",
    "volumePluginDir",
    "volumeStatsAggPeriod",
];

/// Flags that kboot sets, and what to set instead.
fn owned_flag(flag: &str) -> Option<Advice> {
    Some(match flag {
        "bootstrap-kubeconfig" => "kboot writes the file and removes it once the node has joined".into(),
        "config" | "config-dir" => Advice::from("set fields in ").field(Field::KubeletConfig),
        "container-runtime-endpoint" => "it is containerd's socket".into(),
        "hostname-override" => Advice::from("set ").field(Field::HostName),
        "kubeconfig" => "it is /etc/kubernetes/kubelet.conf".into(),
        "pod-manifest-path" => "it is /etc/kubernetes/manifests".into(),
        "register-with-taints" => Advice::from("set ").field(Field::HostTaints),
        _ => return None,
    })
}

fn flags(cluster: &Cluster, findings: &mut Findings) {
    for (flag, value) in &cluster.kubelet.extra_args {
        let path = Path::of("kubelet.extraArgs").key(flag);
        if let Err(flaw) = super::settings::flag_name(flag) {
            findings.add(Mistake::new(path.clone(), flaw.message).maybe_hint(flaw.hint).about_key());
        }
        if let Some(why) = owned_flag(flag) {
            findings.add(Mistake::new(path, "is kboot's to set").hint(why).about_key());
        } else if value.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '\\' | '$'))
        {
            let hint = "systemd reads it from a file of flags, in which these part words or mean something else";
            findings.add(Mistake::new(path, "takes no spaces, quotes, backslashes or `$`").hint(hint));
        }
    }
}

pub fn check(cluster: &Cluster, findings: &mut Findings) {
    flags(cluster, findings);
    let config = Path::of("kubelet.config");
    for key in cluster.kubelet.config.keys() {
        let path = config.key(key);
        if let Some(why) = owned(key) {
            findings.add(Mistake::new(path, "is kboot's to set").hint(why).about_key());
        } else if !FIELDS.contains(&key.as_str())
            && let Some(field) = words::nearest(key, &FIELDS)
        {
            let message = "is no field of KubeletConfiguration";
            findings.add(Mistake::new(path, message).hint(format!("did you mean {}?", quote(field))).about_key());
        }
    }
}
