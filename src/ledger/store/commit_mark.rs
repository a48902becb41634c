//! The number of the newest commit, kept next to the database.
//!
//! After a crash redb cannot tell a commit that was never finished from one that was finished and damaged later: it
//! falls back to the commit before, and the rows of the last call would be forgotten without a message. This number is
//! written after each commit, so a database that ends at an older commit has lost something. The number is not synced:
//! it survives a killed process. After a power loss it is at worst too low: a loss may stay undetected, but none is
//! reported by mistake.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::files;
use crate::secret::file_watch;

/// The file with the number.
#[derive(Debug)]
pub(super) struct CommitMark {
    file: File,
    path: PathBuf,
    number: u64,
}

impl CommitMark {
    /// Opens the file, or creates it.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = file_watch::open_regular(files::private().create(true).truncate(false), &path)?;
        let mut text = [0; LENGTH];
        let number = match file.read_exact_at(&mut text, 0) {
            Ok(()) => parse(&text),
            Err(short) if short.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(error),
        };
        Ok(Self { file, path, number: number.unwrap_or(0) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The newest commit known; 0 when none is known.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Stores the number of the commit that was made.
    pub(super) fn note(&mut self, number: u64) -> io::Result<()> {
        self.number = number;
        self.file.write_all_at(text(number).as_bytes(), 0)
    }
}

fn text(number: u64) -> String {
    format!("{number:020} {number:020}\n")
}

/// The file holds the number twice, so that half a write or a flipped bit is detected.
fn parse(text: &[u8; LENGTH]) -> Option<u64> {
    let number = std::str::from_utf8(&text[..20]).ok()?.parse().ok()?;
    (self::text(number).as_bytes() == text).then_some(number)
}

/// Two numbers of twenty digits, a space and a newline.
const LENGTH: usize = 42;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_number() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("newest");
        let mut newest = CommitMark::open(path.clone()).expect("a new file");
        assert_eq!(newest.number(), 0);
        for number in [1, 700, u64::MAX] {
            newest.note(number).expect("a number written");
            assert_eq!(CommitMark::open(path.clone()).expect("the file").number(), number);
        }
    }

    #[test]
    fn a_flipped_bit_makes_the_number_unknown() {
        let whole: [u8; LENGTH] = text(700).as_bytes().try_into().expect("its length");
        assert_eq!(parse(&whole), Some(700));
        for at in 0..LENGTH {
            for bit in 0..8 {
                let mut damaged = whole;
                damaged[at] ^= 1 << bit;
                assert_eq!(parse(&damaged), None, "byte {at}, bit {bit}");
            }
        }
    }
}
