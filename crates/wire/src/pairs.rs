//! Names and values, one behind the other as they travel: who knows them writes them once, who needs them reads them there.

use crate::WireError;
use crate::bytes::{Fields, Put};

/// Names and values in a byte string: each with four bytes of length before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pairs<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Pairs<'a> {
    /// Each name with its value, in order.
    pub fn iter(&self) -> Iter<'a> {
        Iter(Fields::new(self.bytes))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.count);
        out.extend_from_slice(self.bytes);
    }

    /// Whole ones only, so that whoever iterates sees as many as were counted.
    pub(crate) fn decode(f: &mut Fields<'a>) -> Result<Self, WireError> {
        let count = f.u32("number of variables")?;
        let before = f.remaining();
        for _ in 0..count {
            f.bytes("name of a variable")?;
            f.bytes("value of a variable")?;
        }
        let len = before.len() - f.remaining().len();
        let bytes = before.get(..len).unwrap_or_default();
        Ok(Self { count, bytes })
    }
}

impl<'a> IntoIterator for &Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// See [`Pairs::iter`].
#[derive(Debug, Clone)]
pub struct Iter<'a>(Fields<'a>);

impl<'a> Iter<'a> {
    /// What is still to come, as it travels.
    pub fn rest(&self) -> &'a [u8] {
        self.0.remaining()
    }

    /// Leaves out so many bytes of it, which are whole pairs.
    pub fn pass_over(&mut self, bytes: usize) {
        self.0 = Fields::new(self.rest().get(bytes..).unwrap_or_default());
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // It fails at the end only: everything was looked at, or written here.
        Some((self.0.bytes("name").ok()?, self.0.bytes("value").ok()?))
    }
}

/// Names and values that are being collected.
#[derive(Debug, Clone, Default)]
pub struct PairList {
    count: u32,
    bytes: Vec<u8>,
}

impl PairList {
    /// None, with room for so many bytes of them.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            count: 0,
            bytes: Vec::with_capacity(bytes),
        }
    }

    /// One more.
    pub fn put(&mut self, name: &[u8], value: &[u8]) {
        self.bytes.put_bytes(name);
        self.bytes.put_bytes(value);
        self.count += 1;
    }

    /// One more, whose name is written by `name`.
    pub fn put_named(&mut self, name: impl FnOnce(&mut Vec<u8>), value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.put_u32(0);
        name(&mut self.bytes);
        let len = self.bytes.len() - start - size_of::<u32>();
        if let Some(place) = self.bytes.get_mut(start..start + size_of::<u32>()) {
            place.copy_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        }
        self.bytes.put_bytes(value);
        self.count += 1;
    }

    /// What there is.
    pub fn pairs(&self) -> Pairs<'_> {
        Pairs {
            count: self.count,
            bytes: &self.bytes,
        }
    }
}

impl<'b> FromIterator<(&'b [u8], &'b [u8])> for PairList {
    fn from_iter<I: IntoIterator<Item = (&'b [u8], &'b [u8])>>(pairs: I) -> Self {
        let mut list = Self::default();
        for (name, value) in pairs {
            list.put(name, value);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_found_in_order() {
        let mut list = PairList::default();
        assert!(list.pairs().is_empty());
        list.put(b"A", b"1");
        list.put_named(|out| out.extend_from_slice(b"LONG"), b"");
        let pairs = list.pairs();
        let found: Vec<_> = pairs.iter().collect();
        assert_eq!(found, [(&b"A"[..], &b"1"[..]), (b"LONG", b"")]);
        assert_eq!(pairs.len(), 2);
        let mut bytes = Vec::new();
        pairs.encode(&mut bytes);
        assert_eq!(Pairs::decode(&mut Fields::new(&bytes)), Ok(pairs));
    }

    #[test]
    fn a_count_that_is_too_high_is_refused() {
        let mut bytes = Vec::new();
        PairList::from_iter([(&b"A"[..], &b"1"[..])])
            .pairs()
            .encode(&mut bytes);
        bytes[0] = 2;
        assert!(Pairs::decode(&mut Fields::new(&bytes)).is_err());
        bytes[..4].fill(0xff);
        assert!(Pairs::decode(&mut Fields::new(&bytes)).is_err());
    }
}
