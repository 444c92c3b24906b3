//! The `environ` dictionary. Most of it is the same from request to request, so each is a copy of a template that is then brought
//! up to date: copying a dictionary costs a tenth of filling one.

use std::cell::RefCell;
use std::collections::HashMap;

use rwsgi_wire::head::Head;

use crate::cpython::{Attached, Object, PyResult, Stored};

/// What is the same for all requests of an interpreter.
pub struct Constants {
    /// `wsgi.multithread`
    pub multithread: bool,
    /// `wsgi.multiprocess`
    pub multiprocess: bool,
    /// `wsgi.run_once`
    pub run_once: bool,
}

/// Makes environs.
pub struct Environs {
    constants: Stored,
    cache: RefCell<Cache>,
}

#[derive(Default)]
struct Cache {
    template: Option<Stored>,
    slots: Vec<Slot>,
    index: HashMap<Box<[u8]>, usize>,
    /// Slots whose key is in the template.
    in_template: usize,
    /// Number of the request, to tell which slots it has.
    request: u64,
    /// Requests in a row that were unlike the template.
    unlike: u32,
}

/// A variable that was seen before.
struct Slot {
    name: Box<[u8]>,
    key: Stored,
    /// Its value in the template.
    value: Option<Box<[u8]>>,
    request: u64,
}

/// Variables remembered at most; a client chooses header names.
const SLOTS_MAX: usize = 256;
/// Longest value that the template keeps.
const VALUE_MAX: usize = 1024;
/// A request with more differing keys than this is unlike the template …
const UNLIKE_KEYS: usize = 6;
/// … and so many of those in a row make a new one.
const UNLIKE_REQUESTS: u32 = 16;

impl Environs {
    /// Prepares for one interpreter; `file_wrapper` is the type offered as `wsgi.file_wrapper`.
    pub fn new<'py>(
        py: Attached<'py>,
        constants: &Constants,
        file_wrapper: &Object<'py>,
    ) -> PyResult<'py, Self> {
        let dict = py.dict()?;
        let set = |name: &str, value: &Object<'py>| dict.set(&py.text(name)?, value);
        set("wsgi.version", &py.tuple(&[&py.int(1)?, &py.int(0)?])?)?;
        set("wsgi.multithread", &py.bool(constants.multithread))?;
        set("wsgi.multiprocess", &py.bool(constants.multiprocess))?;
        set("wsgi.run_once", &py.bool(constants.run_once))?;
        set("wsgi.input_terminated", &py.bool(true))?;
        set("wsgi.file_wrapper", file_wrapper)?;
        set("wsgi.url_scheme", &py.text("http")?)?;
        set("mod_wsgi.version", &version(py)?)?;
        Ok(Self {
            constants: dict.store(),
            cache: RefCell::default(),
        })
    }

    /// The environ of a request, but for what belongs to its objects.
    pub fn build<'py>(&self, py: Attached<'py>, head: &Head<'_>) -> PyResult<'py, Object<'py>> {
        // Making Python objects can run the garbage collector, that a destructor, and that another thread: then the cache is
        // in use and this request goes the long way.
        let environ = match self.cache.try_borrow_mut() {
            Ok(mut cache) => cache.build(py, head, &self.constants)?,
            Err(_) => plain(py, head, &self.constants)?,
        };
        if head.https {
            environ.set(&py.text("wsgi.url_scheme")?, &py.text("https")?)?;
        }
        Ok(environ)
    }
}

/// `mod_wsgi.version`: the version of the original whose behaviour applications may expect.
pub fn version(py: Attached<'_>) -> PyResult<'_, Object<'_>> {
    py.tuple(&[&py.int(6)?, &py.int(1)?, &py.int(1)?])
}

fn plain<'py>(py: Attached<'py>, head: &Head<'_>, constants: &Stored) -> PyResult<'py, Object<'py>> {
    let environ = constants.get(py).copy_dict()?;
    for (name, value) in &head.environ {
        environ.set(&py.latin1(name)?, &decode(py, name, value)?)?;
    }
    Ok(environ)
}

