//! What can go wrong with the network.

use std::io;

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
        /// "links", "addresses" or "routes".
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
        /// As netlink says.
        #[source]
        source: rtnetlink::Error,
    },
    /// A sysctl that cannot be written.
    #[error("cannot set {path}")]
    Sysctl {
        /// File under /proc/sys.
        path: String,
        /// As the kernel says.
        #[source]
        source: io::Error,
    },
}
