# shellcheck shell=bash
# The figures, from $OUT/samples.

report() {
  local bytes
  bytes=$(stat -c %s "$KBOOT")
  {
    awk -F'\t' -f "$BENCH/lib/stats.awk" "$OUT/samples"
    ! compgen -G "$OUT/again-[1-9]*.kib" >/dev/null ||
      printf 'memory    controller, second up: peak %.1f MB\n' "$(sort -n "$OUT"/again-[1-9]*.kib | tail -n1 | awk '{ print $1 * 1024 / 1e6 }')"
    ! compgen -G "$OUT/cluster-kboot-*.kib" >/dev/null ||
      printf 'memory    controller, cluster:   peak %.1f MB\n' "$(sort -n "$OUT"/cluster-kboot-*.kib | tail -n1 | awk '{ print $1 * 1024 / 1e6 }')"
    printf 'binary    %.1f MB\n' "$(awk -v b="$bytes" 'BEGIN { print b / 1e6 }')"
  } | tee "$OUT/report"
  note "samples, logs and events are in $OUT"
}
