#!/bin/sh
# Slurm epilog (slurm.conf: Epilog=/etc/slurm/epilog.d/clusterledger.sh): takes a job that ended out of the map.
#
# It looks through the whole map and not only through the devices in its environment: a job that was requeued or
# killed may not have any, and a line that stays would be a ghost job.
map=${CLUSTERLEDGER_JOB_MAP:-/run/clusterledger/job_map}
[ -d "$map" ] && [ -n "${SLURM_JOB_ID:-}" ] || exit 0
umask 022
{
  flock -w 5 9 || exit 0
  for file in "$map"/*; do
    [ -f "$file" ] || continue
    if grep -qv "^$SLURM_JOB_ID " "$file"; then
      # A whole file at a time: the agent never sees half of one, and a full disk takes no other job out of the map.
      grep -v "^$SLURM_JOB_ID " "$file" > "$map/.new" && mv "$map/.new" "$file"
    else
      rm -f "$file"
    fi
  done
} 9> "$map/.lock" 2>/dev/null
exit 0
