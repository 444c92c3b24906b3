#!/bin/sh
# Serves one application with a private httpd in the foreground, from apache-conf/minimal.conf. Ctrl-C ends everything and leaves
# nothing behind. Called by `make run`; reads APP, PORT, PYTHON, BUILD from the environment. With --check it only says whether these
# will do, so that nobody waits for a build to learn of a busy port.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
PORT=${PORT:-8000} BUILD=${BUILD:-build} APP=${APP:-} PYTHON=${PYTHON:-}
here=$(cd "$(dirname "$0")/.." && pwd)

fail() { echo "rwsgi: $*" >&2; exit 1; }

httpd=$(command -v apache2 || command -v httpd) || fail "httpd is not installed (apache2 or httpd)."
apxs=$(command -v apxs || command -v apxs2) || fail "apxs is not installed (apache2-dev or httpd-devel)."
case "$PORT" in
    '' | *[!0-9]*) fail "PORT=$PORT is not a number; use one between 1024 and 65535." ;;
esac
{ [ "$PORT" -ge 1 ] && [ "$PORT" -le 65535 ]; } || fail "PORT=$PORT is out of range; use one between 1024 and 65535."
{ [ "$PORT" -ge 1024 ] || [ "$(id -u)" -eq 0 ]; } || fail "PORT=$PORT needs root; use one between 1024 and 65535."
python3 - "$PORT" <<'PY' || fail "port $PORT on 127.0.0.1 is busy; choose another: make run PORT=$((PORT + 1))"
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    s.bind(("127.0.0.1", int(sys.argv[1])))
except OSError:
    sys.exit(1)
PY

# Who runs the application: with root, the owner of the script, else the user who called sudo, else httpd's own user.
server_user=www-data server_group=www-data
id "$server_user" >/dev/null 2>&1 || { server_user=apache server_group=apache; }
id "$server_user" >/dev/null 2>&1 || { server_user=http server_group=http; }
user=''
if [ "$(id -u)" -eq 0 ]; then
    user=$server_user
    if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then user=$SUDO_USER; fi
    if [ -n "$APP" ] && [ -e "$APP" ]; then
        owner=$(stat -c %U "$APP")
        case "$owner" in root | UNKNOWN) ;; *) user=$owner ;; esac
    fi
fi
as_user() { # runs a command as the application's user
    if [ -n "$user" ]; then setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups "$@"; else "$@"; fi
}
who=${user:-$(id -un)}

if [ -n "$APP" ]; then
    [ -e "$APP" ] || fail "APP=$APP does not exist."
    [ -f "$APP" ] || fail "APP=$APP is not a file; name the script that holds 'application'."
    APP=$(cd "$(dirname "$APP")" && pwd)/$(basename "$APP")
    as_user test -r "$APP" || fail "APP=$APP cannot be read by user $who, who would run it; give $who read permission on the file and x permission on every directory above it."
fi
if [ -n "$PYTHON" ]; then
    [ -e "$PYTHON" ] || fail "PYTHON=$PYTHON does not exist; name a venv or a Python prefix."
    PYTHON=$(cd "$PYTHON" 2>/dev/null && pwd) || fail "PYTHON=$PYTHON is not a directory; name a venv or a Python prefix, not its python."
    [ -e "$PYTHON/bin/python3" ] || [ -e "$PYTHON/bin/python" ] || fail "PYTHON=$PYTHON has no bin/python3; name a venv or a Python prefix."
    as_user test -x "$PYTHON/bin/python3" || as_user test -x "$PYTHON/bin/python" || fail "PYTHON=$PYTHON cannot be used by user $who, who would run it: its python3 is $(readlink -f "$PYTHON/bin/python3"); give $who x permission on every directory above that, or make the venv with a Python that $who can use."
fi

[ "${1:-}" != --check ] || exit 0

root=$(mktemp -d "${TMPDIR:-/tmp}/rwsgi.XXXXXX")
chmod 755 "$root"
pid='' follower=''
finish() {
    trap '' INT TERM HUP
    if [ -n "$pid" ]; then
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    fi
    [ -z "$follower" ] || kill "$follower" 2>/dev/null || true
    rm -rf "$root"
}
trap 'finish; exit 130' INT
trap 'finish; exit 143' TERM HUP
trap finish EXIT

if [ -z "$APP" ]; then
    cp "$here/apache-conf/welcome.wsgi" "$root/welcome.wsgi"
    chmod 644 "$root/welcome.wsgi"
    APP=$root/welcome.wsgi
fi
options="threads=15 display-name=%{GROUP}"
[ -z "$user" ] || options="$options user=$user group=$(id -gn "$user")"
[ -z "$PYTHON" ] || options="$options python-home='$PYTHON'"
mkdir "$root/run"
cat > "$root/httpd.conf" <<CONF
Define RWSGI_ROOT "$root"
Define RWSGI_PORT $PORT
Define RWSGI_MODULES "$("$apxs" -q LIBEXECDIR)"
Define RWSGI_BUILD "$(cd "$BUILD" && pwd)"
Define RWSGI_USER $server_user
Define RWSGI_GROUP $server_group
Define RWSGI_OPTIONS "$options"
Define APP "$APP"
Define APP_DIRECTORY "$(dirname "$APP")"
Include "$here/apache-conf/private-httpd.conf"
Include "$here/apache-conf/minimal.conf"
CONF
"$httpd" -t -f "$root/httpd.conf" >"$root/check" 2>&1 || { cat "$root/check" >&2; fail "httpd refuses the configuration; its reason is above."; }

: > "$root/error.log"
: > "$root/access.log"
tail -q -n +1 -f "$root/error.log" "$root/access.log" &
follower=$!
# In a session of its own, so that Ctrl-C reaches this script only and httpd ends in order.
setsid "$httpd" -DFOREGROUND -f "$root/httpd.conf" &
pid=$!
tries=0
until [ -s "$root/run/httpd.pid" ] && python3 -c "import socket; socket.create_connection(('127.0.0.1', $PORT), 5)" 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || { wait "$pid" || true; pid=''; sleep 1; fail "httpd did not start; its reason is above."; }
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || fail "httpd did not answer on port $PORT within 30 seconds."
    sleep 0.1
done
echo
echo "  rwsgi serves $APP as user $who"
echo "  http://127.0.0.1:$PORT/"
echo "  Ctrl-C ends it."
echo
status=0
wait "$pid" || status=$?
pid=''
exit "$status"
