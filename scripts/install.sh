#!/bin/sh
# Installs the three parts where apxs says, the tool for administrators where apxs has its own, and a configuration for them. DESTDIR is put in front of every path.
set -eu
BUILD=${BUILD:-build}
apxs=$(command -v apxs || command -v apxs2) || { echo "rwsgi: apxs not found; install httpd's development package." >&2; exit 1; }
modules=$("$apxs" -q LIBEXECDIR)
into="${DESTDIR:-}$modules"
install -d "$into" || { echo "rwsgi: cannot write to $into; run as root or set DESTDIR." >&2; exit 1; }
for part in mod_rwsgi.so rwsgi-manager _rwsgi.abi3.so; do
    # By rename: a running httpd keeps the file it has open.
    install -m 755 "$BUILD/$part" "$into/.$part.new"
    mv -f "$into/.$part.new" "$into/$part"
done
echo "rwsgi: installed into $into"
tools=$("$apxs" -q SBINDIR)
install -d "${DESTDIR:-}$tools"
install -m 755 "$BUILD/rwsgictl" "${DESTDIR:-}$tools/.rwsgictl.new"
mv -f "${DESTDIR:-}$tools/.rwsgictl.new" "${DESTDIR:-}$tools/rwsgictl"
echo "rwsgi: installed $tools/rwsgictl"

load="# Python WSGI applications. The other two parts of rwsgi lie beside this file.
LoadModule rwsgi_module $modules/mod_rwsgi.so"
here=$(cd "$(dirname "$0")/.." && pwd)
if [ -d "${DESTDIR:-}/etc/apache2/mods-available" ] || [ -d /etc/apache2/mods-available ]; then
    conf="${DESTDIR:-}/etc/apache2/mods-available"
    install -d "$conf"
    printf '%s\n' "$load" > "$conf/rwsgi.load"
    [ -e "$conf/rwsgi.conf" ] || install -m 644 "$here/apache-conf/rwsgi.conf" "$conf/rwsgi.conf"
    echo "rwsgi: enable it with: a2enmod rwsgi && apachectl configtest && apachectl graceful"
elif [ -d "${DESTDIR:-}/etc/httpd/conf.modules.d" ] || [ -d /etc/httpd/conf.modules.d ]; then
    conf="${DESTDIR:-}/etc/httpd"
    install -d "$conf/conf.modules.d" "$conf/conf.d"
    printf '%s\n' "$load" > "$conf/conf.modules.d/10-rwsgi.conf"
    [ -e "$conf/conf.d/rwsgi.conf" ] || install -m 644 "$here/apache-conf/rwsgi.conf" "$conf/conf.d/rwsgi.conf"
    echo "rwsgi: it is enabled at httpd's next restart"
else
    echo "rwsgi: add to httpd.conf: LoadModule rwsgi_module $modules/mod_rwsgi.so"
fi
