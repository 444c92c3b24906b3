//! Every decoder of the wire, coverage-guided: what it accepts is exactly what would have been written for it. The first byte chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rwsgi_wire::admin::{Query, Report};
use rwsgi_wire::control::{Answer, Ask, FromHttpd, FromWorker, ToHttpd, ToWorker};
use rwsgi_wire::frame::Decoder;
use rwsgi_wire::head::Head;
use rwsgi_wire::response::{Abort, BodyAbort, Log, Response, Taken, Want};
use rwsgi_wire::scoreboard::Scoreboard;

macro_rules! owned {
    ($kind:ty, $bytes:expr) => {
        if let Ok(value) = <$kind>::decode($bytes) {
            assert_eq!(value.encode(), $bytes);
        }
    };
}

macro_rules! borrowed {
    ($kind:ty, $bytes:expr) => {
        if let Ok(value) = <$kind>::decode($bytes) {
            let mut out = Vec::new();
            value.encode(&mut out);
            assert_eq!(out, $bytes);
        }
    };
}

fuzz_target!(|data: &[u8]| {
    let Some((which, bytes)) = data.split_first() else {
        return;
    };
    match which % 16 {
        0 => owned!(FromHttpd, bytes),
        1 => owned!(ToHttpd, bytes),
        2 => owned!(Ask, bytes),
        3 => owned!(Answer, bytes),
        4 => owned!(ToWorker, bytes),
        5 => owned!(FromWorker, bytes),
        6 => owned!(Scoreboard, bytes),
        7 => borrowed!(Head<'_>, bytes),
        8 => borrowed!(Response<'_>, bytes),
        9 => borrowed!(Abort<'_>, bytes),
        10 => borrowed!(Log<'_>, bytes),
        11 => drop((Want::decode(bytes).is_ok(), Taken::decode(bytes).is_ok(), BodyAbort::decode(bytes).is_ok())),
        12 => owned!(Query, bytes),
        13 => owned!(Report, bytes),
        _ => frames(bytes, usize::from(*which) % 7 + 1),
    }
});

/// A stream in pieces of this size.
fn frames(mut rest: &[u8], size: usize) {
    let (mut decoder, all, mut payload) = (Decoder::new(), rest.len(), 0);
    while !rest.is_empty() {
        let count = size.min(rest.len());
        let space = decoder.space();
        assert!(space.len() >= count);
        space[..count].copy_from_slice(&rest[..count]);
        decoder.filled(count);
        rest = &rest[count..];
        loop {
            match decoder.next() {
                Ok(Some(frame)) => payload += frame.payload.len(),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    assert!(payload <= all);
}
