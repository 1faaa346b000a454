//! Settings of the kubelet: fields that are kboot's to set, and names that are nearly a field's.

use super::Findings;
use crate::inventory::mistake::{Mistake, quote};
use crate::inventory::path::Path;
use crate::inventory::types::Cluster;
use crate::inventory::words;

/// Fields of KubeletConfiguration that kboot sets, and where the user's say is instead. The rest of kboot relies on each:
/// certificates and webhooks make the kubelet trust the API server and nobody else, the health port is how kboot watches
/// the kubelet come up, and what depends on the host is decided from its facts.
const OWNED: [(&str, &str); 16] = [
    ("apiVersion", "it is always `kubelet.config.k8s.io/v1beta1`"),
    ("kind", "it is always `KubeletConfiguration`"),
    ("authentication", "the kubelet trusts the cluster's CA and its API server only"),
    ("authorization", "the kubelet asks the API server who may do what"),
    ("cgroupDriver", "kboot takes it from the host: systemd on cgroup v2, cgroupfs on v1"),
    ("clusterDNS", "it is the tenth address of `network.serviceSubnet`"),
    ("clusterDomain", "set `network.dnsDomain`"),
    ("containerRuntimeEndpoint", "it is containerd's socket"),
    ("failCgroupV1", "kboot takes it from the host's cgroup version"),
    ("healthzBindAddress", "kboot watches the kubelet there"),
    ("healthzPort", "kboot watches the kubelet there"),
    ("podCIDR", "nodes take theirs from `network.podSubnet`"),
    ("port", "the API server's certificates and firewalls count on 10250"),
    ("registerWithTaints", "set a host's `taints`"),
    ("rotateCertificates", "kboot has the kubelet renew its client certificate"),
    ("staticPodPath", "it is /etc/kubernetes/manifests"),
];

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

/// Flags that kboot sets, and where the user's say is instead.
const OWNED_FLAGS: [(&str, &str); 8] = [
    ("bootstrap-kubeconfig", "kboot writes the file and removes it once the node has joined"),
    ("config", "set fields in `kubelet.config`"),
    ("config-dir", "set fields in `kubelet.config`"),
    ("container-runtime-endpoint", "it is containerd's socket"),
    ("hostname-override", "the node's name is the host's `name`"),
    ("kubeconfig", "it is /etc/kubernetes/kubelet.conf"),
    ("pod-manifest-path", "it is /etc/kubernetes/manifests"),
    ("register-with-taints", "set the host's `taints`"),
];

fn flags(cluster: &Cluster, findings: &mut Findings) {
    for (flag, value) in &cluster.kubelet.extra_args {
        let path = Path::of("kubelet.extraArgs").key(flag);
        if let Err(flaw) = super::settings::flag_name(flag) {
            findings.add(Mistake::new(path.clone(), flaw.message).maybe_hint(flaw.hint).about_key());
        }
        if let Some((_, why)) = OWNED_FLAGS.iter().find(|(owned, _)| owned == flag) {
            findings.add(Mistake::new(path, "is kboot's to set").hint(*why).about_key());
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
        if let Some((_, why)) = OWNED.iter().find(|(owned, _)| owned == key) {
            findings.add(Mistake::new(path, "is kboot's to set").hint(*why).about_key());
        } else if !FIELDS.contains(&key.as_str())
            && let Some(field) = words::nearest(key, &FIELDS)
        {
            let message = "is no field of KubeletConfiguration";
            findings.add(Mistake::new(path, message).hint(format!("did you mean {}?", quote(field))).about_key());
        }
    }
}
