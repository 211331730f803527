//! Taking leave of the pods before the node reboots into another release.

/// What is to be done before, by who knows the cluster.
pub trait Drain: Send + Sync + 'static {
    /// Returns when the pods may go.
    fn drain(&self) -> impl Future<Output = ()> + Send;
}
