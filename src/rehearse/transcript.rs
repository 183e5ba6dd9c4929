use std::{collections::VecDeque, mem};

/// The plain text of a serial console, and its last lines.
///
/// SECURITY: what comes out of the machine is shown on the operator's terminal, so nothing that a terminal would obey is
/// left in it: no control character but the line feed, no escape sequence.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    state: State,
    undecoded: Vec<u8>,
    line: String,
    lines: VecDeque<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and intermediate bytes (ECMA-35 nF): character sets.
    Intermediate,
    /// After ESC `[` (ECMA-48 CSI).
    Control,
}

/// As many lines as anybody wants to see after a failure.
const KEPT: usize = 15;
/// A line without an end is cut here: a machine that never writes one must not fill our memory.
const LONGEST: usize = 1024;

impl Transcript {
    /// Takes bytes as they came and gives their plain text.
    pub(super) fn push(&mut self, bytes: &[u8]) -> String {
        let plain = self.plain(bytes);
        for character in plain.chars() {
            if character == '\n' || self.line.len() >= LONGEST {
                self.end_line();
            }
            if character != '\n' {
                self.line.push(character);
            }
        }
        plain
    }

    /// The last lines that are not blank, oldest first, at most [`KEPT`].
    pub(super) fn tail(&self) -> impl Iterator<Item = &str> {
        let last = Some(self.line.as_str()).filter(|line| !line.trim().is_empty());
        let too_many = (self.lines.len() + last.iter().len()).saturating_sub(KEPT);
        self.lines.iter().map(String::as_str).chain(last).skip(too_many)
    }

    fn end_line(&mut self) {
        let line = mem::take(&mut self.line);
        if !line.trim().is_empty() {
            if self.lines.len() == KEPT {
                self.lines.pop_front();
            }
            self.lines.push_back(line);
        }
    }

    fn plain(&mut self, bytes: &[u8]) -> String {
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (_, 0x1b) => State::Escape,
                (State::Text, byte) => {
                    self.undecoded.push(byte);
                    State::Text
                }
                (State::Escape, b'[') => State::Control,
                (State::Escape | State::Intermediate, 0x20..=0x2f) => State::Intermediate,
                (State::Control, 0x40..=0x7e) => {
                    // Firmware screens move the cursor where a line would end.
                    if matches!(byte, b'H' | b'f') {
                        self.undecoded.push(b'\n');
                    }
                    State::Text
                }
                (State::Control, _) => State::Control,
                (State::Escape | State::Intermediate, _) => State::Text,
            };
        }
        let whole = whole_characters(&self.undecoded);
        let rest = self.undecoded.split_off(whole);
        let text = mem::replace(&mut self.undecoded, rest);
        // A lone carriage return starts the same line again, as progress displays do: a new line here.
        let text = String::from_utf8_lossy(&text).replace("\r\n", "\n").replace('\r', "\n");
        text.chars().filter(|&character| character == '\n' || !character.is_control()).collect()
    }
}

/// The length without a character of which only the beginning has come.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let table: [(&[&[u8]], &str); 9] = [
            (&[b"plain\r\ntext\n"], "plain\ntext\n"),
            (&[b"\x1b[2J\x1b[01;01Hmenu\x1b[0m"], "\nmenu"),
            (&[b"\x1b[=3h\x1b(Bx"], "x"),
            (&[b"a\x1b", b"[3", b"1mred"], "ared"),
            (&[b"50%\r60%\r"], "50%\n60%\n"),
            (&[b"\x07\x08\x00bell"], "bell"),
            (&["h\u{e9}llo".as_bytes(), "\u{9b}31m".as_bytes()], "h\u{e9}llo31m"),
            (&[b"h\xc3", b"\xa9"], "h\u{e9}"),
            (&[b"\xff\xfe!"], "\u{fffd}\u{fffd}!"),
        ];
        for (chunks, plain) in table {
            let mut transcript = Transcript::default();
            let got: String = chunks.iter().map(|chunk| transcript.push(chunk)).collect();
            assert_eq!(got, plain, "{chunks:?}");
        }
    }

    #[test]
    fn the_tail_is_the_last_lines_with_something_in_them() {
        let mut transcript = Transcript::default();
        for number in 0..100 {
            transcript.push(format!("line {number}\r\n\r\n   \r\n").as_bytes());
        }
        transcript.push(b"login: ");
        let tail: Vec<_> = transcript.tail().collect();
        assert_eq!((tail.len(), tail[0], tail[14]), (KEPT, "line 86", "login: "));
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut transcript = Transcript::default();
        transcript.push(&vec![b'x'; 100 * LONGEST]);
        assert!(transcript.tail().all(|line| line.len() <= LONGEST));
        assert!(transcript.tail().count() <= KEPT);
    }
}
