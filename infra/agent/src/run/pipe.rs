//! A command's pipes, and the decoding of their bytes to text that Slack can show.

use std::{future::pending, mem};

use tokio::io::{AsyncRead, AsyncReadExt};
use vte::{Parser, Perform};

/// Bytes of one read; a pipe holds 64 KB.
const READ_BUFFER_BYTES: usize = 16 * 1024;

pub(super) struct Pipe {
    pub(super) reader: Option<Box<dyn AsyncRead + Send + Unpin>>,
    buffer: Vec<u8>,
    decoder: PlainTextDecoder,
}

impl Pipe {
    pub(super) fn new(reader: Option<impl AsyncRead + Send + Unpin + 'static>) -> Self {
        Self {
            reader: reader.map(|reader| Box::new(reader) as _),
            buffer: vec![0; READ_BUFFER_BYTES],
            decoder: PlainTextDecoder::default(),
        }
    }

    /// Waits for output, and returns its text; for ever when the pipe has ended. An error ends a pipe
    /// like its end does: the process is gone.
    pub(super) async fn read_chunk(&mut self) -> String {
        let Some(reader) = &mut self.reader else {
            return pending().await;
        };
        match reader.read(&mut self.buffer).await {
            Ok(bytes) if bytes > 0 => {
                let bytes = self.buffer.get(..bytes).unwrap_or_default();
                self.decoder.push(bytes)
            }
            _ => self.close(),
        }
    }

    /// Takes the pipe as ended, and returns the rest of its text.
    pub(super) fn close(&mut self) -> String {
        self.reader = None;
        self.decoder.finish()
    }
}

/// Decodes one pipe as it is read: characters and escapes cut by a read are completed by the next
/// one, bytes that are no UTF-8 become U+FFFD, and escapes for terminals (colours, cursor moves,
/// titles) are removed.
#[derive(Default)]
struct PlainTextDecoder {
    /// The beginning of a character, at most 3 bytes.
    cut: Vec<u8>,
    /// The terminal emulator. It gets whole characters only: its own completion of cut ones loses
    /// the text after them.
    terminal: Parser,
}

impl PlainTextDecoder {
    fn push(&mut self, bytes: &[u8]) -> String {
        self.cut.extend_from_slice(bytes);
        let end = self.cut.len();
        let mut starts = (end.saturating_sub(3)..end).rev();
        let cut_at = starts.find(|at| is_incomplete_char(&self.cut[*at..]));
        let cut = self.cut.split_off(cut_at.unwrap_or(end));
        let whole = mem::replace(&mut self.cut, cut);
        let decoded = String::from_utf8_lossy(&whole);
        let mut text = PrintableTextCollector(String::with_capacity(decoded.len()));
        self.terminal.advance(&mut text, decoded.as_bytes());
        text.0
    }

    /// Returns the rest when the pipe has ended.
    fn finish(&mut self) -> String {
        if mem::take(&mut self.cut).is_empty() {
            String::new()
        } else {
            char::REPLACEMENT_CHARACTER.to_string()
        }
    }
}

/// Whether bytes at the end of a read are the beginning of a character.
fn is_incomplete_char(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// Keeps the characters that can be shown anywhere.
struct PrintableTextCollector(String);

impl Perform for PrintableTextCollector {
    fn print(&mut self, c: char) {
        const DELETE: char = '\u{7f}';
        if c != DELETE {
            self.0.push(c);
        }
    }

    fn execute(&mut self, byte: u8) {
        if matches!(byte, b'\n' | b'\t' | b'\r') {
            self.0.push(char::from(byte));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut decoder = PlainTextDecoder::default();
        let mut text: String = reads.into_iter().map(|read| decoder.push(read)).collect();
        text.push_str(&decoder.finish());
        text
    }

    proptest! {
        #[test]
        fn where_a_read_ends_does_not_matter(
            text in "[a-zäöü€😀\n\t ]{0,80}",
            size in 1usize..9,
        ) {
            prop_assert_eq!(decode(text.as_bytes().chunks(size)), text);
        }

        #[test]
        fn any_bytes_become_what_a_lossy_decoding_says(
            bytes in prop::collection::vec(0x80u8..=0xff, 0..64),
            size in 1usize..9,
        ) {
            let whole = decode([bytes.as_slice()]);
            prop_assert_eq!(decode(bytes.chunks(size)), whole);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(decode([b"a\xffb".as_slice()]), "a\u{fffd}b");
        assert_eq!(decode([b"a\xe2\x82".as_slice()]), "a\u{fffd}");
    }

    #[test]
    fn colours_go_and_tabs_stay() {
        let reads: [&[u8]; 3] = [b"\x1b[1;3", b"1mred\x1b[0m\t", b"plain\n"];
        assert_eq!(decode(reads), "red\tplain\n");
    }
}
