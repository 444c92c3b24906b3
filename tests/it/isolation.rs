//! What one site sets is not seen by another: `os.environ` and the locale.

use rwsgi_testkit::{Case, Topic, Value, test};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        what_a_site_sets_in_os_environ_is_not_seen_by_another,
        programs_that_a_site_starts_see_what_it_has_set,
    ]);
    topic.daemon(test![the_locale_of_a_site_is_its_own]);
}

const SITES: &str = "WSGIScriptAlias /main @SCRIPTS@/runtime.wsgi application-group=%{GLOBAL}\n\
    WSGIScriptAlias /a @SCRIPTS@/runtime.wsgi application-group=a\n\
    WSGIScriptAlias /b @SCRIPTS@/runtime.wsgi application-group=b\n\
    WSGIScriptAlias /c @SCRIPTS@/runtime.wsgi application-group=c\n";

fn what_a_site_sets_in_os_environ_is_not_seen_by_another(case: &Case) {
    let httpd = case
        .httpd()
        .script("runtime.wsgi")
        .conf(SITES)
        .children(1)
        .start();
    let setting = |path: &str| httpd.get(path).json()["environ"]["DJANGO_SETTINGS_MODULE"].clone();
    assert_eq!(setting("/b"), Value::Null);
    assert_eq!(
        setting("/main?DJANGO_SETTINGS_MODULE=main.settings"),
        "main.settings"
    );
    assert_eq!(setting("/a?DJANGO_SETTINGS_MODULE=a.settings"), "a.settings");
    assert_eq!(setting("/main"), "main.settings");
    assert_eq!(setting("/b"), Value::Null);
    // Its interpreter begins only now. The original's are filled from the process, which has what the site before has set.
    let is_shared = case.theirs();
    let expected = if is_shared {
        Value::from("a.settings")
    } else {
        Value::Null
    };
    assert_eq!(setting("/c"), expected);
    assert_eq!(setting("/a"), "a.settings");
}

fn programs_that_a_site_starts_see_what_it_has_set(case: &Case) {
    let source = "import os, subprocess, sys\nos.environ['SITE_COLOUR'] = 'blue'\n\
                  def application(environ, start_response):\n    \
                  said = subprocess.run(['/bin/sh', '-c', 'echo $SITE_COLOUR'], capture_output=True).stdout.strip()\n    \
                  start_response('200 OK', [])\n    return [said]\n";
    let httpd = case.httpd().source("/", "app.wsgi", source).start();
    assert_eq!(httpd.get("/").text(), "blue");
}

fn the_locale_of_a_site_is_its_own(case: &Case) {
    // In embedded mode all interpreters of an httpd child have the one locale that the C library keeps for a process.
    let source = "import locale, sys\ndef application(environ, start_response):\n    \
                  if environ['QUERY_STRING']:\n        locale.setlocale(locale.LC_ALL, environ['QUERY_STRING'])\n    \
                  start_response('200 OK', [])\n    return [locale.setlocale(locale.LC_NUMERIC).encode()]\n";
    let httpd = case
        .httpd()
        .file("scripts/app.wsgi", source)
        .conf("WSGIScriptAlias /a @SCRIPTS@/app.wsgi application-group=a")
        .conf("WSGIScriptAlias /b @SCRIPTS@/app.wsgi application-group=b")
        .start();
    let before = httpd.get("/b").text();
    assert_eq!(httpd.get("/a?C.UTF-8").text(), "C.UTF-8");
    let after = httpd.get("/b").text();
    if case.theirs() {
        // Both run in one process there.
        assert_eq!(after, "C.UTF-8");
    } else {
        assert_eq!((after, before.as_str()), (before.clone(), "C"));
    }
}
