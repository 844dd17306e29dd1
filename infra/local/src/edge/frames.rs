//! A message as API Gateway sends it to an agent: in frames of at most 32 KB, cut anywhere, also
//! within a character.

use bematic_protocol::messages::limits::FRAME_BYTES;
use tokio_tungstenite::tungstenite::Bytes;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// The message itself, or the frames of one that is larger than a frame.
pub(super) fn framed(message: Message) -> Vec<Message> {
    let (mut opcode, mut rest) = match &message {
        Message::Text(text) if text.len() > FRAME_BYTES => (Data::Text, Bytes::from(text.clone())),
        Message::Binary(bytes) if bytes.len() > FRAME_BYTES => (Data::Binary, bytes.clone()),
        _ => return vec![message],
    };
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let head = rest.split_to(FRAME_BYTES.min(rest.len()));
        let frame = Frame::message(head, OpCode::Data(opcode), rest.is_empty());
        frames.push(Message::Frame(frame));
        opcode = Data::Continue;
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(message: Message) -> Vec<(usize, bool)> {
        let part = |message| match message {
            Message::Frame(frame) => (frame.payload().len(), frame.header().is_final),
            whole => (whole.len(), true),
        };
        framed(message).into_iter().map(part).collect()
    }

    #[test]
    fn only_what_is_larger_than_a_frame_is_divided() {
        assert_eq!(
            lengths(Message::text("x".repeat(FRAME_BYTES))),
            [(FRAME_BYTES, true)]
        );
        assert_eq!(
            lengths(Message::text("ä".repeat(FRAME_BYTES))),
            [(FRAME_BYTES, false), (FRAME_BYTES, true)]
        );
        assert_eq!(
            lengths(Message::binary(vec![0; FRAME_BYTES + 1])),
            [(FRAME_BYTES, false), (1, true)]
        );
    }
}
