//! Logs of a fake node, and what osctl makes of them.

use prost_types::Timestamp;
use proto::log::v1 as log;
use tokio_stream::{Stream, StreamExt as _, iter, pending};
use tonic::{Request, Response, Status};

use crate::rig::Rig;
use crate::services::{Answer, Services, Streamed};

#[tonic::async_trait]
impl log::log_service_server::LogService for Services {
    type ReadStream = Streamed<log::ReadResponse>;
    type ReadKernelStream = Streamed<log::ReadKernelResponse>;

    async fn read(&self, request: Request<log::ReadRequest>) -> Answer<Self::ReadStream> {
        let log::ReadRequest { source, follow, tail_lines } = request.into_inner();
        let lines = match source {
            Some(log::read_request::Source::Service(name)) if name == "kubelet" => {
                vec!["one\n".to_owned(), "two\n".to_owned()]
            }
            Some(log::read_request::Source::Container(source)) if source.pod == "hello" => {
                vec![format!("{}|{}|{}\n", source.namespace, source.pod, source.container)]
            }
            _ => return Err(Status::not_found("no such log")),
        };
        let skipped = tail_lines.map_or(0, |tail| lines.len().saturating_sub(tail as usize));
        let parts =
            lines.into_iter().skip(skipped).map(|line| Ok(log::ReadResponse { data: line.into_bytes() }));
        Ok(Response::new(followed(iter(parts.collect::<Vec<_>>()), follow)))
    }

    async fn read_kernel(&self, request: Request<log::ReadKernelRequest>) -> Answer<Self::ReadKernelStream> {
        let line = log::ReadKernelResponse {
            timestamp_us: 1_500_000,
            severity: 6,
            facility: 0,
            sequence: 1,
            message: "Linux version 6.12.1".into(),
        };
        Ok(Response::new(followed(iter([Ok(line)]), request.get_ref().follow)))
    }

    type ReadRecordsStream = Streamed<log::ReadRecordsResponse>;

    /// The first line repeats the question.
    async fn read_records(
        &self,
        request: Request<log::ReadRecordsRequest>,
    ) -> Answer<Self::ReadRecordsStream> {
        let request = request.into_inner();
        let log::ReadRecordsRequest { source, boot, since, until, grep, tail_lines, .. } = &request;
        if source == "nope" {
            return Err(Status::not_found("no such log"));
        }
        let seconds = |time: &Option<Timestamp>| time.map(|time| time.seconds);
        let (ago, until_ago) = (request.since_ago_s, request.until_ago_s);
        let asked = format!(
            "{source} boot={boot} since={:?}/{ago:?} until={:?}/{until_ago:?} grep={grep} tail={tail_lines:?}",
            seconds(since),
            seconds(until)
        );
        let record = |sequence, priority, message: &str| log::LogRecord {
            sequence,
            time: Some(Timestamp { seconds: 1_767_323_045, nanos: 250_000_000 }),
            boot_id: "3f1c0a52-77a1-4b0e-9a55-0123456789ab".into(),
            timestamp_us: 1_500_000,
            priority,
            position: 12,
            message: message.as_bytes().to_vec(),
        };
        let records = vec![record(7, Some(30), &asked), record(9, None, "two")];
        let answer = Ok(log::ReadRecordsResponse { records });
        Ok(Response::new(followed(iter([answer]), request.follow)))
    }

    async fn list_sources(&self, _: Request<log::ListSourcesRequest>) -> Answer<log::ListSourcesResponse> {
        let at = |seconds| Some(Timestamp { seconds, nanos: 5_000 });
        let source = log::LogSource {
            name: "kubelet".into(),
            lines: 1200,
            stored_bytes: 70_000,
            earliest: at(1_767_323_045),
            latest: at(1_767_323_099),
        };
        Ok(Response::new(log::ListSourcesResponse { sources: vec![source] }))
    }

    async fn list_boots(&self, _: Request<log::ListBootsRequest>) -> Answer<log::ListBootsResponse> {
        let boot = |offset| log::Boot {
            boot_id: "3f1c0a52-77a1-4b0e-9a55-0123456789ab".into(),
            offset,
            earliest: Some(Timestamp { seconds: 1_767_323_045, nanos: 0 }),
            latest: None,
            lines: 40,
        };
        Ok(Response::new(log::ListBootsResponse { boots: vec![boot(-1), boot(0)] }))
    }

