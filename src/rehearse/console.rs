use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::transcript::Transcript;

/// The machine's serial port. QEMU keeps the whole of it in a file; this is the live end.
#[derive(Debug)]
pub(super) struct Console {
    stream: UnixStream,
    transcript: Transcript,
}

impl Console {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, transcript: Transcript::default() }
    }

    /// The plain text of what comes next; `None` when QEMU is gone. Nothing is lost when it is dropped while it waits.
    pub(super) async fn read(&mut self) -> io::Result<Option<String>> {
        let mut buffer = [0; 4096];
        Ok(match self.stream.read(&mut buffer).await? {
            0 => None,
            count => Some(self.transcript.push(&buffer[..count])),
        })
    }

    /// Types a line and the Enter key.
    pub(super) async fn type_line(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\r").as_bytes()).await
    }

    /// The last lines.
    pub(super) fn tail(&self) -> impl Iterator<Item = &str> {
        self.transcript.tail()
    }
}
