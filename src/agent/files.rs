//! Files of a host that commands show or keep, piece by piece: none is too large, and no login shell has a word in it.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;

use fs_err as fs;

use super::Client;
use super::protocol::{HostFile, Piece, Reply, Request};
use crate::engine::{Failure, Hint, Result};

/// Bytes of a piece: in base64 a line is far below what a controller takes.
const PIECE: u64 = 512 << 10;

/// The piece at an offset; None where there is no such file.
pub(super) fn piece(path: &str, offset: u64) -> Result<Option<Piece>> {
    use base64::Engine as _;
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let inode = file.metadata()?.ino();
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(PIECE).read_to_end(&mut bytes)?;
    let is_last = (bytes.len() as u64) < PIECE;
    Ok(Some(Piece { content: base64::engine::general_purpose::STANDARD.encode(bytes), inode, is_last }))
}

impl Client {
    /// The whole of a file; None where there is no such file.
    pub async fn read(&self, file: HostFile) -> Result<Option<Vec<u8>>> {
        use base64::Engine as _;
        let mut whole = Vec::new();
        let mut inode = None;
        loop {
            let piece = self.piece(file, whole.len() as u64).await?;
            let Some(piece) = piece else { return Ok(None) };
            let bytes = base64::engine::general_purpose::STANDARD.decode(&piece.content);
            whole.extend(bytes.map_err(|_| Failure::new(format!("the host's answer is no part of {}", file.path())))?);
            if *inode.get_or_insert(piece.inode) != piece.inode {
                return Err(Failure::new(format!("{} was replaced while it was read", file.path()))
                    .hint(Hint::OtherRunWrites)
                    .retryable());
            }
            let is_stuck = piece.content.is_empty() && !piece.is_last;
            if whole.len() > file.most() || is_stuck {
                return Err(Failure::new(format!(
                    "the host sends {} without an end within {} MiB",
                    file.path(),
                    file.most() >> 20
                )));
            }
            if piece.is_last {
                return Ok(Some(whole));
            }
        }
    }

    async fn piece(&self, file: HostFile, offset: u64) -> Result<Option<Piece>> {
        self.ask(&Request::Read { file, offset }, |reply| match reply {
            Reply::Read { piece } => Some(piece),
            _ => None,
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_whole_in_pieces() {
        use base64::Engine as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let path = path.to_str().unwrap();
        assert_eq!(piece(path, 0).unwrap(), None);
        // Just as long as pieces are, and a little more.
        for length in [0, 1, PIECE as usize, 2 * PIECE as usize + 7] {
            let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            std::fs::write(path, &content).unwrap();
            let mut read: Vec<u8> = Vec::new();
            loop {
                let piece = piece(path, read.len() as u64).unwrap().unwrap();
                read.extend(base64::engine::general_purpose::STANDARD.decode(&piece.content).unwrap());
                if piece.is_last {
                    break;
                }
            }
            assert_eq!(read, content);
        }
    }

    /// Answers as a host does.
    async fn answering(content: Vec<u8>, lie: fn(u64, &mut Piece)) -> Result<Option<Vec<u8>>> {
        use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, content).unwrap();
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (input, mut output) = tokio::io::split(theirs);
        let host = async move {
            let mut lines = BufReader::new(input).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                let Request::Read { offset, .. } = serde_json::from_str(&line).unwrap() else { panic!("{line}") };
                let mut piece = piece(path.to_str().unwrap(), offset).unwrap().unwrap();
                lie(offset, &mut piece);
                let reply = serde_json::to_string(&Reply::Read { piece: Ok(Some(piece)) }).unwrap() + "\n";
                if output.write_all(reply.as_bytes()).await.is_err() {
                    return;
                }
            }
        };
        let (input, output) = tokio::io::split(ours);
        let client = Client::new(input, output);
        let read = async move { client.read(HostFile::Journal).await };
        let ((), read) = tokio::join!(host, read);
        read
    }

    #[tokio::test]
    async fn a_journal_of_many_megabytes_is_read_and_a_host_without_end_is_not() {
        let journal = b"{}\n".repeat(3 << 20);
        assert_eq!(answering(journal.clone(), |_, _| {}).await.unwrap(), Some(journal));
        for endless in [
            |_: u64, piece: &mut Piece| piece.is_last = false,
            |_: u64, piece: &mut Piece| *piece = Piece { content: "eHh4".repeat(100_000), is_last: false, inode: 1 },
        ] {
            let failure = answering(vec![b'x'; 100], endless).await.unwrap_err();
            assert!(failure.cause.contains("without an end"), "{}", failure.cause);
        }
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_meanwhile_is_not_mixed() {
        let read = answering(vec![b'x'; 3 * PIECE as usize], |offset, piece| piece.inode = offset).await;
        assert!(read.unwrap_err().cause.ends_with("was replaced while it was read"));
    }
}
