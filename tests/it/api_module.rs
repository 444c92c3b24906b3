//! `import mod_wsgi`, `import rwsgi`, `import apache`: the names in them that concern no request, each with its kind and value.

use rwsgi_testkit::{Case, Httpd, Topic, Value, json, mpm, python, test, venv_of};

pub fn tests(topic: &mut Topic) {
    topic.both(test![
        every_name_is_there_with_its_kind,
        the_module_says_where_it_runs,
        names_that_are_not_there_are_attribute_errors,
        subscribing_is_a_decorator,
        rwsgi_is_the_same_module,
        apache_describes_this_httpd,
        an_installed_package_gives_its_sub_packages_only,
        a_file_wrapper_is_an_iterator_over_blocks,
    ]);
    topic.embedded(test![an_installed_module_apache_is_kept_in_httpds_children]);
    topic.daemon(test![an_installed_module_apache_is_hidden_in_workers]);
}

/// A script whose function `answer(environ)` gives what is sent as JSON.
pub fn answering(source: &str) -> String {
    format!(
        "import json, os\nDATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), 'data')\n{source}\n\
         def application(environ, start_response):\n    body = json.dumps(answer(environ)).encode()\n    \
         start_response('200 OK', [('Content-Type', 'application/json')])\n    return [body]\n"
    )
}

