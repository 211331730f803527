//! The loop: observe, plan, execute, publish; then sleep until something happens.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use config::NodeConfig;
use dhcp::Event;
use tokio::time::sleep;

use super::Environment;
use super::condition::{View, judge};
use super::error::NetworkError;
use super::execute::execute;
use super::lease_store::LeaseStore;
use super::monitor::Monitor;
use super::netlink::Netlink;
use super::observation::{Link, Observation};
use super::plan::{Current, Desired, Operation, choose_uplink, plan};
use super::publish::publish;
use super::resolv;
use super::uplink::{Uplink, boottime_ms};

/// Links negotiate for up to this long after the start before their silence is a fault.
const START_MS: u64 = 8_000;
/// First and longest wait after something failed.
const RETRY_FIRST_MS: u64 = 1_000;
const RETRY_LAST_MS: u64 = 64_000;

/// The network controller.
pub struct Controller {
    environment: Environment,
    leases: LeaseStore,
    uplink: Option<Uplink>,
    /// The kernel's state or what it should be changed.
    dirty: bool,
    retry: Retry,
    /// While links may still negotiate: until when.
    starting_until_ms: Option<u64>,
    config: Arc<NodeConfig>,
}

/// What ended the sleep.
enum Wake {
    Changed(io::Result<()>),
    Reply(io::Result<Vec<u8>>),
    Timer,
    Configured,
}

