use logstore::Entry;
use tokio::sync::mpsc;

use super::*;
use crate::logs::{clock::Clock, collect::Line, folder::Folder};

async fn append(logs: &Handle, wall_s: std::ops::Range<i64>) {
    let line = |second: i64| {
        let message = format!("{} {second}", if second % 2 == 0 { "even" } else { "odd" }).into_bytes();
        let (wall_us, position) = (second * 1_000_000, second.unsigned_abs());
        let entry = Entry { origin: 1, position, wall_us, mono_us: 0, priority: None, message };
        Line { source: Source::parse("kubelet").unwrap(), entry }
    };
    let lines = wall_s.map(line).collect();
    logs.ask(|keeper| keeper.append(lines)).await.unwrap();
}

/// Two boots of 100 lines each, the second still going on.
async fn logs(path: &std::path::Path) -> Handle {
    let mut last = None;
    for boot in 1..=2_u8 {
        let logs = Handle::start(BootId([boot; 16]), Clock::new(|| 0)).unwrap();
        let folder = Folder::at(path);
        logs.ask(|keeper| keeper.attach(folder)).await.unwrap().unwrap();
        append(&logs, i64::from(boot) * 1000..i64::from(boot) * 1000 + 100).await;
        logs.finish().await;
        last = Some(logs);
    }
    last.unwrap()
}

fn kubelet() -> Query {
    Query { source: "kubelet".into(), ..Query::default() }
}

async fn ask(logs: &Handle, query: Query) -> Result<Vec<String>, String> {
    let search = Search::prepare(logs, query, &["apid".into()]).await.map_err(|error| error.to_string())?;
    let (sender, mut receiver) = mpsc::channel(4);
    let logs = logs.clone();
    let task = tokio::spawn(async move { search.send(&logs, &sender).await });
    let mut lines = Vec::new();
    while let Some(piece) = receiver.recv().await {
        lines.extend(
            piece.iter().map(|line| String::from_utf8_lossy(&line.record.entry.message).into_owned()),
        );
    }
    task.await.unwrap().map_err(|error| error.to_string())?;
    Ok(lines)
}

#[tokio::test]
async fn lines_are_narrowed_by_boot_time_pattern_and_number() {
    let scratch = tempfile::tempdir().unwrap();
    let logs = logs(scratch.path()).await;
    let ask = |query| ask(&logs, query);
    let present = ask(kubelet()).await.unwrap();
    assert_eq!((present.len(), present[0].as_str()), (100, "even 2000"));
    let before = ask(Query { boot: "-1".into(), tail_lines: Some(2), ..kubelet() }).await.unwrap();
    assert_eq!(before, ["even 1098", "odd 1099"]);
    let timed = Query { since_us: Some(1_098_000_000), until_us: Some(2_001_000_000), ..kubelet() };
    assert_eq!(ask(timed.clone()).await.unwrap(), ["even 1098", "odd 1099", "even 2000"]);
    let odd = Query { grep: "^odd .*[79]$".into(), ..kubelet() };
    assert_eq!(ask(odd.clone()).await.unwrap().len(), 20);
    assert_eq!(ask(Query { tail_lines: Some(2), ..odd }).await.unwrap(), ["odd 2097", "odd 2099"]);
    assert_eq!(ask(Query { tail_lines: Some(1), ..timed }).await.unwrap(), ["even 2000"]);
    assert_eq!(ask(Query { tail_lines: Some(0), ..kubelet() }).await.unwrap(), [""; 0]);
    assert_eq!(ask(Query { source: "apid".into(), ..Query::default() }).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_question_without_sense_is_refused_with_its_reason() {
    let scratch = tempfile::tempdir().unwrap();
    let logs = logs(scratch.path()).await;
    for (query, reason) in [
        (Query { source: "../x".into(), ..Query::default() }, "there are: apid, kubelet"),
        (Query { boot: "-9".into(), ..kubelet() }, "logs of 1 earlier boots are kept"),
        (Query { boot: "-1".into(), follow: true, ..kubelet() }, "only this boot's log can be followed"),
        (Query { grep: "(".into(), ..kubelet() }, "the pattern cannot be used"),
        (Query { grep: "x".repeat(2000), ..kubelet() }, "longer than 1024 bytes"),
        (Query { grep: "((x{99}){99}){99}".into(), ..kubelet() }, "the pattern cannot be used"),
    ] {
        let error = ask(&logs, query).await.unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn following_goes_on_until_the_client_goes() {
    let scratch = tempfile::tempdir().unwrap();
    let logs = logs(scratch.path()).await;
    let query = Query { follow: true, tail_lines: Some(1), grep: "odd".into(), ..kubelet() };
    let search = Search::prepare(&logs, query, &[]).await.unwrap();
    let (sender, mut receiver) = mpsc::channel(4);
    let task = tokio::spawn({
        let logs = logs.clone();
        async move { search.send(&logs, &sender).await }
    });
    let mut next = async || {
        let found: Vec<Found> = receiver.recv().await.unwrap();
        found.iter().map(|line| line.record.entry.position).collect::<Vec<_>>()
    };
    assert_eq!(next().await, [2099]);
    append(&logs, 2100..2102).await;
    assert_eq!(next().await, [2101]);
    append(&logs, 2102..2104).await;
    assert_eq!(next().await, [2103]);
    drop(receiver);
    task.await.unwrap().unwrap();
}

#[test]
fn the_last_lines_take_bounded_memory_and_come_in_pieces() {
    let line = |size: usize| Found {
        boot: BootId([1; 16]),
        record: Record {
            sequence: 1,
            entry: Entry {
                origin: 0,
                position: 0,
                wall_us: 0,
                mono_us: 0,
                priority: None,
                message: vec![7; size],
            },
        },
    };
    let mut last = Last::default();
    for _ in 0..300 {
        last.add(vec![line(30_000), line(10)], Some(u32::MAX));
        assert!(last.bytes <= TAIL_MAX_BYTES);
    }
    let kept = last.lines.len();
    assert!(kept > 200);
    let pieces = last.pieces();
    assert_eq!(pieces.iter().map(Vec::len).sum::<usize>(), kept);
    assert!(pieces.iter().all(|piece| piece.iter().map(size).sum::<usize>() <= PIECE_BYTES));
}
