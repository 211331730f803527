//! Taking the machine down, and what BOOTSTATE demands of a boot.

use control::PowerAction;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use supervise::Event;

use crate::clock::boottime_ms;
use crate::health::{Decision, Task};
use crate::kmsg;
use crate::launch::Helper;
use crate::machine::{Machine, Purpose};
use crate::shutdown::{Order, Seen, Shutdown};
use crate::table::{self, PODS_CGROUP, SHIMS_CGROUP};
use crate::watchdog::Watchdogs;

impl Machine {
    /// Begins the ordered stop, once.
    pub fn begin_shutdown(&mut self, action: PowerAction, reason: &str) {
        if self.shutdown.is_some() {
            return;
        }
        let verb = match action {
            PowerAction::Reboot => "reboot",
            PowerAction::PowerOff => "power off",
        };
        kmsg::notice!("shutdown: {verb}, {reason}");
        self.watchdogs.extend();
        self.event(Event::Shutdown);
        let (shutdown, orders) = Shutdown::begin(action, boottime_ms());
        self.shutdown = Some(shutdown);
        self.carry_out_orders(&orders);
    }

    /// Goes on with it as far as possible.
    pub fn advance_shutdown(&mut self) {
        while self.shutdown.is_some() {
            let seen = self.look();
            let orders = self.shutdown.as_mut().map(|shutdown| shutdown.advance(boottime_ms(), &seen));
            match orders {
                Some(orders) if !orders.is_empty() => self.carry_out_orders(&orders),
                Some(_) | None => return,
            }
        }
    }

    fn look(&self) -> Seen {
        Seen {
            kubelet_down: self.is_down("kubelet"),
            pods_down: !self.cgroups.is_populated(PODS_CGROUP),
            runtime_down: self.is_down("containerd"),
            own_down: self.is_down("apid") && self.is_down("machined"),
            unmounted: !self.helpers.iter().any(|(purpose, _)| *purpose == Purpose::Unmount),
        }
    }

    /// Lets this boot be judged.
    pub fn check_health(&mut self) {
        let serving = self.is_serving();
        match self.health.step(boottime_ms(), serving) {
            Some(Decision::Run(task)) => self.run_task(task),
            Some(Decision::Abandon) => self.kill_boot_record_helper(),
            Some(Decision::Reboot(verdict)) => {
                self.begin_shutdown(PowerAction::Reboot, &verdict.to_string());
            }
            None => {}
        }
    }

    fn run_task(&mut self, task: Task) {
        let name = match task {
            Task::ReadStatus => "bootstate-status",
            Task::MarkAlive => "bootstate-alive",
        };
        match Helper::start(name) {
            Ok(helper) => self.helpers.push((Purpose::BootRecord, helper)),
            Err(error) => {
                kmsg::error!("cannot run {name}: {error}");
                self.health.task_ended(boottime_ms(), None);
            }
        }
    }

    fn kill_boot_record_helper(&self) {
        for (_, helper) in self.helpers.iter().filter(|(purpose, _)| *purpose == Purpose::BootRecord) {
            signal_process(helper.pid.0, Signal::SIGKILL);
        }
    }

    fn carry_out_orders(&mut self, orders: &[Order]) {
        for order in orders {
            match *order {
                Order::Stop(name) => {
                    kmsg::notice!("shutdown: stopping {name}");
                    if let Some(id) = self.supervisor.find(name) {
                        self.event(Event::Stop(id));
                    }
                }
                Order::KillService(name) => {
                    kmsg::warning!("shutdown: killing {name}");
                    if let Some(service) = table::find(name) {
                        self.kill_cgroup(service.cgroup);
                    }
                }
                Order::TerminatePods => self.terminate_pods(),
                Order::KillPods => {
                    kmsg::warning!("shutdown: killing pods");
                    self.kill_cgroup(PODS_CGROUP);
                }
                Order::KillShims => self.kill_cgroup(SHIMS_CGROUP),
                Order::KillAll => {
                    kmsg::notice!("shutdown: ending all processes");
                    signal_everyone();
                }
                Order::Unmount => self.unmount(),
                Order::Finish(action) => finish(action, std::mem::take(&mut self.watchdogs)),
            }
        }
    }

    fn terminate_pods(&self) {
        let processes = self.cgroups.processes(PODS_CGROUP);
        kmsg::notice!("shutdown: stopping pods ({} processes)", processes.len());
        for process in processes {
            signal_process(process, Signal::SIGTERM);
        }
    }

    fn kill_cgroup(&self, path: &str) {
        if self.cgroups.is_populated(path)
            && let Err(error) = self.cgroups.kill(path)
        {
            kmsg::error!("shutdown: {}", kmsg::Chain(&error));
        }
    }

    fn unmount(&mut self) {
        kmsg::notice!("shutdown: unmounting file systems");
        match Helper::start("unmount") {
            Ok(helper) => self.helpers.push((Purpose::Unmount, helper)),
            Err(error) => kmsg::error!("shutdown: cannot unmount: {error}"),
        }
    }
}

fn signal_process(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        // It may be gone already, which is as good.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

fn signal_everyone() {
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
}

fn finish(action: PowerAction, watchdogs: Watchdogs) {
    let mode = match action {
        PowerAction::Reboot => {
            kmsg::notice!("shutdown: rebooting");
            RebootMode::RB_AUTOBOOT
        }
        PowerAction::PowerOff => {
            kmsg::notice!("shutdown: powering off");
            watchdogs.disarm();
            RebootMode::RB_POWER_OFF
        }
    };
    let Err(error) = reboot(mode);
    kmsg::critical!("shutdown: the kernel refuses: {error}");
    // The kernel panics when PID 1 ends, and reboots.
    std::process::exit(1);
}
