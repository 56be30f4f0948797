# shellcheck shell=bash
# Sourced by environment_*.sh, which make environments apart from the project's own, in the folder $environment.
#     make_apart WHAT FILE...
# calls `install` unless the environment was made of these FILEs (the script itself first, its pins, …) and as WHAT
# before. `install` finds an environment with nothing in it, or with what an older script left, and its pip in the array
# `pip`; what it says goes to stderr.
make_apart() {
  local what=$1 stamp
  shift
  stamp=$environment/.toedit-$({ cat "$@" scripts/environment_apart.sh && echo "$what"; } | sha256sum | cut -c1-16)
  # Of two at once, the second waits for the first and finds it made.
  if command -v flock >/dev/null; then exec 9<"$1" && flock 9; fi
  if [[ -e $stamp ]]; then return; fi
  : "${python:=$(bash scripts/find_python.sh)}"
  echo "environment: installing $what into $environment (once)" >&2
  [[ -x $environment/bin/python ]] || "$python" -m venv "$environment"
  pip=("$environment/bin/python" -m pip -qq --disable-pip-version-check)
  install >&2
  rm -f "$environment"/.toedit-*
  touch "$stamp"
}
