//! The bill of materials: every file of an image and every component that files are made of, as SPDX 2.3 in JSON.
//!
//! Pure: what is in the image is collected elsewhere. The same bill gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use aws_lc_rs::digest;
use jiff::Timestamp;
use serde_json::{Value, json};

const UNKNOWN: &str = "NOASSERTION";
const IMAGE: &str = "SPDXRef-image";

/// Something that is made elsewhere: a crate, a Go module, a Debian package, the kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Package URL (purl), which tells it from all others.
    pub purl: String,
    /// SPDX expression of its licence, when it says so.
    pub license: Option<String>,
    /// What it says of its licences in words of its own.
    pub license_comment: Option<String>,
    /// Algorithm and digest of its archive.
    pub checksum: Option<(&'static str, String)>,
}

/// A file and what it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Absolute path in the image.
    pub path: String,
    /// SHA-1 of its content, which SPDX asks for.
    pub sha1: String,
    /// SHA-256 of its content.
    pub sha256: String,
    /// What it is made of.
    pub components: BTreeSet<Component>,
}

impl File {
    /// A file with this content.
    pub fn new(path: &str, content: &[u8]) -> Self {
        let hash = |algorithm| hex::encode(digest::digest(algorithm, content).as_ref());
        Self {
            path: path.to_owned(),
            sha1: hash(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            sha256: hash(&digest::SHA256),
            components: BTreeSet::new(),
        }
    }
}

/// What there is to say of an image.
#[derive(Clone, Debug)]
pub struct Bill {
    /// Release version.
    pub version: String,
    /// When its sources were written, in seconds since 1970.
    pub created_s: u64,
    /// All files.
    pub files: Vec<File>,
}

impl Bill {
    /// The document. A component that several files are made of stands in it once.
    pub fn document(&self) -> Result<Vec<u8>> {
        let mut files: Vec<&File> = self.files.iter().collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let components: BTreeSet<&Component> = files.iter().flat_map(|file| &file.components).collect();
        let ids: BTreeMap<&str, String> = (1..)
            .zip(&components)
            .map(|(n, one)| (one.purl.as_str(), format!("SPDXRef-component-{n}")))
            .collect();
        let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE)];
        for (index, file) in (1..).zip(&files) {
            let id = file_id(index);
            relationships.push(relationship(IMAGE, "CONTAINS", &id));
            for component in &file.components {
                let component = ids.get(component.purl.as_str()).context("component without an id")?;
                relationships.push(relationship(&id, "GENERATED_FROM", component));
            }
        }
        let mut packages = vec![self.image(&files)];
        packages.extend(components.iter().map(|component| package(component, &ids)));
        let document = json!({
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": format!("cairn-{}", self.version),
            "documentNamespace": format!("https://cairn.dev/spdx/{}/{}", self.version, digest_of(&files)),
            "creationInfo": {
                "created": Timestamp::from_second(i64::try_from(self.created_s)?)?.to_string(),
                "creators": ["Tool: cairn-xtask"],
            },
            "packages": packages,
            "files": (1..).zip(&files).map(|(index, file)| file_entry(index, file)).collect::<Vec<_>>(),
            "relationships": relationships,
        });
        Ok(serde_json::to_vec_pretty(&document)?)
    }

    fn image(&self, files: &[&File]) -> Value {
        json!({
            "SPDXID": IMAGE,
            "name": "Cairn OS",
            "versionInfo": self.version,
            "primaryPackagePurpose": "OPERATING-SYSTEM",
            "downloadLocation": UNKNOWN,
            "filesAnalyzed": true,
            "packageVerificationCode": { "packageVerificationCodeValue": verification_code(files) },
            "licenseConcluded": UNKNOWN,
            "licenseDeclared": UNKNOWN,
            "copyrightText": UNKNOWN,
        })
    }
}

/// SHA-1 of all files' SHA-1 in order (SPDX 2.3, clause 7.9).
fn verification_code(files: &[&File]) -> String {
    let mut hashes: Vec<&str> = files.iter().map(|file| file.sha1.as_str()).collect();
    hashes.sort_unstable();
    hex::encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, hashes.concat().as_bytes()).as_ref())
}

