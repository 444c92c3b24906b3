//! Bytes that wait: in memory while they are few, else in a file that has no name and is gone when this is dropped, or its process.

use std::os::fd::OwnedFd;
use std::path::Path;

use rwsgi_os::{OsError, fd, file};

/// Bytes that are kept in memory.
const MEMORY: usize = 64 * 1024;

/// First all is pushed, then all is read.
pub struct Spool<'d> {
    directory: &'d Path,
    memory: Vec<u8>,
    file: Option<OwnedFd>,
    length: u64,
    read: u64,
}

impl<'d> Spool<'d> {
    /// Empty. A file, if one is needed, will be in `directory`.
    pub fn new(directory: &'d Path) -> Self {
        Self {
            directory,
            memory: Vec::new(),
            file: None,
            length: 0,
            read: 0,
        }
    }

    /// Bytes pushed so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether all of it has been read.
    pub fn is_read(&self) -> bool {
        self.read >= self.length
    }

    /// Adds bytes at the end. After an error what is here is not to be used.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), OsError> {
        self.length += bytes.len() as u64;
        if self.file.is_none() {
            if self.memory.len() + bytes.len() <= MEMORY {
                self.memory.extend_from_slice(bytes);
                return Ok(());
            }
            let opened = file::unnamed(self.directory.as_os_str().as_encoded_bytes())?;
            fd::write_all(&opened, &self.memory)?;
            self.memory = Vec::new();
            self.file = Some(opened);
        }
        match &self.file {
            Some(file) => fd::write_all(file, bytes),
            None => Ok(()),
        }
    }

    /// Gives at most `limit` of the bytes that have not been read to `into`.
    pub fn read(&mut self, limit: usize, into: &mut dyn FnMut(&[u8])) -> Result<(), OsError> {
        let left = usize::try_from(self.length - self.read).unwrap_or(usize::MAX);
        let wanted = left.min(limit);
        let start = usize::try_from(self.read).unwrap_or(usize::MAX);
        match &self.file {
            None => into(self.memory.get(start..start + wanted).unwrap_or_default()),
            Some(file) => {
                let mut buffer = vec![0; wanted.min(MEMORY)];
                let got = fd::read_at(file, &mut buffer, i64::try_from(self.read).unwrap_or(i64::MAX))?;
                if got == 0 && wanted > 0 {
                    // Somebody has cut it: never the end of what was pushed.
                    return Err(OsError::shortened("pread"));
                }
                into(buffer.get(..got).unwrap_or_default());
                self.read += got as u64;
                return Ok(());
            }
        }
        self.read += wanted as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(spool: &mut Spool<'_>, step: usize) -> Vec<u8> {
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
