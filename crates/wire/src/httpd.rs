//! What applications may ask about the httpd that serves them (the module `apache`).

use crate::WireError;
use crate::bytes::{Fields, Put};

/// Facts of one run of httpd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Httpd {
    /// Its version, three numbers.
    pub version: [u16; 3],
    /// Most children.
    pub processes: u32,
    /// Most threads of a child.
    pub threads: u32,
    /// As `httpd -v` names it: `Apache/2.4.66 (Debian)`.
    pub description: Vec<u8>,
    /// Name of the MPM.
    pub mpm: Vec<u8>,
    /// When it was built, as it says itself.
    pub built: Vec<u8>,
}

impl Httpd {
    /// Appends it to a message.
    pub fn put(&self, out: &mut Vec<u8>) {
        for number in self.version {
            out.put_u16(number);
        }
        out.put_u32(self.processes);
        out.put_u32(self.threads);
        out.put_bytes(&self.description);
        out.put_bytes(&self.mpm);
        out.put_bytes(&self.built);
    }

    /// Reads it from a message.
    pub fn take(f: &mut Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            version: [
                f.u16("httpd version")?,
                f.u16("httpd version")?,
                f.u16("httpd version")?,
            ],
            processes: f.u32("httpd processes")?,
            threads: f.u32("httpd threads")?,
            description: f.bytes("httpd description")?.into(),
            mpm: f.bytes("mpm")?.into(),
            built: f.bytes("httpd build date")?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_survive_the_round_trip() {
        let httpd = Httpd {
            version: [2, 4, 71],
            processes: 16,
            threads: 25,
            description: b"Apache/2.4.71".to_vec(),
            mpm: b"event".to_vec(),
            built: b"today".to_vec(),
        };
        let mut bytes = Vec::new();
        httpd.put(&mut bytes);
        assert_eq!(Httpd::take(&mut Fields::new(&bytes)).unwrap(), httpd);
        assert!((0..bytes.len()).all(|cut| Httpd::take(&mut Fields::new(&bytes[..cut])).is_err()));
    }
}
