# Ends every process in the cgroups called $name, wherever they are mounted, and removes the cgroups.
tops() { find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name "$name" 2>/dev/null; }
attempt=0
while [ "$attempt" -lt 200 ]; do
  attempt=$((attempt + 1))
  for top in $(tops); do
    for pid in $(find "$top" -name cgroup.procs -exec cat {} + 2>/dev/null); do
      kill -KILL "$pid" 2>/dev/null
    done
    find "$top" -depth -type d -exec rmdir {} + 2>/dev/null
  done
  [ -z "$(tops)" ] && exit 0
  sleep 0.05
done
echo "left: $(tops)" >&2
exit 1
