//! What each event leads to, case by case.

mod trials;

use bootstate::{Record, ReleaseVersion, Slot, TRIAL_TRIES, TransitionError};

use crate::{
    Action, Allow, BEFORE_MAX, Before, Boot, BootId, Ending, Event, FAILURES_MAX, Failure, FormError, Moment,
    Origin, Outcome, Phase, Refusal, Request, Source, Target, Task, Then, Unsuitable, Upgrade, fixture,
};

const GATE_S: u32 = 300;

/// A node that does at once, and without fail, what it is told of BOOTSTATE.
struct Node {
    upgrade: Upgrade,
    record: Record,
    running: Slot,
    runs: u8,
    now: Moment,
}

fn author() -> String {
    "admin".to_owned()
}

fn request(number: u8) -> Request {
    Request {
        origin: Origin::Admin { author: author() },
        source: Source::Url("https://example.org".to_owned()),
        version: fixture::version(number),
        ending: Ending::Reboot,
        allow: Allow::default(),
    }
}

fn automatic(number: u8, until_s: Option<u64>) -> Request {
    Request { origin: Origin::Automatic { until_s }, source: Source::Configured, ..request(number) }
}

fn before() -> Before {
    Before { conditions: vec!["network".to_owned()], pods: vec!["default/web".to_owned()] }
}

impl Node {
    fn new() -> Self {
        let release = Target::of(Box::new(fixture::manifest(0)), Slot::A).release();
        let now = Moment { boot: BootId("0".to_owned()), since_boot_ms: 20_000, now_s: fixture::START_S };
        let mut node =
            Self { upgrade: Upgrade::new(), record: Record::new(release), running: Slot::A, runs: 0, now };
        assert_eq!(node.machined_starts(), []);
        node
    }

    fn step(&mut self, event: Event) -> Result<Vec<Action>, Refusal> {
        self.upgrade.step(&self.now, event)
    }

    fn answer(&mut self, event: impl FnOnce(Task) -> Event) -> Vec<Action> {
        let task = self.upgrade.task;
        self.step(event(task)).unwrap()
    }

    fn request(&mut self, request: Request) -> Result<Vec<Action>, Refusal> {
        self.step(Event::Request(Box::new(request)))
    }

    fn refusal(&mut self, request: Request) -> Unsuitable {
        match self.request(request) {
            Err(Refusal::Unsuitable(unsuitable)) => *unsuitable,
            other => panic!("{other:?}"),
        }
    }

    fn resolved(&mut self, number: u8) -> Vec<Action> {
        self.answer(|task| Event::Resolved { task, manifest: Box::new(fixture::manifest(number)) })
    }

    fn verified(&mut self) -> Vec<Action> {
        self.answer(|task| Event::Verified { task, before: before(), busy: false })
    }

    fn failed(&mut self, failure: Failure) -> Vec<Action> {
        self.answer(|task| Event::Failed { task, failure, reason: "no connection".to_owned() })
    }

    /// From a request to a slot that was read back.
    fn fetch(&mut self, request: Request, number: u8) -> Vec<Action> {
        self.request(request).unwrap();
        self.resolved(number);
        self.answer(|task| Event::Fetched { task });
        self.verified()
    }

    fn record(&mut self, change: impl FnOnce(&mut Record) -> Result<(), TransitionError>) -> Vec<Action> {
        change(&mut self.record).unwrap();
        let record = Box::new(self.record.clone());
        self.answer(|task| Event::Recorded { task, record })
    }

    /// Up to the order to reboot, or the wait for a reboot.
    fn arm(&mut self, request: Request, number: u8) -> Vec<Action> {
        let actions = self.fetch(request, number);
        let [Action::Persist, Action::BeginTrial { release, .. }] = actions[..] else {
            panic!("{actions:?}")
        };
        let running = self.running;
        self.record(|record| record.begin_trial(running, release))
    }

