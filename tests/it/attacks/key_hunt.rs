//! The private keys of the server's TLS: looked for in the memory of everybody who must not have them.

use super::USER;
use crate::neighbours::certificate;
use rwsgi_testkit::{Case, Httpd, Topic, test};
use std::process::Command;

pub fn tests(topic: &mut Topic) {
    topic.daemon(test![r10_no_byte_of_a_key_is_in_a_worker_or_the_manager]);
}

/// Prints how many of the needles (hexadecimal) are somewhere in the memory of a process.
const HUNT: &str = r#"
import re, sys
pid, *needles = sys.argv[1:]
needles = {bytes.fromhex(needle) for needle in needles}
found = set()
with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
    for line in open(f"/proc/{pid}/maps"):
        begin, end, may = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
        if may[0] != "r" or "[v" in line:
            continue
        memory.seek(int(begin, 16))
        try:
            region = memory.read(int(end, 16) - int(begin, 16))
        except OSError:
            continue
        found |= {needle for needle in needles if needle in region}
print(len(found))
"#;

fn openssl(arguments: &[&str]) -> Option<String> {
    let output = Command::new("openssl").args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The beginnings of the private numbers of a key file, in both byte orders, and a piece of the file itself; hexadecimal.
fn needles(file: &str) -> Vec<String> {
    let text = openssl(&["pkey", "-in", file, "-noout", "-text"]).expect("the key's numbers");
    let mut numbers: Vec<Vec<u8>> = Vec::new();
    let mut is_private = false;
    for line in text.lines() {
        if !line.starts_with(' ') {
            is_private = ["privateExponent:", "prime1:", "prime2:", "priv:"].contains(&line.trim());
            if is_private {
                numbers.push(Vec::new());
            }
        } else if let Some(number) = numbers.last_mut().filter(|_| is_private) {
            let bytes = line.trim().split(':').filter(|byte| !byte.is_empty());
            number.extend(bytes.map(|byte| u8::from_str_radix(byte, 16).expect("a byte")));
        }
    }
    let mut all = Vec::new();
    for number in numbers {
        let number: Vec<u8> = number.into_iter().skip_while(|byte| *byte == 0).collect();
        assert!(number.len() >= 30, "a private number of {file}");
        all.push(number[..16].to_vec());
        all.push(number.iter().rev().take(16).copied().collect());
    }
    let pem = std::fs::read_to_string(file).expect("the key");
    all.push(pem.lines().nth(2).expect("a line of the key").as_bytes()[..32].to_vec());
    all.iter()
        .map(|needle| needle.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect()
}

fn hunt(pid: u32, needles: &[String]) -> usize {
    let output = Command::new("python3")
        .args(["-c", HUNT])
        .arg(pid.to_string())
        .args(needles)
        .output()
        .expect("python3");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn get(httpd: &Httpd, path: &str) {
    let url = format!("https://127.0.0.1:{}{path}", httpd.port());
    let status = Command::new("curl")
        .args(["-sSkf", "--max-time", "30", "-o", "/dev/null", &url])
        .status()
        .expect("curl");
    assert!(status.success());
}

/// R10, R4
fn r10_no_byte_of_a_key_is_in_a_worker_or_the_manager(case: &Case) {
    case.needs_root();
    let builder = case
        .httpd()
        .load("socache_shmcb")
        .load("ssl")
        .bare()
        .file("scripts/one/app.wsgi", std::fs::read(rwsgi_testkit::test_file("apps/hello.wsgi")).expect("hello.wsgi"))
        .file("scripts/two/of-the-other-site.wsgi", std::fs::read(rwsgi_testkit::test_file("apps/hello.wsgi")).expect("hello.wsgi"))
        .conf(&format!("WSGIDaemonProcess one user={USER} group={USER}\nWSGIDaemonProcess two user=daemon group=daemon"))
        .conf("WSGIScriptAlias /one @SCRIPTS@/one/app.wsgi process-group=one")
        .conf("WSGIScriptAlias /two @SCRIPTS@/two/of-the-other-site.wsgi process-group=two")
        .conf("SSLEngine On\nSSLSessionCache none\nSSLCertificateFile @ROOT@/certificate.pem\nSSLCertificateKeyFile @ROOT@/key.pem")
        .conf("SSLCertificateFile @ROOT@/ec-certificate.pem\nSSLCertificateKeyFile @ROOT@/ec-key.pem");
    let root = builder.root().display().to_string();
    let (key, ec_key) = (format!("{root}/key.pem"), format!("{root}/ec-key.pem"));
    let ec = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ];
    let ec_certificate = format!("{root}/ec-certificate.pem");
    let made = openssl(&[&ec[..], &["-keyout", &ec_key, "-out", &ec_certificate]].concat());
    if !certificate(&builder) || made.is_none() {
        case.skip("no openssl program");
    }
    let keys = [needles(&key), needles(&ec_key)].concat();
    // Of httpd's environment, and of another site.
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let secret = hex("of httpd alone");
    let other = hex("of-the-other-site.wsgi");
    let httpd = builder.start();
    for round in 0..2 {
        get(&httpd, "/one");
        let child = httpd.children().first().expect("a child").pid;
        assert!(hunt(child, &keys) >= 2, "the hunt finds what is there");
        let sees = |pid: u32| (hunt(pid, &keys), hunt(pid, std::slice::from_ref(&secret)));
        if case.theirs() {
            let found: Vec<(usize, usize)> = httpd.workers().iter().map(|w| sees(w.pid)).collect();
            assert!(
                !found.is_empty() && found.iter().all(|(keys, secret)| *keys >= 2 && *secret == 1),
                "{found:?}"
            );
        } else {
            assert_eq!(sees(httpd.manager().expect("the manager").pid), (0, 0));
            let workers = httpd.workers();
            assert_eq!(workers.len(), 1, "of the site that was asked for");
            assert_eq!(sees(workers[0].pid), (0, 0));
            assert_eq!(hunt(workers[0].pid, std::slice::from_ref(&other)), 0);
        }
        if round == 0 {
            httpd.graceful();
        }
    }
    httpd.announce("[ssl:warn]");
}
