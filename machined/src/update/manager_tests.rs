use std::sync::{Mutex, MutexGuard};

use bootstate::{Release, ReleaseVersion, SlotState, Uki};
use tokio::sync::oneshot;
use update::{
    Allow, Before, BootId, Ending, File, Image, Installed, KubernetesVersion, Manifest, Moment, Origin,
    Outcome, Request, Target, UkiImage, Ukis,
};

use super::*;
use crate::{
    health::Status,
    update::{handle::Handle, node::Failed, publish},
};

/// A disk and what is done to it, which outlive the lives of the manager.
#[derive(Default)]
struct World {
    kept: Upgrade,
    record: Option<Record>,
    boot: u32,
    log: Vec<String>,
    /// What the next of these gives.
    fetch: Vec<Result<(), Failed>>,
    gate: Vec<Result<(), String>>,
    /// Times that the state can still be kept.
    saves_left: Option<usize>,
    busy: bool,
    /// Told once the node reboots.
    rebooted: Option<oneshot::Sender<()>>,
}

#[derive(Clone)]
struct Fake(Arc<Mutex<World>>);

impl Fake {
    fn new() -> Self {
        let record = Record::new(release("1.0.0"));
        Self(Arc::new(Mutex::new(World { record: Some(record), ..World::default() })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    fn world_record(&self) -> Record {
        self.world().record.clone().unwrap()
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Record) -> Result<(), bootstate::TransitionError>,
    ) -> Result<Record, String> {
        let mut next = self.world_record();
        change(&mut next).map_err(|error| error.to_string())?;
        self.world().record = Some(next.clone());
        Ok(next)
    }

    /// Starts the manager in a slot, as a boot would; returns its handle and what tells of a reboot.
    fn start(&self, running: Slot, version: &str) -> (Handle, oneshot::Receiver<()>) {
        let (sender, rebooted) = oneshot::channel();
        let upgrade = {
            let mut world = self.world();
            world.rebooted = Some(sender);
            world.boot += 1;
            world.kept.clone()
        };
        let installed = Installed {
            version: ReleaseVersion::new(version).unwrap(),
            kubernetes: KubernetesVersion::new("1.37.2").unwrap(),
            architecture: "x86_64".to_owned(),
        };
        let record = self.world_record();
        let boot = Boot { running, record: record.clone(), installed, gate_s: 300 };
        let progress = Progress::default();
        let (handle, inbox) =
            Handle::new(View { upgrade: upgrade.clone(), record, running, progress, automation: None });
        let (meter, (_, automation)) = (Meter::default(), watch::channel(None));
        tokio::spawn(Manager::run(Parts { node: self.clone(), upgrade, boot, inbox, meter, automation }));
        (handle, rebooted)
    }
}

impl Node for Fake {
    fn now(&self) -> Moment {
        Moment { boot: BootId(self.world().boot.to_string()), since_boot_ms: 0, now_s: 1_800_000_000 }
    }

    fn save(&self, upgrade: &Upgrade) -> Result<(), StoreError> {
        let mut world = self.world();
        if let Some(left) = &mut world.saves_left {
            *left = left.saturating_sub(1);
        }
        if world.saves_left == Some(0) {
            let (path, source) = ("state".into(), std::io::ErrorKind::StorageFull.into());
            return Err(StoreError::Folder { path, source });
        }
        world.kept = upgrade.clone();
        Ok(())
    }

    async fn resolve(&self, request: &Request, client: Option<ClientSource>) -> Result<Manifest, Failed> {
        if request.source == Source::Client && client.is_none() {
            return Err(Failed::for_now("the client is gone".to_owned()));
        }
        Ok(manifest(request.version.as_str()))
    }

    async fn fetch(&self, _: &Source, target: &Target, _: Option<ClientSource>) -> Result<(), Failed> {
        let next = self.world().fetch.pop();
        self.world().log.push(format!("fetch {} into {}", target.version, target.slot.letter()));
        match next {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }

    async fn verify(&self, target: &Target) -> Result<(), Failed> {
        self.world().log.push(format!("verify {}", target.slot.letter()));
        Ok(())
    }

    async fn is_busy(&self) -> bool {
        self.world().busy
    }

    fn healthy(&self) -> Before {
        Before { conditions: vec!["kubelet".to_owned()], pods: vec!["default/web".to_owned()] }
    }

    async fn judge(&self, before: Before, _: u64) -> Result<(), String> {
        self.world().log.push(format!("judge {}", before.pods.join(",")));
        let next = self.world().gate.pop();
        match next {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }

    fn record(&self) -> Option<Record> {
        self.world().record.clone()
    }

    fn begin_trial(&self, release: Release) -> Result<Record, String> {
        self.change(|record| record.begin_trial(Slot::A, release))
    }

    fn end_trial(&self, slot: Slot) -> Result<Record, String> {
        self.change(|record| record.fail(slot).or(Ok(())))
    }

    fn confirm(&self, slot: Slot) -> Result<Record, String> {
        self.change(|record| record.confirm(slot))
    }

    fn raise_floor(&self, floor: ReleaseVersion) -> Result<Record, String> {
        self.change(|record| record.raise_rollback_floor(floor))
    }

    async fn confirmed(&self, slot: Slot) {
        self.world().log.push(format!("confirmed {}", slot.letter()));
    }

    async fn reboot(&self, _: bool) -> Result<(), String> {
        if let Some(rebooted) = self.world().rebooted.take() {
            rebooted.send(()).ok();
        }
        Ok(())
    }
}

fn release(version: &str) -> Release {
    let uki = Uki { length_bytes: 4096, sha256: [1; 32] };
    Release { version: ReleaseVersion::new(version).unwrap(), uki }
}

fn manifest(version: &str) -> Manifest {
    let image = |path: &str| Image {
        path: path.to_owned(),
        leaves: format!("{path}.leaves"),
        data_blocks: 1,
        salt: [0; 32],
        root_hash: [0; 32],
    };
    let uki = |path: &str| UkiImage { image: image(path), length_bytes: 4096, sha256: [1; 32] };
    Manifest {
        format: 1,
        version: ReleaseVersion::new(version).unwrap(),
        kubernetes: KubernetesVersion::new("1.37.2").unwrap(),
        kernel: "6.18".to_owned(),
        architecture: "x86_64".to_owned(),
        created_s: 0,
        time_floor_s: 0,
        rollback_floor: ReleaseVersion::UNKNOWN,
        root: image("root.img"),
        ukis: Ukis { a: uki("a.efi"), b: uki("b.efi") },
        sbom: File { path: "sbom".to_owned(), length_bytes: 0, sha256: [0; 32] },
    }
}

fn request(version: &str) -> Request {
    Request {
        origin: Origin::Admin { author: "os:admin/alice".to_owned() },
        source: Source::Url("https://mirror.example".to_owned()),
        version: ReleaseVersion::new(version).unwrap(),
        ending: Ending::Reboot,
        allow: Allow::default(),
    }
}

/// Waits until the view is so.
async fn until(handle: &Handle, is_so: impl Fn(&View) -> bool) -> Arc<View> {
    let mut view = handle.view();
    let waited = tokio::time::timeout(Duration::from_secs(60), view.wait_for(|view| is_so(view))).await;
    Arc::clone(&waited.expect("it never comes so").unwrap())
}

#[tokio::test]
async fn an_upgrade_goes_through_and_is_kept() {
    let node = Fake::new();
    node.world().fetch = vec![Ok(())];
    let (handle, rebooted) = node.start(Slot::A, "1.0.0");
    handle.upgrade(request("1.1.0"), None).await.unwrap();
    assert!(handle.view().borrow().upgrade.work().is_some(), "shown before it is granted");
    rebooted.await.unwrap();
    assert_eq!(node.world().log, ["fetch 1.1.0 into B", "verify B"]);
    assert!(matches!(node.world_record().slot(Slot::B).state(), SlotState::Trial { .. }));

    node.world().gate = vec![Ok(())];
    let (handle, _) = node.start(Slot::B, "1.1.0");
    let view = until(&handle, |view| view.upgrade.last().is_some()).await;
    assert_eq!(view.upgrade.last().unwrap().outcome, Outcome::Confirmed);
    assert_eq!(view.record.slot(Slot::B).state(), SlotState::Confirmed);
    assert_eq!(node.world().log[2..], ["judge default/web", "confirmed B"]);
    assert_eq!(node.world_record().active(), Slot::B);
}

#[tokio::test]
async fn a_release_that_is_not_healthy_is_taken_back() {
    let node = Fake::new();
    node.world().fetch = vec![Ok(())];
    let (handle, rebooted) = node.start(Slot::A, "1.0.0");
    handle.upgrade(request("1.1.0"), None).await.unwrap();
    rebooted.await.unwrap();

    node.world().gate = vec![Err("kubelet: Stopped".to_owned())];
    let (_handle, rebooted) = node.start(Slot::B, "1.1.0");
    rebooted.await.unwrap();
    assert_eq!(node.world_record().slot(Slot::B).state(), SlotState::Failed);

    let (handle, _) = node.start(Slot::A, "1.0.0");
    let view = until(&handle, |view| view.upgrade.last().is_some()).await;
    let last = view.upgrade.last().unwrap();
    assert_eq!((last.outcome, last.reason.as_str()), (Outcome::Failed, "kubelet: Stopped"));
    let (status, reason, message) = publish::condition(&view, &[]);
    assert_eq!((status, reason), (Status::Unhealthy, "TakenBack"));
    assert!(message.contains("1.1.0") && message.contains("kubelet: Stopped"), "{message}");
    let refused = handle.upgrade(request("1.1.0"), None).await.unwrap_err();
    assert!(matches!(refused, Refused::Step(update::Refusal::Unsuitable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_trial_is_told_with_what_it_waits_for() {
    let node = Fake::new();
    node.world().record.as_mut().unwrap().begin_trial(Slot::A, release("1.1.0")).unwrap();
    let (handle, _) = node.start(Slot::B, "1.1.0");
    let view = until(&handle, |view| view.upgrade.work().is_some()).await;
    let (status, reason, message) = publish::condition(&view, &["pod default/web does not run".to_owned()]);
    assert_eq!((status, reason), (Status::Progressing, "OnTrial"));
    assert_eq!(message, "release 1.1.0 is on trial: pod default/web does not run");
}

#[tokio::test]
async fn what_cannot_be_kept_has_not_happened() {
    let node = Fake::new();
    node.world().saves_left = Some(0);
    let (handle, _) = node.start(Slot::A, "1.0.0");
    let refused = handle.upgrade(request("1.1.0"), None).await.unwrap_err();
    assert!(matches!(refused, Refused::Store(_)), "{refused:?}");
    assert!(handle.view().borrow().upgrade.work().is_none());
    assert!(node.world().log.is_empty());
}

#[tokio::test]
async fn a_slot_that_was_verified_is_not_armed_until_that_is_kept() {
    let node = Fake::new();
    // The request is kept, what follows is not.
    (node.world().fetch, node.world().saves_left) = (vec![Ok(())], Some(2));
    let (handle, _) = node.start(Slot::A, "1.0.0");
    handle.upgrade(request("1.1.0"), None).await.unwrap();
    let view = until(&handle, |view| {
        view.upgrade.work().is_some_and(|work| matches!(work.phase, Phase::Pausing { .. }))
    })
    .await;
    assert_eq!(view.record.slot(Slot::B).state(), SlotState::Empty);
    assert_eq!(node.world_record().slot(Slot::B).state(), SlotState::Empty);
}

#[tokio::test]
async fn a_cancelled_upgrade_is_stopped() {
    let node = Fake::new();
    let (handle, _) = node.start(Slot::A, "1.0.0");
    handle.upgrade(request("1.1.0"), None).await.unwrap();
    until(&handle, |view| view.upgrade.work().is_some_and(|work| work.phase == Phase::Fetching)).await;
    handle.cancel("os:admin/alice".to_owned()).await.unwrap();
    let view = handle.view().borrow().clone();
    assert!(view.upgrade.work().is_none());
    assert_eq!(view.upgrade.last().unwrap().outcome, Outcome::Cancelled);
    assert!(handle.cancel("os:admin/alice".to_owned()).await.is_err());
}

#[tokio::test]
async fn a_client_is_let_go_once_the_upgrade_ends() {
    let node = Fake::new();
    let (handle, _) = node.start(Slot::A, "1.0.0");
    let (client, mut end) = ClientSource::new(None);
    let request = Request { source: Source::Client, ..request("1.1.0") };
    handle.upgrade(request, Some(client)).await.unwrap();
    until(&handle, |view| view.upgrade.work().is_some_and(|work| work.phase == Phase::Fetching)).await;
    handle.cancel("os:admin/alice".to_owned()).await.unwrap();
    let (reads, _) = end.split();
    assert_eq!(reads.recv().await, None, "nobody reads of him any more");
}
