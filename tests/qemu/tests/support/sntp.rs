//! A time server on the host's loopback that nothing vouches for (RFC 5905), for a node on
//! [`testbed::network::Network::Open`].

use std::{
    net::UdpSocket,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use testbed::network::OPEN_HOST;

const PACKET_BYTES: usize = 48;
/// From 1900, where NTP begins, to 1970.
const EPOCH_S: u64 = 2_208_988_800;
/// No leap second, version 4, server.
const HEAD: u8 = 4 << 3 | 4;
const STRATUM: u8 = 2;
/// 2^-20 s.
const PRECISION: u8 = 0xEC;

/// Answers for as long as the test's process lives; returns its URL as the node reaches it.
pub fn serve() -> String {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut packet) {
            if length >= PACKET_BYTES {
                // A client that is gone asks no more.
                socket.send_to(&answer(&packet[..PACKET_BYTES], now()), client).ok();
            }
        }
    });
    format!("ntp://{OPEN_HOST}:{port}")
}

fn now() -> [u8; 8] {
    let since: Duration = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    ((since.as_secs() + EPOCH_S) << 32 | fraction).to_be_bytes()
}

fn answer(question: &[u8], now: [u8; 8]) -> [u8; PACKET_BYTES] {
    let mut answer = [0; PACKET_BYTES];
    answer[..4].copy_from_slice(&[HEAD, STRATUM, question[2], PRECISION]);
    answer[12..16].copy_from_slice(&[127, 127, 1, 1]);
    answer[16..24].copy_from_slice(&now);
    answer[24..32].copy_from_slice(&question[40..48]);
    answer[32..40].copy_from_slice(&now);
    answer[40..48].copy_from_slice(&now);
    answer
}
