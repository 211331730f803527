//! Reader for /proc/PID/mountinfo (proc_pid_mountinfo(5)).

use std::fs;
use std::io;

/// Mount points of the calling process, the latest first: a later one may lie on an earlier one.
pub fn mount_points() -> io::Result<Vec<String>> {
    Ok(parse(&fs::read_to_string("/proc/self/mountinfo")?))
}

/// The fifth field of each line, in reverse order. Lines of another shape are skipped.
pub fn parse(mountinfo: &str) -> Vec<String> {
    let fields = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let mut mount_points: Vec<String> = fields.map(unescape).collect();
    mount_points.reverse();
    mount_points
}

/// Blanks, tabs, newlines and backslashes are written as a backslash and three octal digits.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                bytes.push(code);
                bytes.extend_from_slice(rest.as_bytes());
            }
            _ => {
                bytes.push(b'\\');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_come_latest_first() {
        let text = "22 1 254:0 / / ro shared:1 - erofs /dev/root ro\n\
                    28 22 253:8 / /var rw shared:7 - ext4 /dev/vda8 rw\n\
                    29 28 0:40 / /var/lib/a\\040b rw shared:8 - tmpfs tmpfs rw\n\
                    \n22 1 254:0\n";
        assert_eq!(parse(text), ["/var/lib/a b", "/var", "/"]);
        assert!(mount_points().unwrap().contains(&"/".to_owned()));
    }

    #[test]
    fn names_are_unescaped() {
        assert_eq!(unescape("a\\134b\\011"), "a\\b\t");
        assert_eq!(unescape("odd\\9\\"), "odd\\9\\");
    }
}
