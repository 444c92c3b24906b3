//! Where the sockets will be, as the test of a configuration sees it: the manager, which makes them, refuses what is wrong with it only when httpd starts.

use std::path::Path;

use rwsgi_os::{file, ids};

/// What the manager would not take.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is not there; what starts httpd may make it.
    Missing(String),
    /// Others than root, or the user who starts httpd, can change it.
    Open(String),
}

/// Looks at the directory that the sockets' own is to be made in.
pub fn trouble(prefix: &Path) -> Option<Trouble> {
    let above = prefix.parent()?;
    let shown = above.display();
    match file::status_of(above.as_os_str().as_encoded_bytes()) {
        Err(error) if error.is_not_found() => Some(Trouble::Missing(format!(
            "{shown} does not exist, in which the sockets of workers are to be (WSGISocketPrefix): unless it is made before httpd starts, httpd will not; \
             create it, or name a path in a directory that exists"
        ))),
        Ok(status) if status.is_open_to_others(ids::user_ids().effective) => Some(Trouble::Open(format!(
            "{shown} can be changed by others than root, who could exchange the sockets of workers in it (WSGISocketPrefix): name a path in a directory \
             that only root may write"
        ))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    // F39
    #[test]
    fn f39_a_directory_that_is_missing_is_doubtful_and_one_that_is_open_is_wrong() {
        let place = std::env::temp_dir().join(format!("rwsgi-sockets-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let found = |mode| {
            std::fs::set_permissions(&place, std::fs::Permissions::from_mode(mode)).unwrap();
            trouble(&place.join("wsgi"))
        };
        assert_eq!(found(0o755), None);
        assert_eq!(found(0o1777), None, "sticky");
        assert!(matches!(found(0o775), Some(Trouble::Open(_))));
        assert!(matches!(
            trouble(&place.join("no/wsgi")),
            Some(Trouble::Missing(_))
        ));
        std::fs::remove_dir(&place).unwrap();
    }
}
