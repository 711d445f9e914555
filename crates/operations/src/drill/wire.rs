//! The load's own HTTP/1.1 client: one keep-alive connection, one request at a time, nothing else.
//!
//! A full client would cost more processor time per request than the server it measures. The server's answers are
//! trusted no further than needed to read them: a malformed one is an error, as is a body beyond [`BODY_MAX`].

use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const BODY_MAX: usize = 64 << 20;
const HEAD_MAX: usize = 64 << 10;

#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    patience: Duration,
}

/// One answer. Header names compare without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
    /// The server closes the connection after this answer.
    pub closes: bool,
}

impl Answer {
    #[cfg(test)]
    pub(super) fn of_status(status: u16) -> Self {
        Self { status, head: String::new(), body: Vec::new(), closes: false }
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The version in `ETag: "7"`.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.header("etag")?.trim_matches('"').parse().ok()
    }
}

/// Whether a request may have had an effect although there is no answer.
#[derive(Debug)]
pub enum Failed {
    /// Never reached the server.
    NotSent(io::Error),
    /// The outcome is unknown.
    InDoubt(io::Error),
}

impl Connection {
    pub async fn open(server: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = timeout(patience, TcpStream::connect(server)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 << 10), patience })
    }

    /// Sends a whole request and reads its answer. After an error the connection is of no use.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Answer, Failed> {
        let patience = self.patience;
        let asked = async {
            self.stream.write_all(request).await?;
            self.read_answer().await
        };
        let asked = timeout(patience, asked).await;
        asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Failed::InDoubt)
    }

    /// Sends a request and leaves without waiting for the answer.
    pub async fn send_and_leave(mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await?;
        self.stream.shutdown().await
    }

    async fn read_answer(&mut self) -> io::Result<Answer> {
        self.buffer.clear();
        let head_end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            if self.buffer.len() > HEAD_MAX {
                return Err(malformed("the head of an answer has no end"));
            }
            self.fill().await?;
        };
        let head = std::str::from_utf8(&self.buffer[..head_end]).map_err(|_| malformed("a head that is not text"))?;
        let head = head.to_owned();
        let status = status(&head)?;
        self.buffer.drain(..head_end + 4);
        let body = self.read_body(&head, status).await?;
        let closes = header(&head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(Answer { status, head, body, closes })
    }

    async fn read_body(&mut self, head: &str, status: u16) -> io::Result<Vec<u8>> {
        if status == 204 || status == 304 {
            return Ok(Vec::new());
        }
        if header(head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return self.read_chunks().await;
        }
        let length = header(head, "content-length").and_then(|text| text.parse().ok());
        self.take(length.ok_or_else(|| malformed("an answer without a length"))?).await
    }

    async fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line_end = loop {
                match find(&self.buffer, b"\r\n") {
                    Some(at) => break at,
                    None => self.fill().await?,
                }
            };
            let line = String::from_utf8_lossy(&self.buffer[..line_end]).into_owned();
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
            let size = size.map_err(|_| malformed("a chunk without a size"))?;
            self.buffer.drain(..line_end + 2);
            let chunk = self.take(size + 2).await?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
            if body.len() > BODY_MAX {
                return Err(malformed("an answer longer than this client reads"));
            }
        }
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > BODY_MAX {
            return Err(malformed("an answer longer than this client reads"));
        }
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn status(head: &str) -> io::Result<u16> {
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    status.ok_or_else(|| malformed("an answer without a status"))
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::net::TcpListener;

    async fn answered(bytes: &'static [u8]) -> Result<Answer, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 3];
            stream.read_exact(&mut asked).await.unwrap();
            for piece in bytes.chunks(7) {
                stream.write_all(piece).await.unwrap();
            }
        });
        let mut connection = Connection::open(address, Duration::from_secs(5)).await.unwrap();
        let answer = connection.ask(b"ask").await;
        server.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn lengths_chunks_and_empty_answers_are_read() {
        let answer = answered(b"HTTP/1.1 201 Created\r\nETag: \"7\"\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        assert_eq!((answer.status, answer.version(), &answer.body[..]), (201, Some(7), &b"ok"[..]));
        let answer = answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n");
        let answer = answer.await.unwrap();
        assert_eq!((&answer.body[..], answer.closes), (&b"abcde"[..], true));
        assert_eq!(answered(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap().body, b"");
    }

    #[tokio::test]
    async fn a_cut_or_malformed_answer_leaves_the_outcome_in_doubt() {
        for bytes in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\ncontent-le",
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 xx OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        ] {
            assert!(matches!(answered(bytes).await, Err(Failed::InDoubt(_))), "{bytes:?}");
        }
    }
}
