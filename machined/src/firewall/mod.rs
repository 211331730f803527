//! The firewall: the kernel has the table that the configuration says, from before links come up, and no other table is
//! touched. What it counts is published.
//!
//! `crates/firewall` makes the table, `nft.rs` hands it over whole, `judge.rs` says how it stands. A table that is as it
//! should be is left alone, so that counters outlive this process; one that vanished or was changed is put back. Start
//! reading at [`Firewall::step`].

mod judge;
pub mod nft;

#[cfg(test)]
mod namespace_tests;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ::firewall::{Ruleset, Surroundings, Table, ruleset};
use config::{Interface, NodeConfig, POD_SUBNET};
use netplan::Prefix;
use resource::{Spec as _, spec::Link};
use tokio::time::sleep;

use self::nft::NftError;
use crate::{
    context::Context, error_chain::error_chain, files, follow::Follower, health::Health,
    kubernetes::POD_BRIDGE, store::Store,
};

const CONDITION: &str = "firewall";
/// Between looks at the table and its counters: each is a run of nft.
const LOOK: Duration = Duration::from_secs(30);
/// After a failure.
const RETRY: Duration = Duration::from_secs(10);
/// Below /run: there is, or may be, a table of this boot's. Without it none is looked for.
const NOTE: &str = "firewall";

/// Why the kernel does not have the table.
#[derive(Debug, thiserror::Error)]
enum FirewallError {
    /// nft.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// What was handed over is not what is there.
    #[error("somebody else changes the table inet cairn")]
    Other,
    /// The note.
    #[error("cannot write {}", path.display())]
    Note {
        /// Which file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// The controller.
pub struct Firewall {
    store: Store,
    health: Health,
    follower: Follower,
    note: PathBuf,
    config: Arc<NodeConfig>,
    links: Links,
    failed: bool,
}

/// The kernel's names of links that the firewall names and a selector finds, as far as they are there.
type Links = BTreeMap<String, Option<String>>;

impl Firewall {
    /// That of this node.
    pub fn of_node(context: &Context) -> Self {
        let note = Path::new(layout::path::RUN).join(NOTE);
        Self::new(context.store.clone(), context.health.clone(), context.follower("firewall"), note)
    }

    fn new(store: Store, health: Health, mut follower: Follower, note: PathBuf) -> Self {
        let config = follower.current();
        Self { store, health, follower, note, config, links: Links::new(), failed: false }
    }

    /// Runs for ever. The first step is the caller's, before links come up.
    pub async fn run(mut self) {
        loop {
            self.wait().await;
            self.step().await;
        }
    }

    /// Brings the kernel to what the configuration says, and tells how it stands. Ends within three times nft's patience.
    pub async fn step(&mut self) {
        self.config = self.follower.current();
        self.links = links(&self.config, &self.store);
        let obeyed = match self.wanted() {
            Some(ruleset) => self.hold(&ruleset).await.map(Some),
            None => self.leave().await.map(|()| None),
        };
        self.failed = obeyed.is_err();
        if let Ok(table) = &obeyed {
            let counters = table.as_ref().map(|table| &table.counters);
            let firewall = self.config.firewall.as_ref().zip(counters);
            self.store.replace_all(
                firewall.map(|(firewall, counters)| judge::resources(firewall, counters)).unwrap_or_default(),
            );
        }
        let failure = obeyed.as_ref().err().map(|error| error_chain(error));
        let (status, reason, message) = judge::condition(self.config.firewall.is_some(), failure.as_deref());
        self.health.set(CONDITION, status, reason, message);
        self.follower.settle(&self.config);
    }

    fn wanted(&self) -> Option<Ruleset> {
        let pods = (POD_BRIDGE, pod_network(&self.config));
        let surroundings = Surroundings { pods, links: &self.links };
        self.config.firewall.as_ref().map(|firewall| ruleset(firewall, &surroundings))
    }

    /// The table is there, and what it has counted. One that is right keeps its counters.
    async fn hold(&self, wanted: &Ruleset) -> Result<Table, FirewallError> {
        // Without a table nft fails as with any other trouble; handing the table over tells them apart.
        if let Ok(table) = nft::list().await
            && table.is(wanted)
        {
            return Ok(table);
        }
        // Noted before it is made: should machined end in between, its next life takes it away.
        self.noted(|path| files::replace(path, b"", 0o600))?;
        nft::apply(&wanted.to_string()).await?;
        let table = nft::list().await?;
        if table.is(wanted) { Ok(table) } else { Err(FirewallError::Other) }
    }

    /// There is no table.
    async fn leave(&self) -> Result<(), FirewallError> {
        if !self.note.exists() {
            return Ok(());
        }
        nft::apply(&::firewall::removal()).await?;
        self.noted(|path| fs::remove_file(path))
    }

    fn noted(&self, work: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), FirewallError> {
        work(&self.note).map_err(|source| FirewallError::Note { path: self.note.clone(), source })
    }

    /// Waits until there may be something to do.
    async fn wait(&mut self) {
        let pause = match &self.config.firewall {
            _ if self.failed => Some(RETRY),
            Some(_) => Some(LOOK),
            None => None,
        };
        let pause = async {
            match pause {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.follower.changed() => {}
            () = links_change(&self.config, &self.store, &self.links) => {}
            () = pause => {}
        }
    }
}

/// Documents with a selector that the firewall names: the kernel's name is another than theirs.
fn selected<'a>(config: &'a NodeConfig) -> impl Iterator<Item = &'a Interface> {
    let firewall = config.firewall.as_ref();
    let sources = firewall
        .into_iter()
        .flat_map(|firewall| firewall.api.iter().chain(firewall.allow.iter().map(|rule| &rule.source)));
    let named: Vec<&'a str> =
        sources.flat_map(|source| source.interfaces.iter().map(String::as_str)).collect();
    let selected = config.interfaces.iter().filter(|interface| interface.selector.is_some());
    selected.filter(move |interface| named.contains(&interface.name.as_str()))
}

/// As the network controller has published them.
fn links(config: &NodeConfig, store: &Store) -> Links {
    let kernel_name = |interface: &Interface| {
        let document = format!("{}/{}", interface.kind(), interface.name);
        store.read(|store| {
            let mut links = store.list(const { &Link::KIND });
            let found = links.find(|link| link.spec.get("document") == Some(&document.as_str().into()));
            found.map(|link| link.id.clone())
        })
    };
    selected(config).map(|interface| (interface.name.clone(), kernel_name(interface))).collect()
}

async fn links_change(config: &NodeConfig, store: &Store, known: &Links) {
    if known.is_empty() {
        return std::future::pending().await;
    }
    let mut changes = store.subscribe();
    while links(config, store) == *known {
        if changes.changed().await.is_err() {
            // The sender ends only with the process.
            return std::future::pending().await;
        }
    }
}

/// Where the node's own pods send from. What a member gets of its cluster's network it learns only while it runs.
fn pod_network(config: &NodeConfig) -> Prefix {
    match (&config.control_plane, &config.cluster) {
        (Some(plane), _) => plane.pod_subnet,
        (None, Some(_)) => Prefix::everything(POD_SUBNET.address),
        (None, None) => POD_SUBNET.prefix(),
    }
}

#[cfg(test)]
mod tests {
    use ::firewall::{Protocol, Rule, Source};
    use netplan::Selector;

