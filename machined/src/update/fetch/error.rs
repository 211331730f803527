//! Why a slot is not filled.

use std::io;

use update::Failure;
use verity::LeavesError;

use crate::update::source::{PathError, SourceError};

/// Why a slot is not filled.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The manifest names a file that no repository has.
    #[error("the manifest names an impossible file")]
    Path(#[source] PathError),
    /// There is nobody to ask.
    #[error("the source has no mirror")]
    NoMirror,
    /// A file, or a part of it, does not come.
    #[error("{mirror} does not give {path}")]
    Unavailable {
        /// Who was asked last.
        mirror: String,
        /// For what.
        path: String,
        /// Cause.
        #[source]
        source: SourceError,
    },
    /// A file of leaves is not one.
    #[error("{path} from {mirror} is of no use")]
    Leaves {
        /// Who sent it.
        mirror: String,
        /// Which.
        path: String,
        /// Cause.
        #[source]
        source: LeavesError,
    },
    /// Leaves that do not lead to the signed root hash.
    #[error("{path} from {mirror} is not what the manifest says")]
    WrongLeaves {
        /// Who sent it.
        mirror: String,
        /// Which.
        path: String,
    },
    /// A block that does not have the signed hash.
    #[error("block {block} of {path} from {mirror} is not what the manifest says")]
    WrongBlock {
        /// Who sent it.
        mirror: String,
        /// Of which file.
        path: String,
        /// Which block.
        block: u64,
    },
    /// A partition of the slot takes no writes.
    #[error("cannot write {partition} of the slot")]
    Write {
        /// Which.
        partition: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl FetchError {
    /// Whether it is the mirror's fault that something else came than what is signed.
    pub fn is_wrong_content(&self) -> bool {
        match self {
            Self::Leaves { .. } | Self::WrongLeaves { .. } | Self::WrongBlock { .. } => true,
            Self::Unavailable { .. } | Self::NoMirror | Self::Path(_) | Self::Write { .. } => false,
        }
    }

    /// Whether another mirror, or the same one a moment later, may do better.
    pub fn is_of_mirror(&self) -> bool {
        match self {
            Self::Unavailable { source, .. } => !matches!(source, SourceError::Gone),
            other => other.is_wrong_content(),
        }
    }

    /// Whether to try again.
    pub fn failure(&self, progressed: bool) -> Failure {
        match self {
            Self::Unavailable { source: SourceError::NotFound(_), .. } => Failure::Final,
            Self::Unavailable { .. } if progressed => Failure::Progressed,
            Self::Unavailable { .. } => Failure::Passing,
            Self::Leaves { .. }
            | Self::WrongLeaves { .. }
            | Self::WrongBlock { .. }
            | Self::NoMirror
            | Self::Path(_)
            | Self::Write { .. } => Failure::Final,
        }
    }
}
