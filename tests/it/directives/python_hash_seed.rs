//! `WSGIPythonHashSeed`: a fixed seed, or a random one.

use super::{misplaced, refuses};
use rwsgi_testkit::{Case, Topic, test};
use std::process::Command;

pub fn tests(topic: &mut Topic) {
    topic.once(test![
        python_hash_seed_is_random_or_a_number,
        python_hash_seed_is_for_the_whole_server
    ]);
    topic.both(test![
        a_number_makes_hashes_predictable,
        random_makes_hashes_random
    ]);
}

fn python_hash_seed_is_random_or_a_number(case: &Case) {
    refuses(
        case,
        &[
            ("WSGIPythonHashSeed", &["one argument"]),
            ("WSGIPythonHashSeed Random", &["Random", "'random'"]),
            ("WSGIPythonHashSeed 4294967296", &["4294967296", "4294967295"]),
            ("WSGIPythonHashSeed -1", &["-1"]),
        ],
    );
}

fn python_hash_seed_is_for_the_whole_server(case: &Case) {
    misplaced(
        case,
        &["<VirtualHost *:@PORT@>\nWSGIPythonHashSeed 1\n</VirtualHost>"],
    );
}

fn a_number_makes_hashes_predictable(case: &Case) {
    case.needs_apps();
    for seed in ["42", "0"] {
        let httpd = case
            .httpd()
            .app("runtime.wsgi")
            .conf(&format!("WSGIPythonHashSeed {seed}"))
            .start();
        let output = Command::new(rwsgi_testkit::apps_python())
            .args(["-c", "print(hash('rwsgi'))"])
            .env("PYTHONHASHSEED", seed)
            .output()
            .expect("python runs");
        let expected = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let seen = httpd.get("/").json();
        assert_eq!(seen["hash"].to_string(), expected, "seed {seed}");
        assert_eq!(seen["hash_randomization"], u32::from(seed != "0"));
        // It is meant for this Python, not for the programs that the application starts.
        assert!(
            seen["environ"].get("PYTHONHASHSEED").is_none(),
            "{}",
            seen["environ"]
        );
    }
}

fn random_makes_hashes_random(case: &Case) {
    let hash = || {
        let httpd = case
            .httpd()
            .app("runtime.wsgi")
            .conf("WSGIPythonHashSeed random")
            .start();
        let seen = httpd.get("/").json();
        (seen["hash"].to_string(), seen["hash_randomization"] == 1)
    };
    let (first, second) = (hash(), hash());
    if case.theirs() {
        // It makes the seed 0 of the word, which turns randomisation off.
        assert_eq!((&first, first.1), (&second, false));
    } else {
        assert!(first.1 && first != second, "{first:?} {second:?}");
    }
}
