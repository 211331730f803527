use std::sync::{Mutex, MutexGuard};

use tokio::task::yield_now;

use super::*;
use crate::follow::Follower;

/// A PID 1 that notes what it is asked.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<&'static str>>,
    refuses: bool,
}

impl Services for Arc<Fake> {
    async fn restart(&self, name: &'static str) -> Result<(), ServicesError> {
        if self.refuses {
            return Err(ServicesError::Refused(control::ControlError::ShuttingDown));
        }
        self.asked().push(name);
        Ok(())
    }

    async fn reboot(&self) -> Result<(), ServicesError> {
        self.asked().push("reboot");
        Ok(())
    }
}

impl Fake {
    fn asked(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.asked.lock().unwrap()
    }
}

struct Rig {
    executor: Executor<Arc<Fake>>,
    follower: Follower,
    health: Health,
    pid1: Arc<Fake>,
    _folder: tempfile::TempDir,
}

fn rig(refuses: bool) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let config = watch::Sender::default();
    let (settled, health) = (Settled::default(), Health::default());
    let pid1 = Arc::new(Fake { refuses, ..Fake::default() });
    let follower = Follower::new("kubernetes", config.subscribe(), settled.clone());
    let owed = folder.path().join("owed");
    let executor = Executor::new(config, settled, health.clone(), Arc::clone(&pid1), &owed);
    Rig { executor, follower, health, pid1, _folder: folder }
}

fn steps(restarts: &[&'static str]) -> Steps {
    Steps { restarts: restarts.to_vec(), conditions: BTreeSet::new() }
}

#[tokio::test(start_paused = true)]
async fn services_are_restarted_once_controllers_have_rendered() {
    let mut rig = rig(false);
    rig.health.set(KUBELET, Status::Healthy, "Running", "");
    let new = Arc::new(NodeConfig::default());
    let (steps, said) = (steps(&[KUBELET]), Mutex::new(Vec::new()));
    let execution = rig.executor.execute(&steps, &new, |line| said.lock().unwrap().push(line));
    let follower = async {
        rig.follower.changed().await;
        yield_now().await;
        assert!(rig.pid1.asked().is_empty());
        let current = rig.follower.current();
        rig.follower.settle(&current);
    };
    let (executed, ()) = tokio::join!(execution, follower);
    executed.unwrap();
    assert_eq!(*rig.pid1.asked(), [KUBELET]);
    assert_eq!(said.into_inner().unwrap(), ["restarting kubelet"]);
    assert_eq!(rig.health.subscribe().borrow()[KUBELET].reason, "Restarting");
    rig.executor.resume().await.unwrap();
    assert_eq!(rig.pid1.asked().len(), 1, "nothing is owed");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_settle_is_named_and_nothing_is_restarted() {
    let rig = rig(false);
    let new = Arc::new(NodeConfig::default());
    let error = rig.executor.execute(&steps(&[KUBELET]), &new, |_| ()).await.unwrap_err();
    assert_eq!(error.to_string(), "kubernetes did not take the change up within 30 s");
    assert!(rig.pid1.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_was_cut_off_is_made_up_for() {
    let mut rig = rig(false);
    let new = Arc::new(NodeConfig::default());
    rig.executor.execute(&steps(&[KUBELET]), &new, |_| ()).await.unwrap_err();
    let undone = Arc::new(NodeConfig::default());
    let settle = async {
        rig.follower.changed().await;
        let current = rig.follower.current();
        rig.follower.settle(&current);
    };
    let nothing = steps(&[]);
    let (executed, ()) = tokio::join!(rig.executor.execute(&nothing, &undone, |_| ()), settle);
    executed.unwrap();
    assert_eq!(*rig.pid1.asked(), [KUBELET], "it may have read what was undone");
}

#[tokio::test(start_paused = true)]
async fn one_debt_is_paid_at_once_and_the_others_stay() {
    let mut rig = rig(false);
    assert_eq!(rig.executor.owe(&[KUBELET]).unwrap(), [KUBELET]);
    assert_eq!(rig.executor.owe(&[APID]).unwrap(), [KUBELET, APID]);
    rig.executor.pay(APID).await.unwrap();
    assert_eq!(*rig.pid1.asked(), [APID]);
    assert!(!rig.health.subscribe().borrow().contains_key(APID), "nobody keeps such a condition");
    let current = rig.follower.current();
    rig.follower.settle(&current);
    rig.executor.resume().await.unwrap();
    assert_eq!(*rig.pid1.asked(), [APID, KUBELET]);
    assert!(rig.executor.owe(&[]).unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_restart_stays_owed() {
    let mut rig = rig(true);
    let current = rig.follower.current();
    rig.follower.settle(&current);
    let config = rig.executor.config.borrow().clone();
    let error = rig.executor.execute(&steps(&[CONTAINERD]), &config, |_| ()).await.unwrap_err();
    assert!(matches!(error, ExecuteError::Restart { name: CONTAINERD, .. }));
    assert!(matches!(rig.executor.resume().await, Err(ExecuteError::Restart { .. })));
}
