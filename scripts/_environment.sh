# Sourced by the commands beside it: finds a Python, makes .venv, installs what the locks say.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
venv=$root/.venv
venv_python=$venv/bin/python

# What the caller's shell has set for other projects must not change what is imported here.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
# Without it `python -m` would put the source tree before the installed wheel.
export PYTHONSAFEPATH=1
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
    if is_new_enough "$candidate"; then command -v "$candidate"; return; fi
  done
  die "needs Python 3.11 or newer and found none. Install one, or name it: PYTHON=/path/to/python3.11 $0"
}

make_venv() {
  local python=$1 package
  rm -rf "$venv"
  say "making .venv with $("$python" --version)"
  if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    "$python" -m venv "$venv"
    return
  fi
  # Debian ships Python without ensurepip. Any pip from outside can fill an empty environment.
  if "$python" -c 'import pip, venv' 2>/dev/null; then
    "$python" -m venv --without-pip "$venv"
    "$python" -m pip --python "$venv_python" install --quiet pip
    return
  fi
  package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  # Root on Debian is a container or a CI machine, where nobody is there to be asked.
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "this Python cannot make environments: installing Debian's $package"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null
    "$python" -m venv "$venv"
    return
  fi
  die "this Python cannot make environments. On Debian and Ubuntu: sudo apt-get install $package"
}

ensure_venv() {
  local python
  # An environment holds its own absolute path, so one that was moved with its folder is remade.
  if [ "$(cat "$venv/.made-in" 2>/dev/null)" = "$root" ] && is_new_enough "$venv_python"; then
    return
  fi
  python=$(find_python)
  make_venv "$python"
  printf '%s\n' "$root" >"$venv/.made-in"
}

# install_locked LOCK: nothing but what the locks name by hash. A copy of the lock inside .venv says
# what it holds, so an unchanged lock costs one comparison.
install_locked() {
  local lock=$1 wanted
  ensure_venv
  wanted=$(cat requirements-build.lock "$lock")
  if [ "$(cat "$venv/$lock" 2>/dev/null)" = "$wanted" ]; then return; fi
  # Made anew, so that what an older lock named is gone too.
  if [ -e "$venv/$lock" ]; then rm -rf "$venv"; ensure_venv; fi
  say "installing $lock"
  "$venv_python" -m pip install --quiet --require-hashes -r requirements-build.lock -r "$lock"
  printf '%s\n' "$wanted" >"$venv/$lock"
}

# Builds the wheel from the source tree and installs exactly it; sets `wheel` to its path.
install_wheel() {
  local out=$venv/wheel
  rm -rf "$out.new"
  "$venv_python" -m pip wheel --quiet --no-deps --no-build-isolation --no-cache-dir \
    --wheel-dir "$out.new" .
  wheel=$(cd "$out.new" && echo *.whl)
  # Builds are reproducible. An equal wheel stays installed, so a running service keeps its files.
  if cmp -s "$out.new/$wheel" "$out/$wheel"; then
    rm -rf "$out.new"
  else
    rm -rf "$out"
    "$venv_python" -m pip install --quiet --no-deps --no-index --force-reinstall "$out.new/$wheel"
    mv "$out.new" "$out"
  fi
  wheel=$out/$wheel
}
