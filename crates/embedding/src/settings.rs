//! How the interpreter of an httpd child is to be started.

use rwsgi_wire::WireError;
use rwsgi_wire::bytes::{Fields, Put};
use rwsgi_wire::httpd::Httpd;
use rwsgi_wire::python::Python;

/// Settings of embedded mode, resolved by the Apache half. All strings are bytes of the file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The Python program of the venv or prefix (`…/bin/python3`), from which Python finds itself as on the command line.
    pub program: Vec<u8>,
    /// A prefix without a program, for `Py_SetPythonHome`; empty when `program` is enough.
    pub home: Vec<u8>,
    /// How it is started, set up and ended.
    pub python: Python,
    /// Path under which `_rwsgi` is open, to import it by.
    pub gateway: Vec<u8>,
    /// `wsgi.multithread`: the MPM serves with more than one thread.
    pub multithread: bool,
    /// `wsgi.multiprocess`: the MPM may have more than one child.
    pub multiprocess: bool,
    /// What applications may ask about httpd.
    pub httpd: Httpd,
    /// Level of the main server for this module.
    pub log_level: u8,
    /// Scripts loaded before the first request, in order: application group and path, by turns.
    pub preload: Vec<Vec<u8>>,
}

impl Settings {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_bytes(&self.program);
        out.put_bytes(&self.home);
        self.python.put(&mut out);
        out.put_bytes(&self.gateway);
        out.put_u8(self.multithread.into());
        out.put_u8(self.multiprocess.into());
        self.httpd.put(&mut out);
        out.put_u8(self.log_level);
        out.put_list(&self.preload);
        out
    }

    /// From bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(bytes);
        let settings = Self {
            program: f.bytes("program")?.into(),
            home: f.bytes("home")?.into(),
            python: Python::take(&mut f)?,
            gateway: f.bytes("gateway")?.into(),
            multithread: f.bool("multithread")?,
            multiprocess: f.bool("multiprocess")?,
            httpd: Httpd::take(&mut f)?,
            log_level: f.u8("log level")?,
            preload: f.list("preload")?.into_iter().map(Into::into).collect(),
        };
        f.end()?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_round_trip() {
        let settings = Settings {
            program: b"/v/bin/python3".to_vec(),
            preload: vec![b"".to_vec(), b"/early.py".to_vec()],
            python: Python {
                optimize: 1,
                ..Python::default()
            },
            ..Settings::default()
        };
        let bytes = settings.encode();
        assert_eq!(Settings::decode(&bytes).unwrap(), settings);
        assert!((0..bytes.len()).all(|cut| Settings::decode(&bytes[..cut]).is_err()));
    }
}
