//! The loop: observe, plan, execute, publish; then sleep until something happens.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use config::NodeConfig;
use netplan::{Desired, Device, Link, Observed, Operation, Plan, Prefix, plan};
use tokio::time::sleep;

use super::Environment;
use super::condition::{self, View, judge};
use super::desired::primary;
use super::error::NetworkError;
use super::execute::execute;
use super::intent::{Fault, Intent, Source, candidates, intent};
use super::lease_store::LeaseStore;
use super::monitor::Monitor;
use super::mtu_store::MtuStore;
use super::netlink::Netlink;
use super::publish::{View as Published, publish, publish_neighbours};
use super::resolv;
use super::seen::KernelRoute;
use super::uplink::boottime_ms;
use super::uplinks::Uplinks;
use crate::health::Status;

/// Links negotiate for up to this long after the start before their silence is a fault.
const START_MS: u64 = 8_000;
/// Looks in a row until nothing is left to do: two rounds of changes at most (crates/netplan), and a look at the outcome.
const LOOKS_MAX: usize = 3;
/// Between listings of neighbours: on a busy link something happens to one of them all the time.
const NEIGHBOURS_PACE_MS: u64 = 2_000;
/// First and longest wait after something failed.
const RETRY_FIRST_MS: u64 = 1_000;
const RETRY_LAST_MS: u64 = 64_000;

/// The network controller.
pub struct Controller {
    environment: Environment,
    config: Arc<NodeConfig>,
    uplinks: Uplinks,
    mtus: MtuStore,
    /// Content of resolv.conf; `None` until it is written.
    resolv: Option<String>,
    /// The kernel's state or what it should be changed.
    dirty: bool,
    /// What an earlier run of this process configured has not been looked at.
    first_look: bool,
    retry: Retry,
    /// While links may still negotiate: until when.
    starting_until_ms: Option<u64>,
    /// When neighbours are listed again, once something happened to them.
    neighbours_at_ms: Option<u64>,
    observed: Observed,
    seen: Seen,
}

/// What the judgement needs of the last look.
#[derive(Default)]
struct Seen {
    fixed: Vec<condition::Link>,
    faults: Vec<Fault>,
    candidates: Vec<String>,
}

/// How changes went.
struct Outcome {
    /// No address is missing.
    addressed: bool,
    /// What failed first.
    failure: Option<NetworkError>,
}

impl Outcome {
    const fn fine() -> Self {
        Self { addressed: true, failure: None }
    }
}

/// What ended the sleep.
enum Wake {
    Changed(io::Result<()>),
    NeighbourChanged(io::Result<()>),
    Reply(u32, io::Result<Vec<u8>>),
    Timer,
    Configured,
}

impl Controller {
    /// A controller; must be made inside of the runtime.
    pub fn new(mut environment: Environment) -> Self {
        Self {
            config: environment.config.current(),
            uplinks: Uplinks::new(LeaseStore::new(environment.leases.clone())),
            mtus: MtuStore::load(environment.mtus.clone()),
            resolv: std::fs::read_to_string(&environment.resolv_conf).ok(),
            environment,
            dirty: true,
            first_look: true,
            retry: Retry::default(),
            starting_until_ms: Some(boottime_ms().saturating_add(START_MS)),
            neighbours_at_ms: Some(boottime_ms()),
            observed: Observed::default(),
            seen: Seen::default(),
        }
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        if self.resolv.is_none() {
            self.write_resolv_conf();
        }
        let mut wait = Retry::default();
        loop {
            match self.serve(&mut wait).await {
                Ok(never) => match never {},
                Err(error) => wait.failed(&error),
            }
            sleep(Duration::from_millis(wait.left_ms().unwrap_or(RETRY_FIRST_MS))).await;
        }
    }

    /// Ends only when netlink itself fails; then all is opened anew.
    async fn serve(&mut self, wait: &mut Retry) -> Result<Infallible, NetworkError> {
        // Before the first look: no change falls between.
        let monitor = Monitor::open().map_err(NetworkError::Monitor)?;
        let neighbours = Monitor::of_neighbours().map_err(NetworkError::Monitor)?;
        let netlink = Netlink::connect().map_err(NetworkError::Connect)?;
        self.dirty = true;
        loop {
            if self.dirty {
                self.reconcile(&netlink).await?;
                wait.succeeded();
            }
            self.report();
            self.environment.config.settle(&self.config);
            match self.sleep(&monitor, &neighbours).await {
                Wake::Changed(result) => {
                    result.map_err(NetworkError::Monitor)?;
                    self.dirty = true;
                }
                Wake::NeighbourChanged(result) => {
                    result.map_err(NetworkError::Monitor)?;
                    let next_ms = boottime_ms().saturating_add(NEIGHBOURS_PACE_MS);
                    self.neighbours_at_ms.get_or_insert(next_ms);
                }
                Wake::Reply(link, reply) => self.dirty |= self.uplinks.reply(link, reply),
                Wake::Timer => {
                    self.timer();
                    self.list_neighbours(&netlink).await?;
                }
                Wake::Configured => self.configure(),
            }
        }
    }

