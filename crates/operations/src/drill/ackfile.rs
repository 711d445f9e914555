//! The load's own account of what it was told: one line per outcome, durable before it counts.
//!
//! The file belongs to the load process and lies outside whatever is being broken. A line is written and fdatasynced
//! (one sync serves all lines that wait) before the outcome counts as acknowledged. Each line ends in a checksum; a torn last line
//! is ignored, because it never counted; a bad line anywhere else means the file was changed.
//!
//! `OUTCOME number try id version position body-digest sent-µs heard-µs checksum`, separated by blanks, `-` for none.

use model::{Error, Result};
use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

/// What the load was told about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    /// A new resource was acknowledged.
    Created,
    /// A new version of a resource was acknowledged.
    Changed,
    /// No answer: it may have happened or not.
    InDoubt,
    /// Answered with an error: it must not have happened.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub told: Told,
    /// Which request of the load; its body can be made again from it.
    pub number: u64,
    /// 0 for the first sending, then one more for each repetition under the same idempotency key.
    pub attempt: u32,
    pub id: Option<String>,
    pub version: Option<u64>,
    pub position: Option<String>,
    pub body_digest: u64,
    pub sent_us: u64,
    pub heard_us: u64,
}

/// FNV-1a: guards against accidents, which is all a checksum in an own file has to do.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Told {
    fn letter(self) -> &'static str {
        match self {
            Self::Created => "C",
            Self::Changed => "V",
            Self::InDoubt => "D",
            Self::Refused => "R",
        }
    }

    #[must_use]
    pub fn is_acknowledged(self) -> bool {
        matches!(self, Self::Created | Self::Changed)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let text = format!(
            "{} {} {} {} {} {} {:016x} {} {}",
            self.told.letter(),
            self.number,
            self.attempt,
            or_none(self.id.clone()),
            or_none(self.version.map(|version| version.to_string())),
            or_none(self.position.clone()),
            self.body_digest,
            self.sent_us,
            self.heard_us,
        );
        write!(f, "{text} {:016x}", digest(text.as_bytes()))
    }
}

impl FromStr for Line {
    type Err = Error;
    fn from_str(line: &str) -> Result<Self> {
        parse(line)
            .ok_or_else(|| Error::corrupt("ack-file-damaged", "a line of the file of acknowledgements is damaged"))
    }
}

fn parse(line: &str) -> Option<Line> {
    let (text, sum) = line.rsplit_once(' ')?;
    if sum.len() != 16 || u64::from_str_radix(sum, 16).ok()? != digest(text.as_bytes()) {
        return None;
    }
    let fields: Vec<&str> = text.split(' ').collect();
    let [told, number, attempt, id, version, position, body_digest, sent, heard] = fields[..] else { return None };
    let some = |text: &str| (text != "-").then(|| text.to_owned());
    Some(Line {
        told: [Told::Created, Told::Changed, Told::InDoubt, Told::Refused].into_iter().find(|t| t.letter() == told)?,
        number: number.parse().ok()?,
        attempt: attempt.parse().ok()?,
        id: some(id),
        version: if version == "-" { None } else { Some(version.parse().ok()?) },
        position: some(position),
        body_digest: u64::from_str_radix(body_digest, 16).ok()?,
        sent_us: sent.parse().ok()?,
        heard_us: heard.parse().ok()?,
    })
}

/// Every line of a file, in order of arrival.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let unreadable = |error| {
        Error::retry("ack-file-unreadable", "the file of acknowledgements cannot be read")
            .with("path", path.display())
            .caused_by(error)
    };
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut lines = Vec::new();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(unreadable)? == 0 {
            return Ok(lines);
        }
        let whole = bytes.pop_if(|byte| *byte == b'\n').is_some();
        match str::from_utf8(&bytes).ok().and_then(parse) {
            Some(line) if whole => lines.push(line),
            _ if !whole => return Ok(lines),
            _ => {
                let what =
                    "a line of the file of acknowledgements is damaged: the file was changed after the load wrote it";
                let error = Error::corrupt("ack-file-damaged", what).with("path", path.display());
                return Err(error.with("line", lines.len() + 1));
            }
        }
    }
}

/// Follows a file that is being written.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    offset: u64,
}

impl Tail {
    #[must_use]
    pub fn of(path: &Path) -> Self {
        Self { path: path.to_path_buf(), offset: 0 }
    }

    /// The whole lines since the last call; none while there is no file.
    pub fn more(&mut self) -> Result<Vec<Line>> {
        let Ok(mut file) = File::open(&self.path) else { return Ok(Vec::new()) };
        let mut text = Vec::new();
        let read = file.seek(SeekFrom::Start(self.offset)).and_then(|_| file.read_to_end(&mut text));
        read.map_err(|error| {
            Error::retry("ack-file-unreadable", "the file of acknowledgements cannot be read")
                .with("path", self.path.display())
                .caused_by(error)
        })?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.offset += whole as u64;
        String::from_utf8_lossy(&text[..whole]).lines().map(str::parse).collect()
    }
}