    async fn list_crashes(&self, _: Request<log::ListCrashesRequest>) -> Answer<log::ListCrashesResponse> {
        let crash = log::Crash {
            sequence: 77,
            time: Some(Timestamp { seconds: 1_767_323_045, nanos: 0 }),
            who: "kernel".into(),
            reason: "Panic".into(),
            boot_id: String::new(),
            summary: "Kernel panic - not syncing: NMI".into(),
            text: "<6>[    1.0] before\n<0>[    1.1] Kernel panic - not syncing: NMI \u{1b}[2J\n".into(),
        };
        Ok(Response::new(log::ListCrashesResponse { crashes: vec![crash] }))
    }
}

fn followed<T: Send + 'static>(
    parts: impl Stream<Item = Result<T, Status>> + Send + 'static,
    follow: bool,
) -> Streamed<T> {
    if follow { Box::pin(parts.chain(pending())) } else { Box::pin(parts) }
}

#[test]
fn lines_are_asked_for_by_boot_time_and_pattern() {
    let rig = Rig::adopted();
    let first = |arguments: &[&str]| rig.run(arguments).ok().lines().next().unwrap().to_owned();
    for (arguments, expected) in [
        (
            &["logs", "kubelet", "--boot", "-1"][..],
            "kubelet boot=-1 since=None/None until=None/None grep= tail=None",
        ),
        (
            &["logs", "audit", "--previous-boot", "--tail", "3"],
            "audit boot=-1 since=None/None until=None/None grep= tail=Some(3)",
        ),
        (
            &["logs", "kubelet", "--since", "2h", "--until", "2026-01-02T03:04:05Z", "--grep", "^E.*x"],
            "kubelet boot= since=None/Some(7200) until=Some(1767323045)/None grep=^E.*x tail=None",
        ),
    ] {
        assert_eq!(first(arguments), expected);
    }
    rig.run(&["logs", "hello/web", "--since", "2h"]).fails(2, &["containers", "--since"]);
    rig.run(&["logs", "--tail", "3"]).fails(2, &["whose log?"]);
    rig.run(&["logs", "nope", "--grep", "x"]).fails(6, &["the services are: apid, kubelet"]);
}

#[test]
fn lines_as_objects() {
    let rig = Rig::adopted();
    let out = rig.run(&["logs", "kubelet", "-o", "json"]).ok();
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["severity"], "info");
    assert_eq!(lines[0]["time"], "2026-01-02T03:04:05.250Z");
    assert_eq!((&lines[1]["message"], &lines[1]["severity"]), (&"two".into(), &serde_json::Value::Null));
    assert_eq!((&lines[1]["source"], &lines[1]["sequence"]), (&"kubelet".into(), &9.into()));
}

#[test]
fn sources_boots_and_crashes_are_listed() {
    let rig = Rig::adopted();
    let table = rig.run(&["logs"]).ok();
    assert!(table.starts_with("SOURCE    LINES   SIZE     EARLIEST"), "{table}");
    assert!(
        table.contains("kubelet   1200    69 KiB   2026-01-02T03:04:05Z   2026-01-02T03:04:59Z"),
        "{table}"
    );
    assert_eq!(rig.json(&["logs", "-o", "json"])["items"][0]["storedBytes"], 70_000);
    let table = rig.run(&["logs", "--boot", "list"]).ok();
    assert!(table.contains("-1     3f1c0a52-77a1-4b0e-9a55-0123456789ab   40"), "{table}");
    let table = rig.run(&["crashes"]).ok();
    assert!(
        table.contains("77   2026-01-02T03:04:05Z   kernel   Panic    Kernel panic - not syncing: NMI"),
        "{table}"
    );
    let text = rig.run(&["crashes", "77"]).ok();
    assert_eq!(text, "<6>[    1.0] before\n<0>[    1.1] Kernel panic - not syncing: NMI  [2J\n");
    rig.run(&["crashes", "78"]).fails(6, &["there is no crash 78"]);
}

#[test]
fn the_kernels_log_of_an_earlier_boot_looks_like_that_of_this_one() {
    let rig = Rig::adopted();
    let out = rig.run(&["dmesg", "--previous-boot"]).ok();
    assert!(out.starts_with("[    1.500000] kernel boot=-1 "), "{out}");
    let out = rig.run(&["dmesg", "--boot", "-2", "-o", "json"]).ok();
    let line: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!((&line["sequence"], &line["facility"]), (&12.into(), &3.into()));
    rig.run(&["dmesg", "--boot", "list"]).fails(2, &["osctl logs --boot list"]);
}
