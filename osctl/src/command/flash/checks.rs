//! Whether the image is the one that was published: checksums beside it, and a signature over those.
//!
//! `SHA256SUMS` is what sha256sum(1) writes; `SHA256SUMS.sig` is the raw Ed25519 signature (RFC 8032) of its bytes, as
//! `openssl pkeyutl -sign -rawin` makes it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;

use super::location::Location;
use super::progress::Meter;
use crate::failure::Failure;
use crate::{file, output};

const SUMS: &str = "SHA256SUMS";
const SIGNATURE: &str = "SHA256SUMS.sig";
/// SubjectPublicKeyInfo of an Ed25519 key (RFC 8410) up to the 32 bytes of the key.
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const HASH_BYTES_AT_ONCE: usize = 1 << 20;

/// Checks an image against what lies beside its place of origin. With a key, checksums and their signature must be
/// there; without, checksums are checked when there are any.
pub fn check(location: &Location, image: &mut File, verify_key: Option<&Path>) -> Result<(), Failure> {
    let key = verify_key.map(read_key).transpose()?;
    let Some(expected) = expected(location, key.as_ref())? else {
        output::warn(&format!("there is no {SUMS} beside {location}: it is written unchecked"));
        return Ok(());
    };
    let found = sha256(image).map_err(|error| Failure::error("cannot read the image").why(error))?;
    if found != expected {
        return Err(Failure::error(format!("{location} is damaged or not the published image"))
            .why(format!("its SHA-256 is {found}, published is {expected}"))
            .hint("fetch it again; nothing was written"));
    }
    Ok(())
}

/// The published hash, if there is one.
fn expected(location: &Location, key: Option<&PublicKey>) -> Result<Option<String>, Failure> {
    let name = location.file_name();
    if let Some(sums) = location.beside(SUMS)? {
        verify_signature(location, &sums, key)?;
        return match listed(&String::from_utf8_lossy(&sums), &name) {
            None if key.is_some() => Err(Failure::error(format!("the signed {SUMS} does not list {name}"))),
            found => Ok(found),
        };
    }
    if key.is_some() {
        return Err(Failure::error(format!("there is no {SUMS} beside {location}"))
            .hint("with --verify-key the checksums and their signature must lie beside the image"));
    }
    let single = location.beside(&format!("{name}.sha256"))?;
    Ok(single.and_then(|text| {
        let text = String::from_utf8_lossy(&text).into_owned();
        listed(&text, &name).or_else(|| hash(text.trim()))
    }))
}

type PublicKey = UnparsedPublicKey<Vec<u8>>;

fn verify_signature(location: &Location, sums: &[u8], key: Option<&PublicKey>) -> Result<(), Failure> {
    let Some(key) = key else { return Ok(()) };
    let signature = location.beside(SIGNATURE)?.ok_or_else(|| {
        Failure::error(format!("there is no {SIGNATURE} beside {location}"))
            .hint("nobody has signed this image; nothing was written")
    })?;
    key.verify(sums, &signature).map_err(|_| {
        Failure::error(format!("the signature of {SUMS} is not by the given key"))
            .hint("the image may have been tampered with; nothing was written")
    })
}

fn read_key(path: &Path) -> Result<PublicKey, Failure> {
    let cannot = || Failure::error(format!("cannot use the key {}", path.display()));
    let text = file::read(path).map_err(|error| cannot().why(error))?;
    let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes())
        .map_err(|_| cannot().why("it is no public key in PEM"))?;
    let key = der.as_ref().strip_prefix(&ED25519_PREFIX).filter(|key| key.len() == 32);
    key.map(|key| UnparsedPublicKey::new(&ED25519, key.to_vec()))
        .ok_or_else(|| cannot().why("it is no Ed25519 key"))
}

/// The hash of a file in the output of sha256sum(1).
fn listed(sums: &str, name: &str) -> Option<String> {
    sums.lines().find_map(|line| {
        let (hash_text, rest) = line.split_once(' ')?;
        // A blank or an asterisk tells text from binary.
        let found = rest.strip_prefix([' ', '*']).unwrap_or(rest);
        (found == name).then(|| hash(hash_text))?
    })
}

fn hash(text: &str) -> Option<String> {
    (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

/// Hash of the whole file, which is left at its beginning.
fn sha256(file: &mut File) -> io::Result<String> {
    let mut meter = Meter::new("checking", Some(file.metadata()?.len()));
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; HASH_BYTES_AT_ONCE];
    let mut done = 0;
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        context.update(&buffer[..length]);
        done += length as u64;
        meter.show(done);
    }
    file.rewind()?;
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_found_by_name() {
        let (one, two) = ("a".repeat(64), "B".repeat(64));
        let sums = format!("{one}  cairn.img\n{two} *cairn.img.zst\nnonsense\nshort  other\n");
        assert_eq!(listed(&sums, "cairn.img"), Some(one));
        assert_eq!(listed(&sums, "cairn.img.zst"), Some("b".repeat(64)));
        assert_eq!(listed(&sums, "other"), None);
        assert_eq!(listed(&sums, "img"), None);
    }
}
