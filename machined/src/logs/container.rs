//! Logs of containers, as the kubelet lays them out below /var/log/pods, without the CRI's line prefix.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{LogError, file::Filter};

/// Where the kubelet has containers' logs: `<namespace>_<pod>_<uid>/<container>/<restart>.log`.
pub const POD_LOGS: &str = "/var/log/pods";

/// The newest log of a container; an empty container name means the pod's only one.
pub fn find(root: &Path, namespace: &str, pod: &str, container: &str) -> Result<PathBuf, LogError> {
    let shown = format!("pod {namespace}/{pod}");
    let missing = || LogError::NotFound { what: shown.clone() };
    if [namespace, pod, container].iter().any(|name| name.contains(['/', '_'])) {
        return Err(missing());
    }
    let prefix = format!("{namespace}_{pod}_");
    let pod_folder = newest(root, |name| name.starts_with(&prefix))?.ok_or_else(missing)?;
    let container_folder = if container.is_empty() {
        only_container(&pod_folder, &shown)?
    } else {
        Some(pod_folder.join(container))
            .filter(|folder| folder.is_dir())
            .ok_or_else(|| LogError::NotFound { what: format!("container {container} of {shown}") })?
    };
    newest(&container_folder, |name| name.ends_with(".log"))?.ok_or_else(missing)
}

fn only_container(folder: &Path, shown: &str) -> Result<PathBuf, LogError> {
    let mut names = names(folder)?;
    names.sort();
    match names.as_slice() {
        [only] => Ok(folder.join(only)),
        [] => Err(LogError::NotFound { what: shown.to_owned() }),
        _ => Err(LogError::Ambiguous { pod: shown.to_owned(), containers: names }),
    }
}

fn newest(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Option<PathBuf>, LogError> {
    if !folder.exists() {
        return Ok(None);
    }
    let paths = names(folder)?.into_iter().filter(|name| wanted(name)).map(|name| folder.join(name));
    Ok(paths.max_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok()))
}

fn names(folder: &Path) -> Result<Vec<String>, LogError> {
    let entries = fs::read_dir(folder).map_err(|source| LogError::read(folder, source))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Takes `<time> <stream> <F|P> ` off each line and joins partial lines (CRI logging format).
#[derive(Default)]
pub struct CriFilter {
    header: Vec<u8>,
    state: State,
}

/// Longest prefix of a line: RFC 3339 with nanoseconds, stream, tags.
const HEADER_MAX_BYTES: usize = 128;

#[derive(Default, PartialEq, Eq)]
enum State {
    #[default]
    Header,
    Text {
        partial: bool,
    },
}

impl Filter for CriFilter {
    fn filter(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes.iter().copied() {
            match self.state {
                State::Header => self.header_byte(byte, &mut out),
                State::Text { partial } => {
                    if byte == b'\n' {
                        self.state = State::Header;
                        if partial {
                            continue;
                        }
                    }
                    out.push(byte);
                }
            }
        }
        out
    }
}

impl CriFilter {
    fn header_byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.header.push(byte);
        let spaces = self.header.iter().filter(|byte| **byte == b' ').count();
        if spaces == 3 {
            let tags = self.header.rsplit(|byte| *byte == b' ').nth(1).unwrap_or_default();
            self.state = State::Text { partial: tags.starts_with(b"P") };
            self.header.clear();
        } else if byte == b'\n' || self.header.len() == HEADER_MAX_BYTES {
            // Not in the format: pass it on rather than lose it.
            out.append(&mut self.header);
            if byte != b'\n' {
                self.state = State::Text { partial: false };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = "2026-01-02T03:04:05.000000006Z stdout F one\n2026-01-02T03:04:05.1Z stderr P tw\n\
                       2026-01-02T03:04:05.1Z stderr F o\nodd\n2026-01-02T03:04:05.2Z stdout F a b c\n";

    #[test]
    fn prefixes_go_and_partial_lines_join_at_any_split() {
        for split in 0..RAW.len() {
            let mut filter = CriFilter::default();
            let (first, second) = RAW.as_bytes().split_at(split);
            let mut text = filter.filter(first);
            text.extend(filter.filter(second));
            assert_eq!(String::from_utf8(text).unwrap(), "one\ntwo\nodd\na b c\n", "split at {split}");
        }
    }

    #[test]
    fn logs_are_found_by_pod_and_container() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("default_web_123");
        fs::create_dir_all(folder.join("app")).unwrap();
        fs::write(folder.join("app/0.log"), "").unwrap();
        assert_eq!(find(root.path(), "default", "web", "").unwrap(), folder.join("app/0.log"));
        fs::create_dir_all(folder.join("side")).unwrap();
        let error = find(root.path(), "default", "web", "").unwrap_err();
        assert!(error.to_string().ends_with("name one of: app, side"), "{error}");
        for (pod, container) in [("no", ""), ("web", "no"), ("../../etc", "x")] {
            assert!(matches!(find(root.path(), "default", pod, container), Err(LogError::NotFound { .. })));
        }
    }
}
