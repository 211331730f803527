//! `osctl logs`

use proto::log::v1::read_request::Source;
use proto::log::v1::{
    ListBootsRequest, ListSourcesRequest, LogRecord, ReadRecordsRequest, ReadRequest, ReadResponse,
};
use serde::Serialize;
use tonic::Streaming;

use super::{Session, get, services, until_interrupted};
use crate::cli::logs::{Follow, Logs, When, WhichBoot};
use crate::clock;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::log_source::{LogSource, resolve_pair};
use crate::node::Node;
use crate::output::{self, Format, Table};

const PODS: &str = "pod";
const WHAT: &str = "cannot read the log";
/// Names of the severities of RFC 5424, section 6.2.1, from 0 on.
const SEVERITIES: [&str; 8] =
    ["emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"];
const KIB: u64 = 1024;
/// A priority is facility times this plus severity.
const FACILITY: u32 = 8;

pub async fn run(session: &Session, arguments: Logs) -> Result<(), Failure> {
    if arguments.boot.which() == WhichBoot::List {
        return list_boots(session).await;
    }
    let is_narrowed = arguments.boot.which() != WhichBoot::Unsaid
        || arguments.since.is_some()
        || arguments.until.is_some()
        || arguments.grep.is_some();
    let is_structured = matches!(session.format(), Some(Format::Json | Format::Yaml));
    let Some(typed) = arguments.source.clone() else {
        let Follow { follow, tail } = arguments.follow;
        if is_narrowed || follow || tail.is_some() {
            return Err(Failure::usage("whose log?").hint("`osctl logs` lists them"));
        }
        return list_sources(session).await;
    };
    let node = session.connect().await?;
    let source = resolve(&node, typed).await?;
    let outcome = match &source {
        Source::Service(name) if is_narrowed || is_structured => {
            records(&node, request(name, &arguments), session.format()).await
        }
        Source::Container(_) if is_narrowed || is_structured => {
            return Err(Failure::usage(
                "logs of containers are printed as they were written, as far as the kubelet keeps them",
            )
            .hint("leave -o, --boot, --since, --until and --grep away"));
        }
        source => {
            let Follow { follow, tail } = arguments.follow;
            copy(&node, ReadRequest { source: Some(source.clone()), follow, tail_lines: tail }).await
        }
    };
    match outcome {
        Err(failure) if failure.exit() == Exit::NotFound => {
            Err(with_known_sources(&node, &source, failure).await)
        }
        outcome => outcome,
    }
}

async fn copy(node: &Node, request: ReadRequest) -> Result<(), Failure> {
    let mut stream: Streaming<ReadResponse> = node.call(WHAT, node.log().read(request)).await?;
    until_interrupted(async {
        while let Some(part) = stream.message().await.map_err(|status| node.explain(WHAT, &status))? {
            output::write(&part.data)?;
        }
        Ok(())
    })
    .await
}

fn request(name: &str, arguments: &Logs) -> ReadRecordsRequest {
    let Follow { follow, tail } = arguments.follow;
    let split = |when: Option<When>| match when {
        None => (None, None),
        Some(When::At(at)) => (Some(at), None),
        Some(When::Ago(ago_s)) => (None, Some(ago_s)),
    };
    let (since, since_ago_s) = split(arguments.since);
    let (until, until_ago_s) = split(arguments.until);
    let boot = match arguments.boot.which() {
        WhichBoot::One(boot) => boot,
        WhichBoot::Unsaid | WhichBoot::List => String::new(),
    };
    ReadRecordsRequest {
        source: name.to_owned(),
        boot,
        since,
        until,
        grep: arguments.grep.clone().unwrap_or_default(),
        tail_lines: tail,
        follow,
        since_ago_s,
        until_ago_s,
    }
}

/// A line as an object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    sequence: u64,
    time: Option<String>,
    boot: String,
    source: &'a str,
    severity: Option<&'static str>,
    timestamp_us: u64,
    message: String,
}

