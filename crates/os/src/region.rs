//! Memory that one process writes and another one reads, for bytes that are handed over without copies in the kernel.
//!
//! It is a file without a name whose length is sealed, so that the reader's accesses cannot be made to fail by a shorter one (SIGBUS). What
//! a reader sees may change at any moment if the writer is hostile: who does not trust that one takes [`Bytes`], which nothing in Rust ever looks at.
//! A writer that takes pages away while they are read makes them 0, and delays the reader by no more than the system needs for that.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::OsError;
use crate::fd::{is_sealed, sealed_memory};
use crate::file::{reopen, set_access, status};

/// Memory of this process, until it is dropped.
#[derive(Debug)]
pub struct Region(Mapping);

/// That of another process, to be read, until it is dropped.
#[derive(Debug)]
pub struct View(Mapping);

/// Some of its bytes, which may change while they are borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'v> {
    start: NonNull<u8>,
    length: usize,
    view: PhantomData<&'v View>,
}

#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: it is memory of the process, bound to no thread. Who writes where is for the callers to agree on; any bits are bytes.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Region {
    /// New memory, all 0, and a descriptor by which it can be read; other users cannot open that anew. It costs memory only where it is written.
    ///
    /// ENOTSUP where the system counts memory before it is used (`vm.overcommit_memory=2`): to write could be SIGBUS there.
    pub fn make(name: &str, length: usize) -> Result<(Self, OwnedFd), OsError> {
        if std::fs::read("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.starts_with(b"2")) {
            return Err(OsError::new(
                "memfd_create",
                "vm.overcommit_memory",
                libc::ENOTSUP,
            ));
        }
        let file = sealed_memory(name, length)?;
        let reader = reopen(&file)?;
        set_access(&file, None, None, 0)?;
        let mapping = Mapping::new(file.as_fd(), length, libc::PROT_READ | libc::PROT_WRITE)?;
        Ok((Self(mapping), reader))
    }

    /// Copies as many bytes there as fit behind `at`; answers how many. Not where another thread of this process reads or writes meanwhile.
    pub fn write(&self, at: usize, bytes: &[u8]) -> usize {
        let length = bytes.len().min(self.0.length.saturating_sub(at));
        if let Some(place) = self.0.bytes(at, length) {
            // SAFETY: within the mapping, which is no memory of Rust's, so `bytes` is elsewhere.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.start.as_ptr(), length) };
        }
        length
    }

    /// Adds 1 to a number there (wrapping). What was read or written before has happened for whoever sees the new one.
    pub fn count(&self, at: usize) {
        if let Some(number) = self.0.number(at) {
            number.fetch_add(1, Ordering::Release);
        }
    }

    /// Gives the memory of its first bytes back to the system: they are 0 again (`MADV_REMOVE`). `length` is a multiple of the size of a page. A failure
    /// leaves them as they are.
    pub fn clear(&self, length: usize) {
        let length = length.min(self.0.length);
        // SAFETY: within the mapping; what was in it nobody needs.
        unsafe { libc::madvise(self.0.start.as_ptr().cast(), length, libc::MADV_REMOVE) };
    }
}

impl View {
    /// Of memory that another process has made. EINVAL when it is none, or shorter than that.
    pub fn map(file: BorrowedFd<'_>, length: usize) -> Result<Self, OsError> {
        if !is_sealed(file) || status(file)?.size < length as u64 {
            return Err(OsError::new("mmap", "shared memory", libc::EINVAL));
        }
        Mapping::new(file, length, libc::PROT_READ).map(Self)
    }

    /// Bytes that the other side leaves alone as long as they are borrowed: only for one that is trusted to.
    pub fn trusted(&self, at: usize, length: usize) -> Option<&[u8]> {
        let bytes = self.0.bytes(at, length)?;
        // SAFETY: within the mapping, which lives as long as the borrow; initialised, for any bits are bytes; that they stay the same is what
        // the caller answers for.
        Some(unsafe { std::slice::from_raw_parts(bytes.start.as_ptr(), length) })
    }

    /// Bytes of a side that is not trusted. `None`: they are not all within.
    pub fn bytes(&self, at: usize, length: usize) -> Option<Bytes<'_>> {
        self.0.bytes(at, length)
    }

    /// A number that the other side [counts](Region::count). `None`: not within, or not aligned.
    pub fn number(&self, at: usize) -> Option<u32> {
        Some(self.0.number(at)?.load(Ordering::Acquire))
    }
}

