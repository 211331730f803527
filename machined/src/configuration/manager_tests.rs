use std::{
    collections::BTreeSet,
    io::ErrorKind,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use config::plan::{Effect, plan};
use generation::{BootId, State};
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{
    configuration::{report::Outcome, running, services::ServicesError},
    follow::{Follower, Settled},
    health::Status,
    storage::{StorageError, replace_file},
};

/// PID 1 and the services that it starts.
struct Node {
    health: Health,
    asked: Mutex<Vec<&'static str>>,
    kubelet_starts: AtomicBool,
    disk_is_full: AtomicBool,
    trusted: Mutex<Vec<Option<String>>>,
    began: Instant,
    resets: Mutex<Vec<bool>>,
}

impl Services for Arc<Node> {
    async fn restart(&self, name: &'static str) -> Result<(), ServicesError> {
        self.asked.lock().unwrap().push(name);
        let status =
            if self.kubelet_starts.load(Ordering::Relaxed) { Status::Healthy } else { Status::Unhealthy };
        self.health.set(name, status, "Started", "");
        Ok(())
    }

    async fn reboot(&self) -> Result<(), ServicesError> {
        self.asked.lock().unwrap().push("reboot");
        Ok(())
    }
}

impl Keeper for Arc<Node> {
    fn now(&self) -> Moment {
        let since_boot_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        Moment { boot: BootId("boot".into()), since_boot_ms }
    }

    fn keep_trust(&self, config: &NodeConfig) -> Result<(), String> {
        self.trusted.lock().unwrap().push(config.hostname.clone());
        Ok(())
    }

    fn note_reset(&self, wipe_data: bool) -> Result<(), String> {
        self.resets.lock().unwrap().push(wipe_data);
        Ok(())
    }
}

struct Rig {
    node: Arc<Node>,
    handle: Handle,
    config: watch::Receiver<Arc<NodeConfig>>,
    folder: tempfile::TempDir,
}

fn text(rest: &str) -> String {
    static CA: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let ca = CA.get_or_init(|| {
        let name = pki::SubjectName::parse("ca").unwrap();
        pki::Ca::create(&name, pki::Validity::UNLIMITED).unwrap().bundle().to_pem().replace('\n', "\n    ")
    });
    let header = "apiVersion: cairn.dev/v1alpha1\nkind:";
    format!("{header} Api\nclientCAs:\n  - |\n    {ca}\n---\n{header} {rest}")
}

fn hostname(name: &str) -> String {
    text(&format!("Machine\nhostname: {name}\n"))
}

fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let health = Health::default();
    for name in crate::health::CONDITIONS {
        health.set(name, Status::Healthy, "Well", "");
    }
    let node = Arc::new(Node {
        health: health.clone(),
        asked: Mutex::default(),
        kubelet_starts: AtomicBool::new(true),
        disk_is_full: AtomicBool::new(false),
        trusted: Mutex::default(),
        began: Instant::now(),
        resets: Mutex::default(),
    });
    let disk = Arc::clone(&node);
    let store = GenerationStore::with(
        folder.path(),
        Box::new(move |path, content| match disk.disk_is_full.load(Ordering::Relaxed) {
            true => {
                Err(StorageError::Replace { path: path.to_owned(), source: ErrorKind::StorageFull.into() })
            }
            false => replace_file(path, content, 0o600),
        }),
    );
    let index = Index::first("", 0);
    store.save(index.confirmed(), &hostname("old")).unwrap();
    store.save_index(&index).unwrap();
    let running = running::load(&store, index.confirmed()).unwrap();
    let (sender, config) = watch::channel(Arc::clone(&running.config));
    let settled = Settled::default();
    let mut follower = Follower::new("follower", config.clone(), settled.clone());
    tokio::spawn(async move {
        loop {
            let current = follower.current();
            follower.settle(&current);
            follower.changed().await;
        }
    });
    let owed = folder.path().join("owed");
    let executor = Executor::new(sender, settled, health.clone(), Arc::clone(&node), &owed);
    let parts = Parts {
        index,
        running,
        store,
        executor,
        health,
        resources: Store::default(),
        keeper: Arc::clone(&node),
    };
    let (manager, handle) = Manager::new(parts);
    tokio::spawn(manager.run(false));
    Rig { node, handle, config, folder }
}

impl Rig {
    fn change(&self, text: &str, mode: Mode) -> Change {
        Change {
            base: self.handle.view().index.base(),
            mode,
            timeout_s: 120,
            author: "admin".into(),
            created_s: 7,
            // Nothing that the tests name is there.
            accept_unreachable: true,
            text: text.to_owned(),
            config: config::parse(text).unwrap(),
        }
    }

    async fn apply(&self, text: &str, mode: Mode) -> Outcome {
        let accepted = self.handle.apply(self.change(text, mode)).await.unwrap();
        ended(accepted).await
    }

    /// Confirms, and waits until the gate has, too.
    async fn confirm(&self, generation: Generation) {
        self.handle.confirm(generation).await.unwrap();
        let mut view = self.handle.view.clone();
        view.wait_for(|view| view.index.trial().is_none()).await.unwrap();
        assert_eq!(self.handle.view().index.confirmed(), generation);
    }

