//! `osctl crashes`

use proto::log::v1::ListCrashesRequest;
use serde::Serialize;

use super::Session;
use crate::cli::logs::Crashes;
use crate::clock;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Table};

/// All that are kept, the newest first.
#[derive(Serialize)]
struct List {
    items: Vec<Crash>,
}

#[derive(Clone, Serialize)]
struct Crash {
    id: u64,
    time: Option<String>,
    who: String,
    reason: String,
    boot: Option<String>,
    summary: String,
    text: String,
}

pub async fn run(session: &Session, arguments: &Crashes) -> Result<(), Failure> {
    let node = session.connect().await?;
    let answer = node.call("cannot list the crashes", node.log().list_crashes(ListCrashesRequest {})).await?;
    let items = answer.crashes.into_iter().map(|crash| Crash {
        id: crash.sequence,
        time: crash.time.map(|time| time.to_string()),
        who: crash.who,
        reason: crash.reason,
        boot: Some(crash.boot_id).filter(|boot| !boot.is_empty()),
        summary: crash.summary,
        text: crash.text,
    });
    let list = List { items: items.collect() };
    let Some(id) = arguments.id else {
        return output::print(session.format(), &list, table);
    };
    let crash = list.items.iter().find(|crash| crash.id == id);
    let crash = crash.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no crash {id}")).hint("`osctl crashes` lists them")
    })?;
    output::print(session.format(), crash, |crash| crash.text.lines().map(printed).collect())
}

fn table(list: &List) -> String {
    let mut table = Table::new(["ID", "TIME", "WHO", "REASON", "LAST WORDS"]);
    for crash in &list.items {
        table.row([
            crash.id.to_string(),
            clock::to_second(crash.time.as_deref()),
            crash.who.clone(),
            crash.reason.clone(),
            crash.summary.clone(),
        ]);
    }
    table.take()
}

fn printed(line: &str) -> String {
    output::printable(line) + "\n"
}
