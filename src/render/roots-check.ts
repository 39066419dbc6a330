/** A function for programs (sh) of parts that run this software as root: fails, and says why, unless only root can change it. */
export const rootsCheck = `# Nobody but root may have a hand in what root runs here, and reads: in no file of it, and in no folder on the way to it. DATA_DIR, which
# may be below, is the product's own; nothing in .cache is run.
is_roots() {
  others='! -uid 0 -o -perm /002 -o -perm /020 ! -gid 0'
  for place in "$project" "$env"; do
    found=$(find -L "$place" \\( -path "\${base%/*/*}" -o -path "$place/.cache" \\) -prune -o ! -type l \\( $others \\) -print -quit 2>&1)
    while [ -z "$found" ] && [ -n "$place" ]; do
      place=\${place%/*}
      found=$(find "$place/" -maxdepth 0 \\( ! -uid 0 -o ! -perm -1000 \\( $others \\) \\) 2>&1)
    done
    [ -z "$found" ] || { echo "$found can be changed by others than root"; return 1; }
  done
}`;