    use super::*;

    #[tokio::test]
    async fn a_link_goes_by_the_name_that_its_document_found() {
        let source = Source { interfaces: vec!["trunk".into(), "eth0".into()], ..Source::default() };
        let rule = Rule { name: "ping".into(), protocol: Protocol::Icmp, ports: vec![], source };
        let interface =
            |name: &str, selector| Interface { name: name.into(), selector, ..Interface::default() };
        let selector = Some(Selector { driver: Some("igc".into()), ..Selector::default() });
        let config = NodeConfig {
            firewall: Some(::firewall::Firewall { allow: vec![rule], ..::firewall::Firewall::default() }),
            interfaces: vec![
                interface("trunk", selector.clone()),
                interface("eth0", None),
                interface("unnamed", selector),
            ],
            ..NodeConfig::default()
        };
        let store = Store::default();
        let before = links(&config, &store);
        assert_eq!(before, [("trunk".to_owned(), None)].into());
        store.put("enp2s0", &Link { document: "Interface/trunk".into(), ..Link::default() });
        links_change(&config, &store, &before).await;
        assert_eq!(links(&config, &store), [("trunk".to_owned(), Some("enp2s0".to_owned()))].into());
        assert_eq!(links(&NodeConfig { firewall: None, ..config }, &store), Links::new());
    }
}