fn decode<'py>(py: Attached<'py>, name: &[u8], value: &[u8]) -> PyResult<'py, Object<'py>> {
    if matches!(name, b"SCRIPT_FILENAME" | b"DOCUMENT_ROOT") {
        if let Ok(text) = py.file_name(value) {
            return Ok(text);
        }
    }
    py.latin1(value)
}

/// Whether the value may be remembered beyond its request.
fn may_be_kept(name: &[u8], value: &[u8]) -> bool {
    value.len() <= VALUE_MAX
        && !matches!(
            name,
            b"HTTP_COOKIE" | b"HTTP_AUTHORIZATION" | b"HTTP_PROXY_AUTHORIZATION"
        )
}

impl Cache {
    fn build<'py>(
        &mut self,
        py: Attached<'py>,
        head: &Head<'_>,
        constants: &Stored,
    ) -> PyResult<'py, Object<'py>> {
        self.request += 1;
        let template = match &self.template {
            Some(template) if self.unlike < UNLIKE_REQUESTS => template.get(py),
            _ => self.renew(py, head, constants)?,
        };
        let environ = template.copy_dict()?;
        let (mut next, mut found, mut extra) = (0, 0, 0);
        for (name, value) in &head.environ {
            let Some(place) = self.place(py, next, name)? else {
                environ.set(&py.latin1(name)?, &decode(py, name, value)?)?;
                extra += 1;
                continue;
            };
            next = place + 1;
            let request = self.request;
            let Some(slot) = self.slots.get_mut(place) else {
                continue;
            };
            let repeated = slot.request == request;
            slot.request = request;
            match &slot.value {
                // The template says so already.
                Some(kept) if !repeated && **kept == *value => found += 1,
                kept => {
                    match kept {
                        Some(_) if !repeated => found += 1,
                        _ => extra += 1,
                    }
                    let value = decode(py, name, value)?;
                    slot.key.with(py, |key| environ.set(key, &value))?;
                }
            }
        }
        let missing = self.in_template - found;
        if missing > 0 {
            let request = self.request;
            for slot in self
                .slots
                .iter()
                .filter(|slot| slot.value.is_some() && slot.request != request)
            {
                slot.key.with(py, |key| environ.remove(key))?;
            }
        }
        self.unlike = if missing + extra > UNLIKE_KEYS {
            self.unlike + 1
        } else {
            0
        };
        Ok(environ)
    }

    /// Makes this request the template.
    fn renew<'py>(
        &mut self,
        py: Attached<'py>,
        head: &Head<'_>,
        constants: &Stored,
    ) -> PyResult<'py, Object<'py>> {
        let template = constants.get(py).copy_dict()?;
        self.unlike = 0;
        self.in_template = 0;
        self.slots.iter_mut().for_each(|slot| slot.value = None);
        for (name, value) in &head.environ {
            if !may_be_kept(name, value) {
                continue;
            }
            let Some(place) = self.place(py, 0, name)? else {
                continue;
            };
            let Some(slot) = self.slots.get_mut(place) else {
                continue;
            };
            let object = decode(py, name, value)?;
            slot.key.with(py, |key| template.set(key, &object))?;
            if slot.value.replace(value.into()).is_none() {
                self.in_template += 1;
            }
        }
        self.template = Some(template.clone().store());
        Ok(template)
    }

    /// The slot of a variable, made if there is room; it probably is the one after that of the variable before.
    fn place<'py>(&mut self, py: Attached<'py>, guess: usize, name: &[u8]) -> PyResult<'py, Option<usize>> {
        if self.slots.get(guess).is_some_and(|slot| *slot.name == *name) {
            return Ok(Some(guess));
        }
        if let Some(place) = self.index.get(name) {
            return Ok(Some(*place));
        }
        if self.slots.len() >= SLOTS_MAX {
            return Ok(None);
        }
        let key = py.latin1(name)?.store();
        self.index.insert(name.into(), self.slots.len());
        self.slots.push(Slot {
            name: name.into(),
            key,
            value: None,
            request: 0,
        });
        Ok(Some(self.slots.len() - 1))
    }
}
