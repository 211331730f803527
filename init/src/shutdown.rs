//! The ordered stop of the machine: a sequence of steps, each with a deadline.

use control::PowerAction;

/// One step. The next begins when its aim is reached or its time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Kubelet,
    Pods,
    Runtime,
    /// Whoever asked for it hears the answer: on a node without pods the steps before take no time.
    Farewell,
    Own,
    Remains,
    Unmount,
}

/// What PID 1 must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Stop this service.
    Stop(&'static str),
    /// Kill what is left in the service's cgroup.
    KillService(&'static str),
    /// Send SIGTERM to every process of every pod.
    TerminatePods,
    /// Kill what is left of the pods.
    KillPods,
    /// Kill the containers' shims.
    KillShims,
    /// Kill every process but PID 1.
    KillAll,
    /// Start the helper that unmounts.
    Unmount,
    /// Stop the machine: nothing more can be waited for.
    Finish(PowerAction),
}

/// What PID 1 sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The kubelet has no process.
    pub kubelet_down: bool,
    /// No process is left in any pod.
    pub pods_down: bool,
    /// containerd has no process.
    pub runtime_down: bool,
    /// machined and apid have none.
    pub own_down: bool,
    /// The helper that unmounts has ended.
    pub unmounted: bool,
}

/// The sequence under way.
#[derive(Debug)]
pub struct Shutdown {
    action: PowerAction,
    step: Step,
    deadline_ms: u64,
    finished: bool,
}

impl Step {
    /// Sum: 14.6 s, so that a machine is down within 15.
    const fn limit_ms(self) -> u64 {
        match self {
            Self::Kubelet => 1_500,
            Self::Pods => 7_000,
            Self::Runtime => 1_000,
            Self::Farewell => 300,
            Self::Own => 1_500,
            Self::Remains => 300,
            Self::Unmount => 3_000,
        }
    }

    const fn next(self) -> Option<Self> {
        match self {
            Self::Kubelet => Some(Self::Pods),
            Self::Pods => Some(Self::Runtime),
            Self::Runtime => Some(Self::Farewell),
            Self::Farewell => Some(Self::Own),
            Self::Own => Some(Self::Remains),
            Self::Remains => Some(Self::Unmount),
            Self::Unmount => None,
        }
    }

    const fn begin(self) -> &'static [Order] {
        match self {
            Self::Kubelet => &[Order::Stop("kubelet")],
            Self::Pods => &[Order::TerminatePods],
            // Nothing of a cluster is waited for: its data store is whole at any moment.
            Self::Runtime => &[
                Order::KillShims,
                Order::Stop("containerd"),
                Order::Stop("kube-proxy"),
                Order::Stop("kube-scheduler"),
                Order::Stop("kube-controller-manager"),
                Order::Stop("kube-apiserver"),
                Order::Stop("kine"),
            ],
            Self::Farewell => &[],
            Self::Own => &[Order::Stop("apid"), Order::Stop("machined")],
            Self::Remains => &[Order::KillAll],
            Self::Unmount => &[Order::Unmount],
        }
    }

    /// What makes sure of the aim when the time is up.
    const fn enforce(self) -> &'static [Order] {
        match self {
            Self::Kubelet => &[Order::KillService("kubelet")],
            Self::Pods => &[Order::KillPods],
            Self::Runtime => &[Order::KillService("containerd")],
            Self::Own => &[Order::KillService("apid"), Order::KillService("machined")],
            Self::Farewell | Self::Remains | Self::Unmount => &[],
        }
    }

    const fn is_reached(self, seen: &Seen) -> bool {
        match self {
            Self::Kubelet => seen.kubelet_down,
            Self::Pods => seen.pods_down,
            Self::Runtime => seen.runtime_down,
            Self::Own => seen.own_down,
            // Nobody tells when an answer has left, or when killed processes are gone; of those only such matter as hold
            // a file system.
            Self::Farewell | Self::Remains => false,
            Self::Unmount => seen.unmounted,
        }
    }
}

