# Sourced by the entry points with the command line's words: sets FLEET_NODE to a Node 24 and makes dist/ current.
# Needs FLEET_ROOT. Speaks on stderr only. NODE_MIRROR and NPM_CONFIG_REGISTRY come from the environment or from the settings file.
FLEET_NODE_VERSION=24.21.0

fleet_say() { case "${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}" in zh*) printf '%s\n' "$1" >&2 ;; *) printf '%s\n' "$2" >&2 ;; esac; }
fleet_die() { fleet_say "✗ $1" "✗ $2"; exit 1; }

# fleet_setting NAME FILE: the last value of NAME in a settings file, without quotes, carriage returns and byte-order mark.
fleet_setting() {
  [ -r "$2" ] || return 0
  sed -n -e '1s/^\xef\xbb\xbf//' -e 's/\r$//' -e "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" "$2" |
    sed -n -e '$s/^\(["'\'']\)\(.*\)\1.*$/\2/' -e '$s/[[:space:]]\{1,\}#.*$//' -e '$s/[[:space:]]*$//' -e '$p'
}

# The settings file: --env FILE or --env=FILE among the words, else .env of the project.
fleet_env_file() {
  while [ $# -gt 0 ]; do
    case "$1" in --env) printf '%s' "${2:-}"; return ;; --env=*) printf '%s' "${1#--env=}"; return ;; esac
    shift
  done
  printf '%s' "$FLEET_ROOT/.env"
}

fleet_is_new_enough() { case "$("$1" --version 2>/dev/null)" in v2[4-9].* | v[3-9][0-9].*) return 0 ;; *) return 1 ;; esac; }

fleet_find_node() {
  local candidate
  if [ -n "${FLEET_NODE:-}" ]; then
    fleet_is_new_enough "$FLEET_NODE" || fleet_die "FLEET_NODE=$FLEET_NODE 不是 Node 24 或更新版本。请改为 Node 24 的路径，或取消该变量。" "FLEET_NODE=$FLEET_NODE is not Node 24 or newer. Give the path of one, or unset the variable."
    return 0
  fi
  # What npm or a checked download put there is the right one; only a system's Node has to be asked.
  for candidate in "$FLEET_ROOT/node_modules/node/bin/node" "$FLEET_ROOT/runtime/node/bin/node"; do
    [ -x "$candidate" ] && FLEET_NODE=$candidate && return 0
  done
  candidate=$(command -v node 2>/dev/null) && fleet_is_new_enough "$candidate" && FLEET_NODE=$candidate
}

# fleet_fetch URL FILE: by curl or wget; an address that does not answer costs five seconds.
fleet_fetch() {
  if command -v curl >/dev/null; then curl -fsSL --connect-timeout 5 --speed-limit 1 --speed-time 8 --max-time 900 -o "$2" "$1"
  elif command -v wget >/dev/null; then wget -q --tries=1 --connect-timeout=5 --dns-timeout=5 --read-timeout=8 -O "$2" "$1"
  else return 1; fi
}

fleet_download_node() {
  local arch archive base new
  case "$(uname -m)" in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) return 1 ;; esac
  base=${NODE_MIRROR:-https://nodejs.org/dist} archive=node-v$FLEET_NODE_VERSION-linux-$arch.tar.gz new=$FLEET_ROOT/runtime/.new
  base=${base%/}/v$FLEET_NODE_VERSION
  fleet_say "下载 Node：$base/$archive" "Downloading Node: $base/$archive"
  rm -rf "$new" && mkdir -p "$new" || return 1
  if fleet_fetch "$base/SHASUMS256.txt" "$new/SHASUMS256.txt" && fleet_fetch "$base/$archive" "$new/$archive" &&
    (cd "$new" && grep -F "  $archive" SHASUMS256.txt | sha256sum -c --quiet - >&2 && tar -xzf "$archive" --strip-components 1 && rm -f "$archive"); then
    rm -rf "$FLEET_ROOT/runtime/node" && mv "$new" "$FLEET_ROOT/runtime/node"
  else
    rm -rf "$new"
    fleet_say "  未能下载，改用下一来源" "  Not downloaded; trying the next source"
    return 1
  fi
}