impl Mapping {
    fn new(file: BorrowedFd<'_>, length: usize, access: libc::c_int) -> Result<Self, OsError> {
        let (raw, nowhere) = (file.as_raw_fd(), std::ptr::null_mut());
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(nowhere, length, access, libc::MAP_SHARED, raw, 0) };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Self { start, length }),
            _ => Err(OsError::last("mmap", "shared memory")),
        }
    }

    fn bytes(&self, at: usize, length: usize) -> Option<Bytes<'_>> {
        let end = at.checked_add(length)?;
        (end <= self.length).then(|| Bytes {
            // SAFETY: within the mapping.
            start: unsafe { self.start.add(at) },
            length,
            view: PhantomData,
        })
    }

    fn number(&self, at: usize) -> Option<&AtomicU32> {
        let place = self.bytes(at, size_of::<AtomicU32>())?.start.cast::<AtomicU32>();
        if !place.is_aligned() {
            return None;
        }
        // SAFETY: within the mapping, aligned, and changed by atomic operations only; any bits are a number.
        Some(unsafe { place.as_ref() })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, whole, and nothing borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

impl Bytes<'_> {
    /// How many.
    pub fn len(self) -> usize {
        self.length
    }

    /// None.
    pub fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Where they begin, for C. Readable as long as the view is borrowed.
    pub fn as_ptr(self) -> *const u8 {
        self.start.as_ptr()
    }

    /// The first `length` of them, and the rest.
    #[must_use]
    pub fn split(self, length: usize) -> (Self, Self) {
        let length = length.min(self.length);
        let first = Self { length, ..self };
        let rest = Self {
            // SAFETY: not behind the end of the bytes.
            start: unsafe { self.start.add(length) },
            length: self.length - length,
            view: PhantomData,
        };
        (first, rest)
    }

    /// A copy, which nobody else changes.
    pub fn copy(self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(self.length);
        // SAFETY: readable for that length, and room for as much was made; the vector is elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(self.as_ptr(), copy.as_mut_ptr(), self.length) };
        // SAFETY: so many have just been written.
        unsafe { copy.set_len(self.length) };
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let (region, file) = Region::make("test", 12_288).unwrap();
        let view = View::map(file.as_fd(), 12_288).unwrap();
        drop(file);
        assert_eq!(region.write(100, b"abcdef"), 6);
        assert_eq!(view.trusted(100, 6), Some(&b"abcdef"[..]));
        let (first, rest) = view.bytes(100, 6).unwrap().split(2);
        assert_eq!((&first.copy()[..], &rest.copy()[..]), (&b"ab"[..], &b"cdef"[..]));
        assert!(rest.split(100).1.is_empty());
        region.count(8192);
        region.count(8192);
        region.clear(8192);
        assert_eq!(
            (view.number(8192), view.trusted(100, 6)),
            (Some(2), Some(&[0; 6][..]))
        );
    }

    #[test]
    fn nothing_lies_beyond_its_end() {
        let (region, file) = Region::make("test", 10_000).unwrap();
        let view = View::map(file.as_fd(), 10_000).unwrap();
        assert_eq!(region.write(9_998, b"abc"), 2);
        assert_eq!(region.write(10_000, b"abc") + region.write(usize::MAX, b"abc"), 0);
        for (at, length) in [(9_999, 2), (10_001, 0), (usize::MAX, 1), (0, usize::MAX)] {
            assert!(view.bytes(at, length).is_none() && view.trusted(at, length).is_none());
        }
        assert!(view.number(9_998).is_none() && view.number(2).is_none());
    }

    #[test]
    fn only_memory_whose_length_is_sealed_is_mapped() {
        let open = crate::fd::memory_file("test").unwrap();
        std::fs::File::from(open.try_clone().unwrap())
            .set_len(10_000)
            .unwrap();
        assert!(View::map(open.as_fd(), 10_000).is_err());
        // Of huge pages.
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | libc::MFD_HUGETLB;
        // SAFETY: the name is a C string.
        let huge = unsafe { libc::memfd_create(c"test".as_ptr(), flags) };
        if huge >= 0 {
            let huge = crate::fd::own(huge);
            std::fs::File::from(huge.try_clone().unwrap())
                .set_len(1 << 30)
                .unwrap();
            let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
            // SAFETY: integers only; the descriptor is open.
            assert!(unsafe { libc::fcntl(huge.as_raw_fd(), libc::F_ADD_SEALS, seals) } == 0);
            assert_eq!(View::map(huge.as_fd(), 10_000).unwrap_err().errno, libc::EINVAL);
        }
        // It knows no seals at all.
        assert!(View::map(std::fs::File::open("/bin/sh").unwrap().as_fd(), 100).is_err());
        let (_region, file) = Region::make("test", 10_000).unwrap();
        assert!(View::map(file.as_fd(), 20_000).is_err());
        assert!(std::fs::File::from(file).set_len(1).is_err());
    }

    #[test]
    fn who_has_it_to_read_cannot_write_there() {
        let (region, reader) = Region::make("test", 4096).unwrap();
        assert!(Mapping::new(reader.as_fd(), 4096, libc::PROT_READ | libc::PROT_WRITE).is_err());
        assert!(crate::fd::write(&reader, b"x").is_err());
        let view = View::map(reader.as_fd(), 4096).unwrap();
        region.write(0, b"x");
        assert_eq!(view.trusted(0, 1), Some(&b"x"[..]));
        // Nor can another user open it anew.
        assert_eq!(status(&reader).unwrap().mode & 0o777, 0);
    }

    /// A hostile writer.
    #[test]
    fn who_takes_pages_away_stops_no_reader() {
        const LENGTH: usize = 1 << 20;
        let (region, file) = Region::make("test", LENGTH).unwrap();
        let view = View::map(file.as_fd(), LENGTH).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        region.clear(LENGTH);
                    }
                });
            }
            for _ in 0..20 {
                assert_eq!(view.bytes(0, LENGTH).unwrap().copy().len(), LENGTH);
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
