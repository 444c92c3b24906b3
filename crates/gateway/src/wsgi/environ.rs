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
    /// The variables that are in the template as they came, one behind the other. A request often has whole stretches of them.
    travelled: Vec<u8>,
    /// Of each of them.
    order: Vec<Place>,
    /// Number of the request, to tell which slots it has.
    request: u64,
    /// Requests in a row that were unlike the template.
    unlike: u32,
}

/// Where a variable of the template is.
struct Place {
    slot: usize,
    /// Where it ends among those that travelled.
    end: usize,
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
        let template = match &self.template {
            Some(template) if self.unlike < UNLIKE_REQUESTS => template.get(py),
            _ => self.renew(py, head, constants)?,
        };
        self.request += 1;
        let request = self.request;
        let environ = template.copy_dict()?;
        let (mut pairs, mut next, mut guess, mut found, mut extra) = (head.environ.iter(), 0, 0, 0, 0);
        loop {
            // The template says so already.
            let (stretch, bytes) = self.stretch(next, pairs.rest());
            pairs.pass_over(bytes);
            found += stretch;
            next += stretch;
            let Some((name, value)) = pairs.next() else { break };
            let expected = self.order.get(next).map(|place| place.slot);
            let Some(place) = self.place(py, [expected.unwrap_or(guess), guess], name)? else {
                environ.set(&py.latin1(name)?, &decode(py, name, value)?)?;
                extra += 1;
                continue;
            };
            guess = place + 1;
            let Some(slot) = self.slots.get_mut(place) else {
                continue;
            };
            let repeated = std::mem::replace(&mut slot.request, request) == request;
            let in_template = slot.value.is_some();
            match &slot.value {
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
            next = match (in_template, expected == Some(place)) {
                (false, _) => next,
                (true, true) => next + 1,
                // Later ones replace earlier ones of the same name: behind one that comes out of turn each is looked at.
                (true, false) => self.order.len(),
            };
        }
        let missing = self.order.len() - found;
        if missing > 0 {
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

    /// With how many variables of the template, from the one of this number on, `bytes` begins, and how many bytes these are. They count
    /// as seen.
    fn stretch(&mut self, first: usize, bytes: &[u8]) -> (usize, usize) {
        let (before, order) = self.order.split_at(first.min(self.order.len()));
        let start = before.last().map_or(0, |place| place.end);
        let same = start + common(self.travelled.get(start..).unwrap_or_default(), bytes);
        let (mut count, mut end) = (0, start);
        for place in order.iter().take_while(|place| place.end <= same) {
            if let Some(slot) = self.slots.get_mut(place.slot) {
                slot.request = self.request;
            }
            (count, end) = (count + 1, place.end);
        }
        (count, end - start)
    }

    /// Makes this request the template, but for variables that may not be kept and those that it has twice.
    fn renew<'py>(
        &mut self,
        py: Attached<'py>,
        head: &Head<'_>,
        constants: &Stored,
    ) -> PyResult<'py, Object<'py>> {
        // Without one until it is whole.
        self.template = None;
        let template = constants.get(py).copy_dict()?;
        self.request += 1;
        self.unlike = 0;
        self.slots.iter_mut().for_each(|slot| slot.value = None);
        let (mut kept, mut pairs) = (Vec::new(), head.environ.iter());
        loop {
            let before = pairs.rest();
            let Some((name, value)) = pairs.next() else { break };
            let travelled = before.len() - pairs.rest().len();
            let Some(place) = self.place(py, [kept.len(); 2], name)? else {
                continue;
            };
            let Some(slot) = self.slots.get_mut(place) else {
                continue;
            };
            let repeated = std::mem::replace(&mut slot.request, self.request) == self.request;
            if repeated || !may_be_kept(name, value) {
                slot.value = None;
                continue;
            }
            slot.value = Some(value.into());
            kept.push((place, name, value, before.get(..travelled).unwrap_or_default()));
        }
        self.order.clear();
        self.travelled.clear();
        for (place, name, value, travelled) in kept {
            let Some(slot) = self.slots.get(place).filter(|slot| slot.value.is_some()) else {
                continue;
            };
            let object = decode(py, name, value)?;
            slot.key.with(py, |key| template.set(key, &object))?;
            self.travelled.extend_from_slice(travelled);
            self.order.push(Place {
                slot: place,
                end: self.travelled.len(),
            });
        }
        self.template = Some(template.clone().store());
        Ok(template)
    }

    /// The slot of a variable, made if there is room; it probably is one of the guesses.
    fn place<'py>(
        &mut self,
        py: Attached<'py>,
        guesses: [usize; 2],
        name: &[u8],
    ) -> PyResult<'py, Option<usize>> {
        for guess in guesses {
            if self.slots.get(guess).is_some_and(|slot| *slot.name == *name) {
                return Ok(Some(guess));
            }
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

/// How many bytes both begin with.
fn common(a: &[u8], b: &[u8]) -> usize {
    let mut same = 0;
    for step in [256, 32] {
        let rest = |bytes| <[u8]>::get(bytes, same..).unwrap_or_default().chunks_exact(step);
        same += step * rest(a).zip(rest(b)).take_while(|(a, b)| a == b).count();
    }
    let rest = a.iter().zip(b).skip(same);
    same + rest.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_begin_with_is_measured_to_the_byte() {
        let long: Vec<u8> = (0..600u32).map(|n| (n % 251) as u8).collect();
        for length in 0..=long.len() {
            let mut other = long.clone();
            assert_eq!(common(&long, &long[..length]), length);
            if let Some(byte) = other.get_mut(length) {
                *byte ^= 1;
                assert_eq!(common(&long, &other), length);
            }
        }
    }
}
