//! What an entering process tells the supervisor over its status pipe: each step begun, done or failed. The pipe ends at exec.

use rwsgi_wire::WireError;
use rwsgi_wire::bytes::{Fields, Put};

use crate::journey::{Event, Refusal, Step};

/// Longest refusal text, bytes; a record stays below what a pipe takes in one piece.
const TEXT_MAX: usize = 3000;

/// One record. The length comes first, in two bytes.
pub fn encode(event: &Event) -> Vec<u8> {
    let mut body = Vec::new();
    match event {
        Event::Began(step) => {
            body.put_u8(1);
            body.put_u8(*step as u8);
        }
        Event::Done(step) => {
            body.put_u8(2);
            body.put_u8(*step as u8);
        }
        Event::Failed(refusal) => {
            body.put_u8(3);
            body.put_u8(refusal.step as u8);
            body.put_u16(refusal.code);
            body.put_u8(refusal.passing.into());
            let text = refusal.text.as_bytes();
            body.put_bytes(text.get(..TEXT_MAX).unwrap_or(text));
        }
    }
    let mut out = Vec::new();
    out.put_u16(u16::try_from(body.len()).unwrap_or(u16::MAX));
    out.extend_from_slice(&body);
    out
}

/// Reads records from the bytes of the pipe as they come.
#[derive(Debug, Default)]
pub struct Reader {
    held: Vec<u8>,
}

impl Reader {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next whole record.
    #[allow(clippy::should_implement_trait)] // Not an iterator: an error is final.
    pub fn next(&mut self) -> Result<Option<Event>, WireError> {
        let Some((length, rest)) = self.held.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_le_bytes(*length));
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let event = decode(body)?;
        self.held.drain(..2 + length);
        Ok(Some(event))
    }
}

fn decode(body: &[u8]) -> Result<Event, WireError> {
    let mut f = Fields::new(body);
    let kind = f.u8("event")?;
    let number = f.u8("step")?;
    let step = Step::from_number(number).ok_or(WireError::Value {
        field: "step",
        found: number.into(),
    })?;
    let event = match kind {
        1 => Event::Began(step),
        2 => Event::Done(step),
        3 => Event::Failed(Refusal {
            step,
            code: f.u16("code")?,
            passing: f.bool("passing")?,
            // Names of files are in it, which users choose.
            text: crate::lines::escape(f.bytes("text")?),
        }),
        found => {
            return Err(WireError::Value {
                field: "event",
                found: found.into(),
            });
        }
    };
    f.end()?;
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_however_they_are_cut() {
        let events = [
            Event::Began(Step::Limits),
            Event::Done(Step::Limits),
            Event::Failed(Refusal {
                step: Step::User,
                code: 424,
                passing: true,
                text: "why".into(),
            }),
        ];
        let bytes: Vec<u8> = events.iter().flat_map(encode).collect();
        for cut in 0..bytes.len() {
            let mut reader = Reader::default();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                reader.push(part);
                while let Some(event) = reader.next().unwrap() {
                    seen.push(event);
                }
            }
            assert_eq!(seen, events, "cut at {cut}");
        }
    }

    // R74
    #[test]
    fn r74_names_in_a_refusal_forge_no_line_of_a_log() {
        let refused = |text: &str| {
            Event::Failed(Refusal {
                step: Step::Python,
                code: 441,
                passing: false,
                text: text.to_owned(),
            })
        };
        let mut reader = Reader::default();
        reader.push(&encode(&refused("/x\n[core:error] \x1b[2J")));
        assert_eq!(reader.next().unwrap(), Some(refused(r"/x\n[core:error] \x1b[2J")));
    }

    #[test]
    fn an_unknown_step_is_refused() {
        let mut reader = Reader::default();
        reader.push(&[2, 0, 1, 200]);
        assert!(reader.next().is_err());
    }
}
