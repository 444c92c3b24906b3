//! What a header field may consist of (RFC 9110, 5.5 and 5.6.2), and which fields are not an application's. Both halves look at each
//! byte of each header that an application answers with: the one because the application is to be told, the other because it believes nobody.

/// Which bytes a token may have.
const TOKEN: [bool; 256] = {
    let mut all = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        all[byte] = (byte as u8).is_ascii_alphanumeric() || is_token_mark(byte as u8);
        byte += 1;
    }
    all
};

const fn is_token_mark(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#'
            | b'$'
            | b'%'
            | b'&'
            | b'\''
            | b'*'
            | b'+'
            | b'-'
            | b'.'
            | b'^'
            | b'_'
            | b'`'
            | b'|'
            | b'~'
    )
}

/// A token: what the name of a field is.
pub fn is_token(bytes: &[u8]) -> bool {
    // Without leaving early, so that no byte waits for the one before it.
    let fits = |fits: bool, byte: &u8| fits & TOKEN.get(usize::from(*byte)).copied().unwrap_or(false);
    !bytes.is_empty() && bytes.iter().fold(true, fits)
}

/// Whether there is a control character in it, a tab included.
pub fn has_control(bytes: &[u8]) -> bool {
    // Eight at a time; the last eight may be looked at twice.
    let of = |eight: &[u8; 8]| controls(u64::from_le_bytes(*eight));
    let Some(last) = bytes.last_chunk() else {
        return bytes.iter().any(u8::is_ascii_control);
    };
    let eights = bytes.chunks_exact(8).filter_map(<[u8]>::first_chunk);
    eights.fold(of(last), |found, eight| found | of(eight)) != 0
}

/// As [`has_control`], but a tab is none: inside a value it is allowed.
pub fn has_control_but_tab(value: &[u8]) -> bool {
    // Tabs are rare: only where something was found it is looked what it is.
    has_control(value) && value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t')
}

/// A bit in each of the eight bytes that is a control character, and perhaps in those behind the first such; 0 when there is none.
const fn controls(eight: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let delete = eight ^ (ONES * 0x7f);
    let below_space = eight.wrapping_sub(ONES * 0x20) & !eight;
    let is_delete = delete.wrapping_sub(ONES) & !delete;
    (below_space | is_delete) & HIGH
}

/// Whether a field of an answer belongs to the connection, which is the server's: those of RFC 2616, 13.5.1, which writes `Trailers`, those of
/// RFC 9110, 7.6.1, and `Proxy-Connection`.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 10] = [
        b"Connection",
        b"Keep-Alive",
        b"Proxy-Authenticate",
        b"Proxy-Authorization",
        b"Proxy-Connection",
        b"TE",
        b"Trailer",
        b"Trailers",
        b"Transfer-Encoding",
        b"Upgrade",
    ];
    // Most names begin with none of their letters.
    let first = name.first().map(u8::to_ascii_lowercase);
    matches!(first, Some(b'c' | b'k' | b'p' | b't' | b'u'))
        && NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_made_of_the_characters_of_the_rfc() {
        for byte in 0..=255u8 {
            let expected = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(&[b'a', byte]), expected, "{byte}");
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn what_belongs_to_the_connection_is_known_in_any_case() {
        for name in [
            "connection",
            "KEEP-ALIVE",
            "proxy-Connection",
            "te",
            "Trailers",
            "uPGRADE",
        ] {
            assert!(is_hop_by_hop(name.as_bytes()), "{name}");
        }
        for name in ["", "Content-Type", "Proxy", "X-TE", "User", "Cache-Control"] {
            assert!(!is_hop_by_hop(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn control_characters_are_found_anywhere() {
        for byte in 0..=255u8 {
            let is_control = byte < 0x20 || byte == 0x7f;
            for (length, other) in [(3, b'a'), (8, b' '), (13, 0xff), (16, b'~')] {
                for place in 0..length {
                    let mut text = vec![other; length];
                    text[place] = byte;
                    assert_eq!(has_control(&text), is_control, "{byte}");
                    assert_eq!(has_control_but_tab(&text), is_control && byte != b'\t', "{byte}");
                    text[length - 1 - place] = b'\t';
                    assert!(has_control(&text));
                }
            }
        }
        assert!(!has_control(b"") && !has_control_but_tab(b""));
    }
}
