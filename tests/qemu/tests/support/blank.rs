//! A node without configuration, as its console shows it, and `osctl apply-config --insecure`.

use std::fs;

use pairing::{Code, Fingerprint, Url};
use testbed::{bed::Bed, node::Node};

use super::{BOOT, SOON, blueprint, folder, tools};

/// Width of the QR code on the console with the light frame around it.
const SQUARE_CHARS: usize = 41;
const SQUARE_LINES: usize = 21;
/// What every line of it begins with but the last, of which the lower half is missing.
const FRAME: [&str; 2] = ["████", "▀▀▀▀"];

/// What the console of a node in maintenance says.
pub struct Announced {
    pub fingerprint: String,
    pub code: String,
}

/// A node on a disk as it was flashed, without any volume.
pub fn start(bed: &Bed, name: &str) -> Node {
    let mut blueprint = blueprint(bed, name);
    blueprint.probe_image = None;
    let tools = tools(bed);
    let files = Node::prepare(&tools, &blueprint, &folder(bed, name)).unwrap();
    fs::remove_file(files.config_volume()).unwrap();
    Node::start(&tools, &blueprint, &files).unwrap()
}

pub fn announced(node: &mut Node) -> Announced {
    let line = node.machine.wait_for("cairn: maintenance https://", BOOT).unwrap();
    let word_after = |word: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let at = words.iter().position(|found| *found == word).unwrap_or_else(|| panic!("{line}"));
        words[at + 1].to_owned()
    };
    Announced { fingerprint: word_after("fingerprint"), code: word_after("code") }
}

/// What a camera reads from the console after the announcement: the URL, and whether it says the same.
pub fn scanned(node: &mut Node, announced: &Announced) -> String {
    let square: Vec<_> = (0..SQUARE_LINES).map(|line| square_line(node, line)).collect();
    let url = scan(&square);
    let read = Url::parse(&url).unwrap();
    assert!(read.fingerprint.fits(&announced.fingerprint), "{url}");
    assert_eq!(read.code, Some(Code::parse(&announced.code).unwrap()), "{url}");
    url
}

fn square_line(node: &mut Node, line: usize) -> Vec<char> {
    let frame = FRAME[usize::from(line + 1 == SQUARE_LINES)];
    let line = node.machine.wait_for(frame, SOON).unwrap();
    assert!(line.starts_with(frame), "something came between: {line}");
    line.chars().take(SQUARE_CHARS).collect()
}

fn scan(square: &[Vec<char>]) -> String {
    /// Pixels a module.
    const SCALE: usize = 4;
    let is_dark = |x: usize, y: usize| {
        let halves = if (y / SCALE).is_multiple_of(2) { ['█', '▀'] } else { ['█', '▄'] };
        !halves.contains(&square[y / SCALE / 2][x / SCALE])
    };
    let (width, height) = (SQUARE_CHARS * SCALE, square.len() * 2 * SCALE);
    let mut image = rqrr::PreparedImage::prepare_from_bitmap(width, height, is_dark);
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1, "not one QR code");
    grids[0].decode().unwrap().1
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