fn package(component: &Component, ids: &BTreeMap<&str, String>) -> Value {
    let mut package = json!({
        "SPDXID": ids.get(component.purl.as_str()),
        "name": component.name,
        "versionInfo": component.version,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": component.license.as_deref().unwrap_or(UNKNOWN),
        "copyrightText": UNKNOWN,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": component.purl,
        }],
    });
    if let Some(comment) = &component.license_comment {
        package["licenseComments"] = comment.as_str().into();
    }
    if let Some((algorithm, value)) = &component.checksum {
        package["checksums"] = json!([{ "algorithm": algorithm, "checksumValue": value }]);
    }
    package
}

fn file_id(index: usize) -> String {
    format!("SPDXRef-file-{index}")
}

fn file_entry(index: usize, file: &File) -> Value {
    json!({
        "SPDXID": file_id(index),
        "fileName": format!(".{}", file.path),
        "checksums": [
            { "algorithm": "SHA1", "checksumValue": file.sha1 },
            { "algorithm": "SHA256", "checksumValue": file.sha256 },
        ],
        "licenseConcluded": UNKNOWN,
        "copyrightText": UNKNOWN,
    })
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// Tells bills apart, as a document's namespace must.
fn digest_of(files: &[&File]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for file in files {
        context.update(file.path.as_bytes());
        context.update(file.sha256.as_bytes());
    }
    hex::encode(&context.finish().as_ref()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(name: &str) -> Component {
        Component {
            name: name.into(),
            version: "1.2.3".into(),
            purl: format!("pkg:cargo/{name}@1.2.3"),
            license: (name == "alpha").then(|| "MIT OR Apache-2.0".into()),
            license_comment: None,
            checksum: Some(("SHA256", "ab".repeat(32))),
        }
    }

    fn bill(reversed: bool) -> Bill {
        let mut one = File::new("/usr/bin/one", b"abc");
        one.components.extend([component("alpha"), component("beta")]);
        let mut two = File::new("/usr/bin/two", b"");
        two.components.insert(component("beta"));
        let files = if reversed { vec![two, one] } else { vec![one, two] };
        Bill { version: "0.2.0".into(), created_s: 1_790_000_000, files }
    }

    #[test]
    fn what_files_share_stands_once_and_is_referred_to() {
        let document: Value = serde_json::from_slice(&bill(false).document().unwrap()).unwrap();
        let names: Vec<_> = document["packages"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["Cairn OS", "alpha", "beta"]);
        let relationships = document["relationships"].as_array().unwrap();
        let beta = &document["packages"][2]["SPDXID"];
        let made = relationships.iter().filter(|one| one["relatedSpdxElement"] == *beta);
        assert_eq!(made.filter(|one| one["relationshipType"] == "GENERATED_FROM").count(), 2);
        assert_eq!(document["packages"][1]["licenseDeclared"], "MIT OR Apache-2.0");
        assert_eq!(document["packages"][2]["licenseDeclared"], UNKNOWN);
        assert_eq!(document["creationInfo"]["created"], "2026-09-21T14:13:20Z");
        assert_eq!(
            document["files"][0]["checksums"][0]["checksumValue"],
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
    }

    #[test]
    fn every_id_that_is_referred_to_is_there_once() {
        let document: Value = serde_json::from_slice(&bill(false).document().unwrap()).unwrap();
        let all = |list: &str| document[list].as_array().unwrap().clone();
        let mut ids: Vec<String> = [all("packages"), all("files")]
            .concat()
            .iter()
            .map(|one| one["SPDXID"].as_str().unwrap().to_owned())
            .collect();
        ids.push("SPDXRef-DOCUMENT".into());
        let unique: BTreeSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len());
        for one in all("relationships") {
            for end in ["spdxElementId", "relatedSpdxElement"] {
                assert!(ids.iter().any(|id| one[end] == **id), "{one}");
            }
        }
    }

    #[test]
    fn order_does_not_matter() {
        assert_eq!(bill(false).document().unwrap(), bill(true).document().unwrap());
    }
}