impl Controller {
    /// A controller; must be made inside of the runtime.
    pub fn new(mut environment: Environment) -> Self {
        Self {
            config: environment.config.current(),
            leases: LeaseStore::new(environment.leases.clone()),
            environment,
            uplink: None,
            dirty: true,
            retry: Retry::default(),
            starting_until_ms: Some(boottime_ms().saturating_add(START_MS)),
        }
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        if !self.environment.resolv_conf.exists() {
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
        let netlink = Netlink::connect().map_err(NetworkError::Connect)?;
        self.dirty = true;
        loop {
            if self.dirty {
                self.reconcile(&netlink).await?;
                wait.succeeded();
            }
            self.report();
            self.environment.config.settle(&self.config);
            match self.sleep(&monitor).await {
                Wake::Changed(result) => {
                    result.map_err(NetworkError::Monitor)?;
                    self.dirty = true;
                }
                Wake::Reply(reply) => self.reply(reply),
                Wake::Timer => self.timer(),
                Wake::Configured => self.configure(),
            }
        }
    }

    async fn sleep(&mut self, monitor: &Monitor) -> Wake {
        let uplink = self.uplink.as_ref();
        let deadlines = [uplink.and_then(Uplink::timer_ms), self.retry.at_ms, self.starting_until_ms];
        let deadline_ms = deadlines.into_iter().flatten().min();
        let receive = async {
            match uplink {
                Some(uplink) => uplink.receive().await,
                None => std::future::pending().await,
            }
        };
        let timer = async {
            match deadline_ms {
                Some(at_ms) => sleep(Duration::from_millis(at_ms.saturating_sub(boottime_ms()))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = monitor.changed() => Wake::Changed(result),
            reply = receive => Wake::Reply(reply),
            () = timer => Wake::Timer,
            () = self.environment.config.changed() => Wake::Configured,
        }
    }

    /// Obeys another configuration. A client asks under one host name, so another name means another client; the lease
    /// is kept and confirmed under the new name.
    fn configure(&mut self) {
        let former = self.hostname();
        self.config = self.environment.config.current();
        if self.hostname() != former {
            self.uplink = None;
        }
        self.dirty = true;
    }

    fn hostname(&self) -> String {
        self.environment.node.hostname(&self.config)
    }

    fn reply(&mut self, reply: io::Result<Vec<u8>>) {
        let Some(uplink) = &mut self.uplink else { return };
        match reply {
            Ok(message) => {
                let changed = uplink.step(Event::Packet(&message), &self.leases);
                self.lease_may_have_changed(changed);
            }
            Err(error) => {
                // ENETDOWN when the link goes down: the monitor tells the rest.
                tracing::debug!(link = uplink.name, %error, "DHCP socket failed");
                uplink.close();
            }
        }
    }

    fn timer(&mut self) {
        let now_ms = boottime_ms();
        self.starting_until_ms = self.starting_until_ms.filter(|until| now_ms < *until);
        if self.retry.at_ms.is_some_and(|at| now_ms >= at) {
            self.retry.at_ms = None;
            self.dirty = true;
        }
        if let Some(uplink) = &mut self.uplink {
            let changed = uplink.step(Event::Timer, &self.leases);
            self.lease_may_have_changed(changed);
        }
    }

    fn lease_may_have_changed(&mut self, changed: bool) {
        if changed {
            self.dirty = true;
            self.write_resolv_conf();
        }
    }

    fn write_resolv_conf(&self) {
        let lease = self.uplink.as_ref().and_then(Uplink::lease);
        if let Err(error) = resolv::write(&self.environment.resolv_conf, lease) {
            tracing::error!(error = &error as &dyn std::error::Error, "resolv.conf is not written");
        }
    }

    /// Brings the kernel's state to what it should be, and publishes.
    async fn reconcile(&mut self, netlink: &Netlink) -> Result<(), NetworkError> {
        self.dirty = false;
        let observed = netlink.observe(&self.environment.sysfs).await?;
        self.follow(&observed);
        let desired = self.uplink.as_ref().map_or(Desired::Undecided, Uplink::desired);
        let mut failure = None;
        let mut addressed = true;
        for operation in plan(&observed, desired) {
            if let Err(error) = execute(netlink, &self.environment.sysfs, &operation).await {
                // The others may still succeed; the first failure tells.
                addressed &= !matches!(operation, Operation::AddAddress { .. });
                failure.get_or_insert(error);
            }
        }
        match failure {
            Some(error) => self.retry.failed(&error),
            None => self.retry.succeeded(),
        }
        // What fails elsewhere must not hide an address that works.
        if addressed {
            self.announce();
        }
        self.publish(&observed);
        Ok(())
    }

    /// Chooses the uplink and tells its client about carrier.
    fn follow(&mut self, observed: &Observation) {
        let had_lease = |link: &Link| link.mac().is_some_and(|mac| self.leases.contains(mac));
        let chosen = choose_uplink(&observed.links, self.current(observed), had_lease);
        if self.uplink.as_ref().map(|uplink| uplink.link) != chosen.map(|link| link.index) {
            let held_lease = self.uplink.as_ref().is_some_and(|uplink| uplink.lease().is_some());
            self.uplink = chosen.and_then(|link| Uplink::new(link, Some(self.hostname()), &self.leases));
            self.lease_may_have_changed(held_lease);
        }
        if let (Some(uplink), Some(link)) = (&mut self.uplink, chosen) {
            let changed = uplink.observe(link, &self.leases);
            self.lease_may_have_changed(changed);
        }
    }

    /// The uplink so far; after a restart of this process the one that it had before.
    fn current(&self, observed: &Observation) -> Option<Current> {
        match &self.uplink {
            Some(uplink) => Some(Current { link: uplink.link, holds_lease: uplink.lease().is_some() }),
            None => observed.configured_link().map(|link| Current { link, holds_lease: true }),
        }
    }

    /// The address stays published when a lease ends: whoever bound to it gains nothing from "none".
    fn announce(&self) {
        if let Some(lease) = self.uplink.as_ref().and_then(Uplink::lease) {
            let address = Some(lease.address.into());
            self.environment.address.send_if_modified(|known| {
                let changed = *known != address;
                *known = address;
                changed
            });
        }
    }

    fn publish(&self, observed: &Observation) {
        let primary = *self.environment.address.borrow();
        publish(&self.environment.store, observed, primary);
    }

    fn report(&self) {
        let view = View {
            uplink: self.uplink.as_ref().map(Uplink::view),
            starting: self.starting_until_ms.is_some(),
            failure: self.retry.failure(),
        };
        let (status, reason, message) = judge(&view);
        self.environment.health.set("network", status, reason, message);
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
