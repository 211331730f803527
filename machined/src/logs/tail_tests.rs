use std::io::Write as _;

use proptest::prelude::*;

use super::*;

/// PID 1's side of a log.
struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    fn create(folder: &Path, name: &str) -> Self {
        let path = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&path).unwrap();
        Self { path, file }
    }

    fn write(&mut self, text: &str) {
        self.file.write_all(text.as_bytes()).unwrap();
    }

    fn rotate(&mut self) {
        fs::rename(&self.path, older(&self.path)).unwrap();
        self.file = File::options().create(true).append(true).open(&self.path).unwrap();
    }
}

fn look(tails: &mut Tails) -> Vec<String> {
    let mut seen = Vec::new();
    // So little at once that lines are cut everywhere.
    while tails
        .read(7, |line| seen.push(format!("{}: {}", line.name, String::from_utf8_lossy(line.text))))
        .unwrap()
    {}
    seen
}

#[tokio::test]
async fn everything_is_read_once_from_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let mut kubelet = Log::create(folder.path(), "kubelet");
    kubelet.write("older\n");
    kubelet.rotate();
    kubelet.write("old\n");
    let mut tails = Tails::open(folder.path()).unwrap();
    assert_eq!(look(&mut tails), ["kubelet: older", "kubelet: old"]);
    kubelet.write("new\n\nha");
    tails.changed().await.unwrap();
    assert_eq!(look(&mut tails), ["kubelet: new", "kubelet: "]);
    let mut apid = Log::create(folder.path(), "apid");
    apid.write("first\n");
    kubelet.write("lf\n");
    tails.changed().await.unwrap();
    assert_eq!(look(&mut tails), ["apid: first", "kubelet: half"]);
}

#[tokio::test]
async fn a_line_without_end_comes_in_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let mut tails = Tails::open(folder.path()).unwrap();
    let mut log = Log::create(folder.path(), "x");
    log.write(&"a".repeat(3 * LINE_MAX_BYTES));
    log.write("\u{0}\u{1b}[1mb\n");
    let seen = look(&mut tails);
    assert!(seen.iter().all(|line| line.len() <= LINE_MAX_BYTES + "x: ".len()));
    assert_eq!(seen.concat().matches('a').count(), 3 * LINE_MAX_BYTES);
    assert!(seen.last().unwrap().ends_with("\u{0}\u{1b}[1mb"));
}

#[derive(Clone, Debug)]
enum Step {
    Write(u8),
    Rotate,
    Look,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u8..30).prop_map(Step::Write),
        1 => Just(Step::Rotate),
        2 => Just(Step::Look),
    ];
    prop::collection::vec(step, 0..40)
}

/// Lines with where they end.
fn places(folder: &Path, bytes: usize) -> Vec<(u64, u64, Vec<u8>)> {
    let mut tails = Tails::open(folder).unwrap();
    let mut seen = Vec::new();
    while tails.read(bytes, |line| seen.push((line.origin, line.position, line.text.to_vec()))).unwrap() {}
    seen
}

#[tokio::test]
async fn lines_end_at_the_same_places_however_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::create(folder.path(), "x");
    for length in [LINE_MAX_BYTES - 1, LINE_MAX_BYTES, LINE_MAX_BYTES + 1, 0, 3 * LINE_MAX_BYTES, 5] {
        log.write(&"x".repeat(length));
        log.write("\n");
    }
    let at_once = places(folder.path(), usize::MAX);
    let lengths: Vec<usize> = at_once.iter().map(|(_, _, text)| text.len()).collect();
    let max = LINE_MAX_BYTES;
    assert_eq!(lengths, [max - 1, max, max, 1, 0, max, max, max, 5]);
    assert_eq!(at_once.last().unwrap().1, log.file.metadata().unwrap().len());
    for bytes in [1, 100, LINE_MAX_BYTES, LINE_MAX_BYTES + 1] {
        assert_eq!(places(folder.path(), bytes), at_once);
    }
}

proptest! {
    /// Numbers, one a line and cut at any place, come once each and in order, with up to two rotations between looks.
    #[test]
    fn rotation_loses_nothing(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::create(folder.path(), "x");
        let mut tails = Tails::open(folder.path()).unwrap();
        let text: String = (0..1200).map(|number| format!("{number}\n")).collect();
        let (mut written, mut rotations) = (0, 0);
        let mut seen = Vec::new();
        for step in &steps {
            match step {
                Step::Write(length) => {
                    let end = written + usize::from(*length);
                    log.write(&text[written..end]);
                    written = end;
                }
                Step::Rotate if rotations < 2 => {
                    log.rotate();
                    rotations += 1;
                }
                Step::Rotate => {}
                Step::Look => {
                    seen.extend(look(&mut tails));
                    rotations = 0;
                }
            }
        }
        log.write(&text[written..]);
        seen.extend(look(&mut tails));
        let expected: Vec<String> = (0..1200).map(|number| format!("x: {number}")).collect();
        prop_assert_eq!(seen, expected);
    }
}