async fn records(node: &Node, request: ReadRecordsRequest, format: Option<Format>) -> Result<(), Failure> {
    let source = request.source.clone();
    let format = format.unwrap_or(Format::Table);
    each(node, WHAT, request, |record| {
        if format == Format::Table {
            let mut line = record.message;
            line.push(b'\n');
            return output::write(&line);
        }
        let line = Line {
            sequence: record.sequence,
            time: record.time.map(|time| time.to_string()),
            boot: record.boot_id,
            source: &source,
            severity: record.priority.and_then(severity),
            timestamp_us: record.timestamp_us,
            message: String::from_utf8_lossy(&record.message).into_owned(),
        };
        output::print_item(format, &line, |_| String::new())
    })
    .await
}

/// Hands over every line that the node sends.
pub async fn each(
    node: &Node,
    what: &str,
    request: ReadRecordsRequest,
    mut take: impl FnMut(LogRecord) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut stream = node.call(what, node.log().read_records(request)).await?;
    until_interrupted(async {
        while let Some(answer) = stream.message().await.map_err(|status| node.explain(what, &status))? {
            answer.records.into_iter().try_for_each(&mut take)?;
        }
        Ok(())
    })
    .await
}

/// The name of a priority's severity.
pub fn severity(priority: u32) -> Option<&'static str> {
    SEVERITIES.get(usize::try_from(priority % FACILITY).ok()?).copied()
}

/// A priority's facility.
pub fn facility(priority: u32) -> u32 {
    priority / FACILITY
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

#[derive(Serialize)]
struct Items<T> {
    items: Vec<T>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeptSource {
    name: String,
    lines: u64,
    stored_bytes: u64,
    earliest: Option<String>,
    latest: Option<String>,
}

async fn list_sources(session: &Session) -> Result<(), Failure> {
    let node = session.connect().await?;
    let answer = node.call("cannot list the logs", node.log().list_sources(ListSourcesRequest {})).await?;
    let items = answer.sources.into_iter().map(|source| KeptSource {
        name: source.name,
        lines: source.lines,
        stored_bytes: source.stored_bytes,
        earliest: source.earliest.map(|time| time.to_string()),
        latest: source.latest.map(|time| time.to_string()),
    });
    output::print(session.format(), &Items { items: items.collect() }, |sources: &Items<KeptSource>| {
        let mut table = Table::new(["SOURCE", "LINES", "SIZE", "EARLIEST", "LATEST"]);
        for source in &sources.items {
            table.row([
                source.name.clone(),
                source.lines.to_string(),
                format!("{} KiB", source.stored_bytes.div_ceil(KIB)),
                clock::to_second(source.earliest.as_deref()),
                clock::to_second(source.latest.as_deref()),
            ]);
        }
        table.take()
    })
}

#[derive(Serialize)]
struct KeptBoot {
    boot: String,
    offset: i32,
    lines: u64,
    earliest: Option<String>,
    latest: Option<String>,
}

async fn list_boots(session: &Session) -> Result<(), Failure> {
    let node = session.connect().await?;
    let answer = node.call("cannot list the boots", node.log().list_boots(ListBootsRequest {})).await?;
    let items = answer.boots.into_iter().map(|boot| KeptBoot {
        boot: boot.boot_id,
        offset: boot.offset,
        lines: boot.lines,
        earliest: boot.earliest.map(|time| time.to_string()),
        latest: boot.latest.map(|time| time.to_string()),
    });
    output::print(session.format(), &Items { items: items.collect() }, |boots: &Items<KeptBoot>| {
        let mut table = Table::new(["BOOT", "ID", "LINES", "EARLIEST", "LATEST"]);
        for boot in &boots.items {
            table.row([
                boot.offset.to_string(),
                boot.boot.clone(),
                boot.lines.to_string(),
                clock::to_second(boot.earliest.as_deref()),
                clock::to_second(boot.latest.as_deref()),
            ]);
        }
        table.take()
    })
}
