//! `osctl get`, `pods`, `api-resources`: typed resources.

use proto::resource::v1::{
    EventType, GetRequest, Kind, ListKindsRequest, ListRequest, WatchRequest, WatchResponse,
};
use serde::Serialize;

use super::{Session, until_interrupted};
use crate::clock;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::node::Node;
use crate::output::{self, Format, Table};
use crate::resource::{Resource, heading};

/// Most ids that a hint lists.
const HINT_IDS_MAX: usize = 20;

#[derive(Serialize)]
struct List {
    version: u64,
    items: Vec<Resource>,
}

pub async fn run(session: &Session, kind: &str, id: Option<&str>) -> Result<(), Failure> {
    let node = session.connect().await?;
    let kind = find_kind(&node, kind).await?;
    match id {
        None => list(session, &node, &kind).await,
        Some(id) => {
            let resource = get(&node, &kind, id).await?;
            output::print(session.format(), &resource, |resource| {
                table(&kind, std::slice::from_ref(resource))
            })
        }
    }
}

pub async fn pods(session: &Session) -> Result<(), Failure> {
    run(session, "pod", None).await
}

/// Prints all resources of a kind.
pub async fn list(session: &Session, node: &Node, kind: &Kind) -> Result<(), Failure> {
    let list = fetch(node, &kind.name).await?;
    output::print(session.format(), &list, |list| table(kind, &list.items))
}

/// All resources of a kind.
pub async fn resources(node: &Node, kind: &str) -> Result<Vec<Resource>, Failure> {
    Ok(fetch(node, kind).await?.items)
}

async fn fetch(node: &Node, kind: &str) -> Result<List, Failure> {
    let what = format!("cannot list {kind}");
    let answer = node.call(&what, node.resources().list(ListRequest { kind: kind.to_owned() })).await?;
    Ok(List { version: answer.version, items: answer.resources.into_iter().map(Resource::from).collect() })
}

async fn get(node: &Node, kind: &Kind, id: &str) -> Result<Resource, Failure> {
    let what = format!("cannot get {} {id:?}", kind.name);
    let request = GetRequest { kind: kind.name.clone(), id: id.to_owned() };
    match node.call(&what, node.resources().get(request)).await {
        Ok(answer) => {
            answer.resource.map(Resource::from).ok_or_else(|| Failure::error(what).why("the answer is empty"))
        }
        Err(failure) if failure.exit() == Exit::NotFound => {
            let known = resources(node, &kind.name).await?;
            let hint = known_ids(&kind.plural, known.iter().map(|resource| resource.id.as_str()));
            Err(failure.hint(hint))
        }
        Err(failure) => Err(failure),
    }
}

/// "the services are: apid, kubelet"
pub fn known_ids<'a>(plural: &str, ids: impl Iterator<Item = &'a str>) -> String {
    let mut ids: Vec<&str> = ids.collect();
    let more = ids.len().saturating_sub(HINT_IDS_MAX);
    ids.truncate(HINT_IDS_MAX);
    match (ids.is_empty(), more) {
        (true, _) => format!("there are no {plural}"),
        (false, 0) => format!("the {plural} are: {}", ids.join(", ")),
        (false, more) => format!("the {plural} are: {} and {more} more", ids.join(", ")),
    }
}

/// Finds a kind by name, plural or alias among those that the node publishes.
pub async fn find_kind(node: &Node, name: &str) -> Result<Kind, Failure> {
    let kinds = kinds(node).await?;
    let is_named = |kind: &&Kind| {
        [&kind.name, &kind.plural].into_iter().chain(&kind.aliases).any(|own| own.eq_ignore_ascii_case(name))
    };
    kinds.iter().find(is_named).cloned().ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("{} has no resources of kind {name:?}", node.name()))
            .hint(known_ids("kinds", kinds.iter().map(|kind| kind.name.as_str())))
    })
}

async fn kinds(node: &Node) -> Result<Vec<Kind>, Failure> {
    let answer = node.call("cannot list the kinds", node.resources().list_kinds(ListKindsRequest {})).await?;
    Ok(answer.kinds)
}

fn table(kind: &Kind, resources: &[Resource]) -> String {
    let now_s = clock::now_s();
    let mut table = Table::new(heading(&kind.columns));
    resources.iter().for_each(|resource| table.row(resource.row(&kind.columns, now_s)));
    table.take()
}

#[derive(Serialize)]
struct Kinds {
    items: Vec<KindItem>,
}

