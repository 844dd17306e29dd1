//! One of a command's pipes, read as text.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::output::Decoder;

/// Bytes of one read: what a pipe holds is 64 KB.
const READ_BYTES: usize = 16 * 1024;

/// One of a command's pipes.
pub(super) struct Pipe {
    pub(super) reader: Option<Box<dyn AsyncRead + Send + Unpin>>,
    buffer: Vec<u8>,
    pub(super) decoder: Decoder,
}

impl Pipe {
    pub(super) fn new(reader: Option<impl AsyncRead + Send + Unpin + 'static>) -> Self {
        Self {
            reader: reader.map(|reader| Box::new(reader) as _),
            buffer: vec![0; READ_BYTES],
            decoder: Decoder::default(),
        }
    }

    /// Waits for bytes; for ever when the pipe has ended.
    pub(super) async fn read(&mut self) -> io::Result<usize> {
        match &mut self.reader {
            Some(reader) => reader.read(&mut self.buffer).await,
            None => std::future::pending().await,
        }
    }

    /// The text of what was read. An error ends a pipe like its end does: the process is gone.
    pub(super) fn text(&mut self, read: &io::Result<usize>) -> String {
        match read {
            &Ok(bytes) if bytes > 0 => {
                let bytes = self.buffer.get(..bytes).unwrap_or_default();
                self.decoder.push(bytes)
            }
            _ => {
                self.reader = None;
                self.decoder.finish()
            }
        }
    }
}
