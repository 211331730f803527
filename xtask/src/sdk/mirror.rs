//! The Debian mirror: from `CAIRN_DEBIAN_MIRROR`, else from the host's apt configuration.

use std::{fs, path::PathBuf};

use anyhow::{Result, bail};

/// Base addresses of the archive and of its security archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Archive.
    pub archive: String,
    /// Security archive, when the host names one.
    pub security: Option<String>,
}

/// Finds the mirror.
pub fn find() -> Result<Mirror> {
    if let Ok(archive) = std::env::var("CAIRN_DEBIAN_MIRROR") {
        return Ok(Mirror { archive, security: None });
    }
    let mut text = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let mut extra: Vec<PathBuf> =
        fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|e| e.path()).collect();
    extra.sort();
    for path in extra {
        text.push('\n');
        text.push_str(&fs::read_to_string(path).unwrap_or_default());
    }
    match parse(&text) {
        Some(mirror) => Ok(mirror),
        None => bail!(
            "no Debian mirror in /etc/apt/sources.list*. Set CAIRN_DEBIAN_MIRROR to the base address of one"
        ),
    }
}

/// Reads one-line and deb822 sources (sources.list(5)). The archive is recognised by its last path component.
fn parse(text: &str) -> Option<Mirror> {
    let addresses: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"))
        .flat_map(str::split_whitespace)
        .filter(|word| word.starts_with("http"))
        .map(|word| word.trim_end_matches('/'))
        .collect();
    let archive = addresses.iter().find(|a| a.ends_with("/debian"))?;
    let security = addresses.iter().find(|a| a.ends_with("/debian-security"));
    Some(Mirror { archive: (*archive).to_owned(), security: security.map(|a| (*a).to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read_and_foreign_archives_passed_over() {
        let text = "deb https://packages.example.org/apt stable main\nTypes: deb\nURIs: http://a.example/debian/\n\
                    URIs: http://a.example/debian-security\n";
        let expected = Mirror {
            archive: "http://a.example/debian".into(),
            security: Some("http://a.example/debian-security".into()),
        };
        assert_eq!(parse(text), Some(expected));
        let old =
            "# deb http://no.example/debian x main\ndeb [trusted=yes] http://b.example/debian trixie main";
        assert_eq!(parse(old), Some(Mirror { archive: "http://b.example/debian".into(), security: None }));
        assert_eq!(parse("deb http://c.example/ubuntu noble main"), None);
    }
}
