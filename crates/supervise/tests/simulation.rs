//! Seeded simulation: a world of processes that fail, hang, crash and reuse process ids, under a clock that
//! jumps. After each step the invariants of supervision are checked. proptest prints the failing seed and
//! sequence and keeps it beside this file.

use std::collections::BTreeMap;

use proptest::prelude::*;
use supervise::{
    Action, Event, ExitStatus, KillScope, Pid, Readiness, RestartPolicy, ServiceId, ServiceState, Signal,
    Spec, StopPolicy, Supervisor, Token,
};

const RESTART: RestartPolicy = RestartPolicy {
    initial_ms: 200,
    max_ms: 5_000,
    budget: 5,
    window_ms: 120_000,
    minimum_run_ms: 20_000,
    slow_ms: 8_000,
};
/// So few that they are reused all the time.
const PIDS: u32 = 12;

fn spec(name: &'static str, dependencies: &'static [&'static str], essential: bool) -> Spec {
    Spec {
        name,
        dependencies,
        essential,
        readiness: Readiness::Notify {
            start_deadline_ms: 30_000,
            keep_alive_ms: essential.then_some(10_000),
        },
        restart: RESTART,
        stop: StopPolicy {
            timeout_ms: 3_000,
            scope: if essential { KillScope::Group } else { KillScope::Main },
        },
    }
}

fn table() -> Vec<Spec> {
    vec![
        spec("machined", &[], true),
        spec("apid", &[], true),
        spec("containerd", &[], false),
        spec("kubelet", &["containerd"], false),
    ]
}

/// One thing that happens to the world.
#[derive(Clone, Debug)]
enum Happening {
    Pass { ms: u64 },
    ClockBack { ms: u64 },
    Crash { service: usize, status: i32 },
    Ready { service: usize },
    KeepAlive { service: usize },
    ObeyTerminate { service: usize },
    OrphanFlood { count: u32 },
    StrangeNotify { pid: u32 },
    FailSpawns { count: u32 },
    Start { service: usize },
    Stop { service: usize },
    Restart { service: usize },
}

fn happening() -> impl Strategy<Value = Happening> {
    let service = 0..4_usize;
    prop_oneof![
        8 => (1..4_000_u64).prop_map(|ms| Happening::Pass { ms }),
        1 => (30_000..100_000_000_u64).prop_map(|ms| Happening::Pass { ms }),
        1 => (1..100_000_u64).prop_map(|ms| Happening::ClockBack { ms }),
        8 => (service.clone(), 0..256).prop_map(|(service, status)| Happening::Crash { service, status }),
        6 => service.clone().prop_map(|service| Happening::Ready { service }),
        4 => service.clone().prop_map(|service| Happening::KeepAlive { service }),
        3 => service.clone().prop_map(|service| Happening::ObeyTerminate { service }),
        1 => (1..50_u32).prop_map(|count| Happening::OrphanFlood { count }),
        2 => (0..PIDS).prop_map(|pid| Happening::StrangeNotify { pid }),
        1 => (1..10_u32).prop_map(|count| Happening::FailSpawns { count }),
        2 => service.clone().prop_map(|service| Happening::Start { service }),
        1 => service.clone().prop_map(|service| Happening::Stop { service }),
        2 => service.prop_map(|service| Happening::Restart { service }),
    ]
}

struct World {
    supervisor: Supervisor,
    ids: Vec<ServiceId>,
    now_ms: u64,
    latest_ms: u64,
    live: BTreeMap<Pid, ServiceId>,
    terminated: BTreeMap<Pid, ServiceId>,
    failing_spawns: u32,
    next_pid: u32,
    exhausted: BTreeMap<ServiceId, bool>,
    exhaustions: usize,
    shutting_down: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let supervisor = Supervisor::new(table(), seed).unwrap();
        let ids: Vec<ServiceId> = supervisor.ids().collect();
        let mut world = Self {
            supervisor,
            ids: ids.clone(),
            now_ms: 1_000,
            latest_ms: 1_000,
            live: BTreeMap::new(),
            terminated: BTreeMap::new(),
            failing_spawns: 0,
            next_pid: 0,
            exhausted: BTreeMap::new(),
            exhaustions: 0,
            shutting_down: false,
        };
        ids.into_iter().for_each(|id| world.event(Event::Start(id)));
        world
    }

    fn event(&mut self, event: Event) {
        let mut pending = vec![event];
        while let Some(event) = pending.pop() {
            self.latest_ms = self.latest_ms.max(self.now_ms);
            for action in self.supervisor.step(self.now_ms, event) {
                pending.extend(self.carry_out(action));
            }
        }
        self.check();
    }

    fn carry_out(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Spawn { service, token } => Some(self.spawn(service, token)),
            Action::Kill { service, pid, signal, scope } => {
                self.kill(service, pid, signal, scope);
                None
            }
            Action::StateChanged { service, state } => {
                assert_eq!(self.supervisor.view(service).unwrap().state, state);
                None
            }
            Action::EssentialExhausted { service } => {
                assert!(self.supervisor.spec(service).unwrap().essential);
                assert_eq!(self.exhausted.insert(service, true), None, "said twice without recovery");
                self.exhaustions += 1;
                None
            }
            Action::EssentialRecovered { service } => {
                assert_eq!(self.exhausted.remove(&service), Some(true), "recovered without exhaustion");
                None
            }
        }
    }

    fn spawn(&mut self, service: ServiceId, token: Token) -> Event {
        assert!(!self.shutting_down, "spawned while the machine goes down");
        assert!(!self.live.values().any(|live| *live == service), "two live processes of one service");
        let spec = self.supervisor.spec(service).unwrap();
        for dependency in spec.dependencies {
            let dependency = self.supervisor.find(dependency).unwrap();
            let state = self.supervisor.view(dependency).unwrap().state;
            assert!(matches!(state, ServiceState::Starting | ServiceState::Running), "{state:?}");
        }
        if self.failing_spawns > 0 {
            self.failing_spawns -= 1;
            return Event::SpawnFailed { token };
        }
        loop {
            self.next_pid = (self.next_pid + 1) % PIDS;
            if !self.live.contains_key(&Pid(self.next_pid)) {
                break;
            }
        }
        self.live.insert(Pid(self.next_pid), service);
        Event::Started { token, pid: Pid(self.next_pid) }
    }

    fn kill(&mut self, service: ServiceId, pid: Pid, signal: Signal, scope: KillScope) {
        match self.live.get(&pid) {
            Some(owner) => assert_eq!(*owner, service, "signalled somebody else's process"),
            None => assert_eq!(scope, KillScope::Group, "signalled a process that was reaped"),
        }
        if self.live.contains_key(&pid) {
            self.terminated.insert(pid, service);
            if signal == Signal::Kill {
                assert!(self.view_state(service) == ServiceState::Stopping);
            }
        }
    }

    fn view_state(&self, service: ServiceId) -> ServiceState {
        self.supervisor.view(service).unwrap().state
    }

    fn pid_of(&self, service: ServiceId) -> Option<Pid> {
        self.live.iter().find(|(_, owner)| **owner == service).map(|(pid, _)| *pid)
    }

    fn exit(&mut self, pid: Pid, status: ExitStatus) {
        self.live.remove(&pid);
        self.terminated.remove(&pid);
        self.event(Event::Exited { pid, status });
    }

    fn pass(&mut self, ms: u64) {
        let end_ms = self.now_ms.saturating_add(ms);
        // One jump, as after a pause of the machine, or deadline by deadline.
        if ms < 30_000 {
            while let Some(deadline_ms) = self.supervisor.deadline_ms().filter(|at_ms| *at_ms <= end_ms) {
                self.now_ms = self.now_ms.max(deadline_ms);
                self.event(Event::Timer);
            }
        }
        self.now_ms = end_ms;
        self.event(Event::Timer);
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Pass { ms } => self.pass(ms),
            Happening::ClockBack { ms } => {
                self.now_ms = self.now_ms.saturating_sub(ms);
                self.event(Event::Timer);
            }
            Happening::Crash { service, status } => {
                if let Some(pid) = self.pid_of(self.ids[service]) {
                    self.exit(pid, ExitStatus::Code(status));
                }
            }
            Happening::Ready { service } => {
                if let Some(pid) = self.pid_of(self.ids[service]) {
                    self.event(Event::Ready { pid });
                }
            }
            Happening::KeepAlive { service } => {
                if let Some(pid) = self.pid_of(self.ids[service]) {
                    self.event(Event::KeepAlive { pid });
                }
            }
            Happening::ObeyTerminate { service } => {
                let id = self.ids[service];
                if let Some(pid) = self.pid_of(id).filter(|pid| self.terminated.contains_key(pid)) {
                    self.exit(pid, ExitStatus::Signal(15));
                }
            }
            Happening::OrphanFlood { count } => self.orphans(count),
            Happening::StrangeNotify { pid } => {
                if !self.live.contains_key(&Pid(pid)) {
                    let before = self.states();
                    self.event(Event::Ready { pid: Pid(pid) });
                    self.event(Event::KeepAlive { pid: Pid(pid) });
                    assert_eq!(self.states(), before, "a strange process was believed");
                }
            }
            Happening::FailSpawns { count } => self.failing_spawns = count,
            Happening::Start { service } => self.event(Event::Start(self.ids[service])),
            Happening::Stop { service } => self.event(Event::Stop(self.ids[service])),
            Happening::Restart { service } => self.event(Event::Restart(self.ids[service])),
        }
    }

    /// Exits of processes that are nobody's main process, with ids that services had or will have.
    fn orphans(&mut self, count: u32) {
        let before = self.states();
        for index in 0..count {
            let pid = Pid(index % (PIDS * 2));
            if !self.live.contains_key(&pid) {
                self.event(Event::Exited { pid, status: ExitStatus::Code(0) });
            }
        }
        assert_eq!(self.states(), before, "an orphan's end changed a service");
    }

    fn states(&self) -> Vec<ServiceState> {
        self.ids.iter().map(|id| self.view_state(*id)).collect()
    }

    fn check(&self) {
        for id in &self.ids {
            let view = self.supervisor.view(*id).unwrap();
            let spec = self.supervisor.spec(*id).unwrap();
            assert_eq!(view.pid, self.pid_of(*id), "{}: the supervisor and the world disagree", spec.name);
            if view.state == ServiceState::Failed {
                assert!(!spec.essential, "{} is essential and failed", spec.name);
            }
            if view.state == ServiceState::Backoff {
                let deadline_ms = self.supervisor.deadline_ms().expect("a back-off ends");
                let longest_ms = if spec.essential { RESTART.slow_ms } else { RESTART.max_ms };
                assert!(deadline_ms <= self.latest_ms + longest_ms, "{}: back-off too long", spec.name);
            }
        }
    }

    /// From now on everybody behaves: starts work, services report ready, give signs of life and obey.
    fn behave(&mut self, duration_ms: u64) {
        self.failing_spawns = 0;
        self.now_ms = self.latest_ms;
        let end_ms = self.now_ms + duration_ms;
        while self.now_ms < end_ms {
            for service in 0..self.ids.len() {
                self.happen(&Happening::ObeyTerminate { service });
                self.happen(&Happening::Ready { service });
                self.happen(&Happening::KeepAlive { service });
            }
            self.pass(2_000);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_invariants_hold_and_good_behaviour_heals(
        seed: u64,
        happenings in prop::collection::vec(happening(), 1..250),
    ) {
        let mut world = World::new(seed);
        for happening in &happenings {
            world.happen(happening);
        }
        let ids = world.ids.clone();
        ids.iter().for_each(|id| world.event(Event::Start(*id)));
        world.behave(120_000);
        prop_assert_eq!(world.states(), vec![ServiceState::Running; 4]);
        prop_assert!(world.exhausted.is_empty(), "recovered services were not reported");
    }

    #[test]
    fn nothing_starts_once_the_machine_goes_down(
        seed: u64,
        before in prop::collection::vec(happening(), 1..60),
        after in prop::collection::vec(happening(), 1..60),
    ) {
        let mut world = World::new(seed);
        before.iter().for_each(|happening| world.happen(happening));
        world.event(Event::Shutdown);
        world.shutting_down = true;
        after.iter().for_each(|happening| world.happen(happening));
        let ids = world.ids.clone();
        ids.iter().for_each(|id| world.event(Event::Stop(*id)));
        world.behave(10_000);
        prop_assert!(world.live.is_empty());
        prop_assert!(
            world.states().iter().all(|state| matches!(state, ServiceState::Stopped | ServiceState::Failed))
        );
    }

    #[test]
    fn a_crash_loop_ends_failed_and_leaves_the_others_alone(seed: u64, status in 0..256_i32) {
        let mut world = World::new(seed);
        world.behave(10_000);
        let others = |world: &World| [0, 1, 3].map(|index| world.supervisor.view(world.ids[index]).unwrap());
        let before = others(&world);
        let mut waits_ms = Vec::new();
        while world.view_state(world.ids[2]) != ServiceState::Failed {
            world.happen(&Happening::Crash { service: 2, status });
            if world.view_state(world.ids[2]) == ServiceState::Backoff {
                let crashed_ms = world.now_ms;
                while world.view_state(world.ids[2]) == ServiceState::Backoff {
                    for service in [0, 1, 3] {
                        world.happen(&Happening::KeepAlive { service });
                    }
                    world.pass(10);
                }
                waits_ms.push(world.now_ms - crashed_ms);
            }
            prop_assert!(waits_ms.len() <= 5, "the budget is not kept");
        }
        for (wait_ms, full_ms) in waits_ms.iter().zip([200, 400, 800, 1_600, 3_200]) {
            prop_assert!((full_ms / 2..full_ms + 10).contains(wait_ms), "waited {wait_ms} of {full_ms} ms");
        }
        prop_assert_eq!(waits_ms.len(), 5);
        prop_assert_eq!(others(&world), before);
        prop_assert_eq!(world.exhaustions, 0);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn an_essential_service_that_cannot_start_is_reported_once_and_tried_for_ever(seed: u64) {
        let mut world = World::new(seed);
        for _ in 0..2_000 {
            world.happen(&Happening::Crash { service: 1, status: 127 });
            for service in [0, 2, 3] {
                world.happen(&Happening::Ready { service });
                world.happen(&Happening::KeepAlive { service });
            }
            world.pass(500);
        }
        prop_assert_eq!(world.exhaustions, 1);
        prop_assert!(world.supervisor.view(world.ids[1]).unwrap().restarts > 80, "no slow retries");
        prop_assert_eq!(world.view_state(world.ids[0]), ServiceState::Running);
    }
}

#[test]
fn a_silent_essential_service_is_terminated_then_killed() {
    let mut world = World::new(7);
    let id = world.ids[0];
    world.happen(&Happening::Ready { service: 0 });
    world.pass(9_999);
    assert_eq!(world.view_state(id), ServiceState::Running);
    world.pass(1);
    assert_eq!(world.view_state(id), ServiceState::Stopping);
    let pid = world.pid_of(id).unwrap();
    let kills = world.supervisor.step(world.now_ms + 3_000, Event::Timer);
    assert!(kills.contains(&Action::Kill {
        service: id,
        pid,
        signal: Signal::Kill,
        scope: KillScope::Group
    }));
    world.now_ms += 3_000;
    world.exit(pid, ExitStatus::Signal(9));
    assert_eq!(world.view_state(id), ServiceState::Backoff);
    let last_exit = world.supervisor.view(id).unwrap().last_exit.unwrap();
    assert_eq!(last_exit.to_string(), "no keep-alive in time, killed by SIGKILL");
}

#[test]
fn a_paused_machine_is_not_blamed_on_its_services() {
    let mut world = World::new(7);
    for service in 0..4 {
        world.happen(&Happening::Ready { service });
    }
    for service in 0..4 {
        world.happen(&Happening::Ready { service });
    }
    world.pass(3_600_000);
    assert_eq!(world.states(), vec![ServiceState::Running; 4]);
    world.pass(10_000);
    assert_eq!(world.view_state(world.ids[0]), ServiceState::Stopping, "but it must speak up afterwards");
}
