//! The fields of KubeletConfiguration that a configuration may set: of the kubelet that this release carries
//! (k8s.io/kubelet v0.37, config/v1beta1). It does not start with a field that it does not know.

use serde_json::{Value, json};

use crate::tree::Content;

/// What a field holds, as far as it is judged here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Bool,
    Number,
    /// Such as "1m30s".
    Duration,
    Text,
    List,
    Map,
}

impl Shape {
    pub(crate) fn fits(self, content: &Content) -> bool {
        match (self, content) {
            (Self::Bool, Content::Bool(_))
            | (Self::Number, Content::Number(_))
            | (Self::Text, Content::Text(_))
            | (Self::List, Content::List(_))
            | (Self::Map, Content::Map(_)) => true,
            (Self::Duration, Content::Text(text)) => is_duration(text),
            _ => false,
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Duration => "a duration such as 90s or 1h30m",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Map => "a mapping",
        }
    }

    /// As JSON Schema says it.
    pub(crate) fn schema(self) -> Value {
        match self {
            Self::Bool => json!({"type": "boolean"}),
            Self::Number => json!({"type": "number"}),
            Self::Duration => {
                json!({"type": "string", "pattern": "^(0|([0-9]+\\.?[0-9]*|\\.[0-9]+)(ns|us|µs|ms|s|m|h))+$"})
            }
            Self::Text => json!({"type": "string"}),
            Self::List => json!({"type": "array"}),
            Self::Map => json!({"type": "object"}),
        }
    }
}

const FIELDS: &[(Shape, &[&str])] = &[
    (
        Shape::Bool,
        &[
            "cpuCFSQuota",
            "enableControllerAttachDetach",
            "kernelMemcgNotification",
            "localStorageCapacityIsolation",
            "mergeDefaultEvictionSettings",
            "serializeImagePulls",
            "singleProcessOOMKill",
        ],
    ),
    (
        Shape::Text,
        &[
            "clusterDomain",
            "configMapAndSecretChangeDetectionStrategy",
            "containerLogMaxSize",
            "contentType",
            "cpuManagerPolicy",
            "imagePullCredentialsVerificationPolicy",
            "memoryManagerPolicy",
            "memoryReservationPolicy",
            "reservedSystemCPUs",
            "showHiddenMetricsForVersion",
            "topologyManagerPolicy",
            "topologyManagerScope",
        ],
    ),
    (
        Shape::Duration,
        &[
            "containerLogMonitorInterval",
            "cpuCFSQuotaPeriod",
            "cpuManagerReconcilePeriod",
            "evictionPressureTransitionPeriod",
            "fileCheckFrequency",
            "httpCheckFrequency",
            "imageMaximumGCAge",
            "imageMinimumGCAge",
            "nodeStatusReportFrequency",
            "nodeStatusUpdateFrequency",
            "runtimeRequestTimeout",
            "shutdownGracePeriod",
            "shutdownGracePeriodCriticalPods",
            "streamingConnectionIdleTimeout",
            "syncFrequency",
            "volumeStatsAggPeriod",
        ],
    ),
    (
        Shape::Map,
        &[
            "cpuManagerPolicyOptions",
            "crashLoopBackOff",
            "defaultPodSysctls",
            "evictionHard",
            "evictionMinimumReclaim",
            "evictionSoft",
            "evictionSoftGracePeriod",
            "featureGates",
            "kubeReserved",
            "logging",
            "memorySwap",
            "qosReserved",
            "systemReserved",
            "topologyManagerPolicyOptions",
            "tracing",
            "userNamespaces",
        ],
    ),
    (
        Shape::Number,
        &[
            "containerLogMaxFiles",
            "containerLogMaxWorkers",
            "eventBurst",
            "eventRecordQPS",
            "evictionMaxPodGracePeriod",
            "imageGCHighThresholdPercent",
            "imageGCLowThresholdPercent",
            "kubeAPIBurst",
            "kubeAPIQPS",
            "maxOpenFiles",
            "maxParallelImagePulls",
            "maxPods",
            "memoryThrottlingFactor",
            "nodeLeaseDurationSeconds",
            "nodeStatusMaxImages",
            "oomScoreAdj",
            "podPidsLimit",
            "podsPerCore",
            "registryBurst",
            "registryPullQPS",
        ],
    ),
    (
        Shape::List,
        &[
            "allowedUnsafeSysctls",
            "clusterDNS",
            "preloadedImagesVerificationAllowlist",
            "reservedMemory",
            "shutdownGracePeriodByPodPriority",
        ],
    ),
];

pub(crate) fn field(name: &str) -> Option<Shape> {
    FIELDS.iter().find(|(_, names)| names.contains(&name)).map(|(shape, _)| *shape)
}

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().flat_map(|(_, names)| names.iter().copied())
}

/// Go's `time.ParseDuration`, without signs: numbers, each with a unit.
fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 7] = ["ns", "us", "µs", "ms", "s", "m", "h"];
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        if digits.parse::<f64>().is_err() || !UNITS.contains(&unit) {
            return text == "0";
        }
        rest = after;
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denied;

    #[test]
    fn durations_are_those_of_go() {
        assert!(["0", "0s", "1m30s", "1.5h", "300ms"].into_iter().all(is_duration));
        assert!(["", "10", "s", "1d", "-1s", "1m 30s", "..s"].into_iter().all(|bad| !is_duration(bad)));
    }

    #[test]
    fn no_field_is_both_allowed_and_refused() {
        assert_eq!(names().find(|name| denied::kubelet_field(name).is_some()), None);
    }
}
