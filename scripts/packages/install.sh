#!/bin/sh
# Installs the programs hobnob and hobnob-relay from this folder, with their manual pages, completions
# and systemd units.
#
#   ./install.sh                 into /usr/local as root, else into ~/.local
#   ./install.sh --prefix DIR    into this folder
#   ./install.sh --uninstall     removes what it has installed; --prefix as above
#
# It first compares every file with SHA256SUMS. Compare the archive itself with the SHA256SUMS of the
# release before you unpack it. Homes, messages and settings are never touched.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" = 0 ]; then prefix=/usr/local; else prefix=$HOME/.local; fi
action=install
while [ $# -gt 0 ]; do
    case "$1" in
    --prefix)
        [ $# -gt 1 ] || { echo "install: --prefix needs a folder" >&2 && exit 2; }
        prefix=$2 && shift 2
        ;;
    --uninstall) action=uninstall && shift ;;
    *) echo "install: unknown argument: $1 (see the head of $0)" >&2 && exit 2 ;;
    esac
done
case $prefix in
/*) ;;
*) prefix=$(pwd)/$prefix ;;
esac
list=$prefix/share/hobnob/installed-files

uninstall() {
    while read -r file; do rm -f "$prefix/$file"; done <"$list"
    rm -f "$list"
    # Folders that only hobnob used.
    rmdir "$prefix/share/hobnob" "$prefix/share/doc/hobnob" "$prefix/share/doc/hobnob-relay" 2>/dev/null || true
}

if [ $action = uninstall ]; then
    [ -e "$list" ] || { echo "install: hobnob is not installed in $prefix: give its --prefix" >&2 && exit 1; }
    uninstall
    echo "hobnob is removed from $prefix."
    exit
fi

cd "$here"
if ! bad=$(sha256sum --check --quiet SHA256SUMS 2>&1); then
    printf '%s\n' "$bad" >&2
    echo "install: these files are not those of the release: download the archive again" >&2
    exit 1
fi
# A newer version may have other files.
if [ -e "$list" ]; then uninstall; fi
mkdir -p "$prefix/share/hobnob"
find bin lib share -type f | sort >"$list"
while read -r file; do
    mkdir -p "$prefix/$(dirname "$file")"
    case $file in
    # A running program keeps its file.
    bin/*) cp "$file" "$prefix/$file.new" && mv -f "$prefix/$file.new" "$prefix/$file" ;;
    lib/systemd/*) sed "s,/usr/bin/,$prefix/bin/," "$file" >"$prefix/$file" ;;
    *) cp "$file" "$prefix/$file" ;;
    esac
done <"$list"
echo "hobnob is installed in $prefix. Try: $prefix/bin/hobnob"
case ":$PATH:" in
*":$prefix/bin:"*) ;;
*) echo "$prefix/bin is not in your PATH." ;;
esac
