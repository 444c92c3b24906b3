//! `check_password(environ, user, password)`, `get_realm_hash(environ, user, realm)`, `groups_for_user(environ, user)`.

use rwsgi_wire::call::{Said, Verdict};
use rwsgi_wire::head::Head;

use super::{Asked, name_bytes};
use crate::cpython::Object;
use crate::wsgi::fault::Fault;

/// `True`, `False`, `None`, or the name under which the user is known from now on.
pub(super) fn check_password<'py>(
    asked: &Asked<'_, 'py>,
    environ: &Object<'py>,
    head: &Head<'_>,
) -> Result<Verdict, Fault> {
    const FUNCTION: &str = "check_password";
    let [user, password] = asked.arguments(FUNCTION, head)?;
    let result = asked.call(FUNCTION, &[environ, &user, &password])?;
    drop(password);
    let py = asked.py;
    let said = match () {
        () if result.is_none() => Said::Nothing,
        () if result.is(&py.bool(true)) => Said::Yes,
        () if result.is(&py.bool(false)) => Said::No,
        () => {
            let name = result.is_text().then(|| result.to_utf8().ok()).flatten();
            let name = name.filter(|name| !name.is_empty() && !name.contains('\0'));
            let name = name.ok_or_else(|| {
                asked.wrong(
                    FUNCTION,
                    &result,
                    "True, False, None or a user name (a str that is not empty)",
                )
            })?;
            return Ok(values(vec![name.as_bytes().to_vec()]));
        }
    };
    Ok(Verdict::plain(said))
}

/// The hash of user, realm and password, or `None`.
pub(super) fn realm_hash<'py>(
    asked: &Asked<'_, 'py>,
    environ: &Object<'py>,
    head: &Head<'_>,
) -> Result<Verdict, Fault> {
    const FUNCTION: &str = "get_realm_hash";
    let [user, realm] = asked.arguments(FUNCTION, head)?;
    let result = asked.call(FUNCTION, &[environ, &user, &realm])?;
    if result.is_none() {
        return Ok(Verdict::plain(Said::Nothing));
    }
    let hash = name_bytes(&result).filter(|hash| !hash.is_empty());
    let hash = hash.ok_or_else(|| {
        asked.wrong(
            FUNCTION,
            &result,
            "None or a hash (str in ISO-8859-1, or bytes, not empty)",
        )
    })?;
    Ok(values(vec![hash]))
}

/// An iterable of names.
pub(super) fn groups_for_user<'py>(
    asked: &Asked<'_, 'py>,
    environ: &Object<'py>,
    head: &Head<'_>,
) -> Result<Verdict, Fault> {
    const FUNCTION: &str = "groups_for_user";
    let [user] = asked.arguments(FUNCTION, head)?;
    let result = asked.call(FUNCTION, &[environ, &user])?;
    let raised = |exception| asked.raised(FUNCTION, &exception);
    let iterator = result.iterate().map_err(raised)?;
    let mut groups = Vec::new();
    while let Some(group) = iterator.advance().map_err(raised)? {
        let name = name_bytes(&group);
        groups.push(name.ok_or_else(|| {
            asked.wrong(
                FUNCTION,
                &group,
                "an iterable of names (str in ISO-8859-1, or bytes)",
            )
        })?);
    }
    Ok(values(groups))
}

fn values(values: Vec<Vec<u8>>) -> Verdict {
    Verdict {
        said: Said::Values,
        values: values.into_iter().map(Some).collect(),
    }
}
