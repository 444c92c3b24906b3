//! A private server root: the directory in which one httpd of one test lives.

use std::fs::Permissions;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory below the temporary one, removed with this value unless `RWSGI_KEEP` is set.
pub(crate) struct ServerRoot(PathBuf);

impl ServerRoot {
    /// A fresh one with a short path: socket names below it must stay under 100 bytes.
    pub fn make() -> ServerRoot {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "rwsgi-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let root = ServerRoot(std::env::temp_dir().join(name));
        let _ = std::fs::remove_dir_all(&*root);
        for (part, mode) in [
            ("", 0o755),
            ("run", 0o755),
            ("scripts", 0o755),
            ("www", 0o755),
            ("data", 0o777),
        ] {
            let directory = root.join(part);
            std::fs::create_dir(&directory).expect("mkdir in the temporary directory");
            std::fs::set_permissions(&directory, Permissions::from_mode(mode)).expect("chmod");
        }
        write_readable(
            &root.join("mime.types"),
            b"text/plain txt\ntext/css css\ntext/html html\n",
        );
        root
    }
}

impl Deref for ServerRoot {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for ServerRoot {
    fn drop(&mut self) {
        if std::env::var_os("RWSGI_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Writes a file that every user can read, in directories that every user can enter; replaces it in one step.
pub(crate) fn write_readable(path: &Path, content: &[u8]) {
    let directory = path.parent().expect("a file has a directory");
    make_readable_directory(directory);
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, content).expect("write a file of the server root");
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o644)).expect("chmod");
    std::fs::rename(&fresh, path).expect("rename");
}

fn make_readable_directory(directory: &Path) {
    if directory.is_dir() {
        return;
    }
    make_readable_directory(directory.parent().expect("below the server root"));
    std::fs::create_dir(directory).expect("mkdir");
    std::fs::set_permissions(directory, Permissions::from_mode(0o755)).expect("chmod");
}

#[cfg(test)]
mod tests {
    use super::ServerRoot;
    use std::sync::Arc;

    #[test]
    fn it_stays_for_the_next_try_and_goes_with_the_last_holder() {
        let configuration = Arc::new(ServerRoot::make());
        let path = configuration.to_path_buf();
        let first_try = Arc::clone(&configuration);
        drop(first_try);
        assert!(path.join("run").is_dir());
        drop(configuration);
        assert!(!path.exists());
    }
}