impl Shutdown {
    /// Begins; the first orders come with it.
    pub fn begin(action: PowerAction, now_ms: u64) -> (Self, Vec<Order>) {
        let step = Step::Kubelet;
        let deadline_ms = now_ms.saturating_add(step.limit_ms());
        (Self { action, step, deadline_ms, finished: false }, step.begin().to_vec())
    }

    /// Goes on by one step at most: what is seen must be looked at anew once these orders are carried out.
    pub fn advance(&mut self, now_ms: u64, seen: &Seen) -> Vec<Order> {
        let reached = self.step.is_reached(seen);
        if self.finished || (!reached && now_ms < self.deadline_ms) {
            return Vec::new();
        }
        let mut orders = if reached { Vec::new() } else { self.step.enforce().to_vec() };
        match self.step.next() {
            Some(step) => {
                self.step = step;
                self.deadline_ms = now_ms.saturating_add(step.limit_ms());
                orders.extend_from_slice(step.begin());
            }
            None => {
                self.finished = true;
                orders.push(Order::Finish(self.action));
            }
        }
        orders
    }

    /// When [`Self::advance`] is due at the latest.
    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Seen = Seen {
        kubelet_down: false,
        pods_down: false,
        runtime_down: false,
        own_down: false,
        unmounted: false,
    };

    #[test]
    fn a_cooperative_machine_goes_down_in_order() {
        let (mut shutdown, orders) = Shutdown::begin(PowerAction::PowerOff, 0);
        assert_eq!(orders, [Order::Stop("kubelet")]);
        let mut seen = UP;
        assert_eq!(shutdown.advance(10, &seen), []);
        seen.kubelet_down = true;
        assert_eq!(shutdown.advance(20, &seen), [Order::TerminatePods]);
        seen.pods_down = true;
        let orders = shutdown.advance(30, &seen);
        assert_eq!(orders[..2], [Order::KillShims, Order::Stop("containerd")]);
        assert_eq!(orders.last(), Some(&Order::Stop("kine")), "the data store after those that write to it");
        seen.runtime_down = true;
        assert_eq!(shutdown.advance(40, &seen), []);
        assert_eq!(shutdown.advance(340, &seen), [Order::Stop("apid"), Order::Stop("machined")]);
        seen.own_down = true;
        assert_eq!(shutdown.advance(350, &seen), [Order::KillAll]);
        assert_eq!(shutdown.advance(650, &seen), [Order::Unmount]);
        seen.unmounted = true;
        assert_eq!(shutdown.advance(660, &seen), [Order::Finish(PowerAction::PowerOff)]);
        assert_eq!(shutdown.advance(100_000, &seen), [], "the machine is stopped once");
    }

    #[test]
    fn a_machine_that_does_nothing_is_down_within_fifteen_seconds() {
        let (mut shutdown, mut orders) = Shutdown::begin(PowerAction::Reboot, 0);
        while !orders.contains(&Order::Finish(PowerAction::Reboot)) {
            let now_ms = shutdown.deadline_ms();
            assert!(now_ms <= 15_000, "not down after {now_ms} ms");
            orders.extend(shutdown.advance(now_ms, &UP));
        }
        for order in [
            Order::KillService("kubelet"),
            Order::KillPods,
            Order::KillService("containerd"),
            Order::KillService("machined"),
            Order::Unmount,
        ] {
            assert!(orders.contains(&order), "{order:?} is missing");
        }
    }

    #[test]
    fn a_step_is_judged_by_what_is_seen_after_it_began() {
        let (mut shutdown, _) = Shutdown::begin(PowerAction::Reboot, 0);
        // Before the helper is started there is none that has yet to end.
        let seen =
            Seen { kubelet_down: true, pods_down: true, runtime_down: true, own_down: true, unmounted: true };
        let mut orders = Vec::new();
        while !orders.contains(&Order::Unmount) {
            let now_ms = shutdown.deadline_ms();
            orders.extend(shutdown.advance(now_ms, &seen));
        }
        assert!(!orders.contains(&Order::Finish(PowerAction::Reboot)), "the helper is not waited for");
        assert_eq!(shutdown.advance(shutdown.deadline_ms() - 1, &Seen { unmounted: false, ..seen }), []);
    }
}
