#!/bin/sh
# Places the three parts, and the tool for administrators, side by side: place.sh TARGET-DIR BUILD-DIR. Each is replaced by rename, so that a running httpd keeps the
# file it has open.
set -eu
target=$1 build=$2
place() {
    if ! cmp -s "$target/$1" "$build/$2"; then
        cp "$target/$1" "$build/.$2.new"
        chmod 755 "$build/.$2.new"
        mv -f "$build/.$2.new" "$build/$2"
    fi
}
place libmod_rwsgi.so mod_rwsgi.so
place rwsgi-manager rwsgi-manager
place lib_rwsgi.so _rwsgi.abi3.so
place rwsgictl rwsgictl
echo "rwsgi: $build/mod_rwsgi.so is ready; load it with: LoadModule rwsgi_module $(cd "$build" && pwd)/mod_rwsgi.so"
