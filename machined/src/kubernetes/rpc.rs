//! Generated clients of containerd, the CRI and the kubelet. The definitions are in `proto-external/`.

// Generated code: its style and what of it is used are the generators' matter.
#![allow(missing_docs, dead_code, clippy::all)]

pub mod content {
    tonic::include_proto!("containerd.services.content.v1");
}
pub mod images {
    tonic::include_proto!("containerd.services.images.v1");
}
pub mod leases {
    tonic::include_proto!("containerd.services.leases.v1");
}
pub mod cri {
    tonic::include_proto!("runtime.v1");
}
pub mod pods {
    tonic::include_proto!("v1alpha1");
}
pub mod core {
    tonic::include_proto!("k8s.core.v1");
}
