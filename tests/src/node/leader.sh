# Leads the node's namespaces: mounts, cgroups, containerd, the image, the kubelet.
# $1 directory of the node, $2 name of its cgroup, $3 containerd, $4 ctr, $5 kubelet, $6 the kubelet's port
set -eu
cd "$1"
PATH="$PATH:/usr/sbin:/sbin"
# Containers get their mounts from here, and what the kubelet mounts has to reach them.
mount --make-rshared /
mount -t tmpfs none scratch
# Both programs write to fixed places there, too.
for place in run var/lib var/log; do
  mkdir -p "scratch/$place/upper" "scratch/$place/work"
  mount -t overlay none -o "lowerdir=/$place,upperdir=scratch/$place/upper,workdir=scratch/$place/work" "/$place"
done

if [ -f /sys/fs/cgroup/cgroup.procs ]; then
  hierarchies=/sys/fs/cgroup
else
  hierarchies=$(echo /sys/fs/cgroup/*)
fi
for hierarchy in $hierarchies; do
  [ -f "$hierarchy/cgroup.procs" ] || continue
  mkdir -p "$hierarchy/$2/node" "$hierarchy/$2/pods"
  for level in "$hierarchy" "$hierarchy/$2"; do
    [ -f "$level/cgroup.controllers" ] || continue
    for controller in $(cat "$level/cgroup.controllers"); do
      echo "+$controller" >"$level/cgroup.subtree_control" || true
    done
  done
done
# By this cgroup everything of the node is found at its end. Others, like cpuset, take nobody as they are.
for procs in "/sys/fs/cgroup/pids/$2/node/cgroup.procs" "/sys/fs/cgroup/$2/node/cgroup.procs"; do
  [ -f "$procs" ] && echo 0 >"$procs"
done

"$3" --config containerd.toml >logs/containerd.log 2>&1 &
containerd=$!
until "$4" --address "$1/containerd.sock" version >/dev/null 2>&1; do
  kill -0 "$containerd"
  sleep 0.1
done
"$4" --address "$1/containerd.sock" --namespace k8s.io images import --local --snapshotter native image.tar
"$5" --config kubelet.json --kubeconfig kubeconfig --hostname-override localhost --port "$6" \
  --root-dir "$1/kubelet" --cert-dir "$1/kubelet-keys" >logs/kubelet.log 2>&1 &
wait $! || { tail -n 5 logs/kubelet.log >&2; exit 1; }
