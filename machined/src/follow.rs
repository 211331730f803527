//! How controllers follow the configuration, and how the executor of a change learns that they have.

use std::{collections::BTreeMap, sync::Arc};

use config::NodeConfig;
use tokio::sync::watch;

/// What each follower obeys; nothing for one that has not obeyed any configuration yet.
type Obeyed = BTreeMap<&'static str, Option<Arc<NodeConfig>>>;

/// Which configuration the followers obey.
#[derive(Clone, Default)]
pub struct Settled(Arc<watch::Sender<Obeyed>>);

impl Settled {
    /// Waits until every follower obeys this configuration, or has said why it does not.
    pub async fn on(&self, config: &Arc<NodeConfig>) {
        let mut obeyed = self.0.subscribe();
        // The sender is `self.0`.
        obeyed.wait_for(|obeyed| behind(obeyed, config).next().is_none()).await.ok();
    }

    /// The followers that do not obey this configuration yet.
    pub fn behind(&self, config: &Arc<NodeConfig>) -> Vec<&'static str> {
        behind(&self.0.borrow(), config).collect()
    }
}

fn behind<'a>(obeyed: &'a Obeyed, config: &'a Arc<NodeConfig>) -> impl Iterator<Item = &'static str> + 'a {
    let is_other = |has: &Option<Arc<NodeConfig>>| !has.as_ref().is_some_and(|has| Arc::ptr_eq(has, config));
    obeyed.iter().filter(move |(_, has)| is_other(has)).map(|(name, _)| *name)
}

/// A controller's view of the configuration.
pub struct Follower {
    name: &'static str,
    config: watch::Receiver<Arc<NodeConfig>>,
    settled: Settled,
}

impl Follower {
    /// A follower under a name of its own.
    pub fn new(name: &'static str, config: watch::Receiver<Arc<NodeConfig>>, settled: Settled) -> Self {
        settled.0.send_modify(|obeyed| drop(obeyed.insert(name, None)));
        Self { name, config, settled }
    }

    /// The configuration to obey now.
    pub fn current(&mut self) -> Arc<NodeConfig> {
        Arc::clone(&self.config.borrow_and_update())
    }

    /// Waits for another configuration than that which [`Follower::current`] returned last. Safe to cancel.
    pub async fn changed(&mut self) {
        if self.config.changed().await.is_err() {
            // The sender ends only with the process.
            std::future::pending::<()>().await;
        }
    }

    /// Says that this configuration is obeyed, or that the controller's condition tells why not. To be said after the
    /// condition is set and what restarted services read is written.
    pub fn settle(&self, config: &Arc<NodeConfig>) {
        self.settled.0.send_if_modified(|obeyed| {
            let former = obeyed.insert(self.name, Some(Arc::clone(config))).flatten();
            !former.is_some_and(|former| Arc::ptr_eq(&former, config))
        });
    }
}

impl Drop for Follower {
    /// Nobody waits for a controller that ended.
    fn drop(&mut self) {
        self.settled.0.send_modify(|obeyed| drop(obeyed.remove(self.name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_settled_once_every_follower_says_so() {
        let sender = watch::Sender::new(Arc::new(NodeConfig::default()));
        let settled = Settled::default();
        let mut first = Follower::new("first", sender.subscribe(), settled.clone());
        let second = Follower::new("second", sender.subscribe(), settled.clone());
        let old = first.current();
        first.settle(&old);
        second.settle(&old);
        settled.on(&old).await;

        let new = Arc::new(NodeConfig::default());
        sender.send_replace(Arc::clone(&new));
        first.changed().await;
        assert_eq!(settled.behind(&new), ["first", "second"], "equal content is not the same change");
        first.settle(&new);
        assert_eq!(settled.behind(&new), ["second"]);
        drop(second);
        settled.on(&new).await;
    }
}
