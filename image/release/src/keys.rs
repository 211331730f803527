//! The keys of a release repository, and the signed list of them that every image holds as its trust anchor.
//!
//! A folder of keys holds `root.pem`, `targets.pem`, `snapshot.pem` and `timestamp.pem` (Ed25519, PKCS #8), and
//! `N.root.json` for every list of keys that there ever was. Once it is made, `root.pem` is needed only for the next
//! one: it can be kept elsewhere.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Write as _,
    num::NonZeroU64,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::signature::Ed25519KeyPair;
use jiff::Timestamp;
use olpc_cjson::CanonicalFormatter;
use pem::Pem;
use serde::Serialize;
use tough::{
    async_trait,
    key_source::KeySource,
    schema::{RoleKeys, RoleType, Root, Signature, Signed},
    sign::Sign,
};

const PEM_TAG: &str = "PRIVATE KEY";
/// Version of the specification of The Update Framework that the metadata follows.
const SPECIFICATION: &str = "1.0.0";
const ROLES: [(RoleType, &str); 4] = [
    (RoleType::Root, "root.pem"),
    (RoleType::Targets, "targets.pem"),
    (RoleType::Snapshot, "snapshot.pem"),
    (RoleType::Timestamp, "timestamp.pem"),
];

/// A folder of keys.
#[derive(Clone, Debug)]
pub struct Keys {
    folder: PathBuf,
    /// Oldest first, from version 1.
    roots: Vec<Vec<u8>>,
}

impl Keys {
    /// Opens a folder that was made before.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut roots = Vec::new();
        while let Some(root) = read_if_there(&folder.join(root_name(roots.len() as u64 + 1)))? {
            roots.push(root);
        }
        if roots.is_empty() {
            bail!("{} holds no 1.root.json; `cargo xtask release-keys` makes one", folder.display());
        }
        Ok(Self { folder: folder.to_owned(), roots })
    }

    /// Makes the keys that the folder lacks and, when it has no list of them, the list.
    pub fn make(folder: &Path, expires: Timestamp) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        if !folder.join(root_name(1)).exists() {
            generate_missing(folder)?;
            let list = key_list(folder, NonZeroU64::MIN, expires, &[read_key(&folder.join("root.pem"))?])?;
            write_new(&folder.join(root_name(1)), &list, 0o644)?;
        }
        Self::open(folder)
    }

    /// Makes new keys in another folder that replace these: the old root key vouches for them.
    pub fn replace(&self, folder: &Path, expires: Timestamp) -> Result<Self> {
        if folder.join(root_name(1)).exists() {
            bail!("{} holds keys already", folder.display());
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        generate_missing(folder)?;
        for (version, root) in (1..).zip(&self.roots) {
            write_new(&folder.join(root_name(version)), root, 0o644)?;
        }
        let version = self.roots.len() as u64 + 1;
        let signers = [read_key(&folder.join("root.pem"))?, read_key(&self.folder.join("root.pem"))?];
        let list = key_list(folder, NonZeroU64::new(version).context("no version")?, expires, &signers)?;
        write_new(&folder.join(root_name(version)), &list, 0o644)?;
        Self::open(folder)
    }

    /// Where they lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The newest list of keys: an image that holds it trusts what they sign.
    pub fn anchor(&self) -> Result<&str> {
        let newest = self.roots.last().context("no list of keys")?;
        Ok(std::str::from_utf8(newest)?)
    }

    /// Every list of keys with its file's name, oldest first.
    pub fn roots(&self) -> impl Iterator<Item = (String, &[u8])> {
        (1..).zip(&self.roots).map(|(version, root)| (root_name(version), root.as_slice()))
    }

    /// The keys that sign releases.
    pub(crate) fn sources(&self) -> Vec<Box<dyn KeySource>> {
        let online = ROLES.iter().filter(|(role, _)| *role != RoleType::Root);
        online.map(|(_, name)| Box::new(PemFile(self.folder.join(name))) as Box<dyn KeySource>).collect()
    }
}

/// A private key in PEM.
#[derive(Debug)]
struct PemFile(PathBuf);

type BoxedError = Box<dyn std::error::Error + Send + Sync>;

