# Sourced by the entry points: sets FLEET_NODE to a Node 24 and makes dist/ current. Needs FLEET_ROOT. Speaks on stderr only.
FLEET_NODE_VERSION=24.21.0

fleet_say() { case "${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}" in zh*) printf '%s\n' "$1" >&2 ;; *) printf '%s\n' "$2" >&2 ;; esac; }

fleet_find_node() {
  local candidate
  for candidate in "${FLEET_NODE:-}" "$FLEET_ROOT/node_modules/node/bin/node" "$FLEET_ROOT/runtime/node/bin/node"; do
    [ -n "$candidate" ] && [ -x "$candidate" ] && FLEET_NODE=$candidate && return 0
  done
  candidate=$(command -v node 2>/dev/null) || return 1
  case "$("$candidate" --version 2>/dev/null)" in v2[4-9].* | v[3-9][0-9].*) FLEET_NODE=$candidate ;; *) return 1 ;; esac
}

fleet_download_node() {
  local arch mirror archive base
  case "$(uname -m)" in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) return 1 ;; esac
  mirror=${NODE_MIRROR:-$(sed -n 's/^NODE_MIRROR=//p' "$FLEET_ROOT/.env" 2>/dev/null | tail -n 1)}
  mirror=${mirror:-https://nodejs.org/dist}
  base=${mirror%/}/v$FLEET_NODE_VERSION archive=node-v$FLEET_NODE_VERSION-linux-$arch.tar.gz
  command -v curl >/dev/null || return 1
  fleet_say "下载 Node：$base/$archive" "Downloading Node: $base/$archive"
  rm -rf "$FLEET_ROOT/runtime/.new" && mkdir -p "$FLEET_ROOT/runtime/.new" || return 1
  ( cd "$FLEET_ROOT/runtime/.new" &&
    curl -fsSL --connect-timeout 5 --retry 1 -O "$base/SHASUMS256.txt" -O "$base/$archive" &&
    grep -F " $archive" SHASUMS256.txt | sha256sum -c --quiet - &&
    tar -xzf "$archive" --strip-components 1 && rm -f "$archive" ) || { rm -rf "$FLEET_ROOT/runtime/.new"; return 1; }
  rm -rf "$FLEET_ROOT/runtime/node" && mv "$FLEET_ROOT/runtime/.new" "$FLEET_ROOT/runtime/node"
}

fleet_npm_ci() {
  fleet_say "安装依赖（npm ci）…" "Installing dependencies (npm ci) …"
  ( cd "$FLEET_ROOT" && npm ci --no-audit --no-fund --loglevel=error >&2 )
}

# True where dist/ is there and no source is newer (an installation without sources is always current).
fleet_is_built() {
  [ -e "$FLEET_ROOT/dist/stamp" ] && { [ ! -d "$FLEET_ROOT/src" ] || [ -z "$(find "$FLEET_ROOT/src" "$FLEET_ROOT/package-lock.json" -newer "$FLEET_ROOT/dist/stamp" -print -quit)" ]; }
}

fleet_prepare() {
  if [ ! -d "$FLEET_ROOT/node_modules" ] && [ -d "$FLEET_ROOT/src" ]; then
    if ! command -v npm >/dev/null && fleet_download_node; then PATH=$FLEET_ROOT/runtime/node/bin:$PATH; fi
    if ! command -v npm >/dev/null; then
      fleet_say "安装 npm（apt）…" "Installing npm (apt) …"
      { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm; } >/dev/null || return 1
    fi
    fleet_npm_ci || return 1
  fi
  fleet_find_node || { fleet_download_node && fleet_find_node; } || return 1
  if ! fleet_is_built && [ -d "$FLEET_ROOT/src" ]; then
    fleet_say "构建…" "Building …"
    "$FLEET_NODE" "$FLEET_ROOT/scripts/build.ts" >&2 || return 1
  fi
}

if ! fleet_is_built || ! fleet_find_node; then
  if command -v flock >/dev/null; then exec 9>"$FLEET_ROOT/.prepare.lock" && flock 9; fi
  fleet_prepare || { fleet_say "没有找到 Node 24，也无法取得。请设置 NPM_CONFIG_REGISTRY 或 NODE_MIRROR 为可访问的镜像后重试。" "Node 24 is not there and could not be brought. Set NPM_CONFIG_REGISTRY or NODE_MIRROR to a mirror you can reach and try again."; exit 1; }
  exec 9>&-
fi
export FLEET_NODE
