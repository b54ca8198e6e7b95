# The tools that scripts/test needs: finds them, installs them where it may, says what is missing where it may not.
# Sourced, not run.

chromium="${TIDEGATE_CHROMIUM:-/usr/bin/chromium}"
cache="${TIDEGATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate}"

# Makes sure of Rust with its formatter and linter, a C compiler, sqlite3, PostgreSQL's programs, Redis, Python with virtual
# environments, and Node.js, Chromium and a Chinese font for the dashboard. Tests start servers of their own in temporary
# folders.
need_tools() {
    if ! command -v cargo >/dev/null; then
        echo "scripts/test: Rust is missing; install it with rustup, then run this again" >&2
        exit 1
    fi
    if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
        if ! command -v rustup >/dev/null || ! rustup component add rustfmt clippy >&2; then
            echo "scripts/test: rustfmt or clippy is missing; run: rustup component add rustfmt clippy" >&2
            exit 1
        fi
    fi
    local packages=()
    command -v cc >/dev/null || packages+=(gcc libc6-dev)
    command -v sqlite3 >/dev/null || packages+=(sqlite3)
    command -v redis-server >/dev/null || packages+=(redis-server)
    command -v curl >/dev/null || packages+=(curl)
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || packages+=(postgresql)
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || packages+=(python3 python3-venv)
    command -v node >/dev/null || packages+=(nodejs)
    command -v npm >/dev/null || packages+=(npm)
    [[ -x "$chromium" ]] || packages+=(chromium)
    compgen -G '/usr/share/fonts/*/noto/*CJK*' >/dev/null || packages+=(fonts-noto-cjk)
    if [[ ${#packages[@]} -gt 0 ]]; then install_packages "${packages[@]}"; fi
    if [[ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]]; then
        echo "scripts/test: Node.js is $(node --version) and the browser test needs 20 or newer; install it, then run this again" >&2
        exit 1
    fi
}

install_packages() {
    if [[ "$(id -u)" -ne 0 ]] || ! command -v apt-get >/dev/null; then
        echo "scripts/test: missing: $*; install them (Debian: sudo apt-get install $*), then run this again" >&2
        exit 1
    fi
    echo "== installing $*" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    apt-get install -qq -y --no-install-recommends "$@" >&2
}

# Prints the Python of a virtual environment with the packages of a requirements file, installed with the further options
# of pip that are given; builds it when they changed.
python_environment() {
    local requirements="$1" key folder
    shift
    key="$({ python3 --version; cat "$requirements"; } | cksum | cut -d' ' -f1)"
    folder="$cache/python-$key"
    if [[ ! -e "$folder/ready" ]]; then
        echo "== preparing $requirements in $folder" >&2
        rm -rf "$folder"
        mkdir -p "$cache"
        python3 -m venv "$folder" >&2
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@" --requirement "$requirements" >&2
        touch "$folder/ready"
    fi
    echo "$folder/bin/python"
}

# Prints a folder with the npm packages of a lock file, exactly those, without running anything of theirs; fills it when they
# changed.
browser_environment() {
    local source="$1" key folder
    key="$({ node --version; cat "$source/package-lock.json"; } | cksum | cut -d' ' -f1)"
    folder="$cache/browser-$key"
    if [[ ! -e "$folder/ready" ]]; then
        echo "== preparing $source in $folder" >&2
        rm -rf "$folder"
        mkdir -p "$folder"
        cp "$source/package.json" "$source/package-lock.json" "$folder/"
        (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
        touch "$folder/ready"
    fi
    echo "$folder"
}

# Checks advisories when their database can be reached; says so when it cannot.
check_advisories() {
    if cargo deny fetch db >/dev/null 2>&1; then
        check "advisories (cargo deny)" cargo deny check advisories
    else
        echo "== advisories: not checked here, the advisory database is unreachable"
    fi
}
