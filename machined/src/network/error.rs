//! What can go wrong with the network.

use std::io;

use nix::errno::Errno;

/// A failure, by operation.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The netlink socket for changes.
    #[error("cannot listen for changes of links")]
    Monitor(#[source] io::Error),
    /// The netlink socket for requests.
    #[error("cannot open a route netlink socket")]
    Connect(#[source] io::Error),
    /// Listing links, addresses or routes.
    #[error("cannot list {what}")]
    List {
        /// "links", "addresses", "routes" or "neighbours".
        what: &'static str,
        /// As netlink says.
        #[source]
        source: rtnetlink::Error,
    },
    /// A listing that takes longer than any kernel needs: its answer was lost.
    #[error("the kernel does not list links")]
    ListTimeout,
    /// A change that the kernel refuses.
    #[error("cannot {operation}")]
    Change {
        /// What was to be done.
        operation: String,
        /// Why not.
        #[source]
        source: ChangeError,
    },
}

/// Why a change is not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The kernel refuses it.
    #[error(transparent)]
    Refused(#[from] rtnetlink::Error),
    /// A link that it needs is not there.
    #[error("there is no link {link}")]
    NoLink {
        /// Its name.
        link: String,
        /// As the kernel says.
        #[source]
        source: Errno,
    },
    /// A sysctl that cannot be written.
    #[error("cannot write {path}")]
    Sysctl {
        /// File under /proc/sys.
        path: String,
        /// As the kernel says.
        #[source]
        source: io::Error,
    },
}

impl ChangeError {
    /// Whether the kernel gave one of these reasons.
    pub fn says(&self, reasons: &[Errno]) -> bool {
        match self {
            Self::Refused(rtnetlink::Error::NetlinkError(message)) => {
                reasons.iter().any(|reason| message.raw_code() == -(*reason as i32))
            }
            Self::NoLink { source, .. } => reasons.contains(source),
            Self::Refused(_) | Self::Sysctl { .. } => false,
        }
    }
}
