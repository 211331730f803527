//! The QEMU tests, several at once: each in a process of its own with its own log, those that took longest first.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    build, cache,
    report::{say, seconds},
};

/// More than a node's 2 GiB, its QEMU included.
const MEMORY_PER_TEST_KIB: u64 = 3 << 20;
/// A test that was never seen takes its turn before all that were.
const UNKNOWN: f64 = f64::MAX;

/// One test of one binary.
struct Test {
    binary: PathBuf,
    name: String,
}

/// Within what to stay.
pub struct Limits {
    /// Tests at a time.
    pub jobs: Option<usize>,
    /// When no further test is begun.
    pub deadline: Option<Instant>,
}

/// What came of one.
struct Outcome {
    name: String,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Passed(Duration),
    Failed,
    NotBegun,
}

/// Runs those whose name contains the filter, each with these variables. Logs go to `logs`.
pub fn run(
    repository: &Path,
    filter: Option<&str>,
    variables: &[(&str, &Path)],
    logs: &Path,
    limits: &Limits,
) -> Result<()> {
    let mut tests = Vec::new();
    for binary in binaries(repository)? {
        let names = names(&binary)?.into_iter().filter(|name| filter.is_none_or(|part| name.contains(part)));
        tests.extend(names.map(|name| Test { binary: binary.clone(), name }));
    }
    let mut durations = Durations::load()?;
    // Longest first, so that none is left to run alone at the end.
    tests.sort_by(|a, b| durations.of(&b.name).total_cmp(&durations.of(&a.name)));
    let count = tests.len();
    if count == 0 {
        bail!("no QEMU test has {:?} in its name", filter.unwrap_or_default());
    }
    let jobs = limits.jobs.unwrap_or_else(affordable).clamp(1, count);
    say(&format!("  {count} tests, {jobs} at a time"));
    let outcomes = side_by_side(tests.into_iter().enumerate().collect(), jobs, |(index, test)| {
        // The first ones are begun in any case: else a late run would pass without having seen the image.
        if index >= jobs && limits.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Outcome { name: test.name, verdict: Verdict::NotBegun });
        }
        one(test, variables, logs)
    })?;
    outcomes.iter().for_each(|outcome| durations.note(outcome));
    durations.save()?;
    let with = |verdict: Verdict| -> Vec<&str> {
        let those = outcomes.iter().filter(|outcome| outcome.verdict == verdict);
        those.map(|outcome| outcome.name.as_str()).collect()
    };
    let (failed, not_begun) = (with(Verdict::Failed), with(Verdict::NotBegun));
    if !not_begun.is_empty() {
        say(&format!("  not begun, for lack of time: {}", not_begun.join(", ")));
    }
    let passed = count - failed.len() - not_begun.len();
    say(&format!("{passed} passed, {} failed, {} skipped", failed.len(), not_begun.len()));
    if !failed.is_empty() {
        bail!("{} of {count} failed: {}", failed.len(), failed.join(", "));
    }
    Ok(())
}

/// As many as processors, as far as memory reaches.
fn affordable() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available_kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let fitting = available_kib.map_or(1, |kib| kib / MEMORY_PER_TEST_KIB);
    processors.min(usize::try_from(fitting).unwrap_or(usize::MAX))
}

