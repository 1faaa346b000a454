# Lines of "benchmark side run seconds" to medians a side and, pair by pair, the ratio of kboot to kubeadm.
function sorted(list, n,   i, j, t) {
  for (i = 2; i <= n; i++)
    for (j = i; j > 1 && list[j - 1] > list[j]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
}
function median(list, n) {
  sorted(list, n)
  return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}
function side_median(what, side,   i, n, list) {
  for (i = 1; i <= runs[what]; i++) if ((what, side, i) in seconds) list[++n] = seconds[what, side, i]
  return n ? median(list, n) : -1
}
{
  if (!($1 in runs)) order[++benchmarks] = $1
  if ($3 > runs[$1]) runs[$1] = $3
  seconds[$1, $2, $3] = $4
}
END {
  for (b = 1; b <= benchmarks; b++) {
    what = order[b]
    line = sprintf("%-14s kboot %.2f s", what, side_median(what, "kboot"))
    if (side_median(what, "kubeadm") >= 0) {
      n = 0
      for (i = 1; i <= runs[what]; i++) ratios[++n] = seconds[what, "kboot", i] / seconds[what, "kubeadm", i]
      middle = median(ratios, n)
      line = line sprintf("  kubeadm %.2f s  ratio min %.2f  median %.2f  max %.2f", side_median(what, "kubeadm"), ratios[1], middle, ratios[n])
      delete ratios
    }
    printf "%s  (%s)\n", line, (runs[what] > 1 ? runs[what] " runs, medians" : "one run")
  }
}
