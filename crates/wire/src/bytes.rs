//! Little-endian fields, written to and read from byte strings.

use crate::WireError;

/// Appends fields to a buffer.
pub trait Put {
    /// One byte.
    fn put_u8(&mut self, v: u8);
    /// Two bytes, little-endian.
    fn put_u16(&mut self, v: u16);
    /// Four bytes, little-endian.
    fn put_u32(&mut self, v: u32);
    /// Eight bytes, little-endian.
    fn put_u64(&mut self, v: u64);
    /// Eight bytes, little-endian, signed.
    fn put_i64(&mut self, v: i64);
    /// Four bytes of length, then the bytes. Panics never: a string beyond 4 GiB is cut, which no limit here lets through.
    fn put_bytes(&mut self, v: &[u8]);
    /// Four bytes of count, then each as `put_bytes`.
    fn put_list<T: AsRef<[u8]>>(&mut self, v: &[T]);
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, v: u8) {
        self.push(v);
    }
    fn put_u16(&mut self, v: u16) {
        self.extend_from_slice(&v.to_le_bytes());
    }
    fn put_u32(&mut self, v: u32) {
        self.extend_from_slice(&v.to_le_bytes());
    }
    fn put_u64(&mut self, v: u64) {
        self.extend_from_slice(&v.to_le_bytes());
    }
    fn put_i64(&mut self, v: i64) {
        self.extend_from_slice(&v.to_le_bytes());
    }
    fn put_bytes(&mut self, v: &[u8]) {
        let len = u32::try_from(v.len()).unwrap_or(u32::MAX);
        self.put_u32(len);
        self.extend_from_slice(v.get(..len as usize).unwrap_or(v));
    }
    fn put_list<T: AsRef<[u8]>>(&mut self, v: &[T]) {
        self.put_u32(u32::try_from(v.len()).unwrap_or(u32::MAX));
        for item in v {
            self.put_bytes(item.as_ref());
        }
    }
}

/// Takes fields from the front of a byte string; what it returns borrows from there.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, n: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(WireError::Short { field })?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], WireError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(WireError::Short { field })?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, WireError> {
        Ok(u8::from_le_bytes(self.array(field)?))
    }
    /// A byte that must be 0 or 1.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, WireError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(WireError::Value {
                field,
                found: found.into(),
            }),
        }
    }
    /// Two bytes, little-endian.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, WireError> {
        Ok(u16::from_le_bytes(self.array(field)?))
    }
    /// Four bytes, little-endian.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }
    /// Eight bytes, little-endian.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }
    /// Eight bytes, little-endian, signed.
    pub fn i64(&mut self, field: &'static str) -> Result<i64, WireError> {
        Ok(i64::from_le_bytes(self.array(field)?))
    }
    /// A byte string written by [`Put::put_bytes`].
    pub fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], WireError> {
        let len = self.u32(field)?;
        self.take(len as usize, field)
    }
    /// A list written by [`Put::put_list`].
    pub fn list(&mut self, field: &'static str) -> Result<Vec<&'a [u8]>, WireError> {
        let count = self.u32(field)? as usize;
        // Each entry has at least its four bytes of length: refuses absurd counts before any allocation.
        if count > self.rest.len() / 4 {
            return Err(WireError::Short { field });
        }
        (0..count).map(|_| self.bytes(field)).collect()
    }
    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
    /// What is left, which stays.
    pub(crate) fn remaining(&self) -> &'a [u8] {
        self.rest
    }
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
    /// Nothing may be left.
    pub fn end(self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::Trailing {
                bytes: self.rest.len(),
            })
        }
    }
}
