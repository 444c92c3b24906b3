//! PEP 3333 as an application sees it, on every Python.

mod support;

use rwsgi_wire::head::Head;
use rwsgi_wire::pairs::PairList;
use rwsgi_wire::response::AbortReason;
use support::{Answer, Body, Ended, Worker, on_every_python, settings, variables};

const APPS: &str = include_str!("semantics.py");

/// A worker with the applications of `semantics.py`.
struct Site {
    worker: Worker,
    script: Vec<u8>,
}

impl Site {
    fn get(&self, path: &str) -> Answer {
        self.worker.get(&self.script, path)
    }

    fn post(&self, path: &str, body: Body<'_>) -> Answer {
        self.worker.connect().post(&self.script, path, body)
    }
}

fn on_sites(test: impl Fn(&Site)) {
    on_every_python(|python| {
        let worker = Worker::start(python, settings());
        let script = worker.directory.write("semantics.wsgi", APPS);
        test(&Site { worker, script });
    });
}

#[track_caller]
fn aborted(answer: &Answer, reason: AbortReason, log: &str) {
    assert_eq!(answer.ended, Ended::Aborted(reason), "{answer:?}");
    answer.logged(log);
}

const APPLICATION: AbortReason = AbortReason::Application;

#[test]
fn the_environ_holds_what_pep_3333_and_mod_wsgi_promise() {
    on_sites(|site| {
        let mut list = variables("/environ");
        list.push((b"X_BYTES", b"caf\xc3\xa9\xff".to_vec()));
        let environ = list
            .iter()
            .map(|(name, value)| (*name, value.as_slice()))
            .collect::<PairList>();
        let head = Head {
            script: &site.script,
            callable: b"application",
            https: true,
            httpd_version: [2, 4, 71],
            environ: environ.pairs(),
            ..Head::default()
        };
        let answer = site.worker.connect().exchange(&head, Body::Whole(b""));
        let seen = answer.whole();
        let start = "[(1, 0), 'https', True, False, False, True, (6, 1, 1), (2, 4, 71), '/srv/\u{e9}.wsgi', \
                     'caf\u{c3}\u{a9}\u{ff}', 'float', 'int', ['HTTP_ACCEPT', 'HTTP_HOST', 'HTTP_USER_AGENT', ";
        assert!(seen.starts_with(start), "{seen}");
    });
}

