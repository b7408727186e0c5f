#!/usr/bin/env bash
# Makes .venv ready: the packages of one requirements file at their pinned versions, and the command `vlmrl`.
#
#   bash scripts/setup.sh [train|test|gpu]     install what is missing (default: train)
#   . scripts/setup.sh train                   the same, and put .venv/bin first on the PATH of this shell
#
# It needs Python 3.11 or newer with pip, the network and 7 GB (test: 8, gpu: 12). If everything is installed, it
# returns within a second. An environment that is damaged, moved or half installed is rebuilt. Packages come from the
# index that pip or uv is configured for.
#
# VLMRL_SETUP=skip installs nothing and uses the `vlmrl` on PATH (in a container or your own environment).
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
stamp=$venv/setup-complete # written last, so an interrupted installation has none

say() { echo "setup: $*" >&2; }

find_python() { # prints the path of the first Python that is new enough
    local name
    for name in python3.11 python3.12 python3.13 python3.14 python3; do
        # The base interpreter, because in an active .venv python3 is a link that may be replaced below.
        "$name" -c 'import sys; assert sys.version_info >= (3, 11); print(sys._base_executable)' 2>/dev/null && return
    done
    say "needs Python 3.11 or newer, and found none (looked for python3.11 to python3.14 and python3)."
    say "install one together with pip, for example: apt install python3.11 python3.11-venv"
    return 1
}

find_uv() { # PYTHON: prints the path of uv, because pip rejects pins that disagree with metadata
    local python=$1
    if uv --version >/dev/null 2>&1; then
        command -v uv
        return
    fi
    if ! "$venv/uv/bin/uv" --version >/dev/null 2>&1; then
        say "uv is not on PATH: installing it into .venv/uv"
        rm -rf "$venv/uv"
        if "$python" -m pip --version >/dev/null 2>&1; then
            PIP_USER=0 "$python" -m pip install --quiet --target "$venv/uv" uv >&2 || return
        else
            "$python" -m venv "$venv/uv" >&2 && "$venv/uv/bin/python" -m pip install --quiet uv >&2 || return
        fi
    fi
    echo "$venv/uv/bin/uv"
}

adopt_pip_settings() { # PYTHON: sets the index and certificates of pip for uv, unless uv has its own
    local python=$1 index certificate
    export UV_HTTP_TIMEOUT=${UV_HTTP_TIMEOUT:-300}
    certificate=${PIP_CERT:-$("$python" -m pip config get global.cert 2>/dev/null || true)}
    [[ -n ${SSL_CERT_FILE:-} || -z $certificate ]] || export SSL_CERT_FILE=$certificate
    [[ -z ${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}${UV_INDEX:-}${UV_CONFIG_FILE:-} ]] || return 0
    [[ ! -f ${XDG_CONFIG_HOME:-${HOME:-}/.config}/uv/uv.toml && ! -f /etc/uv/uv.toml ]] || return 0
    index=${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}
    [[ -z $index ]] || export UV_DEFAULT_INDEX=$index
}

fingerprint() { cat -- "$root/pyproject.toml" "$root/requirements/$1.txt" | cksum; }

installed() { (cd -- "$venv"/lib/python3.*/site-packages && LC_ALL=C ls -A); }

state() { # SET: prints ready, stale (other pins) or broken
    if ! grep -qsxF "root $root" "$stamp" || ! "$venv/bin/python" -c 'from importlib.util import find_spec; assert find_spec("vlmrl")' 2>/dev/null ||
        [[ -n $(LC_ALL=C comm -23 <(sed -n 's/^has //p' "$stamp") <(installed)) ]]; then
        echo broken
    elif grep -qsxF "set $1 $(fingerprint "$1")" "$stamp"; then
        echo ready
    else
        echo stale
    fi
}

install() { # SET STATE: installs exactly the pins of the set into .venv
    local set=$1 python uv quiet=()
    python=$(find_python)
    say "Python: $python"
    mkdir -p "$venv"
    rm -f "$stamp"
    uv=$(find_uv "$python")
    say "uv: $uv"
    adopt_pip_settings "$python"
    [[ -t 2 ]] || quiet=(--quiet)
    cd -- "$root"
    if [[ $2 == broken ]]; then
        find "$venv" -mindepth 1 -maxdepth 1 ! -name uv -exec rm -rf {} +
        "$uv" venv --quiet --allow-existing --python "$python" "$venv"
    fi
    say "installing requirements/$set.txt: several GB, some minutes if they are not cached"
    "$uv" pip sync ${quiet[@]+"${quiet[@]}"} --python "$venv/bin/python" "requirements/$set.txt"
    say "installing vlmrl itself, as a link to this folder"
    "$uv" pip install --quiet --python "$venv/bin/python" --no-deps --editable .
    {
        echo "root $root"
        echo "set $set $(fingerprint "$set")"
        # Every set holds the pins of train (scripts/lock.sh ensures it).
        [[ $set == train ]] || echo "set train $(fingerprint train)"
        installed | sed 's/^/has /'
    } >"$stamp.partial"
    mv -- "$stamp.partial" "$stamp"
    say "done: .venv is ready (${SECONDS} s)"
}

setup() { # SET
    local state
    if [[ ! -f $root/requirements/$1.txt ]]; then
        say "unknown set '$1'; known: train, test, gpu"
        return 2
    fi
    # Two scripts must not install at the same time.
    if command -v flock >/dev/null; then flock 9; fi
    state=$(state "$1")
    case $state in
    ready) ;;
    stale)
        say "updating .venv to the pins of requirements/$1.txt"
        install "$1" "$state"
        ;;
    broken)
        if [[ -e $venv ]]; then say ".venv is damaged, moved or half installed: rebuilding it"; fi
        install "$1" "$state"
        ;;
    esac
}

if [[ ${VLMRL_SETUP:-} == skip ]]; then
    command -v vlmrl >/dev/null || { say "VLMRL_SETUP=skip, but no command vlmrl on PATH" && exit 1; }
else
    (setup "${1:-train}") 9<"$root/scripts/setup.sh"
    export PATH="$venv/bin:$PATH"
fi