/// Writes lines in the order they are given and counts those that are durable.
#[derive(Debug)]
pub struct Writer {
    lines: Option<SyncSender<Line>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    acknowledged: Arc<AtomicU64>,
}

/// Lines that may wait for the disk; beyond that, the load waits.
const WAITING_MAX: usize = 65_536;

impl Writer {
    pub fn create(path: &Path) -> Result<Self> {
        let unwritable = |error| {
            Error::retry("ack-file-unwritable", "the file of acknowledgements cannot be written")
                .with("path", path.display())
                .caused_by(error)
        };
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(unwritable)?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(unwritable)?;
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let count = acknowledged.clone();
        let thread =
            std::thread::Builder::new().name("ack-file".into()).spawn(move || write_all(file, &waiting, &count));
        Ok(Self { lines: Some(lines), thread: Some(thread.map_err(unwritable)?), acknowledged })
    }

    pub fn put(&self, line: Line) {
        if let Some(lines) = &self.lines {
            // The thread ends early only when the disk failed, which `finish` tells.
            let _failed = lines.send(line);
        }
    }

    /// How many acknowledgements are durable.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    pub fn finish(mut self) -> Result<u64> {
        drop(self.lines.take());
        let ended = self.thread.take().map(JoinHandle::join);
        match ended {
            Some(Ok(Ok(()))) | None => Ok(self.acknowledged()),
            Some(Ok(Err(error))) => {
                Err(Error::retry("ack-file-unwritable", "the file of acknowledgements cannot be written")
                    .caused_by(error))
            }
            Some(Err(_)) => Err(Error::bug("the writer of acknowledgements ended unexpectedly")),
        }
    }
}

fn write_all(mut file: File, waiting: &Receiver<Line>, count: &AtomicU64) -> std::io::Result<()> {
    let mut text = Vec::new();
    while let Ok(first) = waiting.recv() {
        let mut acknowledged = 0;
        text.clear();
        let mut next = Some(first);
        while let Some(line) = next {
            acknowledged += u64::from(line.told.is_acknowledged());
            writeln!(text, "{line}")?;
            next = waiting.try_recv().ok();
        }
        file.write_all(&text)?;
        file.sync_data()?;
        count.fetch_add(acknowledged, Ordering::Release);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(number: u64, told: Told) -> Line {
        Line {
            told,
            number,
            attempt: 1,
            id: Some(format!("id-{number}")),
            version: None,
            position: Some("0.1-00000000000000ff.7".into()),
            body_digest: 3,
            sent_us: 4,
            heard_us: 5,
        }
    }

    fn written(lines: &[Line]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("acks");
        let writer = Writer::create(&path).unwrap();
        lines.iter().for_each(|line| writer.put(line.clone()));
        let acknowledged = lines.iter().filter(|line| line.told.is_acknowledged()).count() as u64;
        assert_eq!(writer.finish().unwrap(), acknowledged);
        (directory, path)
    }

    #[test]
    fn lines_come_back_as_they_were_put() {
        let lines = [line(1, Told::Created), line(2, Told::InDoubt), line(3, Told::Changed), line(4, Told::Refused)];
        let (_directory, path) = written(&lines);
        assert_eq!(read(&path).unwrap(), lines);
    }

    #[test]
    fn a_tail_gives_each_whole_line_once() {
        let (_directory, path) = written(&[line(1, Told::Created)]);
        let mut tail = Tail::of(&path);
        assert_eq!(tail.more().unwrap(), [line(1, Told::Created)]);
        let next = format!("{}\n", line(2, Told::Created));
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&next.as_bytes()[..20]).unwrap();
        assert_eq!(tail.more().unwrap(), []);
        file.write_all(&next.as_bytes()[20..]).unwrap();
        assert_eq!(tail.more().unwrap(), [line(2, Told::Created)]);
        assert_eq!(Tail::of(&path.with_extension("none")).more().unwrap(), []);
    }

    #[test]
    fn a_torn_last_line_never_counted_and_a_changed_line_is_an_error() {
        let (_directory, path) = written(&[line(1, Told::Created), line(2, Told::Created)]);
        let text = std::fs::read_to_string(&path).unwrap();
        for length in 0..text.len() {
            std::fs::write(&path, &text[..length]).unwrap();
            let whole = text[..length].matches('\n').count();
            assert_eq!(read(&path).unwrap().len(), whole);
        }
        std::fs::write(&path, text.replacen("id-1", "id-9", 1)).unwrap();
        assert_eq!(read(&path).unwrap_err().code(), "ack-file-damaged");
    }
}