#[test]
fn no_variable_of_one_request_shows_up_in_another() {
    on_sites(|site| {
        let mut client = site.worker.connect();
        let mut see = |extra: &[(&'static [u8], &str)], drop: usize| {
            let mut list = variables("/headers_seen");
            list.truncate(list.len() - drop);
            list.extend(
                extra
                    .iter()
                    .map(|(name, value)| (*name, value.as_bytes().to_vec())),
            );
            let environ = list
                .iter()
                .map(|(name, value)| (*name, value.as_slice()))
                .collect::<PairList>();
            let head = Head {
                script: &site.script,
                callable: b"application",
                environ: environ.pairs(),
                ..Head::default()
            };
            client.exchange(&head, Body::Whole(b"")).whole()
        };
        let usual = "{'HTTP_HOST': 'localhost', 'HTTP_ACCEPT': '*/*', 'HTTP_USER_AGENT': 'test'";
        for round in 0..40 {
            assert_eq!(see(&[], 0), format!("{usual}}}"), "{round}");
            let cookie = format!("c{round}");
            assert_eq!(
                see(&[(b"HTTP_COOKIE", &cookie)], 0),
                format!("{usual}, 'HTTP_COOKIE': '{cookie}'}}")
            );
            assert_eq!(see(&[], 3), "{}");
            assert_eq!(see(&[(b"X_A", "1"), (b"X_A", "2")], 3), "{'X_A': '2'}");
            assert_eq!(see(&[(b"X_A", "2"), (b"X_A", "1")], 3), "{'X_A': '1'}");
        }
        // Unlike the template for so long that it is made anew.
        for _ in 0..40 {
            let many: [(&'static [u8], &str); 8] = [
                (b"X_1", "1"),
                (b"X_2", "1"),
                (b"X_3", "1"),
                (b"X_4", "1"),
                (b"X_5", "1"),
                (b"X_6", "1"),
                (b"X_7", "1"),
                (b"X_8", "1"),
            ];
            assert_eq!(see(&many, 3).matches("'1'").count(), 8);
        }
        assert_eq!(see(&[], 0), format!("{usual}}}"));
    });
}

/// Variables come and go, change their value, their place and their number, mostly a few at a time.
#[test]
fn the_environ_is_what_its_variables_say_whatever_came_before() {
    on_sites(|site| {
        let mut client = site.worker.connect();
        let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |limit: usize| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            usize::try_from(noise % limit as u64).unwrap()
        };
        let mut list: Vec<(String, String)> = Vec::new();
        for number in 0..1500 {
            for _ in 0..below(3) * below(12).saturating_sub(4) {
                let (name, value) = (format!("X_{}", below(14)), "v".repeat(below(3) * below(80)));
                let at = below(list.len() + 1);
                match below(4) {
                    0 if at < list.len() => drop(list.remove(at)),
                    1 if at < list.len() => list[at].1 = value,
                    2 if at < list.len() => list.swap(at, 0),
                    _ if list.len() < 25 => list.insert(at, (name, value)),
                    _ => list.clear(),
                }
            }
            let mut all = variables("/variables_seen");
            let mut expected = std::collections::BTreeMap::new();
            for (name, value) in &list {
                all.push((name.clone().leak().as_bytes(), value.clone().into()));
                expected.insert(name, value);
            }
            let all = all.iter().map(|(name, value)| (*name, value.as_slice()));
            let environ = all.collect::<PairList>();
            let head = Head {
                script: &site.script,
                callable: b"application",
                environ: environ.pairs(),
                ..Head::default()
            };
            let mut expected: Vec<_> = expected
                .iter()
                .map(|(name, value)| format!("'{name}={value}'"))
                .collect();
            expected.sort();
            let expected = format!("[{}]", expected.join(", "));
            assert_eq!(
                client.exchange(&head, Body::Whole(b"")).whole(),
                expected,
                "request {number}: {list:?}"
            );
        }
    });
}

#[test]
fn a_script_finds_the_surroundings_that_mod_wsgi_gives() {
    on_sites(|site| {
        let answer = site.get("/surroundings");
        assert_eq!(
            answer.whole(),
            "[['mod_wsgi'], True, 42, 'semantics.wsgi', 'int', False, (6, 1, 1), False]"
        );
        answer.logged("RW0619: signal.signal(10, ...) was ignored");
    });
}

#[test]
fn input_answers_every_pair_of_calls_as_a_bytes_io_does() {
    on_sites(|site| {
        let calls = 19 * 19;
        let long = [b"x".repeat(70_000), b"\ny".to_vec()].concat();
        for pattern in [b"".as_slice(), b"ab\ncd\n\nefg", b"\n", b"no end", &long] {
            let hex: String = pattern.iter().map(|byte| format!("{byte:02x}")).collect();
            let mut client = site.worker.connect();
            // The long pattern is too long for a variable of each request; a few calls do.
            let step = if pattern.len() > 1000 { 23 } else { 1 };
            for call in (0..calls).step_by(step) {
                let mut list = variables("/conformance");
                list.push((b"X_PATTERN", hex.clone().into()));
                list.push((b"X_CALL", call.to_string().into()));
                let environ = list
                    .iter()
                    .map(|(name, value)| (*name, value.as_slice()))
                    .collect::<PairList>();
                let head = Head {
                    script: &site.script,
                    callable: b"application",
                    environ: environ.pairs(),
                    has_body: true,
                    ..Head::default()
                };
                let answer = client.exchange(&head, Body::Whole(pattern));
                assert_eq!(answer.whole(), "same", "call {call} on {} bytes", pattern.len());
            }
        }
    });
}

#[test]
fn input_refuses_what_a_file_would_but_pep_3333_does_not_promise() {
    on_sites(|site| {
        let expected = "['TypeError', 'TypeError', 'TypeError', 'TypeError', 'AttributeError']";
        assert_eq!(site.post("/input_misuse", Body::Whole(b"x")).whole(), expected);
    });
}

#[test]
fn a_body_is_echoed_in_both_directions_at_once() {
    on_sites(|site| {
        let body: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let answer = site.post("/echo", Body::Whole(&body));
        assert_eq!(answer.ended, Ended::Complete);
        assert!(answer.body() == body);
        assert!(answer.wants.iter().all(|want| *want <= 65536));
    });
}

#[test]
fn input_is_iterated_by_lines_and_can_be_read_on_another_thread() {
    on_sites(|site| {
        assert_eq!(
            site.post("/input_lines", Body::Whole(b"a\nb\n\nc")).whole(),
            r"[b'a\n', b'b\n', b'\n', b'c']"
        );
        assert_eq!(site.post("/read_in_thread", Body::Whole(b"abc")).whole(), "abc");
    });
}

// R39
#[test]
fn a_body_that_breaks_off_raises_oserror_again_and_again() {
    on_sites(|site| {
        let seen = site.post("/broken_input", Body::Broken(b"abc")).whole();
        let expected = "['mod_wsgi request data read error: the client went away', \
                        'mod_wsgi request data read error: input is already in error state']";
        assert_eq!(seen, expected);
    });
}

#[test]
fn nobody_is_asked_for_a_body_that_the_application_ignores_or_that_does_not_exist() {
    on_sites(|site| {
        let answer = site.post("/ignore_body", Body::Whole(b"abc"));
        assert_eq!((answer.whole().as_str(), answer.wants.len()), ("ignored", 0));
        let answer = site.get("/echo");
        assert_eq!((answer.whole().as_str(), answer.wants.len()), ("", 0));
    });
}

#[test]
fn objects_of_a_request_raise_once_it_has_ended() {
    on_sites(|site| {
        site.get("/keep").logged("kept");
        assert_eq!(
            site.get("/use_kept").whole(),
            "['read', 'next', 'write', 'start', 'errors']"
        );
    });
}

#[test]
fn a_generator_is_sent_block_by_block_and_a_list_together() {
    on_sites(|site| {
        let answer = site.get("/stream");
        assert_eq!((answer.whole().as_str(), answer.blocks.len()), ("onetwo", 2));
        assert_eq!(site.get("/two_blocks").whole(), "onetwo");
        assert_eq!(site.get("/write").whole(), "onetwothree");
        assert_eq!(site.get("/empty").whole(), "");
        assert_eq!(site.get("/instance").whole(), "instance");
        assert_eq!(site.get("/file").whole(), "abcdefgh");
        assert_eq!(site.get("/late_start").whole(), "x");
    });
}

#[test]
fn status_reason_and_repeated_headers_arrive_as_given() {
    on_sites(|site| {
        let answer = site.get("/not_found");
        assert_eq!((answer.status, answer.reason.as_str()), (404, "Not Found"));
        let expected = [("X-A", "1"), ("X-A", "2"), ("X-Latin", "\u{e9}")].map(|(n, v)| (n.into(), v.into()));
        assert_eq!(answer.headers, expected);
    });
}

#[test]
fn close_is_called_exactly_once_whatever_happens() {
    on_sites(|site| {
        assert_eq!(site.get("/close_called").whole(), "a");
        aborted(&site.get("/close_after_error"), APPLICATION, "ValueError: first");
        aborted(
            &site.get("/close_after_output"),
            APPLICATION,
            "ValueError: second",
        );
        aborted(&site.get("/close_after_bad_block"), APPLICATION, "RW0601");
        let answer = site.get("/close_raises");
        assert_eq!(answer.whole(), "a");
        answer.logged("RW0610");
        answer.logged("ValueError: in close");
        assert_eq!(
            site.get("/closes").whole(),
            "['whole', 'error', 'output', 'bad block', 'raises']"
        );
    });
}

#[test]
fn large_answers_arrive_whole() {
    on_sites(|site| {
        assert!(site.get("/big").body() == vec![b'x'; 8 << 20]);
        let body = site.get("/large_blocks").body();
        assert_eq!(body.len(), 16 << 20);
        assert!(
            body.chunks(1 << 20)
                .enumerate()
                .all(|(i, block)| block.iter().all(|byte| *byte == i as u8))
        );
    });
}

#[test]
fn a_wrapped_file_is_sent_from_its_position_with_its_length() {
    on_sites(|site| {
        let answer = site.get("/regular_file");
        assert_eq!(answer.header("Content-Length"), Some("999995"));
        let body = answer.whole();
        assert!(body.len() == 999_995 && body.starts_with("56789012") && body.ends_with("789"));
        let answer = site.get("/regular_file_short");
        assert_eq!((answer.whole().as_str(), answer.logs.len()), ("0123456", 0));
        aborted(&site.get("/regular_file_too_short"), APPLICATION, "RW0607");
        let answer = site.get("/gzip_file");
        assert_eq!(answer.header("Content-Length"), None);
        assert_eq!(answer.whole(), "unpacked ".repeat(100));
        assert_eq!(site.get("/closed_file").body().len(), 100);
        assert_eq!(site.get("/is_closed").whole(), "True");
    });
}

#[test]
fn start_response_refuses_each_broken_rule_and_quotes_it() {
    on_sites(|site| {
        let seen = site.get("/start_response_rules").whole();
        let expected = [
            "TypeError: start_response() takes 2 or 3",
            "TypeError: start_response() takes 2 or 3",
            "TypeError: headers must be a list",
            "TypeError: headers must be a list",
            "RuntimeError: exc_info",
            "RuntimeError: exc_info",
            "TypeError: status must be str",
            "TypeError: status must be str",
            "UnicodeEncodeError",
            "ValueError: status must be three digits",
            "ValueError: status must be three digits",
            "ValueError: status contains a control",
            "ValueError: status 1xx",
            "TypeError: each header must be a tuple",
            "ValueError: each header must be a tuple of 2",
            "ValueError: each header must be a tuple of 2",
            "TypeError: header name must be str",
            "TypeError: header value must be str",
            "TypeError: header value must be str",
            "UnicodeEncodeError",
            "ValueError: header name ''",
            "ValueError: header name 'a b'",
            "ValueError: header name 'a:'",
            "ValueError: the value of header 'a' contains a control",
            "ValueError: the value of header 'a' contains a control",
            "ValueError: the value of header 'a' contains a control",
            "ValueError: header 'Connection' belongs",
            "ValueError: Content-Length is 'x'",
            "ValueError: Content-Length is '-1'",
            "UnicodeEncodeError",
            "ValueError: 2000 headers",
            "ValueError: headers of 2097",
            "accepted",
            "accepted",
        ];
        let seen: Vec<_> = seen.lines().collect();
        assert_eq!(seen.len(), expected.len(), "{seen:#?}");
        for (seen, expected) in seen.iter().zip(expected) {
            assert!(seen.starts_with(expected), "{seen} is not {expected}");
        }
    });
}

#[test]
fn a_head_may_be_replaced_until_it_is_sent() {
    on_sites(|site| {
        let answer = site.get("/replaced");
        assert_eq!(
            (answer.whole().as_str(), answer.header("X-Second")),
            ("second", Some("yes"))
        );
        assert_eq!(answer.header("Content-Length"), None);
        let answer = site.get("/replaced_in_vain");
        assert_eq!(
            (answer.whole().as_str(), answer.header("X-First")),
            ("first", Some("yes"))
        );
        assert_eq!((answer.header("X-Second"), answer.status), (None, 200));
        let answer = site.get("/exc_info_before");
        assert_eq!(
            (answer.status, answer.header("X-Error"), answer.ended),
            (500, Some("yes"), Ended::Complete)
        );
        let answer = site.get("/exc_info_after");
        aborted(&answer, APPLICATION, "ValueError: too late");
        assert_eq!(answer.text(), "begun");
        aborted(
            &site.get("/start_again"),
            APPLICATION,
            "start_response was called again",
        );
    });
}

#[test]
fn write_takes_bytes_only() {
    on_sites(|site| {
        assert_eq!(
            site.get("/write_misuse").whole(),
            "[True, True, True, True, True]"
        )
    });
}

#[test]
fn an_exception_before_the_head_is_an_abort_without_one() {
    on_sites(|site| {
        for (path, text) in [
            ("/raises", "ValueError: on purpose \u{20ac}"),
            ("/raises_after_start", "ValueError: after start"),
            ("/exits", "SystemExit: 3"),
            ("/interrupted", "KeyboardInterrupt"),
        ] {
            let answer = site.get(path);
            aborted(&answer, APPLICATION, text);
            answer.logged("RW0600");
            answer.logged("semantics.wsgi\", line");
            assert_eq!((answer.status, answer.blocks.len()), (0, 0), "{path}");
        }
        // And the worker goes on.
        assert_eq!(site.get("/instance").whole(), "instance");
    });
}

#[test]
fn an_exception_in_the_middle_cuts_the_answer_off() {
    on_sites(|site| {
        let answer = site.get("/raises_while_streaming");
        aborted(&answer, APPLICATION, "ValueError: in the middle");
        assert_eq!((answer.status, answer.text().as_str()), (200, "begun"));
    });
}

#[test]
fn answers_of_wrong_types_are_refused_before_anything_is_sent() {
    on_sites(|site| {
        for (path, text) in [
            ("/list_of_str", "return [text.encode('utf-8')]"),
            ("/plain_str", "return [text.encode('utf-8')]"),
            ("/plain_bytes", "a bytes object was returned itself"),
            ("/nothing", "a return statement is missing"),
            ("/bytearray_block", "not bytearray"),
            ("/half_bad", "not str ('bad')"),
            ("/no_start", "RW0609"),
            ("/no_start_empty", "RW0609"),
            ("/no_start_generator", "RW0609"),
        ] {
            let answer = site.get(path);
            aborted(&answer, APPLICATION, text);
            answer.logged("PEP 3333");
            assert_eq!(
                (answer.status, answer.logs.len()),
                (0, 1),
                "{path}: {:?}",
                answer.logs
            );
        }
    });
}

#[test]
fn a_declared_length_is_kept() {
    on_sites(|site| {
        let answer = site.get("/short");
        aborted(&answer, APPLICATION, "RW0607");
        assert_eq!(answer.status, 0);
        let answer = site.get("/short_stream");
        aborted(&answer, APPLICATION, "RW0607");
        assert_eq!(answer.text(), "short");
        let answer = site.get("/long");
        assert_eq!(answer.whole(), "long");
        answer.logged("RW0608");
        let answer = site.get("/not_modified");
        assert_eq!(
            (answer.status, answer.ended, answer.logs.len()),
            (304, Ended::Complete, 0)
        );
    });
}

#[test]
fn each_line_written_to_a_stream_is_a_log_line_of_the_request() {
    on_sites(|site| {
        let answer = site.get("/logs");
        assert_eq!(answer.whole(), "logged");
        let expected = [
            "first",
            "second",
            "a",
            "b",
            "printed",
            "to stderr",
            "unfinished \u{20ac} ? bytes",
            "last words",
        ];
        assert_eq!(answer.logs, expected);
        assert_eq!(site.get("/logs_after_close").whole(), "True");
        assert_eq!(site.get("/logs").logs, expected);
        assert_eq!(site.get("/log_in_thread").logs, ["from a thread"]);
        // Pieces of one line go in one message.
        let long = site.get("/log_long").logs;
        let lengths: Vec<_> = long
            .iter()
            .flat_map(|text| text.split('\n').map(str::len))
            .collect();
        assert_eq!(long.len(), 1);
        assert_eq!(lengths, [8000, 8000, 4000]);
    });
}

#[test]
fn scripts_that_do_not_load_say_why_and_are_tried_again() {
    on_sites(|site| {
        // With something loaded the worker stays.
        site.worker.get(&site.script, "/two_blocks");
        let directory = &site.worker.directory;
        let broken = directory.write("broken.wsgi", "import no_such_module\n");
        for _ in 0..2 {
            let answer = site.worker.get(&broken, "/");
            aborted(&answer, AbortReason::Import, "RW0603");
            answer.logged("ModuleNotFoundError: No module named 'no_such_module'");
        }
        directory.write(
            "broken.wsgi",
            "def application(e, s):\n    s('200 OK', [])\n    return [b'mended']\n",
        );
        assert_eq!(site.worker.get(&broken, "/").whole(), "mended");

        let syntax = directory.write("syntax.wsgi", "def application(:\n");
        aborted(&site.worker.get(&syntax, "/"), AbortReason::Import, "RW0604");
        let missing = directory
            .0
            .join("missing.wsgi")
            .into_os_string()
            .into_encoded_bytes();
        aborted(&site.worker.get(&missing, "/"), AbortReason::Import, "RW0602");
        let exits = directory.write("exits.wsgi", "import sys\nsys.exit()\n");
        aborted(&site.worker.get(&exits, "/"), AbortReason::Import, "RW0603");
        let flask = directory.write("flask.wsgi", "def app(e, s): pass\n");
        aborted(
            &site.worker.get(&flask, "/"),
            AbortReason::Callable,
            "WSGICallableObject app",
        );
        let number = directory.write("number.wsgi", "application = 1\n");
        aborted(&site.worker.get(&number, "/"), AbortReason::Callable, "RW0606");
        let latin = directory.write("latin.wsgi", "");
        let source = b"# -*- coding: latin-1 -*-\nX = '\xe9'\ndef application(e, s):\n    s('200 OK', [])\n    return [X.encode()]\n";
        std::fs::write(directory.0.join("latin.wsgi"), source).unwrap();
        assert_eq!(site.worker.get(&latin, "/").whole(), "\u{e9}");
    });
}

#[test]
fn twenty_thousand_requests_leave_no_object_behind() {
    on_sites(|site| {
        let mut client = site.worker.connect();
        let mut blocks = |path: &str, times: usize| {
            for _ in 0..times {
                client.get(&site.script, path);
            }
            client
                .get(&site.script, "/blocks")
                .whole()
                .parse::<i64>()
                .unwrap()
        };
        // The first rounds fill caches.
        blocks("/two_blocks", 200);
        blocks("/stream", 50);
        let before = blocks("/two_blocks", 10);
        let after = blocks("/two_blocks", 20_000);
        assert!((after - before).abs() < 40, "{before} became {after}");
        let streamed = blocks("/stream", 1_000);
        assert!((streamed - after).abs() < 40, "{after} became {streamed}");
        let logged = blocks("/logs", 200);
        assert!((logged - streamed).abs() < 60, "{streamed} became {logged}");
    });
}
