//! Logging: level first, then code, then text. The text is built only if the level is wanted.

/// Logs to a request or a server: `log!(request, Level::Debug, "text {}", x)`; at warning and above with a code:
/// `log!(request, Level::Error, codes::X, "text {}", x)`.
macro_rules! log {
    ($to:expr, $level:expr, $code:path, $($text:tt)+) => {{
        let to = $to;
        $crate::audit::tell(&to, $level, &$code);
        if to.wants($level) {
            let text = format!($($text)+);
            to.log($level, $crate::httpd::site!(), &$crate::codes::Line::line(&$code, &text));
        }
    }};
    ($to:expr, $level:expr, $($text:tt)+) => {{
        let to = $to;
        if to.wants($level) {
            to.log($level, $crate::httpd::site!(), &format!($($text)+));
        }
    }};
}
pub(crate) use log;
