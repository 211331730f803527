//! What whoever stands before the node must see: a QR code with all of it, beside the same for people to read. Nothing
//! keeps it but the screen: it holds the pairing code.

use std::net::IpAddr;

use layout::API_PORT;
use pairing::{Code, Fingerprint, Url};
use qrcodegen::{QrCode, QrCodeEcc, QrSegment, Version};

/// 33 modules a side: with the quiet zone 21 of a text screen's 25 lines.
const VERSION_MAX: u8 = 4;
/// Light modules around a QR code (ISO/IEC 18004, 9.1).
const QUIET_MODULES: i32 = 4;
const WORDS_PER_LINE: usize = 2;
const DIGITS_PER_LINE: usize = 32;
const GAP: &str = "  ";

/// What lets an admin in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// This pairing code.
    Code(Code),
    /// The pairing code is of no use any more.
    Spent,
    /// A certificate of the CA on the medium.
    Clients,
}

/// Where the node is, how it is told from others and what lets an admin in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Its address.
    pub address: IpAddr,
    /// SHA-256 of its public key, hex.
    pub fingerprint: String,
    /// What lets an admin in.
    pub admission: Admission,
}

impl Sight {
    /// The line by which the node is found. It is in the kernel's log, so the code is not in it.
    pub fn line(&self) -> String {
        format!("maintenance https://{}:{API_PORT} fingerprint {}", self.host(), self.fingerprint)
    }

    /// All of it in a square and beside it. Without the square where that would be too large.
    pub fn panel(&self) -> Vec<String> {
        let code = self.qr_code().map(|code| draw(&code)).unwrap_or_default();
        let (mut code, mut text) = (code.into_iter(), self.text().into_iter());
        let lines = std::iter::from_fn(|| match (code.next(), text.next()) {
            (None, None) => None,
            (code, text) => {
                Some([code.as_deref().unwrap_or_default(), GAP, text.as_deref().unwrap_or_default()].concat())
            }
        });
        lines.collect()
    }

    fn qr_code(&self) -> Option<QrCode> {
        let code = match &self.admission {
            Admission::Code(code) => Some(code.clone()),
            // What lets nobody in is not for scanning.
            Admission::Spent => return None,
            Admission::Clients => None,
        };
        let fingerprint = Fingerprint::parse(&self.fingerprint).ok()?;
        let url = Url { address: self.host(), fingerprint, code }.to_text();
        let (segments, max) = (QrSegment::make_segments(&url), Version::new(VERSION_MAX));
        QrCode::encode_segments_advanced(&segments, QrCodeEcc::Low, Version::MIN, max, None, true).ok()
    }

    fn text(&self) -> Vec<String> {
        let mut lines = vec!["This node waits for a configuration".to_owned(), String::new()];
        lines.push(format!("https://{}:{API_PORT}", self.host()));
        lines.push(match &self.admission {
            Admission::Code(code) => ["code ", &code.to_text()].concat(),
            Admission::Spent => "code of no use: reboot for a new one".into(),
            Admission::Clients => "for clients of the CA on its medium".into(),
        });
        lines.extend([String::new(), "fingerprint, and its first half".into()]);
        let digits = self.fingerprint.as_bytes().chunks(DIGITS_PER_LINE);
        lines.extend(digits.map(|digits| String::from_utf8_lossy(digits).into_owned()));
        lines.push("in words".into());
        let words: Vec<_> = pairing::words(&self.fingerprint).collect();
        lines.extend(words.chunks(WORDS_PER_LINE).map(|words| format!("  {}", words.join(" "))));
        lines
    }

    fn host(&self) -> String {
        match self.address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        }
    }
}

/// Two modules a character. Light ones are drawn: a text screen is dark.
fn draw(code: &QrCode) -> Vec<String> {
    let range = -QUIET_MODULES..code.size() + QUIET_MODULES;
    let is_light = |x, y| range.contains(&y) && !code.get_module(x, y);
    let cell = |x, y| match (is_light(x, y), is_light(x, y + 1)) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    };
    range.clone().step_by(2).map(|y| range.clone().map(|x| cell(x, y)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn sight(address: IpAddr, key: [u8; 32], admission: Admission) -> Sight {
        Sight { address, fingerprint: hex::encode(key), admission }
    }

    /// Reads the panel as a camera sees it.
    fn scan(panel: &[String]) -> String {
        const SCALE: usize = 4;
        let rows: Vec<Vec<char>> = panel.iter().map(|line| line.chars().collect()).collect();
        let is_light = |x: usize, y: usize| {
            let cell = rows[y / 2].get(x).copied().unwrap_or(' ');
            cell == '█' || cell == if y.is_multiple_of(2) { '▀' } else { '▄' }
        };
        let (width, height) = (41 * SCALE, rows.len() * 2 * SCALE);
        let is_dark = |x, y| !is_light(x / SCALE, y / SCALE);
        let mut image = rqrr::PreparedImage::prepare_from_bitmap(width, height, is_dark);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "{}", panel.join("\n"));
        grids[0].decode().unwrap().1
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_camera_reads_all_of_it(address: Ipv4Addr, key: [u8; 32], random: Option<[u8; 8]>) {
            let code = random.map(Code::from_random);
            let admission = code.clone().map_or(Admission::Clients, Admission::Code);
            let panel = sight(address.into(), key, admission).panel();
            prop_assert_eq!(panel.len(), 21);
            prop_assert!(panel.iter().all(|line| line.chars().count() <= 80), "{}", panel.join("\n"));
            let read = Url::parse(&scan(&panel)).unwrap();
            prop_assert_eq!(read.address, address.to_string());
            prop_assert!(read.fingerprint.fits(&hex::encode(key)));
            prop_assert_eq!(read.code, code);
        }
    }

    #[test]
    fn people_read_the_same() {
        let code = Code::parse("7Q2M-X4KD-9TRB").unwrap();
        let address = IpAddr::from([10, 0, 0, 5]);
        let sight = sight(address, [0xe5; 32], Admission::Code(code));
        let panel = sight.panel().join("\n");
        for shown in ["https://10.0.0.5:50000", "code 7Q2M-X4KD-9TRB", &"e5".repeat(16), "  topmost travesty"]
        {
            assert!(panel.contains(shown), "{shown} is not in\n{panel}");
        }
        assert!(!sight.line().contains("7Q2M"), "the code gets into the kernel's log");
    }

    #[test]
    fn without_use_or_room_there_is_no_square() {
        let spent = sight(IpAddr::from([10, 0, 0, 5]), [1; 32], Admission::Spent).panel().join("\n");
        assert!(spent.contains("reboot for a new one") && !spent.contains('█'), "{spent}");
        let code = Admission::Code(Code::from_random([1; 8]));
        let wide = sight(Ipv6Addr::LOCALHOST.into(), [1; 32], code).panel();
        assert!(wide.len() <= 21 && wide.iter().any(|line| line.contains("[::1]")), "{}", wide.join("\n"));
    }
}
