//! The lines of a file, a block of them at a time, on several threads.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::source::{SourceError, file};

/// Whole lines of a file.
pub(super) struct Block {
    bytes: Vec<u8>,
    /// The number of the first line; that of the file is 1.
    first: u64,
}

impl Block {
    /// The lines that are not blank, each with its number, without what ends them.
    pub(super) fn lines(&self) -> impl Iterator<Item = (u64, Line<'_>)> {
        let whole = std::str::from_utf8(&self.bytes).ok();
        let mut start = 0;
        let lines = self.bytes.split_inclusive(|&byte| byte == b'\n');
        let lines = (self.first..).zip(lines).map(move |(number, line)| {
            let span = start..start + line.len();
            start = span.end;
            // The whole is looked at once; only where it is no text, line by line.
            let text = match whole {
                Some(text) => Some(&text[span]),
                None => std::str::from_utf8(line).ok(),
            };
            (number, text.map(str::trim_ascii))
        });
        lines.filter(|(_, line)| *line != Some(""))
    }
}

/// The text of a line; none where it is not UTF-8.
pub(super) type Line<'a> = Option<&'a str>;

/// Parses the blocks of a file, side by side, and hands on what comes of them in the order of the
/// file; until `receive` breaks.
pub(super) fn each<T: Send>(
    path: &Path,
    file: &File,
    parse: &(dyn Fn(&Block) -> T + Sync),
    receive: &mut dyn FnMut(T) -> ControlFlow<()>,
) -> Result<(), SourceError> {
    let content = file
        .try_clone()
        .and_then(|file| file::content(path, file))
        .map_err(|error| file::failure(path, error))?;
    let mut unpacked = Blocks {
        content,
        path,
        rest: Vec::new(),
        line: 1,
        ended: false,
    };
    let first = unpacked.next()?;
    if unpacked.ended {
        // A small file is not worth a thread.
        let _ = first.map(|block| receive(parse(&block)));
        return Ok(());
    }
    thread::scope(|scope| {
        let parsers = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(PARSERS);
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for _ in 0..parsers {
            let (input, blocks) = sync_channel(1);
            let (parsed, output) = sync_channel(1);
            scope.spawn(move || parse_all(&blocks, &parsed, parse));
            inputs.push(input);
            outputs.push(output);
        }
        scope.spawn(move || unpack_all(unpacked, first, &inputs));
        // Blocks go round, and so does what comes of them.
        for output in outputs.iter().cycle() {
            match output.recv() {
                Ok(Ok(parsed)) => {
                    if receive(parsed).is_break() {
                        return Ok(());
                    }
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    })
}

type Outcome<T> = Result<T, SourceError>;

/// Gives each parser its turn. One that is gone is no longer listened to: all end.
fn unpack_all(mut unpacked: Blocks, first: Option<Block>, inputs: &[SyncSender<Outcome<Block>>]) {
    let mut next = Ok(first);
    for input in inputs.iter().cycle() {
        let Some(block) = next.transpose() else {
            return;
        };
        let is_error = block.is_err();
        if input.send(block).is_err() || is_error {
            return;
        }
        next = unpacked.next();
    }
}

fn parse_all<T>(
    blocks: &Receiver<Outcome<Block>>,
    parsed: &SyncSender<Outcome<T>>,
    parse: &dyn Fn(&Block) -> T,
) {
    for block in blocks {
        if parsed.send(block.map(|block| parse(&block))).is_err() {
            return;
        }
    }
}

/// The blocks of a file, one after the other.
struct Blocks<'a> {
    content: Box<dyn Read + Send>,
    path: &'a Path,
    /// What was read of the line that is not at its end.
    rest: Vec<u8>,
    /// The number of that line.
    line: u64,
    ended: bool,
}

impl Blocks<'_> {
    /// The next block; `None` behind the last.
    fn next(&mut self) -> Result<Option<Block>, SourceError> {
        let mut bytes = std::mem::take(&mut self.rest);
        let mut wanted = BLOCK_BYTES;
        loop {
            let more = wanted.saturating_sub(bytes.len());
            let read = self
                .content
                .by_ref()
                .take(more as u64)
                .read_to_end(&mut bytes);
            let read = read.map_err(|error| file::failure(self.path, error))?;
            self.ended = read < more;
            let end = bytes
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map(|at| at + 1);
            let end = if self.ended { Some(bytes.len()) } else { end };
            if let Some(end) = end {
                self.rest = bytes.split_off(end);
                break;
            }
            if bytes.len() >= LINE_BYTES {
                let (line, mib) = (self.line, LINE_BYTES >> 20);
                return Err(SourceError::Broken {
                    path: self.path.to_owned(),
                    reason: format!("line {line} is longer than {mib} MiB"),
                });
            }
            wanted += BLOCK_BYTES;
        }
        if self.line == 1 && bytes.starts_with(MARK) {
            bytes.drain(..MARK.len());
        }
        let first = self.line;
        self.line += bytes.split(|byte| *byte == b'\n').skip(1).count() as u64;
        Ok((!bytes.is_empty()).then_some(Block { bytes, first }))
    }
}

/// How much is parsed at once: of wide rows still some thousands, so that chunks are full.
const BLOCK_BYTES: usize = 8 << 20;

/// The most that one line may take.
const LINE_BYTES: usize = 64 << 20;

/// How many threads parse at most: unpacking a file is slower than as many.
const PARSERS: usize = 4;

/// A byte order mark.
const MARK: &[u8] = "\u{feff}".as_bytes();
