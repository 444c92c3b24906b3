//! Bytes that wait: in memory while they are few, else in a file that has no name and is gone when this is dropped, or its process.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rwsgi_os::{OsError, fd, file};

/// Bytes that are kept in memory.
const MEMORY: usize = 64 * 1024;

/// Bytes come out in the order in which they went in. When all have been read the room they took is given up, and it begins anew.
pub struct Spool {
    directory: PathBuf,
    memory: Vec<u8>,
    file: Option<OwnedFd>,
    length: u64,
    read: u64,
}

impl Spool {
    /// Empty. A file, if one is needed, will be in `directory`.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            memory: Vec::new(),
            file: None,
            length: 0,
            read: 0,
        }
    }

    /// Bytes that it takes room for: all that were pushed since it was empty.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether all of it has been read.
    pub fn is_read(&self) -> bool {
        self.read >= self.length
    }

    /// Adds bytes at the end. After an error none of them are in it, what was in it is whole, and nothing more may be pushed.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), OsError> {
        match &self.file {
            None if self.memory.len() + bytes.len() <= MEMORY => self.memory.extend_from_slice(bytes),
            None => {
                let opened = file::unnamed(self.directory.as_os_str().as_encoded_bytes())?;
                fd::write_all(&opened, &self.memory)?;
                fd::write_all(&opened, bytes)?;
                self.memory = Vec::new();
                self.file = Some(opened);
            }
            Some(file) => fd::write_all(file, bytes)?,
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Gives at most `limit` of the bytes that have not been read to `into`.
    pub fn read(&mut self, limit: usize, into: &mut dyn FnMut(&[u8])) -> Result<(), OsError> {
        let left = usize::try_from(self.length - self.read).unwrap_or(usize::MAX);
        let wanted = left.min(limit);
        let start = usize::try_from(self.read).unwrap_or(usize::MAX);
        match &self.file {
            None => {
                into(self.memory.get(start..start + wanted).unwrap_or_default());
                self.read += wanted as u64;
            }
            Some(file) => {
                let mut buffer = vec![0; wanted.min(MEMORY)];
                let got = fd::read_at(file, &mut buffer, i64::try_from(self.read).unwrap_or(i64::MAX))?;
                if got == 0 && wanted > 0 {
                    // Somebody has cut it: never the end of what was pushed.
                    return Err(OsError::shortened("pread"));
                }
                into(buffer.get(..got).unwrap_or_default());
                self.read += got as u64;
            }
        }
        if self.is_read() {
            (self.length, self.read) = (0, 0);
            (self.memory, self.file) = (Vec::new(), None);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(spool: &mut Spool, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !spool.is_read() {
            spool
                .read(step, &mut |bytes| out.extend_from_slice(bytes))
                .unwrap();
        }
        out
    }

    #[test]
    fn what_comes_out_is_what_went_in_whatever_the_size() {
        let directory = std::env::temp_dir();
        for size in [0, 1, MEMORY - 1, MEMORY, MEMORY + 1, 5 * MEMORY + 7] {
            let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            for step in [1000, 3 * MEMORY] {
                let mut spool = Spool::new(&directory);
                bytes.chunks(777).for_each(|part| spool.push(part).unwrap());
                assert_eq!(spool.length(), size as u64);
                assert_eq!(spool.file.is_some(), size > MEMORY);
                assert!(all(&mut spool, step) == bytes, "{size} by {step}");
            }
        }
    }

    #[test]
    fn it_begins_anew_when_all_has_been_read() {
        let directory = std::env::temp_dir();
        let mut spool = Spool::new(&directory);
        for (first, second) in [(10, 20), (MEMORY, 1), (MEMORY + 1, 3 * MEMORY), (100, MEMORY)] {
            let (one, two) = (vec![1; first], vec![2; second]);
            spool.push(&one).unwrap();
            let mut got = Vec::new();
            spool
                .read(first / 2, &mut |bytes| got.extend_from_slice(bytes))
                .unwrap();
            // What has been read counts until all has been.
            spool.push(&two).unwrap();
            assert_eq!(spool.length(), (first + second) as u64);
            got.extend(all(&mut spool, 1000));
            assert!(got == [one, two].concat());
            assert!(spool.length() == 0 && spool.file.is_none());
        }
    }

    #[test]
    fn a_file_that_somebody_has_cut_is_an_error_and_no_end() {
        let mut spool = Spool::new(&std::env::temp_dir());
        spool.push(&vec![1; 2 * MEMORY]).unwrap();
        std::fs::File::from(spool.file.as_ref().unwrap().try_clone().unwrap())
            .set_len(MEMORY as u64)
            .unwrap();
        spool.read(MEMORY, &mut |_| ()).unwrap();
        assert!(spool.read(MEMORY, &mut |_| ()).is_err());
    }

    #[test]
    fn f41_what_it_had_is_whole_after_an_error() {
        let mut spool = Spool::new(Path::new("/nonexistent"));
        spool.push(&[1; 1000]).unwrap();
        assert!(spool.push(&vec![2; MEMORY]).is_err());
        assert!(all(&mut spool, 300) == [1; 1000]);
    }

    // R32
    #[test]
    fn r32_the_file_has_no_name() {
        let directory = std::env::temp_dir().join(format!("rwsgi-spool-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let mut spool = Spool::new(&directory);
        spool.push(&vec![1; MEMORY + 1]).unwrap();
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
        std::fs::remove_dir(&directory).unwrap();
        assert!(Spool::new(&directory).push(&vec![1; MEMORY + 1]).is_err());
    }
}
