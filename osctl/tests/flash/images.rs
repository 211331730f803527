//! Where images come from and how they are checked.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;

use crate::rig::{MIB, Rig};

fn sum(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Rig {
    /// Writes SHA256SUMS of both images, signed; returns the public key's file.
    fn publish(&self) -> PathBuf {
        let names = ["cairn.img", "cairn.img.zst"];
        let sums: String =
            names.map(|name| format!("{}  {name}\n", sum(&fs::read(self.path(name)).unwrap()))).concat();
        let key = Ed25519KeyPair::generate().unwrap();
        fs::write(self.path("SHA256SUMS.sig"), key.sign(sums.as_bytes())).unwrap();
        fs::write(self.path("SHA256SUMS"), sums).unwrap();
        let mut der = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        der.extend(key.public_key().as_ref());
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
        fs::write(self.path("release.pub"), pem).unwrap();
        self.path("release.pub")
    }
}

#[test]
fn raw_and_packed_images_are_written_whole_onto_dirty_media() {
    let rig = Rig::new();
    for image in ["cairn.img", "cairn.img.zst"] {
        let disk = rig.dirty("disk.img", 9 * MIB);
        let ran = rig.flash(&[image, "disk.img", "--file", "--yes"]);
        assert!(ran.err.contains("written unchecked"), "{ran:?}");
        assert!(ran.ok().contains("read back"));
        rig.assert_flashed(&disk);
    }
    let report = rig.flash(&["cairn.img", "new.img", "--file", "-o", "json"]).ok();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["sizeBytes"], rig.image.len());
    assert_eq!(fs::read(rig.path("new.img")).unwrap(), rig.image);
}

#[test]
fn an_image_that_is_not_the_published_one_is_refused_before_anything_is_written() {
    let rig = Rig::new();
    let key = rig.publish();
    let key = key.to_str().unwrap();
    let flash = ["cairn.img.zst", "disk.img", "--file", "--yes"];
    let signed = [&flash[..], &["--verify-key", key]].concat();
    rig.flash(&signed).ok();

    fs::remove_file(rig.path("disk.img")).unwrap();
    let mut packed = fs::read(rig.path("cairn.img.zst")).unwrap();
    let last = packed.len() - 1;
    packed[last] ^= 1;
    fs::write(rig.path("cairn.img.zst"), &packed).unwrap();
    rig.flash(&flash).fails(1, &["damaged or not the published image", "nothing was written"]);

    // Whoever swaps image and checksums has no key.
    fs::write(rig.path("SHA256SUMS"), format!("{}  cairn.img.zst\n", sum(&packed))).unwrap();
    rig.flash(&signed).fails(1, &["not by the given key"]);
    fs::remove_file(rig.path("SHA256SUMS.sig")).unwrap();
    rig.flash(&signed).fails(1, &["no SHA256SUMS.sig"]);
    fs::remove_file(rig.path("SHA256SUMS")).unwrap();
    rig.flash(&signed).fails(1, &["no SHA256SUMS beside"]);
    fs::write(rig.path("release.pub"), "nonsense").unwrap();
    rig.flash(&signed).fails(1, &["release.pub"]);
    fs::write(rig.path("cairn.img.zst.sha256"), sum(b"another")).unwrap();
    rig.flash(&flash).fails(1, &["damaged or not the published image"]);
    assert!(!rig.path("disk.img").exists());
}

#[test]
fn a_damaged_or_absent_image_is_an_error() {
    let rig = Rig::new();
    let packed = fs::read(rig.path("cairn.img.zst")).unwrap();
    fs::write(rig.path("cut.zst"), &packed[..packed.len() / 2]).unwrap();
    rig.dirty("disk.img", 8 * MIB);
    rig.flash(&["cut.zst", "disk.img", "--file", "--yes"])
        .fails(1, &["cannot read the image", "must not be started"]);
    let left = fs::read(rig.path("disk.img")).unwrap();
    assert!(left[..MIB].iter().all(|byte| *byte == 0), "half an image has a partition table");
    rig.flash(&["none.img", "other.img", "--file"]).fails(6, &["none.img"]);
    rig.flash(&["cairn.img", "other.img", "--file", "--config", "cairn.img"]).fails(1, &["cairn.img"]);
    assert!(!rig.path("other.img").exists());
}

#[test]
fn an_image_is_fetched_checked_and_written() {
    let rig = Rig::new();
    let key = rig.publish();
    let url = serve(&rig);
    let disk = rig.dirty("disk.img", 7 * MIB);
    let image = format!("{url}/cairn.img.zst");
    rig.flash(&[&image, "disk.img", "--file", "--yes", "--verify-key", key.to_str().unwrap()]).ok();
    rig.assert_flashed(&disk);
    rig.flash(&[&format!("{url}/none.img"), "new.img", "--file"]).fails(6, &["there is no http://"]);
    rig.flash(&["http://127.0.0.1:1/x.img", "new.img", "--file"]).fails(3, &["cannot fetch"]);
    assert!(!rig.path("new.img").exists());
}

/// Serves the rig's files over HTTP for the rest of the process.
fn serve(rig: &Rig) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let folder = rig.folder.path().to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let name = request.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
            let answer = match fs::read(folder.join(name)) {
                Ok(body) => [header("200 OK", body.len()).into_bytes(), body].concat(),
                Err(_) => header("404 Not Found", 0).into_bytes(),
            };
            // The client may have gone.
            let _ = stream.write_all(&answer);
        }
    });
    url
}

fn header(status: &str, length: usize) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
}
