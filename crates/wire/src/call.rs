//! What is asked of a script besides answering a request, and what it says.

use crate::WireError;
use crate::bytes::{Fields, Put};
use crate::response::numbered;

numbered! {
    /// What a head asks for.
    Call, "call" {
        /// To answer the request: WSGI.
        Application = 0,
        /// Which groups and callable answer the request (`WSGIDispatchScript`).
        Dispatch = 1,
        /// Whether the client may come in (`WSGIAccessScript`). Argument: its host.
        AllowAccess = 2,
        /// Whether the password is right (`WSGIAuthUserScript`, Basic). Arguments: user, password.
        CheckPassword = 3,
        /// The hash of the password (`WSGIAuthUserScript`, Digest). Arguments: user, realm.
        RealmHash = 4,
        /// The user's groups (`WSGIAuthGroupScript`). Argument: user.
        GroupsForUser = 5,
    }
}

#[allow(clippy::derivable_impls)] // The macro that makes the variants has no place for the attribute.
impl Default for Call {
    fn default() -> Self {
        Self::Application
    }
}

numbered! {
    /// What a script said.
    Said, "verdict" {
        /// Yes: granted, allowed.
        Yes = 1,
        /// No: denied.
        No = 2,
        /// It has no opinion, or does not know the user.
        Nothing = 3,
        /// The values: a name, a hash, groups; of a dispatch script always three.
        Values = 4,
    }
}

/// The answer to a call other than [`Call::Application`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What was said.
    pub said: Said,
    /// Values, with [`Said::Values`] only. `None` where a dispatch script leaves things as they are.
    pub values: Vec<Option<Vec<u8>>>,
}

impl Verdict {
    /// One without values.
    pub fn plain(said: Said) -> Self {
        Self {
            said,
            values: Vec::new(),
        }
    }

    /// Appends a `Verdict` frame's payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.said as u8);
        out.put_u32(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
        for value in &self.values {
            out.put_u8(value.is_some().into());
            out.put_bytes(value.as_deref().unwrap_or_default());
        }
    }

    /// Reads a `Verdict` frame's payload.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut f = Fields::new(payload);
        let said = Said::from_wire(f.u8("verdict")?)?;
        let count = f.u32("number of values")?;
        let values = (0..count)
            .map(|_| {
                let is_there = f.bool("value")?;
                let value = f.bytes("value")?;
                Ok(is_there.then(|| value.to_vec()))
            })
            .collect::<Result<_, WireError>>()?;
        f.end()?;
        Ok(Self { said, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_survives_the_round_trip_and_no_truncation_is_accepted() {
        let verdict = Verdict {
            said: Said::Values,
            values: vec![Some(b"a".to_vec()), None, Some(Vec::new())],
        };
        let mut bytes = Vec::new();
        verdict.encode(&mut bytes);
        assert_eq!(Verdict::decode(&bytes).unwrap(), verdict);
        assert!((0..bytes.len()).all(|cut| Verdict::decode(&bytes[..cut]).is_err()));
        bytes.push(0);
        assert!(Verdict::decode(&bytes).is_err());
    }

    #[test]
    fn a_verdict_that_does_not_exist_is_refused() {
        for said in [0, 5, 255] {
            assert!(Verdict::decode(&[said, 0, 0, 0, 0]).is_err());
        }
    }
}
