#!/bin/sh
# Slurm prolog (slurm.conf: Prolog=/etc/slurm/prolog.d/clusterledger.sh): says which job got which device of this node.
#
# One file for each device in /run/clusterledger/job_map, with one line "jobid uid" for each job: jobs that share a
# device have a line each. A file is named by the UUID of the device where Slurm tells it (slices of MIG always, whole
# devices since 25.11), else by Slurm's index. One more file is named by the job's SLUID, by which Slurm 26.05 names
# its cgroup. The agent reads them where the cgroup of a process names no job.
# A prolog that fails drains the node, so nothing here may fail: without the map the agent looks at cgroups.
map=${CLUSTERLEDGER_JOB_MAP:-/run/clusterledger/job_map}
indices=${SLURM_JOB_GPUS:-${GPU_DEVICE_ORDINAL:-}}
names=${CUDA_VISIBLE_DEVICES:-${ROCR_VISIBLE_DEVICES:-}}
[ -n "${SLURM_JOB_ID:-}" ] || exit 0
[ -n "$indices$names${SLURM_JOB_SLUID:-}" ] || exit 0

note() {
  case $1 in .*|*[!0-9A-Za-z_-]*|'') return ;; esac
  printf '%s %s\n' "$SLURM_JOB_ID" "${SLURM_JOB_UID:-}" >> "$map/$1"
}

umask 022
mkdir -p "$map" 2>/dev/null || exit 0
{
  flock -w 5 9 || exit 0
  # Slurm lists names and indices in one order, and names only some devices by their UUID; one word for each device.
  # Names of older drivers have slashes in them.
  set -f
  # shellcheck disable=SC2046
  set -- $(printf '%s' "$names" | tr ',/' ' _')
  for index in $(printf '%s' "$indices" | tr ',' ' '); do
    case ${1:-} in
      GPU-*|MIG-*) note "$1" ;;
      *) case $index in *[!0-9]*) ;; *) note "$index" ;; esac ;;
    esac
    [ $# -eq 0 ] || shift
  done
  for name in "$@"; do
    case $name in GPU-*|MIG-*) note "$name" ;; esac
  done
  note "${SLURM_JOB_SLUID:-}"
} 9> "$map/.lock" 2>/dev/null
exit 0