    fn runs(&self) -> Option<String> {
        self.config.borrow().hostname.clone()
    }

    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.node.asked.lock().unwrap())
    }

    fn on_disk(&self) -> Index {
        GenerationStore::at(self.folder.path()).load_index().unwrap().unwrap()
    }
}

async fn ended(mut accepted: Accepted) -> Outcome {
    loop {
        match accepted.reports.recv().await.expect("every change ends with an outcome") {
            Report::Progress(_) => {}
            Report::Outcome(outcome) => return outcome,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_cut_the_admin_off_waits_for_him() {
    let rig = rig();
    let outcome = rig.apply(&hostname("new"), Mode::Auto).await;
    assert_eq!((outcome.generation, outcome.state), (Generation(2), State::Trial));
    assert!(outcome.confirm_within.unwrap() > Duration::from_secs(100));
    assert_eq!((rig.runs().as_deref(), rig.asked()), (Some("new"), vec!["kubelet"]));
    let refused = rig.handle.apply(rig.change(&hostname("third"), Mode::Auto)).await.unwrap_err();
    assert!(matches!(refused, Refused::Step(Refusal::TrialRuns { generation: Generation(2), .. })));
    assert!(rig.node.trusted.lock().unwrap().is_empty(), "a trial leaves no trust behind");

    rig.confirm(Generation(2)).await;
    assert_eq!(rig.on_disk().confirmed(), Generation(2));
    assert_eq!(*rig.node.trusted.lock().unwrap(), [Some("new".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_confirms_is_taken_back_as_it_came() {
    let rig = rig();
    rig.apply(&hostname("new"), Mode::Auto).await;
    rig.asked();
    let mut config = rig.config.clone();
    config.wait_for(|config| config.hostname.as_deref() == Some("old")).await.unwrap();
    assert!(rig.node.began.elapsed() >= Duration::from_secs(120));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.asked(), ["kubelet"], "it read the new name");
    let index = rig.on_disk();
    assert_eq!((index.confirmed(), index.state(Generation(2))), (Generation(1), Some(State::Reverted)));
    let text = GenerationStore::at(rig.folder.path()).load(Generation(2)).unwrap();
    assert_eq!(text, hostname("new"), "it can be looked at");
}

#[tokio::test(start_paused = true)]
async fn a_broken_service_takes_the_change_back_and_says_why() {
    let rig = rig();
    rig.node.kubelet_starts.store(false, Ordering::Relaxed);
    let header = "---\napiVersion: cairn.dev/v1alpha1\nkind:";
    let kubelet_setting = hostname("old") + header + " Kubelet\nconfiguration: {maxPods: 1}\n";
    let accepted = rig.handle.apply(rig.change(&kubelet_setting, Mode::Auto)).await;
    let mut config = rig.config.clone();
    config.changed().await.unwrap();
    let outcome = ended(accepted.unwrap()).await;
    assert_eq!((outcome.state, outcome.reason.as_str()), (State::Reverted, "kubelet: Started"));
    assert_eq!(rig.asked(), ["kubelet", "kubelet"]);
    assert_eq!(rig.runs().as_deref(), Some("old"));
    let condition = rig.node.health.subscribe().borrow()["configuration"].clone();
    assert_eq!((condition.status, condition.reason), (Status::Healthy, "Reverted"));
    assert_eq!(condition.message, "generation 1 runs; 2 was reverted: kubelet: Started");
}

#[tokio::test(start_paused = true)]
async fn a_harmless_change_is_confirmed_by_its_gate_and_a_staged_one_waits() {
    let rig = rig();
    let labels = text("Machine\nhostname: old\nlabels: {a: b}\n");
    assert_eq!(rig.apply(&labels, Mode::Auto).await.state, State::Confirmed);
    assert_eq!(rig.on_disk().confirmed(), Generation(2));
    assert_eq!(rig.apply(&hostname("new"), Mode::Staged).await.state, State::Staged);
    assert_eq!(rig.runs().as_deref(), Some("old"));
    let base = rig.handle.view().index.base();
    let dropped = ended(rig.handle.roll_back(base, "admin".into()).await.unwrap()).await;
    assert_eq!((dropped.generation, dropped.reason.as_str()), (Generation(3), "admin rolled it back"));
    assert!(rig.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_reboot_gets_one() {
    let rig = rig();
    let pinned = text(
        "Kubelet\nconfiguration: {cpuManagerPolicy: static}\n---\napiVersion: cairn.dev/v1alpha1\nkind: Machine\nhostname: old\n",
    );
    let outcome = rig.apply(&pinned, Mode::Auto).await;
    assert_eq!((outcome.state, outcome.rebooting), (State::Trial, true));
    assert_eq!(rig.asked(), ["reboot"]);
    let refused = rig.handle.apply(rig.change(&hostname("new"), Mode::Auto)).await.unwrap_err();
    assert!(matches!(refused, Refused::Step(Refusal::Rebooting)));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_changes_nothing_and_confirms_nothing() {
    let rig = rig();
    rig.node.disk_is_full.store(true, Ordering::Relaxed);
    let refused = rig.handle.apply(rig.change(&hostname("new"), Mode::Auto)).await.unwrap_err();
    assert!(matches!(refused, Refused::Store(_)));
    assert_eq!((rig.runs().as_deref(), rig.asked().len()), (Some("old"), 0));

    rig.node.disk_is_full.store(false, Ordering::Relaxed);
    rig.apply(&hostname("new"), Mode::Auto).await;
    // The gate has passed.
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.node.disk_is_full.store(true, Ordering::Relaxed);
    assert!(matches!(rig.handle.confirm(Generation(2)).await, Err(Refused::Store(_))));
    assert_eq!(rig.handle.view().index.confirmed(), Generation(1));
    let mut config = rig.config.clone();
    config.wait_for(|config| config.hostname.as_deref() == Some("old")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_does_not_answer_takes_the_change_back_unless_that_is_accepted() {
    let rig = rig();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mirror = listener.local_addr().unwrap();
    let header = "---\napiVersion: cairn.dev/v1alpha1\nkind:";
    let registry = format!("{header} Registry\nhost: docker.io\nmirrors: [\"http://{mirror}\"]\n");
    let text = hostname("old") + &registry;
    let change = Change { accept_unreachable: false, ..rig.change(&text, Mode::Auto) };
    let outcome = ended(rig.handle.apply(change).await.unwrap()).await;
    let reason = format!("mirror {mirror} of docker.io does not answer");
    assert_eq!((outcome.state, outcome.reason), (State::Reverted, reason));
    assert_eq!(rig.runs().as_deref(), Some("old"));
    assert_eq!(rig.apply(&text, Mode::Auto).await.state, State::Confirmed);
    assert_eq!(rig.config.borrow().registries.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_noted_and_nothing_comes_after_it() {
    let rig = rig();
    rig.handle.reset(true).await.unwrap();
    assert!(matches!(rig.handle.reset(false).await, Err(Refused::Resetting)));
    assert_eq!(
        (rig.node.resets.lock().unwrap().as_slice(), rig.asked()),
        ([true].as_slice(), vec!["reboot"])
    );
    let refused = rig.handle.apply(rig.change(&hostname("new"), Mode::Auto)).await.unwrap_err();
    assert!(matches!(refused, Refused::Resetting));
}

/// What only a reboot brings about.
const PINNED: &str = "Kubelet\nconfiguration: {cpuManagerPolicy: static}\n";

/// Documents of which each may be there or not.
const PARTS: [&str; 7] = [
    "Machine\nhostname: a\n",
    "Kubelet\nconfiguration: {maxPods: 7}\n",
    "Sysctl\nvalues: {net.ipv4.ip_forward: \"1\"}\n",
    "Swap\nzramPercent: 50\n",
    PINNED,
    "Resolver\nservers: [192.0.2.1]\n",
    "StaticPod\npod:\n  apiVersion: v1\n  kind: Pod\n  metadata: {name: web}\n  spec: {containers: [{name: a, image: b}]}\n",
];

fn some(parts: &BTreeSet<usize>) -> String {
    let separator = "---\napiVersion: cairn.dev/v1alpha1\nkind: ";
    // There is at most one Kubelet document.
    let second = |part: &usize| PARTS[*part] == PINNED && parts.contains(&1);
    let rest: Vec<&str> = parts.iter().filter(|part| !second(part)).map(|part| PARTS[*part]).collect();
    text(&format!(
        "Registry\nhost: r\nmirrors: [\"https://m\"]\n{}{}",
        if rest.is_empty() { "" } else { separator },
        rest.join(separator)
    ))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_done_is_what_was_planned(
        old in proptest::collection::btree_set(0..PARTS.len(), 0..=PARTS.len()),
        new in proptest::collection::btree_set(0..PARTS.len(), 0..=PARTS.len()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let rig = rig();
            let mut former = config::parse(&hostname("old")).unwrap();
            for parts in [old, new] {
                let text = some(&parts);
                let next = config::parse(&text).unwrap();
                let planned = plan(&former, &next);
                let mut expected: Vec<&str> = ["containerd", "kubelet"].into_iter().filter(|name| {
                    planned.operations.iter().any(|operation| matches!(operation.effect, Effect::Restart(names) if names.contains(name)))
                }).collect();
                let outcome = rig.apply(&text, Mode::Auto).await;
                if planned.needs_reboot() {
                    prop_assert!(outcome.rebooting);
                    expected = vec!["reboot"];
                }
                prop_assert_eq!(rig.asked(), expected);
                if planned.needs_reboot() {
                    return Ok(());
                }
                prop_assert_eq!(&**rig.config.borrow(), &next);
                prop_assert_eq!(outcome.confirm_within.is_some(), planned.needs_confirmation());
                if planned.needs_confirmation() {
                    rig.confirm(outcome.generation).await;
                }
                former = next;
            }
            Ok(())
        })?;
    }
}