/// Builds the test binaries of the test bed.
fn binaries(repository: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("cargo")
        .args(["test", "--locked", "--package", "testbed", "--test", "*", "--no-run"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(repository)
        .env("CARGO_TARGET_DIR", build::host_target()?)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the QEMU tests do not compile");
    }
    let messages = String::from_utf8(output.stdout)?;
    let executable = |line: &str| -> Option<PathBuf> {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_test = message["target"]["kind"][0] == "test" && message["profile"]["test"] == true;
        is_test.then(|| message["executable"].as_str().map(PathBuf::from))?
    };
    Ok(messages.lines().filter_map(executable).collect())
}

fn names(binary: &Path) -> Result<Vec<String>> {
    let output = Command::new(binary).args(["--list", "--format", "terse"]).output()?;
    let listed = String::from_utf8(output.stdout)?;
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

fn side_by_side<T: Send, O: Send>(
    work: Vec<T>,
    jobs: usize,
    one: impl Fn(T) -> Result<O> + Sync,
) -> Result<Vec<O>> {
    let (queue, done) = (Mutex::new(VecDeque::from(work)), Mutex::new(Vec::new()));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(item) = next() {
                    let outcome = one(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect()
}

fn one(test: Test, variables: &[(&str, &Path)], logs: &Path) -> Result<Outcome> {
    let path = logs.join(format!("{}.log", test.name));
    let log = File::create(&path)?;
    let started = Instant::now();
    let status = Command::new(&test.binary)
        .args(["--exact", &test.name, "--nocapture"])
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .with_context(|| format!("cannot run {}", test.binary.display()))?;
    let elapsed = started.elapsed();
    let said_verdict = if status.success() { "ok" } else { "FAILED" };
    let said = fs::read_to_string(&path).unwrap_or_default();
    // In one piece: others report too.
    say(format!("  {said_verdict} {}: {}\n{}", seconds(elapsed), test.name, indented(&said)).trim_end());
    let verdict = if status.success() { Verdict::Passed(elapsed) } else { Verdict::Failed };
    Ok(Outcome { name: test.name, verdict })
}

/// What a test said, without what the test harness says around it.
fn indented(said: &str) -> String {
    let is_frame = |line: &str| {
        matches!(line, "" | "ok" | "FAILED" | "running 1 test") || line.starts_with("test result:")
    };
    // The harness's line on the test ends where the test begins to speak.
    let lines = said.lines().map(|line| line.split_once(" ... ").map_or(line, |(_, rest)| rest).trim_end());
    lines.filter(|line| !is_frame(line)).map(|line| format!("      {line}\n")).collect()
}

/// How long tests took when they last passed, kept across runs.
struct Durations {
    path: PathBuf,
    seconds: BTreeMap<String, f64>,
}

impl Durations {
    fn load() -> Result<Self> {
        let path = cache::root()?.join("test-durations.json");
        let text = fs::read(&path).unwrap_or_default();
        Ok(Self { path, seconds: serde_json::from_slice(&text).unwrap_or_default() })
    }

    fn of(&self, name: &str) -> f64 {
        self.seconds.get(name).copied().unwrap_or(UNKNOWN)
    }

    /// A test that was not begun takes its turn before all others the next time.
    fn note(&mut self, outcome: &Outcome) {
        match outcome.verdict {
            Verdict::Passed(elapsed) => {
                self.seconds.insert(outcome.name.clone(), elapsed.as_secs_f64());
            }
            Verdict::NotBegun => {
                self.seconds.remove(&outcome.name);
            }
            Verdict::Failed => {}
        }
    }

    fn save(&self) -> Result<()> {
        let mut file =
            tempfile::NamedTempFile::new_in(self.path.parent().context("the cache is no folder")?)?;
        serde_json::to_writer_pretty(&mut file, &self.seconds)?;
        file.persist(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_of_work_is_done_once_and_errors_are_kept() {
        let mut done = side_by_side((0..100).collect(), 7, Ok).unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..100).collect::<Vec<i32>>());
        let failing = |number: i32| if number == 3 { bail!("three") } else { Ok(number) };
        assert_eq!(side_by_side((0..5).collect(), 2, failing).unwrap_err().to_string(), "three");
    }

    #[test]
    fn what_was_not_begun_comes_first_the_next_time() {
        let mut durations = Durations { path: PathBuf::new(), seconds: BTreeMap::new() };
        let mut note = |name: &str, verdict| {
            durations.note(&Outcome { name: name.to_owned(), verdict });
            durations.seconds.get(name).copied()
        };
        assert_eq!(note("a", Verdict::Passed(Duration::from_secs(7))), Some(7.0));
        assert_eq!(note("a", Verdict::Failed), Some(7.0));
        assert_eq!(note("a", Verdict::NotBegun), None);
    }

    #[test]
    fn only_what_the_test_said_is_shown() {
        let said = "\nrunning 1 test\ntest a_name ... seed 7\nfound 3\nok\n\ntest result: ok. 1 passed\n\n";
        assert_eq!(indented(said), "      seed 7\n      found 3\n");
    }
}