    async fn sleep(&mut self, monitor: &Monitor, neighbours: &Monitor) -> Wake {
        let own = [self.retry.at_ms, self.starting_until_ms, self.neighbours_at_ms];
        let deadlines = own.into_iter().chain([self.uplinks.timer_ms()]);
        let deadline_ms = deadlines.flatten().min();
        let timer = async {
            match deadline_ms {
                Some(at_ms) => sleep(Duration::from_millis(at_ms.saturating_sub(boottime_ms()))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = monitor.changed() => Wake::Changed(result),
            (link, reply) = self.uplinks.receive() => Wake::Reply(link, reply),
            () = timer => Wake::Timer,
            result = neighbours.changed(), if self.neighbours_at_ms.is_none() => Wake::NeighbourChanged(result),
            () = self.environment.config.changed() => Wake::Configured,
        }
    }

    /// Obeys another configuration. A client asks under one host name, so another name means another client; the lease
    /// is kept and confirmed under the new name.
    fn configure(&mut self) {
        let former = self.hostname();
        self.config = self.environment.config.current();
        if self.hostname() != former {
            self.uplinks.clear();
        }
        self.dirty = true;
    }

    fn hostname(&self) -> String {
        self.environment.node.hostname(&self.config)
    }

    fn timer(&mut self) {
        let now_ms = boottime_ms();
        self.starting_until_ms = self.starting_until_ms.filter(|until| now_ms < *until);
        if self.retry.at_ms.is_some_and(|at| now_ms >= at) {
            self.retry.at_ms = None;
            self.dirty = true;
        }
        self.dirty |= self.uplinks.timer();
    }

    async fn list_neighbours(&mut self, netlink: &Netlink) -> Result<(), NetworkError> {
        if self.neighbours_at_ms.take_if(|at| boottime_ms() >= *at).is_some() {
            publish_neighbours(&self.environment.store, &self.observed, &netlink.neighbours().await?);
        }
        Ok(())
    }

    /// Brings the kernel's state to what it should be, and publishes.
    async fn reconcile(&mut self, netlink: &Netlink) -> Result<(), NetworkError> {
        self.dirty = false;
        let config = Arc::clone(&self.config);
        let mut outcome = Outcome::fine();
        for number in 1..=LOOKS_MAX {
            let (mut observed, routes) = netlink.observe(&self.environment.sysfs).await?;
            self.mtus.complete(&mut observed.links);
            let intent = self.intent(&config, &observed);
            self.uplinks.follow(&intent, &self.hostname());
            self.write_resolv_conf();
            self.announce_time_servers();
            let desired = self.uplinks.desired(&intent);
            let planned = plan(&observed, &desired);
            if number < LOOKS_MAX && !planned.operations.is_empty() {
                outcome = self.carry_out(netlink, &observed, &planned.operations).await;
                continue;
            }
            // Whatever failed on the way.
            if planned.operations.is_empty() {
                outcome = Outcome::fine();
            }
            // What fails elsewhere must not hide an address that works.
            if outcome.addressed {
                let present = desired.iter().filter(|wanted| observed.link(&wanted.name).is_some());
                let networks = config.cluster.iter().flat_map(|cluster| cluster.node_subnets.clone());
                self.announce(&present.cloned().collect::<Vec<_>>(), &networks.collect::<Vec<_>>());
            }
            self.show(&intent, &observed, &routes, &desired);
            self.seen = look(&intent, &observed, &planned);
            self.observed = observed;
            break;
        }
        match outcome.failure {
            Some(error) => self.retry.failed(&error),
            None => self.retry.succeeded(),
        }
        Ok(())
    }

    fn show(&self, intent: &Intent<'_>, observed: &Observed, routes: &[KernelRoute], desired: &[Desired]) {
        let primary = *self.environment.address.borrow();
        publish(&self.environment.store, &Published { observed, routes, intent, desired, primary });
    }

    fn intent<'a>(&mut self, config: &'a NodeConfig, observed: &'a Observed) -> Intent<'a> {
        let first_look = std::mem::replace(&mut self.first_look, false);
        let current = self.uplinks.current(observed, first_look);
        let had_lease = |link: &Link| link.mac().is_some_and(|mac| self.uplinks.had_lease(mac));
        intent(&config.interfaces, observed, current, had_lease)
    }

    /// Makes changes.
    async fn carry_out(
        &mut self,
        netlink: &Netlink,
        observed: &Observed,
        operations: &[Operation],
    ) -> Outcome {
        let mut outcome = Outcome::fine();
        for operation in operations {
            if let Operation::SetMtu { link, .. } = operation {
                observed.link(link).into_iter().for_each(|link| self.mtus.about_to_change(link));
            }
            if let Err(error) = execute(netlink, &self.environment.sysfs, operation).await {
                // The others may still succeed; the first failure tells.
                outcome.addressed &= !matches!(operation, Operation::AddAddress { .. });
                outcome.failure.get_or_insert(error);
            }
        }
        outcome
    }

    /// The address stays published when a lease ends: whoever bound to it gains nothing from "none".
    fn announce(&self, desired: &[Desired], networks: &[Prefix]) {
        let Some(address) = primary(desired, networks) else { return };
        self.environment.address.send_if_modified(|known| known.replace(address) != Some(address));
    }

    /// Those of the first lease that names any; what was published stays while it is not known what should be.
    fn announce_time_servers(&self) {
        if self.uplinks.undecided() {
            return;
        }
        let named = self.uplinks.leases().find(|lease| !lease.ntp.is_empty());
        let servers = named.map(|lease| lease.ntp.clone()).unwrap_or_default();
        self.environment.time_servers.send_if_modified(|known| {
            let is_news = *known != servers;
            *known = servers;
            is_news
        });
    }

    /// What is in the file stays while it is not known what should be.
    fn write_resolv_conf(&mut self) {
        let resolver = self.config.resolver.as_ref();
        if resolver.is_none() && self.resolv.is_some() && self.uplinks.undecided() {
            return;
        }
        let text = resolv::render(resolver, self.uplinks.leases());
        if self.resolv.as_ref() == Some(&text) {
            return;
        }
        match resolv::write(&self.environment.resolv_conf, &text) {
            Ok(()) => self.resolv = Some(text),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "resolv.conf is not written");
                self.resolv = None;
            }
        }
    }

