//! The worker's side of the memory in which large bodies are handed over ([`rwsgi_wire::region`]).

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use rwsgi_os::region::{Region, View};
use rwsgi_os::{OsError, fd};
use rwsgi_wire::limits::CHUNK_MAX;
use rwsgi_wire::region::{ANSWER_LENGTH, BODY_LENGTH, Part, RETURNED, ROOM};

/// The memory of httpd's child, once its descriptor has come: request bodies, and how much of an answer it has done with.
#[derive(Default)]
pub struct Theirs(OnceLock<Place>);

enum Place {
    Mapped(View),
    /// There was no room for a mapping (`virtual-memory-limit`): it is read as a file.
    File(OwnedFd),
}

impl Theirs {
    /// Its descriptor has come. There is one for each connection; another one is let go.
    pub fn take_in(&self, file: OwnedFd) {
        let _ = self.0.set(match View::map(file.as_fd(), BODY_LENGTH) {
            Ok(view) => Place::Mapped(view),
            Err(_) => Place::File(file),
        });
    }

    /// It has come.
    pub fn is_there(&self) -> bool {
        self.0.get().is_some()
    }

    /// Gives at most `limit` bytes of the request body to `into`; how many. httpd's child writes there when it is asked for more only.
    pub fn read(&self, part: Part, limit: usize, into: &mut dyn FnMut(&[u8])) -> Result<usize, OsError> {
        let (at, length) = (part.from as usize, limit.min(part.length as usize));
        match self.0.get() {
            Some(Place::Mapped(view)) => {
                into(view.trusted(at, length).ok_or(OsError::shortened("mmap"))?);
                Ok(length)
            }
            Some(Place::File(file)) => {
                let mut buffer = vec![0; length.min(CHUNK_MAX)];
                match fd::read_at(file, &mut buffer, i64::from(part.from))? {
                    0 => Err(OsError::shortened("pread")),
                    got => {
                        into(buffer.get(..got).unwrap_or_default());
                        Ok(got)
                    }
                }
            }
            None => Err(OsError::shortened("mmap")),
        }
    }

    /// How many parts of answers have come back; `None`: that cannot be seen.
    fn returned(&self) -> Option<u32> {
        match self.0.get() {
            Some(Place::Mapped(view)) => view.number(RETURNED),
            _ => None,
        }
    }
}

/// Smaller blocks than this go through the socket.
const LEAST: usize = CHUNK_MAX;

/// The worker's own: large blocks of answers, for httpd's child to read.
#[derive(Default)]
pub struct Ours {
    region: Option<Region>,
    /// It could not be made, and is not tried again.
    is_refused: bool,
    /// How many parts have been lent in the life of the connection.
    parts: u32,
    /// Where the next one begins.
    next: usize,
}

/// What lies there now.
pub struct Lent {
    /// Where.
    pub part: Part,
    /// The memory itself, which has to go with the first one.
    pub file: Option<OwnedFd>,
}

impl Ours {
    /// Copies the beginning of a block there, if it is large and there is room. The frame that says where has to follow.
    pub fn put(&mut self, theirs: &Theirs, block: &[u8]) -> Option<Lent> {
        if block.len() < LEAST || self.is_refused {
            return None;
        }
        if theirs.returned()? == self.parts {
            self.next = 0;
        }
        let room = ROOM - self.next;
        if room < LEAST {
            return None;
        }
        let file = self.make();
        let block = block.get(..room).unwrap_or(block);
        let part = Part {
            from: u32::try_from(self.next).ok()?,
            length: u32::try_from(block.len()).ok()?,
        };
        self.next += self.region.as_ref()?.write(self.next, block);
        self.parts = self.parts.wrapping_add(1);
        Some(Lent { part, file })
    }

    /// Makes it, the first time.
    fn make(&mut self) -> Option<OwnedFd> {
        if self.region.is_some() {
            return None;
        }
        match Region::make("rwsgi-answer", ANSWER_LENGTH) {
            Ok((region, file)) => {
                self.region = Some(region);
                Some(file)
            }
            Err(_) => {
                self.is_refused = true;
                None
            }
        }
    }

