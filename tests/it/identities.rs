//! Two names for one module, and what must not be loaded together.

use rwsgi_testkit::{Case, Topic, test, test_file};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        loaded_as_rwsgi_it_serves,
        loaded_as_wsgi_it_serves_old_configurations
    ]);
    topic.once(test![
        both_names_at_once_are_refused,
        beside_the_original_is_refused
    ]);
}

fn loaded_as_rwsgi_it_serves(case: &Case) {
    case.needs_ours("the name is ours");
    let httpd = case
        .httpd()
        .identity("rwsgi_module")
        .script("hello.wsgi")
        .conf("<IfModule mod_rwsgi.c>\nLogLevel rwsgi:debug\nWSGIScriptAlias / @SCRIPTS@/hello.wsgi\n</IfModule>")
        .start();
    assert_eq!(httpd.get("/").text(), "Hello World!\n");
}

fn loaded_as_wsgi_it_serves_old_configurations(case: &Case) {
    let httpd = case
        .httpd()
        .identity("wsgi_module")
        .script("hello.wsgi")
        .conf(
            "<IfModule mod_wsgi.c>\nLogLevel wsgi:debug\nWSGIScriptAlias / @SCRIPTS@/hello.wsgi\n</IfModule>",
        )
        .start();
    assert_eq!(httpd.get("/").text(), "Hello World!\n");
}

fn both_names_at_once_are_refused(case: &Case) {
    case.needs_ours("it has one name");
    for (first, second) in [("rwsgi_module", "wsgi_module"), ("wsgi_module", "rwsgi_module")] {
        let more = format!("LoadModule {second} @BUILD@/mod_rwsgi.so");
        let text = case.httpd().bare().identity(first).conf(&more).refused();
        assert!(
            text.contains("rwsgi_module") && text.contains("wsgi_module"),
            "{text}"
        );
    }
}

fn beside_the_original_is_refused(case: &Case) {
    case.needs_ours("that is what is refused");
    let lib = test_file("../.venvs/theirs/lib");
    let find = || {
        let server = lib
            .read_dir()
            .ok()?
            .flatten()
            .next()?
            .path()
            .join("site-packages/mod_wsgi/server");
        let files = server.read_dir().ok()?.flatten().map(|file| file.path());
        files
            .into_iter()
            .find(|path| path.extension().is_some_and(|e| e == "so"))
    };
    let Some(theirs) = find() else {
        case.skip("the original is not installed: run `tests/prepare.sh apps theirs`")
    };
    let load = format!("LoadModule wsgi_module {}", theirs.display());
    let text = case.httpd().bare().identity("rwsgi_module").conf(&load).refused();
    assert!(text.contains("mod_wsgi"), "after ours: {text}");
    let ours = "LoadModule rwsgi_module @BUILD@/mod_rwsgi.so";
    let text = case
        .httpd()
        .bare()
        .without_module()
        .conf(&format!("{load}\n{ours}"))
        .refused();
    assert!(text.contains("mod_wsgi"), "before ours: {text}");
}