pub fn ask(httpd: &Httpd) -> Value {
    let reply = httpd.get("/");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn answer_of(case: &Case, source: &str) -> Value {
    let httpd = case.httpd().source("/", "app.wsgi", &answering(source)).start();
    ask(&httpd)
}

/// The whole list of the module's public names; `FileWrapper`, `__path__` and those of requests have tests of their own, too.
const NAMES: &[(&str, &str)] = &[
    ("version", "tuple"),
    ("process_group", "str"),
    ("application_group", "str"),
    ("maximum_processes", "int"),
    ("threads_per_process", "int"),
    ("FileWrapper", "type"),
    ("event_callbacks", "list"),
    ("shutdown_callbacks", "list"),
    ("signal_callbacks", "list"),
    ("active_requests", "dict"),
    ("request_data", "function"),
    ("subscribe_events", "function"),
    ("subscribe_shutdown", "function"),
    ("subscribe_signals", "function"),
    ("start_recording_metrics", "builtin_function_or_method"),
    ("process_metrics", "builtin_function_or_method"),
    ("server_metrics", "builtin_function_or_method"),
    ("request_metrics", "builtin_function_or_method"),
    ("LogHandler", "type"),
    ("RequestTimeout", "type"),
];

fn every_name_is_there_with_its_kind(case: &Case) {
    let seen = answer_of(
        case,
        "import mod_wsgi\ndef answer(environ):\n    \
         return {name: type(getattr(mod_wsgi, name)).__name__ for name in dir(mod_wsgi) if name[0] != '_'}\n",
    );
    for (name, kind) in NAMES {
        let kind = if case.theirs() && *kind == "function" {
            "builtin_function_or_method"
        } else {
            kind
        };
        assert_eq!(seen[name], kind, "{name}: {seen}");
    }
    if !case.theirs() {
        for name in seen.as_object().expect("an object").keys() {
            assert!(
                NAMES.iter().any(|(known, _)| known == name),
                "{name} is not in the list"
            );
        }
    }
}

fn the_module_says_where_it_runs(case: &Case) {
    let httpd = case
        .httpd()
        .daemon("threads=3 processes=2")
        .children(1)
        .source(
            "/",
            "app.wsgi",
            &answering(
                "import mod_wsgi, apache\ndef answer(environ):\n    return [mod_wsgi.version, mod_wsgi.process_group, \
                 mod_wsgi.application_group == environ['mod_wsgi.application_group'], \
                 mod_wsgi.maximum_processes == apache.maximum_processes, mod_wsgi.threads_per_process == apache.threads_per_process, \
                 mod_wsgi.maximum_processes, mod_wsgi.threads_per_process]\n",
            ),
        )
        .start();
    let seen = ask(&httpd);
    let expected = if case.embedded() {
        json!([[6, 1, 1], "", true, true, true])
    } else {
        json!([[6, 1, 1], "site", true, false, false])
    };
    assert_eq!(
        seen.as_array().expect("a list")[..5],
        expected.as_array().expect("a list")[..]
    );
    if !case.embedded() {
        assert_eq!((&seen[5], &seen[6]), (&json!(2), &json!(3)));
    }
}

fn names_that_are_not_there_are_attribute_errors(case: &Case) {
    let seen = answer_of(
        case,
        "import mod_wsgi\ndef answer(environ):\n    try:\n        mod_wsgi.no_such_name\n    except AttributeError as error:\n        \
         return 'no_such_name' in str(error)\n",
    );
    assert_eq!(seen, true);
}

fn subscribing_is_a_decorator(case: &Case) {
    let seen = answer_of(
        case,
        "import mod_wsgi\ndef f(name, **event): pass\ndef answer(environ):\n    \
         kinds = issubclass(mod_wsgi.RequestTimeout, BaseException), issubclass(mod_wsgi.RequestTimeout, Exception)\n    \
         return [kinds, mod_wsgi.RequestTimeout.__bases__ == (BaseException,)]\n",
    );
    assert_eq!(seen, json!([[true, false], true]));
}

fn rwsgi_is_the_same_module(case: &Case) {
    let seen = answer_of(
        case,
        "import mod_wsgi\ntry:\n    import rwsgi\nexcept ImportError:\n    rwsgi = None\n\
         def answer(environ):\n    return rwsgi is mod_wsgi\n",
    );
    // The original does not know that name.
    assert_eq!(seen, !case.theirs());
}

fn apache_describes_this_httpd(case: &Case) {
    let seen = answer_of(
        case,
        "import apache\ndef answer(environ):\n    return [apache.version, apache.version == environ['apache.version'], \
         apache.maximum_processes, apache.threads_per_process, apache.description, apache.mpm_name, apache.build_date]\n",
    );
    let version: Vec<String> = seen[0]
        .as_array()
        .expect("a tuple")
        .iter()
        .map(Value::to_string)
        .collect();
    assert_eq!(seen[1], true);
    let mpm = mpm();
    let limits = if mpm == "prefork" { (8, 1) } else { (2, 8) };
    // The original tells how many children have been started so far.
    assert!(case.theirs() || seen[2] == limits.0, "{seen}");
    assert_eq!(seen[3], limits.1, "{seen}");
    let description = seen[4].as_str().expect("a text");
    assert!(
        description.starts_with(&format!("Apache/{}", version.join("."))),
        "{seen}"
    );
    assert_eq!(seen[5], mpm.as_str());
    assert!(seen[6].as_str().is_some_and(|date| date.len() > 10), "{seen}");
}

fn with_path(case: &Case, files: &[(&str, &str)], source: &str) -> Value {
    let mut builder = case.httpd().daemon("threads=2 python-path=@ROOT@/lib");
    if case.embedded() {
        builder = builder.conf("WSGIPythonPath @ROOT@/lib");
    }
    for (name, text) in files {
        builder = builder.file(name, text);
    }
    let httpd = builder.source("/", "app.wsgi", &answering(source)).start();
    ask(&httpd)
}

fn an_installed_package_gives_its_sub_packages_only(case: &Case) {
    // Installed means: in the Python itself. What python-path adds comes too late, in the original as well.
    let python = python(case, "3.11");
    let builder = case.httpd();
    let venv = venv_of(&python, builder.root(), "own");
    let package = venv.join("lib/python3.11/site-packages/mod_wsgi/extra");
    std::fs::create_dir_all(&package).expect("mkdir");
    std::fs::write(package.with_file_name("__init__.py"), "version = 'installed'\n").expect("write");
    std::fs::write(package.join("__init__.py"), "name = __name__\n").expect("write");
    let httpd = builder
        .python_home(Some(&venv))
        .source(
            "/",
            "app.wsgi",
            &answering(
                "import mod_wsgi, mod_wsgi.extra\ndef answer(environ):\n    \
                 return [mod_wsgi.version, mod_wsgi.extra.name, type(mod_wsgi.__path__).__name__, len(mod_wsgi.__path__)]\n",
            ),
        )
        .start();
    assert_eq!(ask(&httpd), json!([[6, 1, 1], "mod_wsgi.extra", "list", 1]));
}

const APACHE: (&str, &str) = ("lib/apache.py", "mine = 'mine'\nversion = 'old'\n");
const LOOKS: &str = "import apache\ndef answer(environ):\n    return [getattr(apache, 'mine', None), apache.version == environ['apache.version']]\n";

fn an_installed_module_apache_is_kept_in_httpds_children(case: &Case) {
    assert_eq!(with_path(case, &[APACHE], LOOKS), json!(["mine", true]));
}

fn an_installed_module_apache_is_hidden_in_workers(case: &Case) {
    assert_eq!(with_path(case, &[APACHE], LOOKS), json!([null, true]));
}

fn a_file_wrapper_is_an_iterator_over_blocks(case: &Case) {
    let seen = answer_of(
        case,
        "import mod_wsgi, io\ndef error(f):\n    try:\n        f()\n    except Exception as error:\n        return type(error).__name__\n\
         def answer(environ):\n    file = io.BytesIO(b'abcdef')\n    wrapper = mod_wsgi.FileWrapper(filelike=file, blksize=4)\n    \
         same = [iter(wrapper) is wrapper, wrapper.filelike is file, wrapper.blksize, mod_wsgi.FileWrapper is environ['wsgi.file_wrapper']]\n    \
         blocks = [block.decode() for block in wrapper]\n    wrapper.close()\n    \
         return [same, blocks, file.closed, error(lambda: wrapper.filelike), error(lambda: next(wrapper)), \
         error(lambda: mod_wsgi.FileWrapper(file, -1)), mod_wsgi.FileWrapper(file).blksize]\n",
    );
    let expected = json!([
        [true, true, 4, true],
        ["abcd", "ef"],
        true,
        "ValueError",
        "ValueError",
        "ValueError",
        8192
    ]);
    assert_eq!(seen, expected);
}