#[async_trait]
impl KeySource for PemFile {
    async fn as_sign(&self) -> Result<Box<dyn Sign>, BoxedError> {
        Ok(Box::new(read_key(&self.0)?))
    }

    async fn write(&self, _: &str, _: &str) -> Result<(), BoxedError> {
        Err("keys are only read".into())
    }
}

fn root_name(version: u64) -> String {
    format!("{version}.root.json")
}

fn generate_missing(folder: &Path) -> Result<()> {
    for path in ROLES.map(|(_, name)| folder.join(name)) {
        if !path.exists() {
            let key = Ed25519KeyPair::generate().context("cannot make a key")?;
            let pem = pem::encode(&Pem::new(PEM_TAG, key.to_pkcs8v1()?.as_ref()));
            write_new(&path, pem.as_bytes(), 0o600)?;
        }
    }
    Ok(())
}

fn read_key(path: &Path) -> Result<Ed25519KeyPair> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let pem = pem::parse(text).with_context(|| format!("{} is no PEM file", path.display()))?;
    Ed25519KeyPair::from_pkcs8(pem.contents())
        .ok()
        .with_context(|| format!("{} holds no Ed25519 key in PKCS #8", path.display()))
}

/// Root metadata (TUF 4.3) that names the folder's keys. The same keys and time give the same bytes.
fn key_list(
    folder: &Path,
    version: NonZeroU64,
    expires: Timestamp,
    signers: &[Ed25519KeyPair],
) -> Result<Vec<u8>> {
    let (mut keys, mut roles) = (HashMap::new(), HashMap::new());
    for (role, name) in ROLES {
        let key = read_key(&folder.join(name))?.tuf_key();
        let id = key.key_id()?;
        keys.insert(id.clone(), key);
        let threshold = NonZeroU64::MIN;
        roles.insert(role, RoleKeys { keyids: vec![id], threshold, _extra: HashMap::new() });
    }
    let root = Root {
        spec_version: SPECIFICATION.into(),
        consistent_snapshot: false,
        version,
        expires,
        keys,
        roles,
        _extra: HashMap::new(),
    };
    let message = canonical(&root)?;
    let signatures = signers
        .iter()
        .map(|key| {
            Ok(Signature { keyid: key.tuf_key().key_id()?, sig: key.sign(&message).as_ref().to_vec().into() })
        })
        .collect::<Result<_>>()?;
    canonical(&Signed { signed: root, signatures })
}

fn canonical(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, CanonicalFormatter::new()))?;
    Ok(bytes)
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let file = File::options().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(content)?;
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expires() -> Timestamp {
        "2056-01-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_same_keys_give_the_same_anchor() {
        let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keys = Keys::make(folder.path(), expires()).unwrap();
        for (_, name) in ROLES {
            fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
        }
        let again = Keys::make(copy.path(), expires()).unwrap();
        assert_eq!(keys.anchor().unwrap(), again.anchor().unwrap());
        let reopened = Keys::make(folder.path(), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(keys.anchor().unwrap(), reopened.anchor().unwrap(), "a list that exists stays as it is");
    }

    #[test]
    fn the_old_root_key_vouches_for_new_keys() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let before = Keys::make(old.path(), expires()).unwrap();
        let after = before.replace(new.path(), expires()).unwrap();
        let parse = |text: &str| serde_json::from_str::<Signed<Root>>(text).unwrap();
        let (first, second) = (parse(before.anchor().unwrap()), parse(after.anchor().unwrap()));
        assert_eq!(second.signed.version.get(), 2);
        first.signed.verify_role(&second).unwrap();
        second.signed.verify_role(&second).unwrap();
        assert!(second.signed.verify_role(&first).is_err());
        assert_eq!(after.roots().count(), 2);
        assert!(before.replace(new.path(), expires()).is_err(), "replaced keys stay");
    }

    #[test]
    fn what_is_no_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("targets.pem"), "no key").unwrap();
        let error = format!("{:#}", Keys::make(folder.path(), expires()).unwrap_err());
        assert!(error.contains("targets.pem is no PEM file"), "{error}");
        assert!(Keys::open(folder.path()).unwrap_err().to_string().contains("no 1.root.json"));
    }
}
