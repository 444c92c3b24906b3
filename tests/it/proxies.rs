//! What headers of proxies change for an application, and who is believed (R47).

use crate::environ::same;
use rwsgi_testkit::{Builder, Case, Httpd, Topic, Value, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        without_the_directive_no_header_changes_anything,
        trusted_proxies_alone_change_nothing,
        each_header_sets_what_it_tells,
        schemes_are_told_by_words,
        a_told_scheme_counts_more_than_the_environment,
        of_a_kind_only_the_winner_is_seen,
        a_strangers_headers_are_removed,
        forwarded_for_is_read_from_its_end,
        forwarded_for_without_proxies_is_read_from_its_beginning,
        a_mount_point_told_by_a_proxy_is_known_as_such,
        repeated_directives_add_and_nearer_ones_replace,
        proxies_may_be_trusted_in_htaccess,
        the_peer_is_the_one_that_mod_remoteip_says,
        names_in_forwarded_for_are_not_looked_up,
    ]);
}

fn believing(case: &Case, headers: &str) -> Builder {
    case.httpd()
        .app("environ.wsgi")
        .conf(&format!("WSGITrustedProxyHeaders {headers}"))
}

fn ask_at(httpd: &Httpd, path: &str, headers: &[(&str, &str)]) -> Value {
    let request = headers
        .iter()
        .fold(httpd.request("GET", path), |request, (name, value)| {
            request.header(name, value)
        });
    let reply = request.send();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn ask(httpd: &Httpd, headers: &[(&str, &str)]) -> Value {
    ask_at(httpd, "/x", headers)
}

#[track_caller]
fn absent(environ: &Value, keys: &[&str]) {
    for key in keys {
        assert!(environ[key].is_null(), "{key} in {environ:#}");
    }
}

const ALL: [(&str, &str); 15] = [
    ("X-Forwarded-For", "1.1.1.1"),
    ("X-Client-IP", "2.2.2.2"),
    ("X-Real-IP", "3.3.3.3"),
    ("X-Forwarded-Host", "a.example.org"),
    ("X-Host", "b.example.org"),
    ("X-Forwarded-Server", "c.example.org"),
    ("X-Forwarded-Port", "4444"),
    ("X-Script-Name", "/one"),
    ("X-Forwarded-Script-Name", "/two"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Scheme", "https"),
    ("X-Scheme", "https"),
    ("X-Forwarded-HTTPS", "On"),
    ("X-Forwarded-SSL", "On"),
    ("X-HTTPS", "On"),
];

fn key_of(header: &str) -> String {
    format!("HTTP_{}", header.to_uppercase().replace('-', "_"))
}

#[track_caller]
fn nothing_changed(environ: &Value) {
    same(
        environ,
        &[
            ("REMOTE_ADDR", "127.0.0.1"),
            ("SERVER_NAME", "127.0.0.1"),
            ("SCRIPT_NAME", ""),
            ("wsgi.url_scheme", "http"),
            ("REQUEST_SCHEME", "http"),
        ],
    );
    absent(environ, &["mod_wsgi.mount_point", "HTTPS"]);
    assert!(
        environ["HTTP_HOST"]
            .as_str()
            .is_some_and(|host| host.starts_with("127.0.0.1"))
    );
}

/// R47
fn without_the_directive_no_header_changes_anything(case: &Case) {
    let httpd = case.httpd().app("environ.wsgi").start();
    let environ = ask(&httpd, &ALL);
    nothing_changed(&environ);
    for (name, value) in ALL {
        assert_eq!(
            environ[key_of(name)],
            value,
            "the application may judge it itself"
        );
    }
}

fn trusted_proxies_alone_change_nothing(case: &Case) {
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .conf("WSGITrustedProxies 127.0.0.1")
        .start();
    let environ = ask(&httpd, &ALL);
    nothing_changed(&environ);
    for (name, value) in ALL {
        assert_eq!(environ[key_of(name)], value);
    }
}

fn each_header_sets_what_it_tells(case: &Case) {
    for (header, key, value) in [
        ("X-Forwarded-For", "REMOTE_ADDR", "1.1.1.1"),
        ("X-Client-IP", "REMOTE_ADDR", "2.2.2.2"),
        ("X-Real-IP", "REMOTE_ADDR", "3.3.3.3"),
        ("X-Forwarded-Host", "HTTP_HOST", "a.example.org"),
        ("X-Host", "HTTP_HOST", "b.example.org"),
        ("X-Forwarded-Server", "SERVER_NAME", "c.example.org"),
        ("X-Forwarded-Port", "SERVER_PORT", "4444"),
        ("X-Script-Name", "SCRIPT_NAME", "/one"),
        ("X-Forwarded-Script-Name", "SCRIPT_NAME", "/two"),
        ("X-Forwarded-Proto", "wsgi.url_scheme", "https"),
    ] {
        let httpd = believing(case, header).start();
        let sent: Vec<_> = ALL.iter().copied().filter(|(name, _)| *name == header).collect();
        same(&ask(&httpd, &sent), &[(key, value)]);
        nothing_changed(&ask(&httpd, &[]));
    }
}

fn schemes_are_told_by_words(case: &Case) {
    let names = ["X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Scheme"];
    let flags = ["X-Forwarded-HTTPS", "X-Forwarded-SSL", "X-HTTPS"];
    let httpd = believing(case, &[names, flags].concat().join(" ")).start();
    let told = |header: &str, value: &str| {
        let environ = ask(&httpd, &[(header, value)]);
        absent(&environ, &["HTTPS"]);
        environ["wsgi.url_scheme"].as_str().unwrap_or("?").to_owned()
    };
    for name in names {
        for (value, scheme) in [
            ("https", "https"),
            ("HTTPS", "https"),
            ("http", "http"),
            ("on", "http"),
        ] {
            assert_eq!(told(name, value), scheme, "{name}: {value}");
        }
    }
    for flag in flags {
        for (value, scheme) in [
            ("on", "https"),
            ("TRUE", "https"),
            ("1", "https"),
            ("Off", "http"),
            ("0", "http"),
            ("https", "http"),
        ] {
            assert_eq!(told(flag, value), scheme, "{flag}: {value}");
        }
    }
}

fn a_told_scheme_counts_more_than_the_environment(case: &Case) {
    let httpd = believing(case, "X-Forwarded-Proto")
        .conf("SetEnv HTTPS on")
        .start();
    for (headers, scheme) in [
        (&[][..], "https"),
        (&[("X-Forwarded-Proto", "http")][..], "http"),
        (&[("X-Forwarded-Proto", "https")][..], "https"),
        (&[("X-Forwarded-Proto", "ftp")][..], "https"),
    ] {
        assert_eq!(ask(&httpd, headers)["wsgi.url_scheme"], scheme, "{headers:?}");
    }
}

/// R47
fn of_a_kind_only_the_winner_is_seen(case: &Case) {
    let httpd = believing(case, "X-Real-IP X-Client-IP X-Forwarded-Proto")
        .conf("WSGITrustedProxies 127.0.0.1")
        .start();
    let environ = ask(&httpd, &ALL);
    // The last one of the directive that is there wins, whatever the order in the request is.
    same(
        &environ,
        &[("REMOTE_ADDR", "2.2.2.2"), ("HTTP_X_CLIENT_IP", "2.2.2.2")],
    );
    absent(
        &environ,
        &[
            "HTTP_X_FORWARDED_FOR",
            "HTTP_X_REAL_IP",
            "HTTP_X_SCHEME",
            "HTTP_X_FORWARDED_SCHEME",
            "HTTP_X_HTTPS",
            "HTTP_X_FORWARDED_SSL",
            "HTTP_X_FORWARDED_HTTPS",
        ],
    );
    // Kinds that no directive names are none of our business.
    same(
        &environ,
        &[
            ("HTTP_X_FORWARDED_PROTO", "https"),
            ("HTTP_X_FORWARDED_HOST", "a.example.org"),
            ("HTTP_X_SCRIPT_NAME", "/one"),
            ("SCRIPT_NAME", ""),
        ],
    );
    let environ = ask(&httpd, &ALL[2..3]);
    same(
        &environ,
        &[("REMOTE_ADDR", "3.3.3.3"), ("HTTP_X_REAL_IP", "3.3.3.3")],
    );
}

/// R47
fn a_strangers_headers_are_removed(case: &Case) {
    let all: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
    let httpd = believing(case, &all.join(" "))
        .conf("WSGITrustedProxies 10.0.0.1 ::1")
        .start();
    let environ = ask(&httpd, &ALL);
    nothing_changed(&environ);
    for (name, _) in ALL {
        absent(&environ, &[&key_of(name)]);
    }
    // Synonyms of a kind go too, though only one of them is named.
    let httpd = believing(case, "X-Forwarded-For X-Scheme")
        .conf("WSGITrustedProxies 10.0.0.1")
        .start();
    let environ = ask(&httpd, &ALL);
    nothing_changed(&environ);
    for (name, _) in ALL.iter().take(3).chain(ALL.iter().skip(9)) {
        absent(&environ, &[&key_of(name)]);
    }
    assert_eq!(environ["HTTP_X_FORWARDED_PORT"], "4444");
}

fn forwarded_for_is_read_from_its_end(case: &Case) {
    let httpd = believing(case, "X-Forwarded-For")
        .conf("WSGITrustedProxies 127.0.0.1 10.0.0.0/8")
        .start();
    for (value, client, rest) in [
        ("1.1.1.1", "1.1.1.1", "1.1.1.1"),
        ("1.1.1.1, 10.0.0.1", "1.1.1.1", "1.1.1.1, 10.0.0.1"),
        ("6.6.6.6, 1.1.1.1,10.0.0.1", "1.1.1.1", "1.1.1.1, 10.0.0.1"),
        (
            "10.0.0.9, 1.1.1.1, 10.0.0.1, 10.0.0.2",
            "1.1.1.1",
            "1.1.1.1, 10.0.0.1, 10.0.0.2",
        ),
        ("10.0.0.3, 10.0.0.1", "10.0.0.3", "10.0.0.3, 10.0.0.1"),
        ("6.6.6.6, 1.1.1.1", "1.1.1.1", "1.1.1.1"),
        ("1.1.1.1,, , 10.0.0.1,", "1.1.1.1", "1.1.1.1, 10.0.0.1"),
        ("6.6.6.6, 10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:80"),
        ("10.0.0.1, ::1", "::1", "::1"),
    ] {
        let environ = ask(&httpd, &[("X-Forwarded-For", value)]);
        assert_eq!(environ["REMOTE_ADDR"], client, "{value}");
        assert_eq!(environ["HTTP_X_FORWARDED_FOR"], rest, "{value}");
    }
    // Repeated headers are one list.
    let environ = ask(
        &httpd,
        &[
            ("X-Forwarded-For", "6.6.6.6, 1.1.1.1"),
            ("X-Forwarded-For", "10.0.0.1"),
        ],
    );
    assert_eq!(environ["REMOTE_ADDR"], "1.1.1.1");
    for empty in ["", " , "] {
        let environ = ask(&httpd, &[("X-Forwarded-For", empty)]);
        assert_eq!(environ["REMOTE_ADDR"], "127.0.0.1", "{empty:?}");
    }
}

fn forwarded_for_without_proxies_is_read_from_its_beginning(case: &Case) {
    let httpd = believing(case, "X-Forwarded-For").start();
    for (value, client) in [
        ("1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (", 3.3.3.3", "3.3.3.3"),
        (" ,", "127.0.0.1"),
    ] {
        let environ = ask(&httpd, &[("X-Forwarded-For", value)]);
        assert_eq!(environ["REMOTE_ADDR"], client, "{value}");
        assert_eq!(environ["HTTP_X_FORWARDED_FOR"], value.trim(), "{value}");
    }
}

fn a_mount_point_told_by_a_proxy_is_known_as_such(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/app", "environ.wsgi")
        .conf("WSGITrustedProxyHeaders X-Script-Name")
        .start();
    let environ = ask_at(&httpd, "/app/page", &[("X-Script-Name", "/shop")]);
    same(
        &environ,
        &[
            ("SCRIPT_NAME", "/shop"),
            ("mod_wsgi.mount_point", "/shop"),
            ("mod_wsgi.script_name", "/app"),
            ("PATH_INFO", "/page"),
            ("mod_wsgi.path_info", "/page"),
        ],
    );
    absent(&ask_at(&httpd, "/app/page", &[]), &["mod_wsgi.mount_point"]);
}

fn repeated_directives_add_and_nearer_ones_replace(case: &Case) {
    let httpd = case
        .httpd()
        .alias("/near", "environ.wsgi")
        .alias("/far", "environ.wsgi")
        .alias("/stranger", "environ.wsgi")
        .conf("WSGITrustedProxyHeaders X-Real-IP\nWSGITrustedProxyHeaders X-Forwarded-Host\nWSGITrustedProxies 10.0.0.1\nWSGITrustedProxies 127.0.0.1")
        .conf("<Location /near>\nWSGITrustedProxyHeaders X-Forwarded-Port\n</Location>")
        .conf("<Location /stranger>\nWSGITrustedProxies 10.0.0.1\n</Location>")
        .start();
    let sent = [ALL[2], ALL[3], ALL[6]];
    let environ = ask_at(&httpd, "/far", &sent);
    same(
        &environ,
        &[("REMOTE_ADDR", "3.3.3.3"), ("HTTP_HOST", "a.example.org")],
    );
    assert_ne!(environ["SERVER_PORT"], "4444");
    let environ = ask_at(&httpd, "/near", &sent);
    same(
        &environ,
        &[
            ("REMOTE_ADDR", "127.0.0.1"),
            ("SERVER_PORT", "4444"),
            ("HTTP_X_REAL_IP", "3.3.3.3"),
        ],
    );
    let environ = ask_at(&httpd, "/stranger", &sent);
    same(&environ, &[("REMOTE_ADDR", "127.0.0.1")]);
    absent(&environ, &["HTTP_X_REAL_IP"]);
}

fn proxies_may_be_trusted_in_htaccess(case: &Case) {
    let httpd = case
        .httpd()
        .app("environ.wsgi")
        .file(
            "scripts/.htaccess",
            "WSGITrustedProxyHeaders X-Real-IP\nWSGITrustedProxies 127.0.0.1\n",
        )
        .conf("<Directory @SCRIPTS@>\nAllowOverride FileInfo\n</Directory>")
        .start();
    assert_eq!(ask(&httpd, &ALL[2..3])["REMOTE_ADDR"], "3.3.3.3");
}

fn the_peer_is_the_one_that_mod_remoteip_says(case: &Case) {
    let httpd = believing(case, "X-Forwarded-Proto")
        .load("remoteip")
        .conf("RemoteIPHeader X-Remote\nRemoteIPInternalProxy 127.0.0.1\nWSGITrustedProxies 10.0.0.1")
        .start();
    let environ = ask(
        &httpd,
        &[("X-Remote", "10.0.0.1"), ("X-Forwarded-Proto", "https")],
    );
    same(
        &environ,
        &[("REMOTE_ADDR", "10.0.0.1"), ("wsgi.url_scheme", "https")],
    );
    let environ = ask(
        &httpd,
        &[("X-Remote", "10.0.0.2"), ("X-Forwarded-Proto", "https")],
    );
    same(
        &environ,
        &[("REMOTE_ADDR", "10.0.0.2"), ("wsgi.url_scheme", "http")],
    );
    absent(&environ, &["HTTP_X_FORWARDED_PROTO"]);
}

fn names_in_forwarded_for_are_not_looked_up(case: &Case) {
    case.needs_ours("it asks the resolver, and takes localhost for a proxy");
    let httpd = believing(case, "X-Forwarded-For")
        .conf("WSGITrustedProxies 127.0.0.1")
        .start();
    let environ = ask(&httpd, &[("X-Forwarded-For", "6.6.6.6, localhost")]);
    same(
        &environ,
        &[
            ("REMOTE_ADDR", "localhost"),
            ("HTTP_X_FORWARDED_FOR", "localhost"),
        ],
    );
}
