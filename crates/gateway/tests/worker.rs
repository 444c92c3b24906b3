//! A worker from its start to its end.

mod support;

use rwsgi_os::process::End;
use support::{Worker, on_every_python, settings};

const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'Hello ' + environ['PATH_INFO'].encode()]
";

#[test]
fn a_worker_says_hello_and_leaves_when_told() {
    on_every_python(|python| {
        let mut worker = Worker::start(python, settings());
        let script = worker.directory.write("app.wsgi", HELLO);
        let mut client = worker.connect();
        for _ in 0..3 {
            let answer = client.get(&script, "/x");
            assert_eq!(answer.whole(), "Hello /x");
            assert_eq!(answer.taken, Some(worker.pid.0 as u32));
            assert_eq!(answer.header("Content-Type"), Some("text/plain"));
        }
        worker.drain();
        assert_eq!(worker.wait(), End::Exit(0), "{:?} {}", worker.said, worker.text());
    });
}