    /// Whether it takes memory.
    pub fn is_used(&self) -> bool {
        self.next > 0
    }

    /// Gives its memory back, unless httpd's child is still sending from it.
    pub fn clear(&mut self, theirs: &Theirs) {
        if theirs.returned() == Some(self.parts) {
            if let Some(region) = &self.region {
                region.clear(ANSWER_LENGTH);
            }
            self.next = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn theirs() -> (Theirs, Region) {
        let (region, file) = Region::make("test", BODY_LENGTH).unwrap();
        let theirs = Theirs::default();
        theirs.take_in(file);
        (theirs, region)
    }

    fn part(from: usize, length: usize) -> Option<Part> {
        Some(Part {
            from: from as u32,
            length: length as u32,
        })
    }

    #[test]
    fn what_is_lent_is_written_over_only_when_all_of_it_has_come_back() {
        let (theirs, child) = theirs();
        let mut ours = Ours::default();
        let block = vec![1; ROOM];
        assert!(ours.put(&theirs, &block[..LEAST - 1]).is_none() && ours.region.is_none());
        let first = ours.put(&theirs, &block[..LEAST]).unwrap();
        assert_eq!(Some(first.part), part(0, LEAST));
        let view = View::map(first.file.unwrap().as_fd(), ANSWER_LENGTH).unwrap();
        let mut put = |block: &[u8]| {
            let lent = ours.put(&theirs, block)?;
            assert!(lent.file.is_none(), "it is passed once");
            Some(lent.part)
        };
        assert_eq!(put(&block), part(LEAST, ROOM - LEAST));
        assert_eq!(put(&block), None);
        child.count(RETURNED);
        assert_eq!(put(&block), None);
        child.count(RETURNED);
        assert_eq!(put(&vec![2; ROOM + 5]), part(0, ROOM));
        assert_eq!(view.trusted(0, ROOM), Some(&vec![2; ROOM][..]));
    }

    #[test]
    fn its_memory_is_given_back_once_httpds_child_is_done_with_it() {
        let (theirs, child) = theirs();
        let mut ours = Ours::default();
        assert!(!ours.is_used());
        let lent = ours.put(&theirs, &[1; LEAST]).unwrap();
        let view = View::map(lent.file.unwrap().as_fd(), ANSWER_LENGTH).unwrap();
        ours.clear(&theirs);
        assert!(ours.is_used() && view.trusted(0, 1) == Some(&[1][..]));
        child.count(RETURNED);
        ours.clear(&theirs);
        assert!(!ours.is_used() && view.trusted(0, 1) == Some(&[0][..]));
        // What was counted is not forgotten.
        assert_eq!(Some(ours.put(&theirs, &[2; LEAST]).unwrap().part), part(0, LEAST));
        assert_eq!(view.trusted(0, 1), Some(&[2][..]));
    }

    #[test]
    fn a_body_is_read_with_and_without_a_mapping() {
        let (mapped, child) = theirs();
        let (other, file) = Region::make("test", BODY_LENGTH).unwrap();
        let unmapped = Theirs(Place::File(file).into());
        for (theirs, region) in [(mapped, child), (unmapped, other)] {
            region.write(0, b"abcdef");
            let mut got = Vec::new();
            let read = theirs.read(part(2, 4).unwrap(), 3, &mut |bytes| got.extend_from_slice(bytes));
            assert_eq!((read.unwrap(), &got[..]), (3, &b"cde"[..]));
            assert!(
                theirs
                    .read(part(BODY_LENGTH, 4).unwrap(), 3, &mut |_| ())
                    .is_err()
            );
        }
        let none = Theirs::default();
        assert!(none.read(part(0, 1).unwrap(), 1, &mut |_| ()).is_err());
        assert!(Ours::default().put(&none, &[0; ROOM]).is_none());
    }
}
