//! What a header field may consist of (RFC 9110, 5.5 and 5.6.2). Both halves look at each byte of each header that an application answers with: the
//! one because the application is to be told, the other because it believes nobody.

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
    let fits = |byte: &u8| TOKEN.get(usize::from(*byte)) == Some(&true);
    !bytes.is_empty() && bytes.iter().all(fits)
}

/// Whether there is a control character in it, a tab included.
pub fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().any(u8::is_ascii_control)
}

/// As [`has_control`], but a tab is none: inside a value it is allowed.
pub fn has_control_but_tab(value: &[u8]) -> bool {
    // Without leaving early, so that many bytes are looked at together.
    let is_control = |byte: &u8| byte.is_ascii_control() & (*byte != b'\t');
    value.iter().fold(false, |found, byte| found | is_control(byte))
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
    fn control_characters_are_found_anywhere() {
        for byte in 0..=255u8 {
            let is_control = byte < 0x20 || byte == 0x7f;
            for text in [[byte, b'a', b'b'], [b'a', byte, b'b'], [b'a', b'b', byte]] {
                assert_eq!(has_control(&text), is_control, "{byte}");
                assert_eq!(has_control_but_tab(&text), is_control && byte != b'\t', "{byte}");
            }
        }
        assert!(!has_control(b"") && !has_control_but_tab(b""));
    }
}
