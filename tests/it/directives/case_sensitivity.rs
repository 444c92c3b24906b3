//! `WSGICaseSensitivity Off`: paths that differ in case only are one script.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        case_sensitivity_is_on_or_off,
        case_sensitivity_is_for_the_whole_server
    ]);
    topic.both(test![names_are_made_of_lower_case_letters]);
}

fn case_sensitivity_is_on_or_off(case: &Case) {
    refuses(case, &[("WSGICaseSensitivity maybe", &["'maybe'", "Off | On"])]);
}

fn case_sensitivity_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGICaseSensitivity Off\n</VirtualHost>"],
    );
}

fn names_are_made_of_lower_case_letters(case: &Case) {
    let source = "import json\ncount = 0\ndef application(environ, start_response):\n    global count\n    count += 1\n    \
                  start_response('200 OK', [])\n    \
                  return [json.dumps([__name__, environ['mod_wsgi.application_group'].split('|')[1], count]).encode()]\n";
    let seen = |flag: &str| {
        let httpd = case
            .httpd()
            .source("/Shop/App", "Mixed.wsgi", source)
            .conf(&format!("WSGICaseSensitivity {flag}"))
            .children(1)
            .start();
        let (first, second) = (httpd.get("/Shop/App").json(), httpd.get("/Shop/App").json());
        assert_eq!((&first[2], &second[2]), (&1.into(), &2.into()));
        (
            first[0].to_string(),
            first[1].to_string(),
            httpd.root().join("scripts/Mixed.wsgi"),
        )
    };
    let md5 = |path: &str| {
        let output = std::process::Command::new("python3")
            .args([
                "-c",
                "import hashlib, sys; print('\"_mod_wsgi_' + hashlib.md5(sys.argv[1].encode()).hexdigest() + '\"')",
                path,
            ])
            .output()
            .expect("python3 runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let (module, group, script) = seen("On");
    assert_eq!(
        (module, group.as_str()),
        (md5(&script.display().to_string()), "\"/Shop/App\"")
    );
    let (module, group, script) = seen("Off");
    let folded = script.display().to_string().to_lowercase();
    assert_eq!((module, group.as_str()), (md5(&folded), "\"/shop/app\""));
}