    fn machined_starts(&mut self) -> Vec<Action> {
        let (running, record, installed) = (self.running, self.record.clone(), fixture::installed(self.runs));
        let text = self.upgrade.encode().unwrap();
        self.upgrade = Upgrade::decode(&text).unwrap();
        self.step(Event::Boot(Box::new(Boot { running, record, installed, gate_s: GATE_S }))).unwrap()
    }

    /// A boot of this slot, in which machined gets to run.
    fn boots(&mut self, slot: Slot, number: u8) -> Vec<Action> {
        let boot: u32 = self.now.boot.0.parse().unwrap();
        self.now = Moment { boot: BootId((boot + 1).to_string()), since_boot_ms: 20_000, ..self.now };
        (self.running, self.runs) = (slot, number);
        self.machined_starts()
    }

    /// The slot that does not run, with other tries left than it was given.
    fn tries_run_out(&mut self) {
        let mut record = self.record.encode();
        let tries = [237, 365][usize::from(self.running == Slot::A)];
        assert_eq!(record[tries], TRIAL_TRIES);
        record[tries] = 0;
        let checksum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&record[..508]);
        record[508..].copy_from_slice(&checksum.to_le_bytes());
        self.record = Record::decode(&record).unwrap();
    }

    fn phase(&self) -> Option<&Phase> {
        self.upgrade.work().map(|work| &work.phase)
    }

    fn outcome(&self) -> Outcome {
        self.upgrade.last().unwrap().outcome
    }
}