#[derive(Serialize)]
struct KindItem {
    name: String,
    plural: String,
    aliases: Vec<String>,
    description: String,
    columns: Vec<String>,
}

pub async fn api_resources(session: &Session) -> Result<(), Failure> {
    let node = session.connect().await?;
    let items =
        kinds(&node).await?.into_iter().map(|Kind { name, plural, aliases, description, columns }| {
            KindItem { name, plural, aliases, description, columns }
        });
    output::print(session.format(), &Kinds { items: items.collect() }, |kinds| {
        let mut table = Table::new(["NAME", "PLURAL", "SHORT", "DESCRIPTION"]);
        for kind in &kinds.items {
            table.row([&kind.name, &kind.plural, &kind.aliases.join(","), &kind.description]);
        }
        table.take()
    })
}

pub async fn watch(session: &Session, kind: &str, id: Option<&str>) -> Result<(), Failure> {
    let node = session.connect().await?;
    let kind = find_kind(&node, kind).await?;
    let request = WatchRequest { kind: kind.name.clone(), id: id.unwrap_or_default().to_owned() };
    let what = format!("cannot watch {}", kind.plural);
    let mut stream = node.call(&what, node.resources().watch(request)).await?;
    let mut printer = EventPrinter::new(session.format(), kind);
    until_interrupted(async {
        while let Some(event) = stream.message().await.map_err(|status| node.explain(&what, &status))? {
            printer.event(event)?;
        }
        Err(Failure::new(Exit::Unreachable, format!("{} ended the watch", node.name()))
            .hint("run the command again"))
    })
    .await
}

#[derive(Serialize)]
struct Event {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Resource>,
}

/// Prints events as they come. A table starts once the present resources are known, so that its columns fit.
struct EventPrinter {
    format: Format,
    kind: Kind,
    table: Table,
    settled: bool,
}

impl EventPrinter {
    fn new(format: Option<Format>, kind: Kind) -> EventPrinter {
        let titles = std::iter::once("EVENT".to_owned()).chain(heading(&kind.columns));
        let table = Table::new(titles);
        EventPrinter { format: format.unwrap_or(Format::Table), kind, table, settled: false }
    }

    fn event(&mut self, event: WatchResponse) -> Result<(), Failure> {
        let name = match event.r#type() {
            EventType::Added => "added",
            EventType::Modified => "modified",
            EventType::Removed => "removed",
            EventType::Bookmark => "bookmark",
            // Of a later release: nothing that this one could show.
            EventType::Unspecified => return Ok(()),
        };
        self.settled |= name == "bookmark";
        let event = Event { event: name, resource: event.resource.map(Resource::from) };
        match self.format {
            Format::Table => output::write(self.rows(&event).as_bytes()),
            format => output::print_item(format, &event, |_| String::new()),
        }
    }

    fn rows(&mut self, event: &Event) -> String {
        if let Some(resource) = &event.resource {
            let cells = resource.row(&self.kind.columns, clock::now_s());
            self.table.row(std::iter::once(event.event.to_owned()).chain(cells));
        }
        if self.settled { self.table.take() } else { String::new() }
    }
}

#[cfg(test)]
mod tests {
    use proto::resource::v1 as api;

    use super::*;

    fn event(kind: EventType, id: Option<&str>) -> WatchResponse {
        let resource = id.map(|id| api::Resource { id: id.into(), ..api::Resource::default() });
        WatchResponse { r#type: kind.into(), resource }
    }

    #[test]
    fn a_watched_table_starts_aligned() {
        let mut printer = EventPrinter::new(None, Kind::default());
        let mut rows = |kind: EventType, name, id: Option<&str>| {
            printer.settled |= kind == EventType::Bookmark;
            printer.rows(&Event { event: name, resource: event(kind, id).resource.map(Resource::from) })
        };
        assert_eq!(rows(EventType::Added, "added", Some("a-long-name")), "");
        assert_eq!(
            rows(EventType::Bookmark, "bookmark", None),
            "EVENT   ID            AGE\nadded   a-long-name   -\n"
        );
        assert_eq!(rows(EventType::Removed, "removed", Some("a-long-name")), "removed   a-long-name   -\n");
    }

    #[test]
    fn hints_stay_short() {
        assert_eq!(known_ids("pods", std::iter::empty()), "there are no pods");
        assert_eq!(known_ids("pods", ["a", "b"].into_iter()), "the pods are: a, b");
        assert!(known_ids("pods", std::iter::repeat_n("x", 25)).ends_with("x and 5 more"));
    }
}
