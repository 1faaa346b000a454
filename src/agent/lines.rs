//! Reading lines from somebody who may never end one.

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// The longest line: a change that replaces a file of 4 MiB, the most that a playbook may bring, has it twice.
pub const LONGEST: usize = 16 << 20;
/// The most that is heard in answer to one request, events included.
pub const MOST: usize = 128 << 20;

/// Why there is no next line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unheard {
    /// The stream ended or broke.
    Lost,
    TooLong,
    TooMuch,
}

/// Lines of at most [`LONGEST`] bytes, [`MOST`] between two calls of [`Self::begin`].
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
    most: usize,
    left: usize,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub fn new(input: R) -> Self {
        Self { input, line: Vec::new(), most: MOST, left: MOST }
    }

    /// A new request: what was heard so far counts no more.
    pub fn begin(&mut self) {
        self.left = self.most;
    }

    /// The next line without its end. May be dropped and called again: nothing is lost.
    pub async fn next(&mut self) -> Result<Vec<u8>, Unheard> {
        loop {
            let piece = self.input.fill_buf().await.map_err(|_| Unheard::Lost)?;
            if piece.is_empty() {
                return Err(Unheard::Lost);
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(piece.len(), |at| at + 1);
            if self.line.len() + taken > LONGEST {
                return Err(Unheard::TooLong);
            }
            self.left = self.left.checked_sub(taken).ok_or(Unheard::TooMuch)?;
            self.line.extend_from_slice(&piece[..taken]);
            self.input.consume(taken);
            if end.is_some() {
                self.line.pop();
                return Ok(std::mem::take(&mut self.line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    #[tokio::test]
    async fn lines_come_one_by_one_and_an_unended_one_is_none() {
        let mut lines = Lines::new(BufReader::with_capacity(3, &b"abcdef\n\ng"[..]));
        assert_eq!(lines.next().await.unwrap(), b"abcdef");
        assert_eq!(lines.next().await.unwrap(), b"");
        assert_eq!(lines.next().await, Err(Unheard::Lost));
    }

    #[tokio::test]
    async fn neither_a_line_nor_a_flood_of_them_is_kept_without_end() {
        let mut endless = Lines::new(BufReader::new(tokio::io::repeat(b'x')));
        assert_eq!(endless.next().await, Err(Unheard::TooLong));
        assert!(endless.line.len() <= LONGEST);
        let mut flood = Lines { most: 1000, ..Lines::new(BufReader::new(tokio::io::repeat(b'\n'))) };
        flood.begin();
        let mut heard = 0_usize;
        let end = loop {
            match flood.next().await {
                Ok(_) => heard += 1,
                Err(end) => break end,
            }
        };
        assert_eq!((end, heard), (Unheard::TooMuch, 1000));
        flood.begin();
        assert!(flood.next().await.is_ok());
    }
}