    fn report(&self) {
        let health = &self.environment.health;
        let Seen { fixed, faults, candidates } = &self.seen;
        let view = View {
            links: self.uplinks.views().map(condition::Link::Dhcp).chain(fixed.iter().cloned()).collect(),
            faults: faults.clone(),
            candidates: candidates.clone(),
            starting: self.starting_until_ms.is_some(),
            failure: self.retry.failure(),
        };
        let (status, reason, message) = judge(&view);
        health.set("network", status, reason, message);
        let (status, reason, message) = match (&self.resolv, &self.config.resolver) {
            (None, _) => {
                (Status::Unhealthy, "NotWritten", "resolv.conf cannot be written, see `osctl logs machined`")
            }
            (Some(_), None) => (Status::Healthy, "NotConfigured", ""),
            (Some(_), Some(_)) => (Status::Healthy, "Configured", ""),
        };
        health.set("resolver", status, reason, message);
    }
}

fn look(intent: &Intent<'_>, observed: &Observed, planned: &Plan) -> Seen {
    let fixed = intent.wanted.iter().filter(|wanted| wanted.source != Source::Dhcp);
    // A port is its master's matter, and a bridge without ports has carrier never.
    let judged = fixed.filter(|wanted| match &wanted.device {
        Device::Bridge { ports, .. } => !ports.is_empty(),
        Device::Hardware | Device::Vlan { .. } | Device::Bond { .. } | Device::Dummy => {
            !intent.is_port(&wanted.name)
        }
    });
    let judged = judged
        .filter_map(|wanted| wanted.link)
        .map(|link| condition::Link::Static { name: link.name.clone(), carrier: link.carrier });
    Seen {
        fixed: judged.collect(),
        faults: intent.faults.iter().cloned().chain(planned.problems.iter().map(Fault::from)).collect(),
        candidates: candidates(&observed.links).map(|link| link.name.clone()).collect(),
    }
}

/// When to try again after a failure, ever later.
#[derive(Default)]
struct Retry {
    at_ms: Option<u64>,
    wait_ms: u64,
    said: String,
}

impl Retry {
    fn failed(&mut self, error: &NetworkError) {
        let text = describe(error);
        if self.said != text {
            tracing::error!(error = text, "the network is not as it should be");
            self.said = text;
        }
        self.wait_ms = (self.wait_ms * 2).clamp(RETRY_FIRST_MS, RETRY_LAST_MS);
        self.at_ms = Some(boottime_ms().saturating_add(self.wait_ms));
    }

    fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// What failed last, until it succeeds.
    fn failure(&self) -> Option<String> {
        Some(self.said.clone()).filter(|said| !said.is_empty())
    }

    fn left_ms(&self) -> Option<u64> {
        self.at_ms.map(|at| at.saturating_sub(boottime_ms()))
    }
}

fn describe(error: &NetworkError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
