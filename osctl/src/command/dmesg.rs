//! `osctl dmesg`

use proto::log::v1::{LogRecord, ReadKernelRequest, ReadKernelResponse, ReadRecordsRequest};
use serde::Serialize;

use super::{Session, logs, until_interrupted};
use crate::cli::logs::{Dmesg, Follow, WhichBoot};
use crate::failure::Failure;
use crate::output::{self, Format};

const MICROSECONDS: u64 = 1_000_000;
const WHAT: &str = "cannot read the kernel's log";
/// What the node calls the kernel's log beside those of services.
const SOURCE: &str = "kernel";

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

pub async fn run(session: &Session, arguments: Dmesg) -> Result<(), Failure> {
    let Follow { follow, tail } = arguments.follow;
    let format = session.format().unwrap_or(Format::Table);
    match arguments.boot.which() {
        WhichBoot::Unsaid => present(session, format, ReadKernelRequest { follow, tail_lines: tail }).await,
        WhichBoot::List => {
            Err(Failure::usage("dmesg prints one boot").hint("`osctl logs --boot list` lists them"))
        }
        WhichBoot::One(boot) => {
            let request = ReadRecordsRequest {
                source: SOURCE.to_owned(),
                boot,
                tail_lines: tail,
                follow,
                ..ReadRecordsRequest::default()
            };
            let node = session.connect().await?;
            logs::each(&node, WHAT, request, |record| {
                output::print_item(format, &KernelLine::from(record), text)
            })
            .await
        }
    }
}

/// What the kernel itself still knows of this boot.
async fn present(session: &Session, format: Format, request: ReadKernelRequest) -> Result<(), Failure> {
    let node = session.connect().await?;
    let mut stream = node.call(WHAT, node.log().read_kernel(request)).await?;
    until_interrupted(async {
        while let Some(line) = stream.message().await.map_err(|status| node.explain(WHAT, &status))? {
            output::print_item(format, &KernelLine::from(line), text)?;
        }
        Ok(())
    })
    .await
}

impl From<ReadKernelResponse> for KernelLine {
    fn from(line: ReadKernelResponse) -> KernelLine {
        let severity = if line.severity < 8 { logs::severity(line.severity) } else { None };
        KernelLine {
            sequence: line.sequence,
            timestamp_us: line.timestamp_us,
            severity: severity.unwrap_or("unknown"),
            facility: line.facility,
            message: line.message,
        }
    }
}

impl From<LogRecord> for KernelLine {
    fn from(record: LogRecord) -> KernelLine {
        KernelLine {
            sequence: record.position,
            timestamp_us: record.timestamp_us,
            severity: record.priority.and_then(logs::severity).unwrap_or("unknown"),
            facility: record.priority.map(logs::facility).unwrap_or_default(),
            message: String::from_utf8_lossy(&record.message).into_owned(),
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

    #[test]
    fn kept_lines_look_the_same() {
        let record = LogRecord {
            sequence: 700,
            position: 9,
            timestamp_us: 5_000_123,
            priority: Some(8 + 3),
            message: b"cairn: up".to_vec(),
            ..LogRecord::default()
        };
        let line = KernelLine::from(record);
        assert_eq!(text(&line), "[    5.000123] cairn: up\n");
        assert_eq!((line.sequence, line.severity, line.facility), (9, "error", 1));
    }
}
