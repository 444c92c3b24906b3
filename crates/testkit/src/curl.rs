//! The curl program: HTTP/2, and a second opinion on truncated answers.

use std::path::PathBuf;
use std::process::Command;

/// A curl command in the making.
pub struct Curl {
    command: Command,
    url: String,
    body: PathBuf,
}

/// What curl made of it.
pub struct CurlReply {
    /// curl's exit code; 0 means that the answer was whole.
    pub exit: i32,
    /// The status code, 0 without an answer.
    pub status: u16,
    /// The HTTP version, such as `2`.
    pub version: String,
    /// The body as far as it came.
    pub body: Vec<u8>,
    /// curl's own words.
    pub complaint: String,
}

impl std::fmt::Debug for CurlReply {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self {
            exit,
            status,
            version,
            body,
            complaint,
        } = self;
        write!(
            f,
            "curl exit {exit}, HTTP/{version} {status}, {} bytes, {complaint:?}",
            body.len()
        )
    }
}

impl Curl {
    pub(crate) fn new(url: &str, test: &str, body: PathBuf) -> Curl {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"]);
        command
            .args(["--write-out", "%{http_code} %{http_version}", "--header"])
            .arg(format!("X-Test: {test}"));
        command.arg("--output").arg(&body);
        let url = url.to_owned();
        Curl { command, url, body }
    }

    /// Over TLS, whatever the certificate.
    #[must_use]
    pub fn tls(mut self) -> Curl {
        self.command.arg("--insecure");
        self.url = self.url.replacen("http:", "https:", 1);
        self
    }

    /// Over HTTP/2 without TLS and without an upgrade.
    #[must_use]
    pub fn http2(mut self) -> Curl {
        self.command.arg("--http2-prior-knowledge");
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Curl {
        self.command.args(arguments);
        self
    }

    /// Feeds it a file.
    #[must_use]
    pub fn stdin(mut self, path: &str) -> Curl {
        self.command
            .stdin(std::fs::File::open(path).expect("file for curl"));
        self
    }

    /// Runs it.
    pub fn run(mut self) -> CurlReply {
        let output = self
            .command
            .arg(&self.url)
            .output()
            .expect("curl runs; install curl");
        let written = String::from_utf8_lossy(&output.stdout).into_owned();
        let (status, version) = written.split_once(' ').unwrap_or_default();
        let body = std::fs::read(&self.body).unwrap_or_default();
        let _ = std::fs::remove_file(&self.body);
        CurlReply {
            exit: output.status.code().unwrap_or(-1),
            status: status.parse().unwrap_or(0),
            version: version.trim().to_owned(),
            body,
            complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
