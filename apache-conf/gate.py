"""Users and groups for auth.conf. Put what you have in place of the two dictionaries."""

import hashlib
import hmac

SALT = b"change me"


def digest(password):
    return hashlib.scrypt(password.encode("utf-8"), salt=SALT, n=2**14, r=8, p=1)


USERS = {"joe": digest("correct horse")}
GROUPS = {"joe": ["members"]}


def check_password(environ, user, password):
    # What the browser sent, byte for character; today's browsers send UTF-8.
    user, password = (text.encode("latin-1").decode("utf-8", "replace") for text in (user, password))
    known = USERS.get(user)
    if known is None:
        return None  # Not one of ours: the next AuthBasicProvider may know.
    return hmac.compare_digest(known, digest(password))


def groups_for_user(environ, user):
    return GROUPS.get(user, [])