#[test]
fn an_upgrade_from_begin_to_end() {
    let mut node = Node::new();
    let actions = node.request(Request { version: ReleaseVersion::UNKNOWN, ..request(0) }).unwrap();
    assert!(matches!(actions[..], [Action::Persist, Action::Resolve { .. }]), "{actions:?}");
    let actions = node.resolved(1);
    assert!(matches!(&actions[..], [Action::Note, Action::Fetch { target, .. }] if target.slot == Slot::B));
    let actions = node.answer(|task| Event::Fetched { task });
    assert!(matches!(actions[..], [Action::Note, Action::Verify { .. }]));
    let actions = node.verified();
    let [Action::Persist, Action::BeginTrial { release, .. }] = actions[..] else { panic!("{actions:?}") };
    assert_eq!(release, Target::of(Box::new(fixture::manifest(1)), Slot::B).release());
    let actions = node.record(|record| record.begin_trial(Slot::A, release));
    assert_eq!(actions, [Action::Note, Action::Reboot]);

    let actions = node.boots(Slot::B, 1);
    let [Action::Note, Action::StartGate { task, deadline_ms, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!((*task, *deadline_ms), (node.upgrade.task, 320_000));
    assert_eq!(actions[1], Action::StartGate { task: *task, deadline_ms: 320_000, before: before() });
    let actions = node.answer(|task| Event::GatePassed { task });
    assert!(matches!(actions[..], [Action::Confirm { slot: Slot::B, .. }]));
    assert_eq!(node.record(|record| record.confirm(Slot::B)), [Action::Note]);
    assert_eq!((node.phase(), node.outcome()), (None, Outcome::Confirmed));
    assert_eq!(node.machined_starts(), []);
}

#[test]
fn what_does_not_suit_the_node_is_refused() {
    let mut node = Node::new();
    let mut stops = |change: &dyn Fn(&mut crate::Manifest)| {
        node.request(request(1)).unwrap();
        let mut manifest = Box::new(fixture::manifest(1));
        change(&mut manifest);
        assert_eq!(node.answer(|task| Event::Resolved { task, manifest }), [Action::Note]);
        assert_eq!(node.phase(), None);
        node.upgrade.last().unwrap().reason.clone()
    };
    assert!(stops(&|manifest| manifest.version = fixture::version(2)).contains("was asked for"));
    assert!(stops(&|manifest| manifest.architecture = "aarch64".to_owned()).contains("aarch64"));
    assert!(stops(&|manifest| manifest.kubernetes.minor = 38).contains("Kubernetes 1.38.1"));
    assert_eq!(node.refusal(request(0)), Unsuitable::Runs { version: fixture::version(0) });
    (node.runs, node.record) = (1, node.record.clone());
    node.machined_starts();
    let (version, running) = (fixture::version(0), fixture::version(1));
    assert_eq!(node.refusal(request(0)), Unsuitable::Older { version, running });
}

#[test]
fn an_interrupted_download_goes_on_by_itself_unless_its_client_is_gone() {
    let mut node = Node::new();
    node.request(request(1)).unwrap();
    node.resolved(1);
    let actions = node.boots(Slot::A, 0);
    assert!(matches!(actions[..], [Action::Note, Action::Resolve { .. }]), "{actions:?}");
    let mut node = Node::new();
    node.request(Request { source: Source::Client, ..request(1) }).unwrap();
    node.resolved(1);
    assert_eq!(node.boots(Slot::A, 0), [Action::Note]);
    assert_eq!((node.phase(), node.outcome()), (None, Outcome::Stopped));
}

#[test]
fn failing_sources_are_tried_with_growing_pauses_and_given_up() {
    let mut node = Node::new();
    node.request(automatic(1, None)).unwrap();
    let mut pauses = Vec::new();
    for _ in 1..FAILURES_MAX {
        assert_eq!(node.failed(Failure::Passing), []);
        let wake_ms = node.upgrade.wake_ms(&node.now).unwrap();
        pauses.push((wake_ms - node.now.since_boot_ms) / 1000);
        node.now.since_boot_ms = wake_ms;
        assert!(matches!(node.step(Event::Tick).unwrap()[..], [Action::Resolve { .. }]));
    }
    assert_eq!(pauses[..9], [5, 10, 20, 40, 80, 160, 320, 600, 600]);
    assert_eq!(node.failed(Failure::Passing), [Action::Note]);
    assert_eq!((node.phase(), node.outcome()), (None, Outcome::Stopped));
    assert!(node.upgrade.deferred_until_s(&fixture::version(1)).is_some());

    node.request(request(1)).unwrap();
    for _ in 0..3 * FAILURES_MAX {
        node.failed(Failure::Progressed);
        node.now.since_boot_ms += 5000;
        node.step(Event::Tick).unwrap();
    }
    assert_eq!(node.phase(), Some(&Phase::Resolving));
    node.failed(Failure::Final);
    assert_eq!(node.phase(), None);
}

#[test]
fn requests_that_end_early() {
    let mut node = Node::new();
    assert_eq!(node.fetch(Request { ending: Ending::Write, ..request(1) }, 1), [Action::Persist]);
    assert_eq!((node.phase(), node.outcome()), (None, Outcome::Written));
    let window_s = Some(node.now.now_s);
    assert_eq!(node.fetch(automatic(1, window_s), 1), [Action::Persist]);
    assert!(node.upgrade.last().unwrap().reason.contains("window"));
    node.request(automatic(1, None)).unwrap();
    node.resolved(1);
    node.answer(|task| Event::Fetched { task });
    let busy = node.answer(|task| Event::Verified { task, before: before(), busy: true });
    assert_eq!((busy, node.outcome()), (vec![Action::Persist], Outcome::Written));
    assert_eq!(node.arm(Request { ending: Ending::Stage, ..request(1) }, 1), [Action::Note]);
    assert_eq!(node.machined_starts(), []);
    let seen = Before { pods: vec!["default/later".to_owned(); 2 * BEFORE_MAX], ..before() };
    assert_eq!(node.step(Event::Seen(seen)), Ok(vec![Action::Note]));
    let actions = node.boots(Slot::B, 1);
    let [Action::Note, Action::StartGate { before, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(before.pods.len(), BEFORE_MAX);
}

#[test]
fn a_staged_release_gives_way_after_bootstate_forgot_it() {
    let mut node = Node::new();
    node.arm(Request { ending: Ending::Stage, ..request(1) }, 1);
    let actions = node.request(request(2)).unwrap();
    let expected =
        matches!(actions[..], [Action::Persist, Action::Stop, Action::EndTrial { slot: Slot::B, .. }]);
    assert!(expected, "{actions:?}");
    assert_eq!(node.phase(), Some(&Phase::EndingTrial { then: Then::Resolve }));
    assert_eq!(node.request(request(1)), Err(Refusal::Recording));
    // BOOTSTATE is written until that succeeds.
    let refused = |task| Event::RecordFailed { task, reason: "the disk refuses".to_owned() };
    assert_eq!(node.answer(refused), []);
    node.now.since_boot_ms = node.upgrade.wake_ms(&node.now).unwrap();
    assert!(matches!(node.step(Event::Tick).unwrap()[..], [Action::EndTrial { .. }]));
    assert!(matches!(node.record(|record| record.fail(Slot::B))[..], [Action::Resolve { .. }]));
}

#[test]
fn an_admin_cancels_what_has_not_begun_to_reboot() {
    let mut node = Node::new();
    let cancel = || Event::Cancel { author: author() };
    assert_eq!(node.step(cancel()), Err(Refusal::NothingToCancel));
    node.request(request(1)).unwrap();
    assert_eq!(node.step(cancel()), Ok(vec![Action::Persist, Action::Stop]));
    assert_eq!((node.phase(), node.outcome()), (None, Outcome::Cancelled));
    node.arm(Request { ending: Ending::Stage, ..request(1) }, 1);
    let actions = node.step(cancel()).unwrap();
    assert!(matches!(actions[..], [Action::Persist, Action::EndTrial { slot: Slot::B, .. }]));
    assert_eq!(node.record(|record| record.fail(Slot::B)), [Action::Note]);
    assert_eq!((node.upgrade.failed(), node.outcome()), (&[][..], Outcome::Cancelled));
    node.arm(request(1), 1);
    assert_eq!(node.step(cancel()), Err(Refusal::Rebooting));
    node.boots(Slot::B, 1);
    assert_eq!(node.step(cancel()), Err(Refusal::OnTrial { version: fixture::version(1) }));
}

#[test]
fn automatic_work_gives_way_to_an_admin_and_never_the_other_way() {
    let mut node = Node::new();
    node.request(automatic(1, None)).unwrap();
    node.resolved(1);
    let actions = node.request(request(2)).unwrap();
    assert!(matches!(actions[..], [Action::Persist, Action::Stop, Action::Resolve { .. }]));
    let busy = Refusal::Busy { what: "an upgrade to 1.2.0".to_owned() };
    assert_eq!(node.request(automatic(1, None)), Err(busy.clone()));
    assert_eq!(node.request(request(1)), Err(busy));
}

#[test]
fn nothing_is_taken_before_the_boot_is_known() {
    let mut upgrade = Upgrade::new();
    let now = Node::new().now;
    assert_eq!(upgrade.step(&now, Event::Tick), Err(Refusal::Starting));
    assert_eq!(upgrade, Upgrade::default());
}

#[test]
fn the_form_holds_everything_and_tells_damage() {
    let mut node = Node::new();
    node.fetch(request(1), 1);
    let text = node.upgrade.encode().unwrap();
    let stored = Upgrade { node: None, ..node.upgrade.clone() };
    assert_eq!(Upgrade::decode(&text).unwrap(), stored);
    assert!(text.starts_with("{\"version\":1,\"checksum\":\"") && text.ends_with("}\n"));
    let damaged = text.replace("1.1.0", "1.1.1");
    assert!(matches!(Upgrade::decode(&damaged), Err(FormError::Checksum { .. })));
    let newer = text.replace("{\"version\":1", "{\"version\":2");
    assert!(matches!(Upgrade::decode(&newer), Err(FormError::Version { version: 2 })));
    for end in 0..text.trim_end().len() {
        assert!(matches!(Upgrade::decode(&text[..end]), Err(FormError::Json { .. })));
    }
}
