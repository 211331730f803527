//! A node without configuration, as its console shows it, and `osctl apply-config --insecure`.

use std::{fs, time::Instant};

use pairing::{Fingerprint, Url};
use rqrr::PreparedImage;
use testbed::{bed::Bed, node::Node};

use super::{BOOT, SOON, blueprint, folder, tools};

/// Width of the QR code on the console with the light frame around it.
const SQUARE_CHARS: usize = 41;
const SQUARE_LINES: usize = 21;
/// What every line of it begins with but the last, of which the lower half is missing.
const FRAME: [&str; 2] = ["████", "▀▀▀▀"];

/// Where on the screen it is, in characters of 8 by 16 pixels: from the top left.
const CORNER_PIXELS: usize = 352;
/// UEFI needs no BIOS of the card.
const SCREEN: [&str; 2] = ["-device", "VGA,romfile="];

/// What the console of a node in maintenance says.
pub struct Announced {
    pub fingerprint: String,
    pub code: String,
    /// What a camera reads.
    pub url: String,
}

/// A node on a disk as it was flashed, without any volume.
pub fn start(bed: &Bed, name: &str) -> Node {
    let mut blueprint = blueprint(bed, name);
    blueprint.probe_image = None;
    blueprint.hardware.extra = SCREEN.map(str::to_owned).to_vec();
    let tools = tools(bed);
    let files = Node::prepare(&tools, &blueprint, &folder(bed, name)).unwrap();
    fs::remove_file(files.config_volume()).unwrap();
    Node::start(&tools, &blueprint, &files).unwrap()
}

/// Waits until the console says where the node is, then reads what it shows.
pub fn announced(node: &mut Node) -> Announced {
    let line = node.machine.wait_for("cairn: maintenance https://", BOOT).unwrap();
    let fingerprint = word_after(&line, "fingerprint");
    let shown: Vec<_> = shown(node).iter().map(|line| line.chars().collect::<Vec<_>>()).collect();
    let text = |line: &Vec<char>| line.iter().skip(SQUARE_CHARS).collect::<String>() + "\n";
    let code = word_after(&shown.iter().map(text).collect::<String>(), "code");
    let url = scan(&shown);
    let read = Url::parse(&url).unwrap();
    assert!(read.fingerprint.fits(&fingerprint), "{url} for {line}");
    assert!(read.code.is_some_and(|read| read.to_text().as_str() == code), "{url} for {code}");
    Announced { fingerprint, code, url }
}

fn word_after(text: &str, word: &str) -> String {
    let mut words = text.split_whitespace();
    words
        .find(|found| *found == word)
        .and_then(|_| words.next())
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

/// The QR code and what stands beside it. The kernel may say something in the middle of a line.
fn shown(node: &mut Node) -> Vec<String> {
    let (mut shown, mut begun) = (Vec::new(), String::new());
    while shown.len() < SQUARE_LINES {
        let line = node.machine.wait_for("", SOON).unwrap();
        let kernel = line.find("[ ");
        begun.push_str(&line[..kernel.unwrap_or(line.len())]);
        if kernel.is_none() {
            let whole = std::mem::take(&mut begun);
            shown.extend(Some(whole).filter(|line| FRAME.iter().any(|frame| line.starts_with(frame))));
        }
    }
    shown
}

fn scan(shown: &[Vec<char>]) -> String {
    /// Pixels a module.
    const SCALE: usize = 4;
    let is_dark = |x: usize, y: usize| {
        let halves = if (y / SCALE).is_multiple_of(2) { ['█', '▀'] } else { ['█', '▄'] };
        !halves.contains(&shown[y / SCALE / 2][x / SCALE])
    };
    let (width, height) = (SQUARE_CHARS * SCALE, SQUARE_LINES * 2 * SCALE);
    read(width, height, is_dark).unwrap()
}

/// What a camera reads from the screen. It is drawn at once, but not at the same time as the serial line.
pub fn photographed(node: &mut Node) -> String {
    let until = Instant::now() + SOON;
    loop {
        match develop(&node.machine.photograph().unwrap()) {
            Some(url) => return url,
            None => assert!(Instant::now() < until, "no QR code on the screen"),
        }
    }
}

/// A binary PPM: "P6", width, height and the greatest value, then three bytes a pixel.
fn develop(ppm: &[u8]) -> Option<String> {
    let mut fields = ppm.splitn(4, |byte| byte.is_ascii_whitespace());
    assert_eq!(fields.next(), Some(&b"P6"[..]));
    let mut number = || std::str::from_utf8(fields.next().unwrap()).unwrap().parse::<usize>().unwrap();
    let (width, height) = (number(), number());
    let pixels = fields.next().unwrap().strip_prefix(b"255\n").unwrap();
    let is_dark = |x, y| pixels[(y * width + x) * 3 + 1] < 64;
    read(width.min(CORNER_PIXELS), height.min(CORNER_PIXELS), is_dark)
}

fn read(width: usize, height: usize, is_dark: impl FnMut(usize, usize) -> bool) -> Option<String> {
    let mut image = PreparedImage::prepare_from_bitmap(width, height, is_dark);
    image.detect_grids().first().and_then(|grid| grid.decode().ok()).map(|(_, text)| text)
}

/// The words that the console shows beside it.
pub fn words(announced: &Announced) -> String {
    let words = pairing::words(&announced.fingerprint).collect::<Vec<_>>().join(" ");
    assert!(Fingerprint::parse(&words).unwrap().fits(&announced.fingerprint));
    words
}

pub fn path(node: &Node, name: &str) -> String {
    node.files().folder().join(name).to_string_lossy().into_owned()
}

/// Runs `apply-config --insecure`; its standard output, or its standard error.
pub fn apply(node: &Node, more: &[&str]) -> Result<String, String> {
    apply_file(node, "machine.yaml", more)
}

pub fn apply_file(node: &Node, file: &str, more: &[&str]) -> Result<String, String> {
    let (file, secrets, endpoint) = (path(node, file), node.secrets(), node.endpoint());
    let secrets = secrets.to_string_lossy();
    let arguments = ["apply-config", "--insecure", "-f", &file, "--secrets", &secrets, "-n", &endpoint];
    let output = node.osctl_output(&[&arguments, more].concat()).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}