fleet_apt_npm() {
  command -v apt-get >/dev/null || return 1
  fleet_say "安装 npm（apt-get）…" "Installing npm (apt-get) …"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm; } >/dev/null
}

# True where npm ci came to its end, with the lock file that stands now. npm writes .package-lock.json last.
fleet_is_installed() {
  [ ! -e "$FLEET_ROOT/package-lock.json" ] || { [ -e "$FLEET_ROOT/node_modules/.package-lock.json" ] && [ ! "$FLEET_ROOT/package-lock.json" -nt "$FLEET_ROOT/node_modules/.package-lock.json" ]; }
}

# True where dist/ is complete and no source is newer (an installation without sources is always current).
fleet_is_built() {
  [ -e "$FLEET_ROOT/dist/stamp" ] && { [ ! -d "$FLEET_ROOT/src" ] || [ -z "$(find "$FLEET_ROOT/src" "$FLEET_ROOT/package-lock.json" -newer "$FLEET_ROOT/dist/stamp" -print -quit)" ]; }
}

fleet_install() {
  if ! command -v npm >/dev/null; then
    if [ -x "$FLEET_ROOT/runtime/node/bin/npm" ] || fleet_download_node; then PATH=$FLEET_ROOT/runtime/node/bin:$PATH; else fleet_apt_npm || return 1; fi
  fi
  fleet_say "安装依赖（npm ci）…" "Installing dependencies (npm ci) …"
  (cd "$FLEET_ROOT" && npm ci --no-audit --no-fund --loglevel=error >&2) || return 1
  # A lock file with the same second as npm's own would look newer after a copy; this makes the order certain.
  touch "$FLEET_ROOT/node_modules/.package-lock.json"
}

fleet_prepare() {
  [ -w "$FLEET_ROOT" ] || fleet_die "$FLEET_ROOT 不可写，无法安装依赖。请以其所有者或 root 身份运行：sudo ./部署.sh …" "$FLEET_ROOT cannot be written, so dependencies cannot be installed. Run as its owner or as root: sudo ./部署.sh …"
  if command -v flock >/dev/null; then exec 9>"$FLEET_ROOT/.prepare.lock" && flock 9; fi
  trap 'exit 130' INT TERM
  fleet_is_installed || fleet_install || fleet_die "依赖未能安装。请将 NPM_CONFIG_REGISTRY（npm 镜像）或 NODE_MIRROR（Node 下载镜像）写入 $FLEET_ENV_FILE 后重试。" "The dependencies could not be installed. Set NPM_CONFIG_REGISTRY (an npm mirror) or NODE_MIRROR (a mirror of Node's downloads) in $FLEET_ENV_FILE and try again."
  fleet_find_node || { fleet_download_node && fleet_find_node; } || fleet_die "没有找到 Node 24，也无法取得。请将 NODE_MIRROR 设置为可访问的镜像后重试。" "Node 24 is not there and could not be brought. Set NODE_MIRROR to a mirror that you can reach and try again."
  if ! fleet_is_built; then
    fleet_say "构建…" "Building …"
    "$FLEET_NODE" "$FLEET_ROOT/scripts/build.ts" >&2 || fleet_die "构建失败，原因见上。" "The build failed; the reason stands above."
  fi
  trap - INT TERM
  exec 9>&-
}

if ! fleet_is_installed || ! fleet_is_built || ! fleet_find_node; then
  FLEET_ENV_FILE=$(fleet_env_file "$@")
  for name in NODE_MIRROR NPM_CONFIG_REGISTRY; do
    value=${!name:-$(fleet_setting $name "$FLEET_ENV_FILE")}
    [ -z "$value" ] || export "$name=$value"
  done
  fleet_prepare
fi
# Node keeps what it has compiled there (a sixth of a command's time); where it cannot write it goes without.
export NODE_COMPILE_CACHE=$FLEET_ROOT/dist/compile-cache
