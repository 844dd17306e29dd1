//! One message in frames that API Gateway takes.

use bematic_protocol::messages::limits::FRAME_BYTES;
use futures_util::{Sink, SinkExt};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

/// Bytes of text in a frame: room for the header, and then some.
const TEXT_BYTES: usize = FRAME_BYTES - 2048;

/// Sends a message, in several frames if it is large.
pub(super) async fn send(
    sink: &mut (impl Sink<Message, Error = Error> + Unpin),
    text: &str,
) -> Result<(), Error> {
    let mut rest = text;
    let mut opcode = Data::Text;
    loop {
        let (head, tail) = rest.split_at(rest.floor_char_boundary(TEXT_BYTES));
        let frame = Frame::message(head.to_owned(), OpCode::Data(opcode), tail.is_empty());
        sink.feed(Message::Frame(frame)).await?;
        if tail.is_empty() {
            return sink.flush().await;
        }
        (rest, opcode) = (tail, Data::Continue);
    }
}
