//! What the tests of access, authentication and group scripts share: a file behind a script.

use rwsgi_testkit::{Builder, Case, Httpd, Reply};

/// Where the script runs: with us in a process group when the run is for daemon mode. The original has httpd's children only.
pub fn place(case: &Case) -> &'static str {
    if case.theirs() || case.embedded() {
        ""
    } else {
        " process-group=site"
    }
}

/// `www/a.txt` behind what `rules` say; `@GATE@` in them is the script, and where it runs.
pub fn behind(case: &Case, script: &str, rules: &str) -> Builder {
    let gate = format!("@SCRIPTS@/gate.py{}", place(case));
    case.httpd()
        .load("authn_core")
        .load("authz_user")
        .load("auth_basic")
        .file("scripts/gate.py", script)
        .file("www/a.txt", "inside")
        .conf(&format!(
            "<Directory @ROOT@/www>\n{}\n</Directory>",
            rules.replace("@GATE@", &gate)
        ))
}

/// Basic authentication by the script.
pub const BASIC: &str =
    "AuthType Basic\nAuthName inner\nAuthBasicProvider wsgi\nWSGIAuthUserScript @GATE@\nRequire valid-user";

/// GET as a user.
pub fn get_as(httpd: &Httpd, path: &str, credentials: &str) -> Reply {
    let value = format!("Basic {}", base64(credentials.as_bytes()));
    httpd.request("GET", path).header("Authorization", &value).send()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

/// Python for a function that does what the query string says: its keys are the results.
pub fn by_query(function: &str) -> String {
    format!(
        "def broken():\n    raise RuntimeError('on purpose')\n\
         RESULTS = {{\n    'true': lambda: True, 'false': lambda: False, 'none': lambda: None, 'one': lambda: 1,\n    \
             'zero': lambda: 0, 'empty': lambda: '', 'name': lambda: 'another', 'bytes': lambda: b'another',\n    \
             'list': lambda: ['a', 'b'], 'raise': broken, 'exit': lambda: exit(1),\n}}\n\
         def {function}:\n    return RESULTS[environ['QUERY_STRING'] or 'none']()\n"
    )
}
