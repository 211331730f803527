//! Mounts.

use crate::text::text;

/// A line of /proc/PID/mountinfo, see proc_pid_mountinfo(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Folder of the file system that is mounted.
    pub root: String,
    /// Where.
    pub target: String,
    /// File system type.
    pub kind: String,
    /// What the file system says it lies on.
    pub source: String,
    /// Options of the mount, then those of the file system, each once.
    pub options: Vec<String>,
}

impl MountEntry {
    /// All mounts of the file, in the order in which they were made.
    #[must_use]
    pub fn parse_all(bytes: &[u8]) -> Vec<Self> {
        text(bytes).lines().filter_map(Self::parse).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        // Between both parts stands any number of optional fields, and none of them is a lone hyphen.
        let (mount, system) = line.split_once(" - ")?;
        let mount: Vec<&str> = mount.split(' ').collect();
        let system: Vec<&str> = system.split(' ').collect();
        let [_, _, _, root, target, of_mount, ..] = mount.as_slice() else { return None };
        // The source may be empty.
        let [kind, source, of_system] = system.as_slice() else { return None };
        let mut options: Vec<String> = Vec::new();
        for option in of_mount.split(',').chain(of_system.split(',')).map(unescaped) {
            if !option.is_empty() && !options.contains(&option) {
                options.push(option);
            }
        }
        Some(Self {
            root: unescaped(root),
            target: unescaped(target),
            kind: (*kind).to_owned(),
            source: unescaped(source),
            options,
        })
    }

    /// Whether asking for its size may wait for another machine or for a program, perhaps without end.
    #[must_use]
    pub fn may_not_answer(&self) -> bool {
        let kind = self.kind.as_str();
        kind.starts_with("nfs")
            || kind.starts_with("fuse")
            || matches!(
                kind,
                "9p" | "afs" | "ceph" | "cifs" | "smb3" | "virtiofs" | "autofs" | "gfs2" | "ocfs2"
            )
    }
}

/// Undoes `\040` for a space and its like.
fn unescaped(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = (*first == b'\\').then(|| behind.split_at_checked(3)).flatten();
        match escaped.and_then(|(digits, behind)| Some((octal(digits)?, behind))) {
            Some((byte, behind)) => {
                bytes.push(byte);
                rest = behind;
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    text(&bytes).into_owned()
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits =
        std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|d| d.is_ascii_digit()))?;
    u8::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_fields_escapes_and_empty_sources() {
        let text = b"26 1 254:8 / /var rw,relatime shared:5 - ext4 /dev/vda8 rw,nodelalloc\n\
            30 26 0:44 /a\\040b /var/with\\040space\\134 ro,nosuid - tmpfs  rw,size=4k\n\
            31 26 broken\n\
            32 26 0:45 / /x rw master:1 propagate_from:2 - overlay overlay rw,lowerdir=/a:/b\n";
        let mounts = MountEntry::parse_all(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!((mounts[0].source.as_str(), mounts[0].target.as_str()), ("/dev/vda8", "/var"));
        assert_eq!(mounts[0].options, ["rw", "relatime", "nodelalloc"]);
        assert_eq!((mounts[1].root.as_str(), mounts[1].target.as_str()), ("/a b", "/var/with space\\"));
        assert_eq!((mounts[1].source.as_str(), mounts[1].kind.as_str()), ("", "tmpfs"));
        assert_eq!(mounts[2].options.last().unwrap(), "lowerdir=/a:/b");
    }

    #[test]
    fn what_is_no_escape_stays() {
        for text in ["\\", "\\04", "\\9xx", "a\\999", "\\é\\"] {
            assert_eq!(unescaped(text), text);
        }
        assert_eq!(unescaped("\\012\\0400"), "\n 0");
    }

    #[test]
    fn file_systems_of_others_are_told() {
        let of = |kind: &str| {
            MountEntry::parse_all(format!("1 2 0:3 / /x rw - {kind} s rw").as_bytes())
                .remove(0)
                .may_not_answer()
        };
        assert!(of("nfs4") && of("fuse.sshfs") && of("cifs"));
        assert!(!of("ext4") && !of("tmpfs") && !of("erofs"));
    }
}
