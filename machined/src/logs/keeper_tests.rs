use std::path::Path;

use super::*;

const BOOT: BootId = BootId([1; 16]);

fn start() -> Handle {
    Handle::start(BOOT, Clock::new(|| 0)).unwrap()
}

fn name() -> Source {
    Source::parse("kubelet").unwrap()
}

async fn append(logs: &Handle, positions: std::ops::Range<u64>) {
    let line = |position: u64| {
        let message = format!("line {position}").into_bytes();
        let entry = Entry { origin: 9, position, wall_us: 5, mono_us: 5, priority: None, message };
        Line { source: name(), entry }
    };
    let lines = positions.map(line).collect();
    logs.ask(|keeper| keeper.append(lines)).await.unwrap();
}

async fn attach(logs: &Handle, path: &Path) -> bool {
    let folder = Folder::at(path);
    logs.ask(move |keeper| keeper.attach(folder).is_ok()).await.unwrap()
}

/// Positions of the lines from a place on, and where they end.
async fn read(logs: &Handle, mut place: Place) -> (Vec<u64>, Place) {
    let mut seen = Vec::new();
    loop {
        let (batch, next) =
            logs.ask(move |keeper| keeper.read(&name(), place, &Range::default())).await.unwrap();
        seen.extend(batch.records.iter().map(|record| record.entry.position));
        place = next;
        if batch.end {
            return (seen, place);
        }
    }
}

async fn begin(logs: &Handle) -> Place {
    logs.ask(|keeper| keeper.place(Cursor::at(0))).await.unwrap()
}

#[tokio::test]
async fn a_restart_of_machined_neither_loses_nor_doubles_lines() {
    let scratch = tempfile::tempdir().unwrap();
    let first = start();
    append(&first, 0..3).await;
    assert!(attach(&first, scratch.path()).await);
    append(&first, 3..5).await;
    first.finish().await;
    // Not flushed when the process is killed; in the services' own files all the same.
    append(&first, 5..8).await;
    let second = start();
    append(&second, 0..10).await;
    let (seen, place) = read(&second, begin(&second).await).await;
    assert_eq!(seen, Vec::from_iter(0..10));
    assert!(attach(&second, scratch.path()).await);
    assert_eq!(read(&second, begin(&second).await).await.0, Vec::from_iter(0..10));
    append(&second, 10..12).await;
    assert_eq!(read(&second, place).await.0, [10, 11], "a reader from before goes on");
    assert!(second.news().borrow().on_data);
}

#[tokio::test]
async fn a_reader_of_all_goes_on_over_the_move_to_data() {
    let scratch = tempfile::tempdir().unwrap();
    let earlier = start();
    append(&earlier, 0..4).await;
    assert!(attach(&earlier, scratch.path()).await);
    drop(earlier);
    let logs = Handle::start(BootId([2; 16]), Clock::new(|| 0)).unwrap();
    let bookmark = logs.ask(|keeper| keeper.bookmark(None)).await.unwrap();
    append(&logs, 0..3).await;
    let read = |bookmark: Bookmark| {
        logs.ask(move |keeper| {
            let mut merge = keeper.merge(bookmark);
            keeper.read_merged(&mut merge, usize::MAX).lines
        })
    };
    let lines = read(bookmark).await.unwrap();
    assert_eq!(lines.iter().map(|(_, record, _)| record.entry.position).collect::<Vec<_>>(), [0, 1, 2]);
    let bookmark = lines[1].2;
    assert_eq!(bookmark.kept(), None);
    assert!(attach(&logs, scratch.path()).await);
    append(&logs, 3..5).await;
    let lines = read(bookmark).await.unwrap();
    assert_eq!(lines.iter().map(|(_, record, _)| record.entry.position).collect::<Vec<_>>(), [2, 3, 4]);
    assert!(lines[2].2.kept().is_some());
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_told_and_lines_wait() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("logs");
    std::fs::write(&path, "in the way").unwrap();
    let logs = start();
    append(&logs, 0..2).await;
    assert!(!attach(&logs, &path).await);
    std::fs::remove_file(&path).unwrap();
    assert!(attach(&logs, &path).await);
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::write(&path, "in the way again").unwrap();
    append(&logs, 2..4).await;
    logs.finish().await;
    let mut news = logs.news();
    let told = news.wait_for(|news| news.trouble.is_some()).await.unwrap().clone();
    assert_eq!(told.lost_lines, 0);
    assert_eq!(read(&logs, begin(&logs).await).await.0, [2, 3], "what waits is read");
    std::fs::remove_file(&path).unwrap();
    logs.finish().await;
    assert_eq!(news.wait_for(|news| news.trouble.is_none()).await.unwrap().lost_lines, 0);
}
