#!/bin/sh
# What the tests need of the system besides Python: for the PDF report Pango, HarfBuzz's subsetter and one font family,
# and openssl, by which they see that others can read our keys.
#
# Looks first, and calls apt-get only if something is missing; without root it goes through sudo if that asks for no
# password. Where it can do neither it says in one line what to install, and fails: tests that were left out in silence
# would look like tests that passed.
set -eu

PACKAGES="libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core openssl"
PYTHON="${1:-python3}"

missing() {
    "$PYTHON" - <<'END'
import ctypes
import shutil

missing = []
for name in ("libpango-1.0.so.0", "libpangoft2-1.0.so.0", "libharfbuzz-subset.so.0", "libfontconfig.so.1"):
    try:
        ctypes.CDLL(name)
    except OSError:
        missing.append(name)
if not missing:
    fontconfig = ctypes.CDLL("libfontconfig.so.1")
    fontconfig.FcPatternCreate.restype = fontconfig.FcObjectSetBuild.restype = ctypes.c_void_p
    fontconfig.FcFontList.restype = ctypes.POINTER(ctypes.c_int)
    fontconfig.FcFontList.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    objects = fontconfig.FcObjectSetBuild(ctypes.c_char_p(b"family"), None)
    if fontconfig.FcFontList(None, fontconfig.FcPatternCreate(), objects)[0] == 0:
        missing.append("a font")
if shutil.which("openssl") is None:
    missing.append("openssl")
print(" ".join(missing))
END
}

found_missing=$(missing)
[ -n "$found_missing" ] || exit 0

fail() {
    echo "the tests need $found_missing: install them ($1)" >&2
    exit 1
}

command -v apt-get >/dev/null || fail "Debian calls them $PACKAGES"
if [ "$(id -u)" = 0 ]; then
    root=""
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    root="sudo"
else
    fail "as root: apt-get install $PACKAGES"
fi

echo "installing $PACKAGES, because $found_missing is missing" >&2
# The lists of packages can be new enough already, and a machine without a network can have the packages at hand.
$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $PACKAGES >/dev/null 2>&1 ||
    { $root apt-get update -q >/dev/null &&
        $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $PACKAGES >/dev/null; } ||
    fail "apt-get could not install $PACKAGES"
found_missing=$(missing)
[ -z "$found_missing" ] || fail "apt-get installed $PACKAGES, and it is still missing"
