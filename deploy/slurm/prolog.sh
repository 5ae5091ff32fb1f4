#!/bin/sh
# Slurm prolog (slurm.conf: Prolog=/etc/slurm/prolog.d/clusterledger.sh): says which job got which device of this node.
#
# One file for each device in /run/clusterledger/job_map, named by its index, with one line "jobid uid" for each job:
# jobs that share a device have a line each. The agent reads it where the cgroup of a process names no job.
# A prolog that fails drains the node, so nothing here may fail: without the map the agent looks at cgroups.
map=${CLUSTERLEDGER_JOB_MAP:-/run/clusterledger/job_map}
devices=${SLURM_JOB_GPUS:-${GPU_DEVICE_ORDINAL:-}}
[ -n "$devices" ] && [ -n "${SLURM_JOB_ID:-}" ] || exit 0
umask 022
mkdir -p "$map" 2>/dev/null || exit 0
{
  flock -w 5 9 || exit 0
  for device in $(printf '%s' "$devices" | tr ',' ' '); do
    case $device in *[!0-9]*|'') continue ;; esac
    printf '%s %s\n' "$SLURM_JOB_ID" "${SLURM_JOB_UID:-}" >> "$map/$device"
  done
} 9> "$map/.lock" 2>/dev/null
exit 0
