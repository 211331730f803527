//! A release that an admin pushes to the node, spoilt on its way.

use bytes::Bytes;
use http_body_util::channel::Channel;
use prost::Message as _;
use proto::update::v1::{UpgradeRequest, upgrade_request::Message};

use crate::call::{Messages, frame};

/// Longer pieces are of images and their hashes. The metadata passes as it is, so that the node gets to them.
const SPOILT_MIN_BYTES: usize = 4096;
/// Messages on their way.
const MESSAGES_MAX: usize = 2;

/// Passes an upgrade's messages on, with a bit of each larger piece flipped.
pub fn spoil(first: Bytes, mut messages: Messages) -> Channel<Bytes> {
    let (mut sender, body) = Channel::new(MESSAGES_MAX);
    tokio::spawn(async move {
        let mut next = Some(first);
        while let Some(message) = next {
            if sender.send_data(frame(&spoilt(message))).await.is_err() {
                return;
            }
            next = messages.next().await.ok().flatten();
        }
    });
    body
}

fn spoilt(message: Bytes) -> Bytes {
    let Ok(UpgradeRequest { message: Some(Message::Chunk(mut chunk)) }) =
        UpgradeRequest::decode(message.clone())
    else {
        return message;
    };
    if chunk.data.len() < SPOILT_MIN_BYTES {
        return message;
    }
    let middle = chunk.data.len() / 2;
    if let Some(byte) = chunk.data.get_mut(middle) {
        *byte ^= 1;
    }
    UpgradeRequest { message: Some(Message::Chunk(chunk)) }.encode_to_vec().into()
}
