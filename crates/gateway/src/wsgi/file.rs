//! A regular file returned through `wsgi.file_wrapper`: the server takes over its transmission, so it is read in larger blocks, sent
//! without a flush for each, and its length is known.

use super::fault::Fault;
use super::iterate::Answer;
use super::request::lock;
use crate::cpython::{Attached, Object, PyResult};

/// Bytes read at once.
const BLOCK: u64 = 256 << 10;

/// A file wrapper over a regular file.
pub struct RegularFile<'py> {
    read: Object<'py>,
    /// From where it is read to its end.
    length: u64,
}

impl<'py> RegularFile<'py> {
    /// The file in `result`, if that is a file wrapper over a plain file object. Other file-like objects (`GzipFile` has the
    /// descriptor of the compressed file; a pipe has no length) are iterated.
    pub fn of(result: &Object<'py>) -> Option<Self> {
        let plain = || -> PyResult<'py, Option<Self>> {
            let file = result.attribute(c"_filelike")?;
            let class = file.attribute(c"__class__")?;
            let module = result.py().import(c"io")?;
            for name in [c"BufferedReader", c"FileIO", c"BufferedRandom"] {
                if class.is(&module.attribute(name)?) {
                    return Self::plain(&file);
                }
            }
            Ok(None)
        };
        plain().ok().flatten()
    }

    fn plain(file: &Object<'py>) -> PyResult<'py, Option<Self>> {
        let descriptor = file.call_method(c"fileno", &[])?.to_int()?;
        let position = u64::try_from(file.call_method(c"tell", &[])?.to_int()?).unwrap_or(0);
        let status = std::fs::metadata(format!("/proc/self/fd/{descriptor}"));
        let Some(status) = status.ok().filter(std::fs::Metadata::is_file) else {
            return Ok(None);
        };
        Ok(Some(Self {
            read: file.attribute(c"read")?,
            length: status.len().saturating_sub(position),
        }))
    }

    /// Sends the file.
    pub fn send(&self, py: Attached<'py>, answer: &Answer<'_>) -> Result<(), Fault> {
        let mut left = {
            let mut output = lock(py, &answer.request.output);
            if !output.has_head() {
                return Err(answer.no_start_response());
            }
            output.declare(self.length)
        };
        if answer.head_only {
            return Ok(());
        }
        let raised = |exception| answer.raised(&exception);
        while left > 0 {
            let wanted = py
                .int(i64::try_from(left.min(BLOCK)).unwrap_or(0))
                .map_err(raised)?;
            let block = self.read.call(&[&wanted]).map_err(raised)?;
            let size = block.as_bytes().map_or(0, <[u8]>::len) as u64;
            if size == 0 || !answer.block(py, &block, &block, false)? {
                break;
            }
            left = left.saturating_sub(size);
        }
        Ok(())
    }
}
