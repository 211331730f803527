//! The API of a node: packages `cairn.<area>.v1` and the code generated from them.
//!
//! Holds definitions only: no transport, no policy. The role that each method asks for is in `apid`.
//! Start reading in `cairn/resource/v1/resource.proto`.

#![allow(missing_docs, clippy::all)]

mod redacted;
#[cfg(feature = "pki")]
mod signed;

/// The compiled `FileDescriptorSet`, for reflection and for tests that enumerate all methods.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub mod cluster {
    pub mod v1 {
        tonic::include_proto!("cairn.cluster.v1");
    }
}
pub mod config {
    pub mod v1 {
        tonic::include_proto!("cairn.config.v1");
    }
}
pub mod identity {
    pub mod v1 {
        tonic::include_proto!("cairn.identity.v1");
    }
}
pub mod inspect {
    pub mod v1 {
        tonic::include_proto!("cairn.inspect.v1");
    }
}
pub mod log {
    pub mod v1 {
        tonic::include_proto!("cairn.log.v1");
    }
}
pub mod machine {
    pub mod v1 {
        tonic::include_proto!("cairn.machine.v1");
    }
}
pub mod maintenance {
    pub mod v1 {
        tonic::include_proto!("cairn.maintenance.v1");
    }
}
pub mod resource {
    pub mod v1 {
        tonic::include_proto!("cairn.resource.v1");
    }
}
pub mod service {
    pub mod v1 {
        tonic::include_proto!("cairn.service.v1");
    }
}
pub mod update {
    pub mod v1 {
        tonic::include_proto!("cairn.update.v1");
    }
}
