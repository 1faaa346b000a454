# shellcheck shell=bash
# The figures, from $OUT/samples.

# What part of a run on bare hosts is spent on the journal: looking at what is changed, and writing it down. It is told by the host where it
# took longest, and much of it overlaps with other work.
journal_share() {
  local events
  for events in "$OUT"/bare-3.json "$OUT"/cluster-kboot-*.json "$OUT"/control-planes-kboot-*.json; do
    [[ -e $events ]] || continue
    awk -v what="$(basename "$events" .json)" '
      { n = split($0, parts, "\"millis\":"); millis = parts[n] + 0 }
      /"event":"journalled"/ && millis > journal { journal = millis }
      /"event":"summary"/ { all = millis }
      END { if (all) printf "journal   %-24s %.3f s of %.2f s: %.1f %%\n", what, journal / 1000, all / 1000, 100 * journal / all }' "$events"
  done
}

report() {
  local bytes
  bytes=$(stat -c %s "$KBOOT")
  {
    awk -F'\t' -f "$BENCH/lib/stats.awk" "$OUT/samples"
    ! compgen -G "$OUT/again-[1-9]*.kib" >/dev/null ||
      printf 'memory    controller, second up: peak %.1f MB\n' "$(sort -n "$OUT"/again-[1-9]*.kib | tail -n1 | awk '{ print $1 * 1024 / 1e6 }')"
    ! compgen -G "$OUT/cluster-kboot-*.kib" >/dev/null ||
      printf 'memory    controller, cluster:   peak %.1f MB\n' "$(sort -n "$OUT"/cluster-kboot-*.kib | tail -n1 | awk '{ print $1 * 1024 / 1e6 }')"
    ! compgen -G "$OUT/control-planes-kboot-*.kib" >/dev/null ||
      printf 'memory    controller, control-planes: peak %.1f MB\n' "$(sort -n "$OUT"/control-planes-kboot-*.kib | tail -n1 | awk '{ print $1 * 1024 / 1e6 }')"
    journal_share
    printf 'binary    %.1f MB\n' "$(awk -v b="$bytes" 'BEGIN { print b / 1e6 }')"
  } | tee "$OUT/report"
  note "samples, logs and events are in $OUT"
}
