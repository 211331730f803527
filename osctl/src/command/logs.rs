//! `osctl logs`, `osctl dmesg`

use proto::log::v1::read_request::Source;
use proto::log::v1::{ReadKernelRequest, ReadKernelResponse, ReadRequest, ReadResponse};
use serde::Serialize;
use tonic::Streaming;

use super::{Session, get, services, until_interrupted};
use crate::cli::{Follow, Logs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::log_source::{LogSource, resolve_pair};
use crate::node::Node;
use crate::output::{self, Format};

const PODS: &str = "pod";
const MICROSECONDS: u64 = 1_000_000;
/// Names of the severities of RFC 5424, section 6.2.1, from 0 on.
const SEVERITIES: [&str; 8] =
    ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];

pub async fn run(session: &Session, arguments: Logs) -> Result<(), Failure> {
    if matches!(session.format(), Some(Format::Json | Format::Yaml)) {
        return Err(Failure::usage("logs are printed as they were written").hint("leave -o away"));
    }
    let node = session.connect().await?;
    let source = resolve(&node, arguments.source).await?;
    let Follow { follow, tail } = arguments.follow;
    let request = ReadRequest { source: Some(source.clone()), follow, tail_lines: tail };
    match copy(&node, request).await {
        Err(failure) if failure.exit() == Exit::NotFound => {
            Err(with_known_sources(&node, &source, failure).await)
        }
        outcome => outcome,
    }
}

async fn copy(node: &Node, request: ReadRequest) -> Result<(), Failure> {
    let what = "cannot read the log";
    let mut stream: Streaming<ReadResponse> = node.call(what, node.log().read(request)).await?;
    until_interrupted(async {
        while let Some(part) = stream.message().await.map_err(|status| node.explain(what, &status))? {
            output::write(&part.data)?;
        }
        Ok(())
    })
    .await
}

async fn resolve(node: &Node, source: LogSource) -> Result<Source, Failure> {
    Ok(match source {
        LogSource::Service(name) => Source::Service(name),
        LogSource::Container(container) => Source::Container(container),
        LogSource::Pair(first, second) => {
            let pods = get::resources(node, PODS).await?;
            let names: Vec<(String, String)> = pods
                .iter()
                .map(|pod| (pod.text("namespace").to_owned(), pod.text("name").to_owned()))
                .collect();
            Source::Container(resolve_pair(&first, &second, &names))
        }
    })
}

/// Adds to "no such log" which there are.
async fn with_known_sources(node: &Node, source: &Source, failure: Failure) -> Failure {
    let (kind, plural) = match source {
        Source::Service(_) => (services::KIND, "services"),
        Source::Container(_) => (PODS, "pods"),
    };
    match get::resources(node, kind).await {
        Ok(known) => failure.hint(get::known_ids(plural, known.iter().map(|resource| resource.id.as_str()))),
        // The first failure is what the user asked about.
        Err(_) => failure,
    }
}

/// A line of the kernel's log.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KernelLine {
    sequence: u64,
    timestamp_us: u64,
    severity: &'static str,
    facility: u32,
    message: String,
}

pub async fn run_kernel(session: &Session, Follow { follow, tail }: Follow) -> Result<(), Failure> {
    let node = session.connect().await?;
    let what = "cannot read the kernel's log";
    let request = ReadKernelRequest { follow, tail_lines: tail };
    let mut stream = node.call(what, node.log().read_kernel(request)).await?;
    let format = session.format().unwrap_or(Format::Table);
    until_interrupted(async {
        while let Some(line) = stream.message().await.map_err(|status| node.explain(what, &status))? {
            output::print_item(format, &KernelLine::from(line), text)?;
        }
        Ok(())
    })
    .await
}

impl From<ReadKernelResponse> for KernelLine {
    fn from(line: ReadKernelResponse) -> KernelLine {
        let severity = usize::try_from(line.severity).ok().and_then(|severity| SEVERITIES.get(severity));
        KernelLine {
            sequence: line.sequence,
            timestamp_us: line.timestamp_us,
            severity: severity.copied().unwrap_or("unknown"),
            facility: line.facility,
            message: line.message,
        }
    }
}

/// As dmesg(1) prints it.
fn text(line: &KernelLine) -> String {
    let (seconds, fraction) = (line.timestamp_us / MICROSECONDS, line.timestamp_us % MICROSECONDS);
    format!("[{seconds:5}.{fraction:06}] {}\n", line.message.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_lines_look_like_dmesg() {
        let line = ReadKernelResponse {
            timestamp_us: 5_000_123,
            severity: 3,
            facility: 0,
            sequence: 9,
            message: "cairn: up\n".into(),
        };
        let line = KernelLine::from(line);
        assert_eq!(text(&line), "[    5.000123] cairn: up\n");
        assert_eq!(line.severity, "error");
        assert_eq!(
            KernelLine::from(ReadKernelResponse { severity: 99, ..Default::default() }).severity,
            "unknown"
        );
    }
}
